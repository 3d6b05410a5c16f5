"""A workspace made by an earlier version opens, verifies and can be worked on; data/README.md says what is in it."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import duckdb
import exports
import pyarrow.parquet as pq
import pytest
from exports import label, row

from toolkit.errors import LeakError, QuestionError
from toolkit.files import sha256_of, sha256_of_file, write_json
from toolkit.manifest import load_study
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.evaluate.as_of import evaluate_as_of
from toolkit.stages.parse import parse
from toolkit.stages.report import report
from toolkit.stages.status import status
from toolkit.stages.withdraw import withdraw
from toolkit.study_file import StudyFile
from toolkit.workspace import certificate, sql, verification
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import verify

ARCHIVE = Path(__file__).parent / "data" / "workspace-a9b4f86.tar.xz"
MADE_IN = "/tmp/a9b4f86/s"
RUN, BLANK, SPLIT = "1fda0bfd", "ebe3bea3", "5f806332"
NEWER = (
    "annotators_by_week",
    "cases",
    "duplicates",
    "evidence_against_reference",
    "impact",
    "label_versions",
    "metadata",
    "missed_malignant",
    "outcome_by_reason",
    "patients",
    "progress",
    "pushes",
    "queue",
    "random_share",
    "readers",
    "releases",
)
KEPT = "scores_by_revision"
"""Questions about tables that the workspace's version did not have: any command that writes adds them."""
FREE = [
    question
    for question in sql.questions().values()
    if all(p.default is not None for p in question.parameters) and question.name not in (*NEWER, KEPT)
]


def unpacked(folder: Path) -> StudyFile:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return StudyFile(load_study(folder / "study.toml"), folder / "study.toml")


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> StudyFile:
    return unpacked(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def old(study_file) -> Workspace:
    """The workspace as it was written: nothing of today's version has touched it."""
    return Workspace(study_file.folder / "workspace")


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A copy whose run was evaluated, compared with its control and reported by today's version."""
    study = unpacked(folder := tmp_path_factory.mktemp("used")).study
    workspace = Workspace(folder / "workspace")
    with workspace.writing() as connection:  # whatever stands on this machine where the photographs once stood
        connection.execute("update images set path = replace(path, ?, ?)", [MADE_IN, str(folder / "gone")])
    results = (
        evaluate(workspace, study, run=RUN),
        compare(workspace, study, RUN, BLANK),
        report(workspace, study, run=RUN),
        report(workspace, study, run=RUN, audience="shared"),
    )
    return workspace, results


@pytest.fixture
def copied_old(old, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(old.folder, tmp_path / "workspace")))


def test_its_state_is_told(old):
    now = status(old)

    assert (65, 33, 64, "majority-b1589405") == (now.photographs, now.patients, now.cases, now.truth_id)
    assert [(SPLIT, 61, 0)] == [(s["split_id"], s["cases"], s["changed_cases"]) for s in now.splits]
    assert {(RUN, None, False, 24), (BLANK, RUN, False, 24)} == {
        (run["run_id"], run["control_of"], run["stale"], run["predicted"]) for run in now.runs
    }


def test_its_certificate_verifies_with_the_toolkit_and_with_duckdb_alone(old, monkeypatch):
    verified = verify(old.split(SPLIT))
    monkeypatch.chdir(old.split(SPLIT))
    answer = duckdb.connect().execute(Path("verify.sql").read_text(encoding="utf-8")).fetchall()

    assert (SPLIT, 61, True) == (verified.split_id, verified.cases, verified.patients_known)
    assert [("PASS", "cases in 3 parts", 61)] == answer


@pytest.mark.soak_after(8)
@pytest.mark.parametrize("question", FREE, ids=lambda question: question.name)
def test_every_question_without_required_parameters_answers(old, question):
    assert old.read(question.text, sql.bind(question, {})).num_columns > 1


def test_what_it_compared_is_told(old):
    assert {None} == {row["too_few"] for row in old.shipped_rows("comparison", run=BLANK, other=RUN)}


@pytest.mark.parametrize("question", NEWER)
def test_a_question_about_a_newer_table_answers_once_the_workspace_was_written_to(used, question):
    asked = sql.questions()[question]

    assert used[0].read(asked.text, sql.bind(asked, {})).num_columns > 1


def test_its_scores_are_kept_by_label_revision_once_it_was_evaluated(used):
    [row] = used[0].shipped_rows(KEPT, run=RUN)

    assert ("majority-b1589405", True, 11) == (row["truth_id"], row["same_predictions"], row["cases"])


def test_it_is_scored_as_of_its_export(copied_old, study_file):
    [export] = copied_old.rows("select export_id from exports")
    result = evaluate_as_of(copied_old, study_file.study, export["export_id"], run=RUN)
    stored = {
        row["metric"]: row["value"]
        for row in copied_old.rows(
            "from scores where part = 'test' and class_name is null and run_id = $run", {"run": RUN}
        )
    }

    assert "majority-b1589405" == result.truth_id == result.truth_id_today
    for name in ("accuracy", "macro_recall", "macro_roc_auc", "brier"):
        assert stored[name] == pytest.approx(result.headline["test"][name][0])


def test_most_questions_have_no_required_parameters():
    assert 27 <= len(FREE)


NAME = ("run_id", "part", "metric", "class_name")
VALUES, COUNTS = ("value",), ("cases", "patients", "classes")


def by_name(rows, columns):
    return {tuple(row[name] for name in NAME): [row[name] for name in columns] for row in rows}


def test_its_scores_come_out_as_they_were_stored(old, used):
    """To all digits that another processor's arithmetic leaves alone; their intervals are made in better ways today."""
    workspace, (evaluated, *_) = used
    registered, scores = (each.rows("from scores") for each in (old, workspace))
    stored = [row | {"run_id": RUN} for row in pq.read_table(old.run(RUN) / "scores.parquet").to_pylist()]
    values, counts = by_name(scores, VALUES), by_name(scores, COUNTS)

    assert {"validation": 13, "test": 11} == evaluated.cases
    assert (238, 476) == (len(stored), len(registered))
    for name, numbers in by_name(registered, COUNTS).items():
        assert counts[name] == numbers, name
    for name, numbers in by_name([*registered, *stored], VALUES).items():
        assert pytest.approx(numbers, rel=1e-9, abs=1e-12, nan_ok=True) == values[name], name


def test_its_run_is_compared_and_reported_and_the_page_says_that_photographs_are_gone(used):
    _, (_, compared, internal, shared) = used
    page = Path(internal.page).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    cases = [dict(zip(data["columns"], values, strict=True)) for values in data["cases"]]

    assert (11, 13) == tuple(sum(compared.cases[part].values()) for part in ("test", "validation"))
    assert (22, 22) == (internal.errors_shown, internal.errors)
    assert 24 == len(cases)
    gone = (None, "the photograph cannot be shown: image unreadable")
    assert {gone} == {(case["photograph"], case["fault"]) for case in cases}
    assert "<strong>For others</strong>" in Path(shared.page).read_text(encoding="utf-8")


def test_a_new_export_is_parsed_beside_its_own(copied_old, study_file, tmp_path):
    key = study_file.key(copied_old)
    [landed] = copied_old.exports.glob("*.json")  # whatever stands on this machine where the photographs once stood
    landed.write_text(landed.read_text(encoding="utf-8").replace(MADE_IN, str(tmp_path / "gone")), encoding="utf-8")
    new = exports.write(tmp_path / "new.ndjson", [row("i1", label("L1", "nevus"), patient="P-new")])
    parsed = parse(copied_old, study_file.study, key, [new])

    assert (2, 66, 34) == (parsed.exports, parsed.photographs, parsed.patients)
    assert 65 == parsed.kept_out["image_missing"]
    assert 1 == parsed.cases
    assert {RUN, BLANK} == {run["run_id"] for run in status(copied_old).runs}
    assert [SPLIT] == [split["split_id"] for split in status(copied_old).splits]


def test_what_a_withdrawal_would_take_is_told_and_nothing_is_changed(old, study_file):
    before = {path: sha256_of_file(path) for path in old.folder.rglob("*") if path.is_file()}
    (export,) = old.exports.glob("*.ndjson")
    patient = "P-6577"
    told = withdraw(old, study_file.study, study_file.key(old), patient, reparse=lambda: pytest.fail("nothing to do"))

    assert f'"value":"{patient}"' in export.read_text(encoding="utf-8")
    assert not told.applied
    assert (1, True) == (told.exports, told.photographs >= 1)
    assert before == {path: sha256_of_file(path) for path in old.folder.rglob("*") if path.is_file()}


def test_a_certificate_with_an_earlier_verify_sql_holds_and_todays_is_run(old, monkeypatch):
    written = verification.verify_sql()
    monkeypatch.setattr(verification, "verify_sql", lambda: b"-- newer\n" + written.replace(b"'PASS'", b"'PASS' || ''"))

    assert SPLIT == verify(old.split(SPLIT)).split_id

    monkeypatch.setattr(verification, "verify_sql", lambda: b"select 'today' as verdict, 'fails' as which, 1 as times")

    with pytest.raises(LeakError, match=r"today: fails"):
        verify(old.split(SPLIT))


def test_a_verify_sql_that_nobody_has_written_is_refused_even_where_it_is_sealed(copied_old):
    folder = copied_old.split(SPLIT)
    (folder / "verify.sql").write_text("select 'PASS' as verdict, 'cases in 3 parts' as which, 61 as times\n")
    stated = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    del stated["seal"]
    stated["files"]["verify.sql"] = sha256_of_file(folder / "verify.sql")
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})

    with pytest.raises(LeakError, match=r"verify\.sql is not one that any version of the toolkit has written"):
        verify(folder)


def test_the_verify_sql_of_today_is_the_newest_of_those_that_are_known(tmp_path):
    (tmp_path / "verify.sql").write_bytes(certificate.verify_sql())

    assert sha256_of_file(tmp_path / "verify.sql") == verification.VERIFY_SQL_KNOWN[-1]


def test_a_question_about_newer_tables_says_what_brings_them(old):
    with pytest.raises(QuestionError, match="toolkit parse brings it up to date"):
        old.ask("cases")
