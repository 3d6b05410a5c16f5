import json
import shutil

from toolkit.stages.parse import parse
from toolkit.stages.status import status


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
