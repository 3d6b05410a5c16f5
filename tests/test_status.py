import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from toolkit.cli import main
from toolkit.stages.parse import parse
from toolkit.stages.status import status
from toolkit.workspace.landed import land


def relabelled(finished, path):
    """Write the first single-lesion row of the export again, its label changed later to another class."""
    for text in finished.export.read_text().splitlines():
        row = json.loads(text)
        labels = next(iter(row["projects"].values()))["labels"]
        if len(labels) == 1 and labels[0]["annotations"]["classifications"]:
            answer = labels[0]["annotations"]["classifications"][0]["radio_answer"]
            other = "nevus" if answer["value"] != "nevus" else "melasma"
            answer |= {"name": other, "value": other}
            labels[0]["label_details"]["updated_at"] = "2031-01-01T00:00:00.000+00:00"
            row["data_row"]["details"]["last_activity_at"] = "2031-01-01T00:00:00.000+00:00"
            path.write_text(json.dumps(row) + "\n")
            return path
    raise AssertionError("the sample has no single label")


def test_a_finished_workspace_fits_its_labels(finished):
    state = status(finished.workspace)

    assert "toolkit query" == state.next
    assert [0] == [row["changed_cases"] for row in state.splits]
    assert [(False, True)] == [(row["stale"], row["reported"]) for row in state.runs if not row["control"]]


def test_a_changed_label_makes_split_and_run_stale(copied, finished, tmp_path):
    study = finished.study_file.study
    key = finished.study_file.key(copied)
    parse(copied, study, key, [relabelled(finished, tmp_path / "later.ndjson")])
    state = status(copied)

    stale = {each.stage for each in state.stages if each.state == "out of date"}

    assert {"audit", "split", "train", "queue"} == stale
    assert "toolkit audit" == state.next
    assert [1] == [row["changed_cases"] for row in state.splits]
    assert [True, True] == [row["stale"] for row in state.runs]
    assert finished.results["Parsed"].photographs == state.photographs


def test_what_is_missing_is_the_next_step(copied, finished):
    shutil.rmtree(copied.reports)

    assert "toolkit report" == status(copied).next
    with copied.writing() as connection:
        connection.execute("delete from evaluations")
    assert "toolkit evaluate" == status(copied).next
    with copied.writing() as connection:
        connection.execute("delete from predictions")
    assert "toolkit predict" == status(copied).next
    assert str(finished.study_file.path) == status(copied).study


def states(workspace) -> dict[str, str]:
    return {each.stage: each.state for each in status(workspace).stages}


def test_each_stage_says_whether_it_is_up_to_date(copied):
    before = states(copied)
    page = copied.reports / copied.rows("select run_id from runs where control is null")[0]["run_id"] / "index.html"
    os.utime(page, (0, 0))
    after = states(copied)

    assert ["parse", "audit", "split", "train", "predict", "evaluate", "report", "queue"] == list(before)
    assert {"up to date"} == set(before.values())
    assert ["report"] == [stage for stage, state in after.items() if state == "out of date"]
    assert "toolkit report" == status(copied).next


def test_an_audit_that_was_never_made_is_the_next_step(copied):
    shutil.rmtree(copied.folder / "audit")

    assert "missing" == states(copied)["audit"]
    assert "toolkit audit" == status(copied).next


def test_an_export_that_landed_and_was_not_parsed_is_the_next_step(copied, finished, tmp_path):
    later = land(copied, relabelled(finished, tmp_path / "later.ndjson"), images=None)
    state = status(copied)

    assert ("out of date", f"landed and not parsed: {later.export_id}") == (
        state.stages[0].state,
        state.stages[0].reason,
    )
    assert "toolkit parse" == state.next


def test_interrupted_training_and_predictions_are_told_apart_from_missing_ones(copied):
    (run,) = copied.rows("select run_id from runs where control is null")
    folder = copied.run(run["run_id"])
    with copied.writing() as connection:
        connection.execute("delete from predictions")
    begun = states(copied)["predict"]
    shutil.rmtree(folder / "predictions")
    missing = states(copied)["predict"]
    with copied.writing() as connection:
        connection.execute("update runs set replicate_of = 'ffffffff'")  # none is the study's own any more
    gone = status(copied)
    (folder / "run.json").unlink()
    (folder / "training").mkdir()
    (folder / "training" / "state").write_text("half")
    halfway = status(copied)

    assert ("interrupted", "missing") == (begun, missing)
    assert ("missing", "toolkit train") == (gone.stages[3].state, gone.next)
    assert ("interrupted", "toolkit train --resume") == (halfway.stages[3].state, halfway.next)
    assert run["run_id"] in halfway.stages[3].reason


def test_scores_of_other_labels_are_out_of_date(copied):
    with copied.writing() as connection:
        connection.execute("update evaluations set truth_id = 'majority-00000000'")

    assert "out of date" == states(copied)["evaluate"]
    assert "toolkit evaluate" == status(copied).next


def test_the_terminal_shows_every_stage_and_why(copied, capsys):
    with copied.writing() as connection:
        connection.execute("update evaluations set truth_id = 'majority-00000000'")
    with pytest.raises(SystemExit):
        main(["--workspace", str(copied.folder), "status"])
    out = capsys.readouterr().out

    assert re.search(r"^evaluate +out of date +scored against other labels", out, re.MULTILINE)
    assert re.search(r"^split +up to date +split [0-9a-f]{8}: ", out, re.MULTILINE)
    assert out.rstrip().splitlines()[-1].endswith(f"--workspace {copied.folder} evaluate")


def test_status_imports_no_other_stage():
    code = "import sys, toolkit.console.status; print(*[m for m in sys.modules if m.startswith('toolkit.stages.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "toolkit.stages.status" == run.stdout.strip()
