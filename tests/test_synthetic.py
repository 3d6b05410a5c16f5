import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from toolkit.errors import ToolkitError
from toolkit.manifest import shipped
from toolkit.synthetic import Sample, sample
from toolkit.synthetic.drawing import HEIGHT, WIDTH
from toolkit.synthetic.plan import KINDS, class_counts, plan

SMALL = 24


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Sample:
    return sample(tmp_path_factory.mktemp("small"), cases=SMALL)


@pytest.fixture(scope="module")
def rows(small) -> list[dict[str, Any]]:
    return _rows(small)


def _rows(made: Sample) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.export.read_text(encoding="utf-8").splitlines()]


def _labels(row: dict[str, Any]) -> list[dict[str, Any]]:
    (project,) = row["projects"].values()
    return project["labels"]


def _answered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [label for row in rows for label in _labels(row) if not label["performance_details"]["skipped"]]


def _patient(row: dict[str, Any]) -> str:
    return next(field["value"] for field in row["metadata_fields"] if field["schema_name"] == "patient_id")


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    again = sample(tmp_path / "again", cases=SMALL)

    assert _bytes(small.folder) == _bytes(again.folder)


def test_another_seed_gives_other_photographs(small, tmp_path):
    other = sample(tmp_path / "other", cases=SMALL, seed=8)

    assert not {path.read_bytes() for path in small.images.iterdir()} & {
        path.read_bytes() for path in other.images.iterdir()
    }


def test_the_study_file_is_the_demo_study_byte_for_byte(small):
    assert (shipped("manifests") / "demo.toml").read_bytes() == small.study.read_bytes()


def test_progress_counts_every_photograph(tmp_path):
    told = []
    made = sample(tmp_path, cases=16, progress=lambda *what: told.append(what))

    assert ("drawing photographs", made.photographs, made.photographs) == told[-1]
    assert list(range(made.photographs + 1)) == [done for _, done, _ in told]


def test_every_row_has_its_photograph_and_its_size(small, rows):
    sizes = {path.name: _pixels(path).shape[1::-1] for path in small.images.iterdir()}

    assert small.photographs == len(rows) == len(sizes)
    for row in rows:
        media = row["media_attributes"]
        assert sizes[row["data_row"]["external_id"]] == (media["width"], media["height"])


def test_every_row_has_the_shape_of_an_export_v2(rows):
    for row in rows:
        assert {"data_row", "media_attributes", "attachments", "metadata_fields", "projects"} == set(row)
        assert {"id", "global_key", "external_id", "row_data", "details"} == set(row["data_row"])
        assert row["data_row"]["row_data"].startswith("https://storage.example.org/")
        assert {"schema_id", "schema_name", "schema_kind", "value"} == set().union(*row["metadata_fields"])
        (project,) = row["projects"].values()
        assert "pigmented-lesions" == project["name"]
        for label in project["labels"]:
            assert {"objects", "classifications", "relationships"} == set(label["annotations"])
            assert label["label_details"]["created_by"].endswith("@example.org")


def test_every_id_is_used_once_and_looks_like_one_of_labelbox(rows):
    ids = [row["data_row"]["id"] for row in rows] + [label["id"] for row in rows for label in _labels(row)]

    assert len(ids) == len(set(ids))
    assert all(len(one) == 25 and one.startswith("c") and one.isalnum() for one in ids)


def test_metadata_says_its_kind(rows):
    kinds = {field["schema_name"]: field["schema_kind"] for field in rows[0]["metadata_fields"]}

    assert {
        "patient_id": "CustomMetadataString",
        "lesion_id": "CustomMetadataString",
        "age": "CustomMetadataNumber",
        "sex": "CustomMetadataString",
        "anatomical_site": "CustomMetadataString",
        "fitzpatrick": "CustomMetadataNumber",
        "capture_site": "CustomMetadataString",
    } == kinds


def test_every_box_lies_inside_its_photograph(rows):
    boxes = [thing["bounding_box"] for label in _answered(rows) for thing in label["annotations"]["objects"]]

    assert boxes
    for box in boxes:
        assert 0 <= box["left"] < box["left"] + box["width"] <= WIDTH
        assert 0 <= box["top"] < box["top"] + box["height"] <= HEIGHT
        assert min(box["width"], box["height"]) > 20


def test_two_lesions_are_answered_inside_their_boxes_and_one_for_the_photograph(rows):
    counts = {1: 0, 2: 0}
    for label in _answered(rows):
        objects, answers = label["annotations"]["objects"], label["annotations"]["classifications"]
        nested = [thing["classifications"] for thing in objects]
        if answers:
            assert ["diagnosis"] == [answer["name"] for answer in answers]
            assert not any(nested)
            counts[1] += 1
        else:
            assert 2 == len({answer["radio_answer"]["value"] for (answer,) in nested})
            counts[2] += 1

    assert counts[1] > counts[2] >= 1


def test_some_photographs_are_queued_and_some_were_skipped(rows):
    queued = [row for row in rows if not _labels(row)]
    skipped = [label for row in rows for label in _labels(row) if label["performance_details"]["skipped"]]

    assert 1 == len(queued) == len(skipped)
    assert {"objects": [], "classifications": [], "relationships": []} == skipped[0]["annotations"]


def test_no_file_name_holds_a_patient_id(rows):
    patients = {_patient(row) for row in rows}
    for row in rows:
        names = f"{row['data_row']['external_id']} {row['data_row']['row_data']} {row['data_row']['global_key']}"
        assert not any(patient in names or patient.removeprefix("P-") in names for patient in patients)


def test_a_lesion_id_occurs_once_for_a_patient_and_again_for_others(small, rows):
    lesions = [
        (_patient(row), field["value"])
        for row in rows
        for field in row["metadata_fields"]
        if field["schema_name"] == "lesion_id"
    ]

    assert len(lesions) == len(set(lesions))
    assert small.patients == sum(lesion == "1" for _, lesion in lesions)


def test_classes_keep_the_proportions_of_the_paper():
    assert {name: kind.photographs for name, kind in KINDS.items()} == class_counts(979)


@pytest.mark.parametrize("cases", [16, 17, 50, 980])
def test_every_class_has_its_cases_and_at_least_two_patients(cases):
    labelled = [each for each in plan(np.random.default_rng(1), cases) if each.state == "labelled"]
    shown = [(name, each.patient.patient_id) for each in labelled for name in each.class_names]

    assert cases == len(shown) == sum(class_counts(cases).values())
    for class_name in KINDS:
        assert class_counts(cases)[class_name] == sum(name == class_name for name, _ in shown)
        assert len({patient for name, patient in shown if name == class_name}) >= 2


def test_patients_have_one_to_five_photographs_and_sometimes_two_classes():
    photographs = plan(np.random.default_rng(1), 980)
    of_patient: dict[str, list[str]] = {}
    for each in photographs:
        of_patient.setdefault(each.patient.patient_id, []).extend(each.class_names[:1])

    assert {1, 2, 3, 4, 5} == {len(names) for names in of_patient.values()}
    assert 550 < len(of_patient) < 650
    assert 0.02 < np.mean([len(each.class_names) == 2 for each in photographs]) < 0.05
    assert 0.01 < np.mean([len(set(names)) > 1 for names in of_patient.values()]) < 0.2


def test_too_few_cases_are_refused_with_the_least_number(tmp_path):
    with pytest.raises(ToolkitError, match="at least 16"):
        sample(tmp_path, cases=15)

    assert not list(tmp_path.iterdir())


class Colours(NamedTuple):
    crop: np.ndarray
    whole: np.ndarray
    class_names: np.ndarray
    patients: np.ndarray


def _colours(made: Sample) -> Colours:
    found = []
    for row in _rows(made):
        pixels = _pixels(made.images / row["data_row"]["external_id"])
        whole = pixels.mean(axis=(0, 1))
        for label in _answered([row])[:1]:
            answers = label["annotations"]["classifications"]
            for thing in label["annotations"]["objects"]:
                box = {side: int(value) for side, value in thing["bounding_box"].items()}
                down = slice(box["top"], box["top"] + box["height"])
                across = slice(box["left"], box["left"] + box["width"])
                crop = pixels[down, across].mean(axis=(0, 1))
                (answer,) = thing["classifications"] or answers
                found.append((crop, whole, answer["radio_answer"]["value"], _patient(row)))
    return Colours(*(np.array(column) for column in zip(*found, strict=True)))


def test_mean_colour_alone_does_not_tell_the_class(tmp_path):
    colours = _colours(sample(tmp_path, cases=240))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for name, means in [
        ("crop", colours.crop),
        ("photograph", colours.whole),
        ("both", np.hstack([colours.crop, colours.whole])),
    ]:
        said = cross_val_predict(model, means, colours.class_names, groups=colours.patients, cv=folds)
        recall = recall_score(colours.class_names, said, average="macro")
        print(f"macro recall of mean colour, {name}: {recall:.3f}")

        assert recall < 0.60


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(ToolkitError, match="not empty"):
        sample(tmp_path, cases=16)
    assert ["mine.txt"] == [path.name for path in tmp_path.iterdir()]
