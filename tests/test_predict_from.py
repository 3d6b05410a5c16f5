import csv
import json
import re
import shutil
from pathlib import Path

import exports_of_truth
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.console.runs import rendered
from toolkit.console.text import stdout
from toolkit.errors import PredictionsError, ToolkitError
from toolkit.manifest import Study, load_study
from toolkit.pipeline import compare_with_page, parse_study, rebuild, withdraw_and_parse
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.stages.predict.imported import predict_from
from toolkit.stages.report import report
from toolkit.stages.split import split
from toolkit.stages.status import status
from toolkit.study_file import StudyFile
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, read_run

CLASSES = {"melanoma": True, "nevus": False, "wart": False}
ALIASES = {"melanoma": ["mel", "MM"], "nevus": ["nev"], "wart": ["wrt"]}
TRUTH = {f"ph-{n:02}": list(CLASSES)[n % 3] for n in range(30)}
NAMES = list(TRUTH)


def made(folder: Path, classes: dict[str, bool], truth: dict[str, str], **study) -> tuple[Workspace, Study]:
    """A workspace of a study whose cases are all external, without a photograph."""
    folder.mkdir(parents=True, exist_ok=True)
    file = exports_of_truth.study_file(folder / "study.toml", classes, **study)
    export = exports_of_truth.export(folder / "export.ndjson", truth)
    workspace = Workspace(folder / "workspace")
    parse_study(workspace, StudyFile(load_study(file), file), [export])
    split(workspace, load_study(file), study_folder=folder)
    return workspace, load_study(file)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return made(tmp_path_factory.mktemp("others"), CLASSES, TRUTH, aliases=ALIASES)


@pytest.fixture
def here(others, tmp_path):
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(others[0].folder, copy.folder)
    return copy


@pytest.fixture
def read(here, others, tmp_path):
    """Write a file and read it as predictions of the model "theirs"."""

    def read_file(content, name="predictions.csv", **options):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return predict_from(here, others[1], file, **{"model_name": "theirs", **options})

    return read_file


def chances(seed: int = 1, cases: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(3), cases)


def table(values, header="file,mel,nev,wrt", separator=",", keys=NAMES) -> str:
    rows = [[key, *map(repr, row)] for key, row in zip(keys, np.asarray(values).tolist(), strict=True)]
    return "\n".join([header, *(separator.join(row) for row in rows)]) + "\n"


def stored(workspace: Workspace, run_id: str) -> np.ndarray:
    rows = workspace.rows(
        "select probabilities, external_id from predictions join cases using (case_id) join images using (image_id)"
        " where run_id = $run order by external_id",
        {"run": run_id},
    )
    return np.array([[dict(row["probabilities"])[name] for name in CLASSES] for row in rows])


WIDE = {
    "names": lambda values: table(values, "file,melanoma,nevus,wart"),
    "aliases": lambda values: table(values, "file,MM,Nev,WRT"),
    "p_": lambda values: table(values, "image,p_mel,p_nev,p_wrt"),
    "prob": lambda values: table(values, "image,prob melanoma,prob nevus,prob wart"),
    "score.": lambda values: table(values, "image,score.mel,score.nev,score.wrt"),
    "P()": lambda values: table(values, "image,P(mel),P(nev),P(wrt)"),
    "behind": lambda values: table(values, "image,mel_prob,nev_prob,wrt_prob"),
    "another order": lambda values: table(values[:, ::-1], "file,wrt,nev,mel"),
    "beside other columns": lambda values: (
        table(values, "file,mel,nev,wrt").replace("\n", ",7,a b\n").replace("wrt,7,a b", "wrt,age,note", 1)
    ),
    "tabs": lambda values: table(values, "file\tmel\tnev\twrt", "\t"),
    "semicolons": lambda values: table(values, "file;mel;nev;wrt", ";"),
    "decimal commas": lambda values: table(values, "file;mel;nev;wrt", ";").replace(".", ","),
    "quoted decimal commas": lambda values: re.sub(r"(?m)(?<=,)(\d\.\d+(?:e-\d+)?)", r'"\1"', table(values)).replace(
        ".", ","
    ),
    "Excel": lambda values: (
        "\ufeffsep=;\r\n"
        + table(values, "file;mel;nev;wrt;;", ";").replace("\n", ";;\r\n", 99).replace(";;;;", ";;", 1)
    ),
    "UTF-16": lambda values: table(values).encode("utf-16"),
    "UTF-16 without mark": lambda values: table(values).encode("utf-16-le"),
    "Windows-1252": lambda values: table(values, "Größe,mel,nev,wrt").encode("cp1252"),
    "percentages": lambda values: table(values * 100),
    "percent signs": lambda values: re.sub(r"(?m)(?<=,)(\d[\d.]*(?:e-\d+)?)(?=,|$)", r"\1 %", table(values * 100)),
    "logits": lambda values: table(np.log(values) + 3),
    "log-probabilities": lambda values: table(np.log(values)),
    "JSON Lines": lambda values: "".join(
        json.dumps({"case": {"file": key}, "probabilities": dict(zip(CLASSES, row, strict=True))}) + "\n"
        for key, row in zip(NAMES, values.tolist(), strict=True)
    ),
    "JSON": lambda values: json.dumps(
        [{"file": key, **dict(zip(CLASSES, row, strict=True))} for key, row in zip(NAMES, values.tolist(), strict=True)]
    ),
    "long": lambda values: (
        "file,class,probability\n"
        + "".join(
            f"{key},{name},{value!r}\n"
            for name, column in zip(ALIASES, values.T.tolist(), strict=True)
            for key, value in zip(NAMES, column, strict=True)
        )
    ),
}


HEADERS = ("prob", "score.", "P()", "behind")
"""Forms that differ from p_ in the words of their header only."""
SOAK = pytest.mark.soak


@pytest.mark.soak_after(3)
@pytest.mark.parametrize("form", [pytest.param(form, marks=SOAK if form in HEADERS else ()) for form in WIDE])
def test_a_file_of_any_form_gives_the_same_probabilities(read, here, form):
    values = chances()
    result = read(WIDE[form](values))

    assert {"external": 30} == result.cases
    assert stored(here, result.run_id) == pytest.approx(values, abs=1e-12)


def parquet(columns: dict) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def test_parquet_is_read_with_flat_columns_and_with_a_map(read, here):
    values = chances()
    flat = read(parquet({"file": NAMES, **dict(zip(CLASSES, values.T, strict=True))}), name="a.parquet")
    maps = [list(zip(CLASSES, row, strict=True)) for row in values.tolist()]
    mapped = parquet({"file": NAMES, "probabilities": pa.array(maps, pa.map_(pa.string(), pa.float64()))})

    assert np.array_equal(values, stored(here, flat.run_id))
    assert np.array_equal(values, stored(here, read(mapped, name="b.parquet").run_id))


def keys_of(workspace: Workspace, column: str) -> list[str]:
    rows = workspace.rows(f"select {column} as key from cases join images using (image_id) order by external_id")
    return [row["key"] for row in rows]


@pytest.mark.soak_after(3)
@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("case ID", "case_id"),
        ("global key", "global_key"),
        ("external ID", "external_id"),
        ("data row ID", "image_id"),
        ("file name", "'images/part 1/' || external_id"),
        ("file name", r"'C:\images\' || external_id"),
        ("file name without its ending", "'x/' || replace(external_id, '.jpg', '.png')"),
        ("file name, upper and lower case alike", "upper(external_id)"),
    ],
)
def test_rows_are_found_by_any_kind_of_key(read, here, kind, column):
    result = read(table(chances(), keys=keys_of(here, column)))

    assert f"({kind} 30)" in result.key
    assert stored(here, result.run_id) == pytest.approx(chances(), abs=1e-12)


def faulty(change) -> str:
    rows = [row.split(",") for row in table(chances().round(3)).splitlines()]
    change(rows)
    return "\n".join(map(",".join, rows)) + "\n"


FAULTS = {
    "no number: row 2 (mel) is 'nan'": lambda rows: rows[2].__setitem__(1, "nan"),
    "no number: row 2 (nev) is ''": lambda rows: rows[2].__setitem__(2, ""),
    "no number: row 2 (nev) is 'inf'": lambda rows: rows[2].__setitem__(2, "inf"),
    "no number: row 2 (nev) is '0_1'": lambda rows: rows[2].__setitem__(2, "0_1"),
    "a probability is negative: row 3 has -0.5": lambda rows: rows[3].__setitem__(1, "-0.5"),
    "a probability is above 1: row 3 has 7": lambda rows: rows[3].__setitem__(1, "7"),
    "the probabilities do not add up to 1 (tolerance 0.0015): row 4 has the sum 0.9": lambda rows: rows[4].__setitem__(
        slice(1, 4), ["0.5", "0.3", "0.1"]
    ),
    "a case stands twice: row 31 as row 5": lambda rows: rows.append(rows[5]),
    "the key names nothing here: row 6": lambda rows: rows[6].__setitem__(0, "ph-99"),
    "there is no key: row 6": lambda rows: rows[6].__setitem__(0, ""),
    "not as many cells as the header: row 7 has 3 cells, the header 4": lambda rows: rows[7].pop(),
}


@pytest.mark.parametrize("message", FAULTS)
def test_every_fault_is_told_with_its_row_and_nothing_is_stored(read, here, message):
    with pytest.raises(PredictionsError, match=re.escape(message)):
        read(faulty(FAULTS[message]))

    assert not list(here.folder.glob("runs/*"))
    assert [] == here.rows("select * from runs")


def test_all_faults_stand_in_one_list_and_name_the_first_rows_of_each_kind(read):
    def many(rows):
        for n in range(1, 9):
            rows[n][1] = "nan"
        rows[20][0], rows[21][0] = "elsewhere", rows[22][0]

    with pytest.raises(PredictionsError) as refused:
        read(faulty(many))

    assert "10 faults in 30 rows" in refused.value.problem
    assert "row 5 (mel) is 'nan'; and 3 more" in refused.value.problem
    assert "the key names nothing here: row 20" in refused.value.problem
    assert "a case stands twice: row 22 as row 21" in refused.value.problem


def test_unknown_keys_are_left_out_and_counted_only_where_that_is_asked_for(read):
    text = table(chances()) + "elsewhere,1,0,0\n"

    assert 1 == read(text, skip_unknown=True).unknown
    with pytest.raises(PredictionsError, match="names nothing here: row 31"):
        read(text)


@pytest.mark.soak
def test_cases_and_classes_that_the_file_lacks_are_counted(read, here, others):
    values = np.column_stack([chances()[:, 0], 1 - chances()[:, 0]])
    text = table(values[:25], "file,mel,nev", keys=NAMES[:25])
    result = read(text)
    evaluate(here, others[1], run=result.run_id)
    page = Path(report(here, others[1], run=result.run_id).page).read_text()

    assert (["wart"], {"wart": 8}, {"external": 17}) == (result.lacking, result.unmapped, result.cases)
    assert {"external": 5} == result.missing
    assert "since the file has no probability of this class" in page
    assert "Averages are over the 2 of 3 classes that the run can say, without wart." in page


def test_classes_that_the_study_lacks_are_left_out_of_the_sum_and_said(read, here):
    values = np.random.default_rng(3).dirichlet(np.ones(4), 30)
    expected = values[:, :3] / values[:, :3].sum(axis=1, keepdims=True)
    bare = read(table(values, "file,mel,nev,wrt,UNK"))
    prefixed = read(table(values, "file,p_mel,p_nev,p_wrt,p_other"))

    assert stored(here, bare.run_id) == pytest.approx(expected)
    assert stored(here, prefixed.run_id) == pytest.approx(expected)
    assert "no class of the study: UNK" in bare.notes[0]


def test_two_columns_of_one_class_are_added(read, here):
    values = np.random.default_rng(3).dirichlet(np.ones(4), 30)
    result = read(table(values, "file,mel,melanoma,nev,wrt"))

    assert stored(here, result.run_id)[:, 0] == pytest.approx(values[:, 0] + values[:, 1])


def test_the_mapping_of_external_runs_holds_for_files_too(here, others, tmp_path):
    study = Study.model_validate({**others[1].model_dump(), "external": {"classes": {"nevus": ["ephelis", "lentigo"]}}})
    values = np.random.default_rng(3).dirichlet(np.ones(4), 30)
    (tmp_path / "a.csv").write_text(table(values, "file,mel,ephelis,lentigo,wrt"))
    result = predict_from(here, study, tmp_path / "a.csv", model_name="theirs")

    assert stored(here, result.run_id)[:, 1] == pytest.approx(values[:, 1] + values[:, 2])


def test_two_models_in_one_file_are_told_apart_by_the_name(read, here):
    one, two = chances(1), chances(2)
    text = table(np.hstack([one, two]), "file,a_mel,a_nev,a_wrt,net b.mel,net b.nev,net b.wrt")

    assert stored(here, read(text, model_name="Net B").run_id) == pytest.approx(two)
    with pytest.raises(PredictionsError, match="2 sets of columns named after classes: a_mel"):
        read(text)


def test_a_one_hot_reference_diagnosis_beside_the_probabilities_is_no_prediction(read, here):
    truth = np.eye(3)[[list(CLASSES).index(name) for name in TRUTH.values()]]
    text = table(np.hstack([truth, chances()]), "file,melanoma,nevus,wart,p_mel,p_nev,p_wrt")

    assert stored(here, read(text).run_id) == pytest.approx(chances())


@pytest.mark.soak
def test_scores_of_each_class_by_itself_stay_as_they_are_and_have_no_loss(read, here, others):
    values = np.random.default_rng(5).random((30, 3))
    result = read(table(values))
    evaluate(here, others[1], run=result.run_id)
    scores = {
        (row["metric"], row["class_name"]): row
        for row in here.rows("select * from scores where run_id = $run", {"run": result.run_id})
    }

    assert "scores" == result.knows
    assert np.array_equal(values, stored(here, result.run_id))
    assert np.isnan(scores["log_loss", None]["value"])
    assert np.isnan(scores["brier", None]["value"])
    assert 30 == scores["brier", None]["cases"]
    assert not np.isnan(scores["roc_auc", "nevus"]["value"])
    again(here, result.run_id)


def again(workspace: Workspace, run_id: str) -> None:
    """Every score and operating point is given again by its query."""
    with workspace.reading() as connection:
        for name in ("scores", "operating_points"):
            for row in workspace.rows(f"from {name} where run_id = $run", {"run": run_id}):
                (value,) = connection.execute(row["query"]).fetchone()

                assert row["value"] == pytest.approx(value, abs=1e-12, nan_ok=True), (name, row["metric"])


@pytest.mark.parametrize("stated", [None, "scores"])
def test_rows_that_all_add_up_to_less_are_scores_only_where_that_is_said(read, stated):
    text = table(chances() * 0.8)

    if stated:
        assert "scores" == read(text, numbers=stated).knows
        return
    with pytest.raises(PredictionsError, match="do not add up to 1") as refused:
        read(text)
    assert "--numbers scores" in refused.value.remedy


def test_a_class_s_column_with_few_numbers_is_faulty_and_not_forgotten(read):
    lines = table(chances()).splitlines()
    text = "\n".join([lines[0], *(re.sub(",[^,]*,", ",NA,", row, count=1) for row in lines[1:-1]), lines[-1]])

    with pytest.raises(PredictionsError, match=r"no number: row 1 \(mel\) is 'NA'; .* and 24 more"):
        read(text)


def predicted_alone(values: np.ndarray, header: str, scale: int = 1) -> str:
    """Write the class with the highest probability, and this one probability."""
    rows = [
        f"{key},{list(ALIASES.values())[k][0]},{float(values[n, k]) * scale!r}"
        for n, (key, k) in enumerate(zip(NAMES, values.argmax(axis=1), strict=True))
    ]
    return "\n".join([header, *rows])


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("file,predicted,probability", 1),
        ("file,class,confidence", 100),
        ("file,y_pred,y_proba", 1),
        ("file,top1_class,prob_predicted", 1),
    ],
)
def test_a_predicted_class_and_its_probability_are_read_under_any_of_their_names(read, here, header, scale):
    values = chances()
    result = read(predicted_alone(values, header, scale))
    rows = here.rows(
        "select predicted, confidence from predictions join cases using (case_id) join images using (image_id)"
        " where run_id = $run order by external_id",
        {"run": result.run_id},
    )

    assert ("predicted", {"external": 30}) == (result.knows, result.cases)
    assert [list(CLASSES)[k] for k in values.argmax(axis=1)] == [row["predicted"] for row in rows]
    assert values.max(axis=1) == pytest.approx([row["confidence"] for row in rows], abs=1e-12)


def test_of_a_predicted_class_and_its_probability_alone_nothing_is_made_up(read, here, others):
    result = read(predicted_alone(chances(), "file,predicted,probability"))
    scored = evaluate(here, others[1], run=result.run_id)
    page = report(here, others[1], run=result.run_id)
    scores = {
        (row["metric"], row["class_name"]): row
        for row in here.rows("select * from scores where run_id = $run", {"run": result.run_id})
    }
    undefined = {name for (name, _), row in scores.items() if np.isnan(row["value"])}

    assert "predicted" == result.knows
    assert {"external": 30} == scored.cases
    assert {"macro_roc_auc", "micro_pr_auc", "brier", "log_loss"} <= undefined
    assert not {"accuracy", "macro_recall", "macro_f1"} & undefined
    assert np.isnan(scores["brier", "nevus"]["value"])
    assert np.isnan(scores["ece", "nevus"]["value"])
    assert not np.isnan(scores["ece", None]["value"])
    assert "gives the probability of the predicted class only" in Path(page.page).read_text()
    assert not {"roc.svg", "pr.svg"} & {Path(file).name for file in page.files}
    again(here, result.run_id)


REFUSED = {
    "a workbook": (b"PK\x03\x04rest", "this is a workbook or an archive"),
    "compressed": (b"\x1f\x8brest", "this file is compressed"),
    "nothing": (b"", "one column only"),
    "a header alone": (b"file,mel,nev,wrt\n", "no row below the header"),
    "one column": (b"mel\n0.1\n", "one column only"),
    "two columns alike": (b"file,mel,mel\na,1,0\n", "two columns are called 'mel'"),
    "no classes": (b"file,a,b\nph-01,0.1,0.9\n", "no column is named after a class"),
    "a probability alone": (b"file,probability\nph-01,0.1\nph-02,0.2\n", "none of predicted classes"),
    "no key": (b"mel,nev,wrt\n0.1,0.9,0\n", "no column names a case"),
    "other keys": (
        b"file,mel,nev,wrt\nxx,0.1,0.9,0\n",
        "no column names a case or a photograph of this workspace: file",
    ),
    "numbers of no kind": (b"file,mel,nev,wrt\nph-01,7,2,30\nph-02,8,1,9\n", "it cannot be told what the numbers are"),
    "not closed": (b'file,mel,nev,wrt\n"ph-01,0.1,0.9,0\n', "cannot be read"),
    "broken Parquet": (b"PAR1 and no more", "not readable Parquet"),
    "broken JSON": (b'{"file": "ph-01", "mel": 0.1', "no JSON"),
    "JSON of numbers": (b"[1, 2]", "record 1 is no object"),
    "deep JSON": (b"[" * 100_000, "nested too deeply"),
    "logits of the predicted class": (b"file,predicted,score\nph-01,mel,7.5\nph-02,nev,-2\n", "gives no probability"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_file_of_predictions_is_refused_in_one_sentence(read, name):
    content, message = REFUSED[name]

    with pytest.raises(PredictionsError, match=re.escape(message)) as refused:
        read(content)
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["", "  ", "x" * 10_000, "a\nb", "a\x1b[31m", "\ud800"])
def test_a_name_that_no_page_can_show_is_refused(read, name):
    with pytest.raises(PredictionsError, match="the model's name"):
        read(table(chances()), model_name=name)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", ["<script>alert(1)</script> [bold]x[/bold] a,b;=1+1", "/home/user/secret/net"])
def test_a_hostile_name_stays_text_on_every_page_and_in_the_terminal(read, here, others, name):
    result = read(table(chances()), model_name=name, name="<b>=cmd|.csv")
    evaluate(here, others[1], run=result.run_id)
    page = Path(report(here, others[1], run=result.run_id).page).read_text()
    with stdout.capture() as captured:
        stdout.print(rendered(result))

    assert name == here.rows("select model from runs")[0]["model"]
    assert "<script>alert" not in page.replace("<script>\n", "")
    assert "<b>=cmd" not in page
    assert "/home/user" not in page
    assert "[bold]" in captured.get() or "bold" not in name


def test_a_run_from_a_file_says_everywhere_that_leakage_cannot_be_told(read, here, others):
    result = read(table(chances()))
    record = json.loads((here.run(result.run_id) / "run.json").read_text())
    evaluate(here, others[1], run=result.run_id)
    page = Path(report(here, others[1], run=result.run_id).page).read_text()
    shared = Path(report(here, others[1], run=result.run_id, audience="shared").page).read_text()
    index = (here.reports / "index.html").read_text()

    assert re.fullmatch(r"[0-9a-f]{8}", result.run_id)
    assert (result.sha256, "predictions.csv") == (record["source"]["sha256"], record["source"]["name"])
    assert "trained elsewhere: leakage cannot be told" in page
    assert "trained elsewhere: leakage cannot be told" in shared
    assert "elsewhere: leakage cannot be told" in index
    assert result.sha256 in page
    assert "predictions.csv" not in shared
    assert "trained for 0 epochs" not in page
    assert "was not used in training" not in page
    assert "toolkit audit" == status(here).next


def test_the_same_file_is_the_same_run_and_changes_nothing(read, here):
    first, again = read(table(chances())), read(table(chances()))
    other = read(table(chances()), model_name="another")

    assert first.run_id == again.run_id != other.run_id
    assert (["external"], []) == (first.stored_now, again.stored_now)
    assert 60 == here.rows("select count(*) as n from predictions")[0]["n"]


def test_a_run_from_a_file_has_no_model_to_predict_with(read, here, others):
    result = read(table(chances()))

    with pytest.raises(ToolkitError, match="read from a file") as refused:
        predict(here, others[1], run=result.run_id)
    assert "--from" in refused.value.remedy


def test_a_part_that_the_split_lacks_is_refused(read):
    with pytest.raises(ToolkitError, match="the split has no part test"):
        read(table(chances()), part="test")


def of_split(workspace: Workspace, *parts: str) -> list[str]:
    rows = workspace.rows("select case_id, part from splits order by case_id")
    return [row["case_id"] for row in rows if row["part"] in parts]


@pytest.fixture
def beside(copied, finished, tmp_path):
    """The finished workspace with another model's predictions of test and validation beside its own run."""
    study = finished.study_file.study
    names, file = study.class_names, tmp_path / "theirs.csv"

    def read_parts(*parts, **options):
        cases = of_split(copied, *parts)
        values = np.random.default_rng(2).dirichlet(np.ones(len(names)), len(cases))
        file.write_text(table(values, ",".join(["case_id", *names]), keys=cases))
        return predict_from(copied, study, file, model_name="theirs", **options)

    return read_parts


@pytest.mark.soak
def test_it_is_compared_with_our_own_run_and_asked_by_every_question(beside, copied, finished):
    study = finished.study_file.study
    result = beside("test", "validation", "train")
    evaluate(copied, study, run=result.run_id)
    compared, page = compare_with_page(copied, finished.study_file, finished.run_id, result.run_id)
    [row] = copied.ask("runs").filter(pa.compute.field("run_id") == result.run_id).to_pylist()[:1]

    assert {"test", "validation"} == set(result.cases) == set(compared.cases)
    assert len(of_split(copied, "train")) == result.elsewhere["train"]
    assert Path(page.page).is_file()
    assert row["from_file"]
    assert (
        finished.run_id
        == find_run(copied, "latest")
        == copied.rows("from run_names where name = 'latest'")[0]["run_id"]
    )
    again(copied, result.run_id)


def test_a_part_that_the_file_does_not_cover_is_said(beside):
    assert ["validation"] == beside("test").not_covered
    with pytest.raises(PredictionsError, match="holds no case of: validation; its rows are of: test"):
        beside("test", part="validation")


@pytest.mark.soak
def test_rebuild_makes_it_again_and_a_withdrawn_patient_leaves_it(beside, copied, finished):
    study = finished.study_file.study
    result = beside("test")
    evaluate(copied, study, run=result.run_id)
    key = {"run": result.run_id}
    before = copied.rows("from predictions where run_id = $run order by case_id", key)
    run = copied.rows("from runs where run_id = $run", key)
    rebuild(copied, finished.study_file)

    assert before == copied.rows("from predictions where run_id = $run order by case_id", key)
    assert run == copied.rows("from runs where run_id = $run", key)

    patient = first_patient(copied, finished)
    gone = withdraw_and_parse(copied, finished.study_file, patient, apply=True)
    left = copied.rows("from predictions where run_id = $run", key)

    assert gone.predictions[result.run_id] == len(before) - len(left) > 0
    assert [] == gone.left_in
    assert read_run(copied, result.run_id).source.sha256 == result.sha256


def first_patient(workspace: Workspace, finished) -> str:
    """The identifier of a patient of the test set, as the export has it."""
    key = finished.study_file.key(workspace)
    tested = {
        row["patient_id"]
        for row in workspace.rows("select patient_id from splits join cases using (case_id) where part = 'test'")
    }
    from toolkit.privacy import normalise

    for line in finished.export.read_text().splitlines():
        for field in json.loads(line).get("metadata_fields", []):
            if field.get("schema_name") == "patient_id" and key.pseudonym("p", normalise(field["value"])) in tested:
                return field["value"]
    raise AssertionError("no patient of the test set")


ISIC = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


@pytest.fixture(scope="module")
def isic(shared, tmp_path_factory):
    """The ISIC 2018 predictions, read, scored and reported; what their scorer gives."""
    folder = shared / "predictions" / "isic2018_task3"
    with (folder / "ISIC2018_Task3_GroundTruth.csv").open() as lines:
        truth = {row["image"]: next(name for name in ISIC if row[name] == "1.0") for row in csv.DictReader(lines)}
    classes = {name: name in ("MEL", "BCC", "AKIEC") for name in ISIC}
    workspace, study = made(tmp_path_factory.mktemp("isic"), classes, truth)
    result = predict_from(workspace, study, folder / "ISIC2018_Task3_GroundTruth_prediction.csv", model_name="noise")
    evaluate(workspace, study)
    made_report = report(workspace, study)
    return (
        result,
        Path(made_report.page).parent,
        json.loads((folder / "expected_isic-challenge-scoring_5.6.0.json").read_text()),
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


@pytest.mark.soak
def test_the_isic_2018_figures_stand_in_the_page_s_tables(isic):
    result, folder, expected = isic
    summary = {row["metric"]: float(row["value"]) for row in rows_of(folder / "summary.csv")}
    by_class = {row["class_name"]: row for row in rows_of(folder / "per_class.csv")}
    flagged = {(row["classes"], row["metric"]): float(row["value"]) for row in rows_of(folder / "operating_points.csv")}
    of_scorer = expected["per_category"]
    theirs = {"recall": "sensitivity", "precision": "ppv", "f1": "dice"}

    assert ({"external": 10_015}, "scores") == (result.cases, result.knows)
    assert expected["aggregate"]["balanced_accuracy"] == pytest.approx(summary["balanced_accuracy"], abs=1e-9)
    for name in ISIC:
        assert of_scorer["auc"][name] == pytest.approx(float(by_class[name]["roc_auc"]), abs=1e-9)
        assert of_scorer["ap"][name] == pytest.approx(float(by_class[name]["pr_auc"]), abs=1e-9)
        for metric in ("recall", "specificity", "precision", "npv", "f1", "accuracy"):
            assert of_scorer[theirs.get(metric, {"npv": "npv"}.get(metric, metric))][name] == pytest.approx(
                flagged[name, metric], abs=1e-9
            )


@pytest.mark.soak
def test_the_page_says_that_scores_do_not_add_up(isic):
    _, folder, _ = isic
    page = (folder / "index.html").read_text()

    assert "each class is flagged from a score of 0.5 on" in page
    assert "scores of each class by itself" in page
    assert "sensitivity ≥ nan" not in page


PAD = [
    ("orca_probabilities_baseline.csv", "rf_baseline_model", "orca_results_baseline.json"),
    pytest.param("orca_probabilities_baseline.csv", "lr_baseline_model", "orca_results_baseline.json", marks=SOAK),
    ("orca_probabilities_extended.csv", "lr", "orca_results_extended.json"),
    pytest.param("orca_probabilities_extended.csv", "svc", "orca_results_extended.json", marks=SOAK),
    pytest.param("orca_probabilities_extended.csv", "mlp", "orca_results_extended.json", marks=SOAK),
]


@pytest.fixture(scope="module")
def pad(shared, tmp_path_factory):
    """Workspaces of the PAD files' own reference diagnoses, by file."""
    made_before = {}

    def of_file(name, key, column, yes):
        if name not in made_before:
            with (shared / "predictions" / "pad_binary" / name).open() as lines:
                rows = list(csv.DictReader(lines))
            truth = {row[key].removesuffix(".png"): "malignant" if row[column] == yes else "benign" for row in rows}
            classes = {"benign": False, "malignant": True}
            made_before[name] = made(tmp_path_factory.mktemp("pad"), classes, truth)
        return *made_before[name], shared / "predictions" / "pad_binary" / name

    return of_file


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model", "results"), PAD)
def test_the_published_pad_figures_come_out_of_their_files(pad, name, model, results):
    workspace, study, file = pad(name, "image_fname", "y_true", "True")
    published = json.loads((file.parent / results).read_text())[model]
    result = predict_from(workspace, study, file, model_name=model)
    evaluate(workspace, study, run=result.run_id)
    folder = Path(report(workspace, study, run=result.run_id).page).parent
    [own] = [row for row in rows_of(folder / "per_class.csv") if row["class_name"] == "malignant"]
    [accuracy] = [row for row in rows_of(folder / "summary.csv") if row["metric"] == "accuracy"]

    for metric in ("precision", "recall", "f1"):
        assert published[metric] == pytest.approx(float(own[metric]), abs=1e-9)
    assert published["accuracy"] == pytest.approx(float(accuracy["value"]), abs=1e-9)
    again(workspace, result.run_id)


@pytest.mark.soak
@pytest.mark.parametrize("name", [pytest.param("baseline", marks=SOAK), pytest.param("extended", marks=SOAK), "open"])
def test_a_column_of_labels_that_the_probability_does_not_give_is_no_prediction(pad, name):
    workspace, study, file = pad(f"penguins_result_{name}.csv", "image_id", "label", "1")
    result = predict_from(workspace, study, file, model_name="penguins")
    rows = workspace.rows("from predictions where run_id = $run", {"run": result.run_id})

    assert {"external": 390} == result.cases
    assert "label" in result.unread
    assert all((row["predicted"] == "malignant") == (dict(row["probabilities"])["malignant"] > 0.5) for row in rows)
