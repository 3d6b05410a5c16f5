"""The registry made anew from files, and the ledger that no scoring is lost from."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from toolkit.errors import DamagedError, WorkspaceError
from toolkit.manifest import load_study
from toolkit.pipeline import rebuild, run
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.study_file import StudyFile
from toolkit.workspace import ledger, results
from toolkit.workspace.registry import Workspace, table_names

ARCHIVE = Path(__file__).parent / "data" / "workspace-a9b4f86.tar.xz"


def tables(workspace: Workspace) -> dict[str, list[dict]]:
    known = {row["table_name"] for row in workspace.rows("select table_name from duckdb_tables()")}  # fewer before
    return {name: sorted(workspace.rows(f"from {name}"), key=repr) for name in table_names() if name in known}


def differing(before: dict[str, list[dict]], after: dict[str, list[dict]]) -> list[str]:
    return [name for name in before if repr(before[name]) != repr(after[name])]


@pytest.fixture(scope="module")
def compared(finished, tmp_path_factory) -> Workspace:
    """The finished workspace with a control, a comparison and the effect of relabelling, as a copy."""
    copy = Workspace(tmp_path_factory.mktemp("compared") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    study = finished.study_file.study
    control = predict(copy, study, control="blank")
    evaluate(copy, study, run=control.run_id)
    [export] = [row["export_id"] for row in copy.rows("select export_id from exports")]
    compare(copy, study, finished.run_id, control.run_id, since=export)
    return copy


@pytest.fixture
def whole(compared, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(compared.folder, tmp_path / "workspace")))


def test_every_table_is_the_same_after_rebuild(finished, whole):
    before = tables(whole)
    told = rebuild(whole, finished.study_file)

    assert [] == differing(before, tables(whole))
    assert told.content_hash == told.content_hash_before
    assert told.rows == {name: len(rows) for name, rows in before.items()}
    assert [] == told.missing
    for name in (
        "splits",
        "runs",
        "predictions",
        "comparisons",
        "findings",
        "duplicates",
        "evaluations",
        "scores",
        "scores_as_of",
    ):
        assert before[name], name
    assert {"model", "relabelling"} == {row["cause"] for row in before["comparisons"]}


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    "content", [None, pytest.param(b"", marks=pytest.mark.soak), b"nothing that is a registry" * 1000]
)
def test_a_lost_or_damaged_registry_is_made_again(finished, whole, content):
    before = tables(whole)
    whole.registry.unlink()
    if content is not None:
        whole.registry.write_bytes(content)

    with pytest.raises(WorkspaceError, match="toolkit rebuild"):
        whole.rows("from runs")
    rebuild(whole, finished.study_file)

    assert [] == differing(before, tables(whole))


@pytest.mark.soak
def test_running_again_without_a_registry_loses_no_scoring(finished, whole):
    before = whole.rows("select run_id, part, scored_at from evaluations order by all")
    whole.registry.unlink()
    list(run(whole, finished.study_file, [finished.export], images=finished.images))
    after = whole.rows("select run_id, part, scored_at from evaluations order by all")

    assert {tuple(row.values()) for row in before} < {tuple(row.values()) for row in after}
    assert len(before) + 4 == len(after)  # two parts of the run, two of its control


@pytest.mark.soak
def test_a_scoring_that_was_interrupted_counts_once(finished, whole, monkeypatch):
    before = len(ledger.scorings_of(whole))
    for place in ("write_atomically", "mirror_scorings"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(results, place, interrupt)
            evaluate(whole, finished.study_file.study)
    rebuild(whole, finished.study_file)
    evaluate(whole, finished.study_file.study)

    assert before + 2 == len(ledger.scorings_of(whole)) == len(whole.rows("from evaluations"))
    assert not (whole.run(finished.run_id) / results.OPEN).exists()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def lines_of(workspace: Workspace) -> list[str]:
    return ledger.path_of(workspace).read_text(encoding="utf-8").splitlines(keepends=True)


def forged(line: str, **changed) -> str:
    return json.dumps({**json.loads(line), **changed}) + "\n"


FORGERIES = {
    "a line in the middle is gone": lambda lines: [*lines[:2], *lines[3:]],
    "the first line is gone": lambda lines: lines[1:],
    "two lines have changed places": lambda lines: [lines[1], lines[0], *lines[2:]],
    "a number was changed": lambda lines: [forged(lines[0], cases=1), *lines[1:]],
    "a line was written twice": lambda lines: [*lines, lines[-1]],
    "half a line": lambda lines: [*lines[:-1], lines[-1][:40]],
    "not JSON": lambda lines: ["[" * 100_000 + "\n", *lines],
}


@pytest.mark.soak_after(3)
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_changed_ledger_is_named(finished, whole, forge):
    lines = lines_of(whole)
    ledger.path_of(whole).write_text("".join(forge(lines)), encoding="utf-8")

    with pytest.raises(DamagedError, match=r"line \d+ of the ledger") as caught:
        evaluate(whole, finished.study_file.study)

    assert str(ledger.path_of(whole)) == caught.value.place


@pytest.mark.soak
def test_last_lines_that_were_cut_off_are_missed_and_rebuild_takes_them_back(finished, whole):
    before = ledger.scorings_of(whole)
    ledger.path_of(whole).write_text("".join(lines_of(whole)[:2]), encoding="utf-8")

    with pytest.raises(DamagedError, match="the ledger lacks the scoring"):
        evaluate(whole, finished.study_file.study)
    rebuild(whole, finished.study_file)

    assert len(before) == len(ledger.scorings_of(whole)) == len(whole.rows("from evaluations"))


@pytest.mark.soak
def test_without_a_registry_a_cut_ledger_is_still_missed(finished, whole):
    ledger.path_of(whole).write_text("".join(lines_of(whole)[:2]), encoding="utf-8")
    whole.registry.unlink()

    with pytest.raises(DamagedError, match="the ledger lacks the scoring"):
        rebuild(whole, finished.study_file)


@pytest.mark.soak
def test_a_workspace_of_an_earlier_version_is_rebuilt_with_what_only_its_registry_held(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    study_file = StudyFile(load_study(tmp_path / "study.toml"), tmp_path / "study.toml")
    workspace = Workspace(tmp_path / "workspace")
    before = tables(workspace)
    rebuild(workspace, study_file)
    after = tables(workspace)
    # It is now said, too, that no run's seed was noted, that it repeats none and came from no file, of some rows
    # whether their patients are few, and that no scoring was by earlier labels.
    assert {None} == {row.pop("as_of") for row in after["evaluations"]}
    assert {(None,) * 3} == {
        tuple(row.pop(name) for name in ("seed", "replicate_of", "source_sha256")) for row in after["runs"]
    }
    assert {None} == {row.pop("too_few") for name in ("comparisons", "subgroup_scores") for row in after[name]}

    # Its photographs are not here: what parse knows of their files, and which cases they make, is another.
    of_labels = {"images", "cases", "case_history", "readings", "reading_history", "findings", "ingest_issues"}
    assert set(differing(before, after)) <= {*of_labels, "label_states", "patients"}
    for name in ("splits", "runs", "predictions", "scores", "evaluations", "comparisons", "duplicates"):
        assert before[name], name
