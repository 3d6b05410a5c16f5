"""What `export` writes for other tools: nothing lost, nothing that leads to a person, whole or not at all."""

import io
import json
import stat
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import Base
from search_identifiers import planted, search

from toolkit.errors import ToolkitError
from toolkit.files import digests_of
from toolkit.formatting import model_name
from toolkit.prompts.chat_json import read_chat
from toolkit.stages.export import MANIFEST, export
from toolkit.stages.export.parquet import LAST_NAME
from toolkit.stages.predict.imported import predict_from
from toolkit.workspace import sql
from toolkit.workspace.pictures import NO_PHOTOGRAPH, jpeg_of
from toolkit.workspace.registry import table_names, table_schema

FORMATS = ("parquet", "coco", "imagefolder", "fiftyone", "isic", "chat")


@pytest.fixture
def written(finished, tmp_path):
    """Export the finished workspace, with pictures; return the folder, its manifest and the result."""

    def write(kind, **options):
        options = {"images": kind == "coco", **options}
        folder = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}"
        result = export(finished.workspace, finished.study_file.study, kind, folder, **options)
        return folder, json.loads((folder / MANIFEST).read_text()), result

    return write


@pytest.fixture
def over_files(written, monkeypatch):
    """A database whose tables are the Parquet files of an export."""
    folder, _, _ = written("parquet")
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        connection.execute((folder / "load.sql").read_text())
        yield connection


EMPTIED = {
    "images": {"global_key", "external_id", "path"},
    "exports": {"source"},
    "attachments": {"name", "value"},
    "misclassified": {"path"},
}
"""Columns that an export leaves empty, since an identifier may stand in them."""


@pytest.mark.soak_after(2)
@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_holds_nothing_that_leads_to_a_person(finished, written, kind):
    folder, _, result = written(kind)
    names = {row["external_id"] for row in finished.workspace.rows("select external_id from images")}

    assert [] == search([folder], planted(finished.export.parent) | names, {"result": repr(result)})


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_is_for_nobody_else_to_read(written, kind):
    folder, _, _ = written(kind)
    paths = [folder, *folder.rglob("*")]

    assert {0o700} == {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_workspace_gives_the_same_bytes(written, kind):
    assert digests_of(written(kind)[0]) == digests_of(written(kind)[0])


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("kind", FORMATS)
def test_the_manifest_says_what_every_file_is(written, kind):
    folder, manifest, result = written(kind)
    there = digests_of(folder)

    assert kind == manifest["format"]
    assert {name: digest for name, digest in there.items() if name != MANIFEST} == manifest["files"]
    assert len(there) == result.files


def test_every_row_of_every_table_comes_back_from_parquet(finished, over_files):
    for name in table_names():
        with finished.workspace.reading() as registry:
            columns = [each for each in registry.table(name).columns if each not in EMPTIED.get(name, ())]
            text = f"select {', '.join(columns)} from {name} order by all"
            expected = registry.execute(text).fetchall()

        assert repr(expected) == repr(over_files.execute(text).fetchall()), name


def test_the_rows_of_the_main_views_are_written_too(finished, written):
    folder, manifest, _ = written("parquet")
    for name in ("case_table", "misclassified", "truth"):
        own = finished.workspace.table(name).drop(columns=list(EMPTIED.get(name, ())))
        read = pq.read_table(folder / "views" / name).to_pandas()[list(own.columns)]
        order = ["case_id", *(["run_id", "part"] if name == "misclassified" else [])]

        assert len(own) == manifest["rows"][name]
        assert str(own.sort_values(order).to_dict("list")) == str(read.sort_values(order).to_dict("list"))


def test_predictions_have_a_file_for_each_run(finished, written):
    folder, _, _ = written("parquet")
    counts = finished.workspace.rows("select run_id, count(*) as cases from predictions group by run_id")
    paths = (folder / "tables/predictions").iterdir()

    assert {row["run_id"]: row["cases"] for row in counts} == {p.stem: pq.read_metadata(p).num_rows for p in paths}


@pytest.mark.soak
def test_a_run_id_of_digits_alone_stays_a_text_in_parquet(copied, finished, tmp_path):
    with copied.writing() as connection:
        for table in ("runs", "predictions"):
            text = f"insert into {table} select * replace ('00123456' as run_id) from {table} where run_id = $1"
            connection.execute(text, [finished.run_id])
    export(copied, finished.study_file.study, "parquet", tmp_path / "out")
    by_pandas = pq.read_table(tmp_path / "out" / "tables" / "predictions").to_pandas()["run_id"]
    with duckdb.connect() as connection:
        pattern = str(tmp_path / "out" / "tables" / "predictions" / "*.parquet")
        by_duckdb = connection.execute("select run_id from read_parquet($1)", [pattern]).fetchall()

    assert (by_pandas == "00123456").sum() == by_duckdb.count(("00123456",)) > 0


@pytest.mark.parametrize(
    "name",
    [
        *("tiny", "Salesforce/instructblip-flan-t5-xl", "plain features"),
        *(
            "/home/dr-secret/models/blip",
            "~/secret/blip/",
            "../secret/blip",
            "./blip",
            r"C:\secret\blip",
            "D:/secret/blip",
        ),
    ],
)
def test_the_folder_of_a_model_is_not_passed_on(name):
    [(short,)] = duckdb.execute(f"select {LAST_NAME} from (select $1 as model)", [name]).fetchall()

    assert (model_name(name), False) == (short, "secret" in short)


UNLIKE = {"global_key", "external_id", "path", "source", "example"}
"""Columns that are empty over an export; `example` is that of any row."""


def rounded(value):
    """Return rows with numbers as far as they do not depend on the order of addition; NaN is NaN."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return f"{value:.9g}" if isinstance(value, float) else value


@pytest.mark.soak
def test_every_question_has_the_same_answer_over_parquet(finished, over_files):
    asked = 0
    for question in sql.questions().values():
        if any(parameter.default is None for parameter in question.parameters):
            continue
        values = sql.bind(question, {})
        own = finished.workspace.read(question.text, values)
        hidden = [name for name in own.column_names if name in UNLIKE]
        read = over_files.sql(question.text, params=values).to_arrow_table()
        asked += 1

        assert rounded(own.drop(hidden).to_pylist()) == rounded(read.drop(hidden).to_pylist()), question.name
    assert asked > 30


def test_an_empty_registry_is_exported_too(workspace, study, tmp_path, monkeypatch):
    with workspace.writing():
        pass
    export(workspace, study, "parquet", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with duckdb.connect() as connection:
        connection.execute((tmp_path / "out" / "load.sql").read_text())

        assert (
            [] == connection.execute("select * from predictions union all by name select * from case_table").fetchall()
        )


def test_what_stands_at_the_target_is_never_touched(finished, tmp_path):
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine", finished.workspace.folder / "out"):
        with pytest.raises(ToolkitError, match=r"something stands here|inside the workspace"):
            export(finished.workspace, finished.study_file.study, "parquet", place)

    assert [tmp_path / "mine"] == list(tmp_path.iterdir())


@pytest.mark.soak
def test_what_a_killed_export_has_left_is_swept_away_by_the_next(finished, tmp_path):
    program = (
        "import os, signal, sys\n"
        "from toolkit.cli import main\n"
        "from toolkit.stages.export import coco\n"
        "coco._document = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"  # the pictures are there by now
        "main(sys.argv[1:])"
    )
    where = ["--study", finished.study_file.path, "--workspace", finished.workspace.folder]
    command = [sys.executable, "-c", program, *where, "export", "coco", tmp_path / "out", "--images"]
    killed = subprocess.run(command, capture_output=True, check=False).returncode
    [left] = tmp_path.iterdir()
    export(finished.workspace, finished.study_file.study, "coco", tmp_path / "out")

    assert (-9, ".out.unfinished") == (killed, left.name)
    assert [tmp_path / "out"] == list(tmp_path.iterdir())


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_and_says_so(finished, tmp_path, kind):
    program = (
        "import resource, signal, sys\n"
        "from toolkit.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "main(sys.argv[1:])"
    )
    where = ["--study", finished.study_file.path, "--workspace", finished.workspace.folder]
    command = [sys.executable, "-c", program, *where, "export", kind, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (1, True) == (done.returncode, "free some disk space" in done.stderr)
    assert "Traceback" not in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_registry_of_an_earlier_version_says_what_to_do(copied, finished, tmp_path):
    with duckdb.connect(str(copied.registry)) as connection:
        connection.execute("delete from schema_history where file = '018_attached.sql'")
    with pytest.raises(ToolkitError, match="an earlier version wrote this registry") as refused:
        export(copied, finished.study_file.study, "parquet", tmp_path / "out")

    assert "toolkit parse" in refused.value.remedy
    assert [] == [path for path in tmp_path.iterdir() if path.name != "workspace"]


def readings_of(finished):
    """Return what every annotator says of each case, as the registry has it."""
    rows = finished.workspace.rows("select case_id, annotator, class_name, counts from readings")
    return sorted((row["case_id"], row["annotator"], row["class_name"], row["counts"]) for row in rows)


def exported_readings(cases):
    """Return the same of an export's cases, by their IDs."""
    rows = ((case_id, *reading.values()) for case_id, readings in cases.items() for reading in readings)
    return sorted(rows)


def boxes_of(finished):
    """Return the box of every case; the whole photograph where it has none."""
    rows = finished.workspace.rows("select * from cases inner join images using (image_id)")
    return {
        row["case_id"]: [row[f"roi_{side}"] for side in ("left", "top", "width", "height")]
        if row["roi_width"] is not None
        else [0.0, 0.0, row["width"], row["height"]]
        for row in rows
    }


def test_every_case_box_and_label_comes_back_from_coco(finished, written):
    folder, manifest, result = written("coco")
    document = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    files = {image["id"]: image["file_name"] for image in document["images"]}
    own = {
        row["case_id"]: row for row in finished.workspace.rows("select * from truth inner join cases using (case_id)")
    }
    entries = {each["case_id"]: each for each in document["annotations"]}
    none = "no_reference_diagnosis"

    assert ({}, len(own)) == (manifest["left_out"], result.cases)
    assert {case: row["class_name"] or none for case, row in own.items()} == {
        case: names[each["category_id"]] for case, each in entries.items()
    }
    assert {case: f"{row['image_id']}.jpg" for case, row in own.items()} == {
        case: files[each["image_id"]] for case, each in entries.items()
    }
    assert boxes_of(finished) == {case: each["bbox"] for case, each in entries.items()}
    assert readings_of(finished) == exported_readings({case: each["readings"] for case, each in entries.items()})


def test_coco_has_the_keys_and_types_that_its_readers_rely_on(written):
    folder, _, _ = written("coco")
    document = json.loads((folder / "annotations.json").read_text())
    kinds = {
        "images": {"id": int, "file_name": str, "width": int, "height": int},
        "categories": {"id": int, "name": str, "supercategory": str},
        "annotations": {"id": int, "image_id": int, "category_id": int, "iscrowd": int, "bbox": list, "area": float},
    }
    for noun, keys in kinds.items():
        assert list(range(1, len(document[noun]) + 1)) == [each["id"] for each in document[noun]]
        for each in document[noun]:
            assert keys == {key: type(each[key]) for key in keys}
    assert {each["id"] for each in document["images"]} == {each["image_id"] for each in document["annotations"]}


def test_coco_pictures_are_the_upright_pixels_and_nothing_else(written):
    folder, _, result = written("coco")
    document = json.loads((folder / "annotations.json").read_text())
    paths = {path.name: path for path in (folder / "images").iterdir()}

    assert {image["file_name"] for image in document["images"]} == set(paths)
    assert len(paths) == result.pictures
    for image in document["images"]:
        with Image.open(paths[image["file_name"]]) as picture:
            assert (image["width"], image["height"]) == picture.size
            assert {"jfif", "jfif_version", "jfif_unit", "jfif_density"} == set(picture.info)


def test_a_picture_keeps_nothing_of_its_file_but_the_pixels():
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[Base.ImageDescription], exif[Base.Orientation] = "taken by Dr Secret", 6
    pixels = np.random.default_rng(1).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif, comment=b"Secret", icc_profile=profile, quality=100)
    content = jpeg_of(buffer.getvalue())
    with Image.open(io.BytesIO(content)) as picture:
        assert (40, 64) == picture.size
        assert {"jfif", "jfif_version", "jfif_unit", "jfif_density"} == set(picture.info)
        upright = np.rot90(np.asarray(Image.open(buffer)), -1).astype(float)
        assert np.abs(np.asarray(picture, float) - upright).mean() < 12

    assert b"Secret" in buffer.getvalue()
    assert b"Secret" not in content


def test_a_photograph_that_was_changed_since_it_was_parsed_is_never_passed_on(copied, finished, tmp_path):
    row = copied.rows("select image_id, path from images inner join cases using (image_id) limit 1")[0]
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64)).save(other)
    with copied.writing() as connection:
        connection.execute("update images set path = $1 where image_id = $2", [str(other), row["image_id"]])
    with pytest.raises(ToolkitError, match="not the one that was parsed"):
        export(copied, finished.study_file.study, "coco", tmp_path / "out", images=True)

    assert not list(tmp_path.glob("*out*"))


def test_a_case_without_a_photograph_is_named_with_the_reason(copied, finished, tmp_path):
    row = copied.rows("select image_id from cases order by image_id limit 1")[0]
    with copied.writing() as connection:
        connection.execute("update images set path = null where image_id = $1", [row["image_id"]])
    export(copied, finished.study_file.study, "coco", tmp_path / "out", images=True)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())

    assert {f"{row['image_id']}.jpg": NO_PHOTOGRAPH} == manifest["images_without_picture"]


def lines_of(folder):
    """Return the lines of an imagefolder's metadata, by case, and the subset in which each stands."""
    paths = sorted(folder.glob("*/metadata.jsonl"))
    lines = [(path.parent.name, json.loads(line)) for path in paths for line in path.read_text().splitlines()]
    return {line["case_id"]: (part, line) for part, line in lines}


def test_every_case_box_and_label_of_the_split_comes_back_from_an_imagefolder(finished, written):
    folder, manifest, result = written("imagefolder")
    split_id = finished.results["Split"].split_id
    text = "select * from splits inner join truth using (case_id) where split_id = $split_id"
    rows = finished.workspace.rows(text, {"split_id": split_id})
    own = {row["case_id"]: (row["part"], row["class_name"]) for row in rows}
    lines = lines_of(folder)
    every = {row["case_id"] for row in finished.workspace.rows("select case_id from cases")}
    said = [each for each in readings_of(finished) if each[0] in own]

    assert (split_id, len(own)) == (manifest["split_id"], result.cases)
    assert own == {case: (part, line["label"]) for case, (part, line) in lines.items()}
    assert every == {*own, *manifest["left_out"]}
    assert result.left_out == {"it is in no subset of the split": len(every) - len(own)}
    assert {case: box for case, box in boxes_of(finished).items() if case in own} == {
        case: line["roi"] for case, (_, line) in lines.items()
    }
    assert said == exported_readings({case: line["readings"] for case, (_, line) in lines.items()})
    for case, (_, line) in lines.items():
        assert line["votes"] == {
            name: sum(each[0] == case and each[2] == name and each[3] for each in said) for name in line["votes"]
        }


@pytest.mark.soak
def test_an_imagefolder_has_one_picture_for_each_line(written):
    folder, _, result = written("imagefolder")
    lines = lines_of(folder)

    assert {"train", "validation", "test"} == {part for part, _ in lines.values()}
    assert {f"{part}/{line['file_name']}" for part, line in lines.values()} == {
        path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg")
    }
    assert result.pictures == len(lines)


@pytest.mark.soak
def test_the_subsets_of_an_imagefolder_have_the_same_types(written):
    """`datasets` reads metadata with pyarrow and refuses subsets whose types differ."""
    folder, _, _ = written("imagefolder")
    first, *others = [pyarrow.json.read_json(path).schema for path in sorted(folder.glob("*/metadata.jsonl"))]

    assert 2 == len(others)
    assert all(first == other for other in others)
    assert not [kind for kind in first.types if pa.types.is_null(kind)]


def test_an_imagefolder_says_that_it_needs_a_split(workspace, study, tmp_path):
    with workspace.writing():
        pass
    with pytest.raises(ToolkitError, match="no split yet"):
        export(workspace, study, "imagefolder", tmp_path / "out")


@pytest.fixture
def samples(written):
    """The samples of a FiftyOne export, by case, and the folder."""
    folder, manifest, _ = written("fiftyone")
    assert {} == manifest["left_out"]
    return {each["case_id"]: each for each in json.loads((folder / "samples.json").read_text())["samples"]}, folder


def test_every_case_box_and_label_comes_back_from_fiftyone(finished, samples):
    by_case, _ = samples
    own = {row["case_id"]: row["class_name"] for row in finished.workspace.rows("select * from truth")}
    readings = {
        case: [(each["annotator"], each["label"], each["counts"]) for each in sample["readings"]["classifications"]]
        for case, sample in by_case.items()
    }

    assert own == {case: sample.get("ground_truth", {}).get("label") for case, sample in by_case.items()}
    assert readings_of(finished) == sorted((case, *each) for case, said in readings.items() for each in said)
    rows = finished.workspace.rows("select * from cases inner join images using (image_id)")
    for row in rows:
        sample = by_case[row["case_id"]]
        if row["roi_width"] is None:
            assert "lesion" not in sample
        else:
            left, top, width, height = sample["lesion"]["detections"][0]["bounding_box"]
            box = [left * row["width"], top * row["height"], width * row["width"], height * row["height"]]
            assert pytest.approx([row[f"roi_{side}"] for side in ("left", "top", "width", "height")]) == box


def test_every_prediction_of_the_run_comes_back_from_fiftyone(finished, samples):
    by_case, _ = samples
    rows = finished.workspace.rows("select * from predictions where run_id = $run_id", {"run_id": finished.run_id})
    own = {row["case_id"]: (row["predicted"], row["confidence"], dict(row["probabilities"])) for row in rows}
    found = {case: sample["prediction"] for case, sample in by_case.items() if "prediction" in sample}

    assert own == {case: (each["label"], each["confidence"], each["probabilities"]) for case, each in found.items()}


@pytest.mark.soak
def test_fiftyone_samples_name_their_picture_their_subset_and_their_metadata(finished, samples):
    by_case, folder = samples
    split_id = finished.results["Split"].split_id
    rows = finished.workspace.rows("select case_id, part from splits where split_id = $s", {"s": split_id})
    metadata = finished.workspace.rows("select case_id, value from metadata inner join cases using (image_id)")
    values = {
        (case, value) for case, each in by_case.items() for name, value in each.items() if name.startswith("study_")
    }

    assert {f"data/{path.name}" for path in (folder / "data").iterdir()} == {x["filepath"] for x in by_case.values()}
    assert {row["case_id"]: [row["part"]] for row in rows} == {c: x["tags"] for c, x in by_case.items() if x["tags"]}
    assert {(row["case_id"], row["value"]) for row in metadata} == values
    assert "version" not in json.loads((folder / "metadata.json").read_text())


@pytest.mark.soak
def test_fiftyone_gets_cases_before_there_is_a_run(copied, finished, tmp_path):
    about_runs = {name for name in table_names() if "run_id" in table_schema(name).names} - {"model_runs", "runs"}
    for names in (about_runs, {"runs"}):  # what refers to runs has to be gone before they can go
        with copied.writing() as connection:
            for name in names:
                connection.execute(f"delete from {name}")
    export(copied, finished.study_file.study, "fiftyone", tmp_path / "out")
    read = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]

    assert len(copied.rows("select 1 from cases")) == len(read)
    assert not [sample for sample in read if "prediction" in sample]


def test_every_probability_and_diagnosis_of_a_run_comes_back_from_isic_csv(finished, written):
    folder, manifest, result = written("isic")
    names = finished.study_file.study.class_names
    rows = finished.workspace.rows("select * from predictions where run_id = $run_id", {"run_id": finished.run_id})
    truth = {row["case_id"]: row["class_name"] for row in finished.workspace.rows("select * from truth")}
    parts = {row["part"] for row in rows}

    assert {"validation", "test"} == parts
    assert len(rows) == result.cases
    assert set(truth) == {row["case_id"] for row in rows} | set(manifest["left_out"])
    for part in parts:
        said = pd.read_csv(folder / f"{part}-predictions.csv", dtype={"image": str}).set_index("image")
        true = pd.read_csv(folder / f"{part}-ground-truth.csv", dtype={"image": str}).set_index("image")
        own = {row["case_id"]: dict(row["probabilities"]) for row in rows if row["part"] == part}

        assert names == list(said.columns) == list(true.columns)
        assert own == said.to_dict("index")
        assert {case: truth[case] for case in own if truth[case]} == true.idxmax(axis=1).to_dict()
        assert {1.0} == set(true.sum(axis=1))


@pytest.mark.soak
def test_an_isic_csv_is_read_by_predict_from(copied, finished, written):
    folder, _, _ = written("isic")
    study = finished.study_file.study
    read = predict_from(copied, study, folder / "test-predictions.csv", model_name="again", part="test")
    text = "select case_id, probabilities from predictions where run_id = $run_id and part = 'test' order by case_id"
    own, again = (copied.rows(text, {"run_id": run_id}) for run_id in (finished.run_id, read.run_id))

    assert [dict(row["probabilities"]) for row in own] == [pytest.approx(dict(row["probabilities"])) for row in again]


def test_every_case_of_the_split_comes_back_from_chat_json(finished, written):
    folder, manifest, result = written("chat")
    study, split_id = finished.study_file.study, finished.results["Split"].split_id
    text = "select * from splits inner join truth using (case_id) where split_id = $split_id"
    own = {row["case_id"]: row["class_name"] for row in finished.workspace.rows(text, {"split_id": split_id})}
    entries = [entry for part in ("train", "validation", "test") for entry in read_chat(folder / f"{part}.json")]
    every = {row["case_id"] for row in finished.workspace.rows("select case_id from cases")}

    assert own == {entry.image[len("images/") : -len(".jpg")]: study.class_of(entry.assistant) for entry in entries}
    assert {entry.image for entry in entries} == {f"images/{path.name}" for path in (folder / "images").iterdir()}
    assert (len(own), every) == (result.pictures, {*own, *manifest["left_out"]})


@pytest.mark.soak
def test_the_order_of_rows_in_the_registry_changes_no_byte_of_parquet(copied, finished, tmp_path):
    study = finished.study_file.study
    export(copied, study, "parquet", tmp_path / "before")
    with copied.writing() as connection:
        connection.execute("create temp table turned as select * from metadata order by all desc")
        connection.execute("delete from metadata")
        connection.execute("insert into metadata select * from turned")
        connection.execute("drop table turned")
    export(copied, study, "parquet", tmp_path / "after")
    before, after = (digests_of(tmp_path / name / "tables") for name in ("before", "after"))

    assert before == after


@pytest.mark.soak
def test_a_reading_that_does_not_count_is_no_vote(copied, finished, tmp_path):
    text = "select case_id, readings.class_name from readings inner join splits using (case_id) order by all limit 1"
    row = copied.rows(text)[0]
    with copied.writing() as connection:
        connection.execute("update readings set counts = false where case_id = $1", [row["case_id"]])
    export(copied, finished.study_file.study, "imagefolder", tmp_path / "out")
    _, line = lines_of(tmp_path / "out")[row["case_id"]]

    assert {0} == set(line["votes"].values())
    assert row["class_name"] in {reading["class_name"] for reading in line["readings"]}
