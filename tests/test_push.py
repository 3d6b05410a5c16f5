import json
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from exports import label, row
from fakes.labelbox_server import KEY, Server
from killed_pushes import (
    PATIENTS,
    QUEUE,
    TIME,
    Runner,
    done_of,
    fill_predictions,
    fill_queue,
    killed_and_sent_again,
    nothing_twice_nothing_missing,
    split_photographs,
)

from toolkit.cli import main
from toolkit.errors import DamagedError, ServiceError, ToolkitError
from toolkit.labelbox_service.patience import Patience
from toolkit.manifest.cohort import PushSection
from toolkit.stages.parse import parse
from toolkit.stages.push import push_metadata, push_predictions, push_queue
from toolkit.stages.status import status
from toolkit.stages.withdraw import withdraw
from toolkit.workspace import ledger
from toolkit.workspace.registry import insert

REWORK = PushSection(task_queue="Rework")
SOAK = pytest.mark.soak


@pytest.fixture
def queued(parsed):
    """A workspace with a queue of five photographs of three patients; one photograph has two labels that differ."""
    other = {"i3": [label("L-x", "melasma")]}
    whose = {image: patient for patient, images in PATIENTS.items() for image in images}
    workspace = parsed(*(row(i, label(f"L-{i}", "nevus"), *other.get(i, []), patient=p) for i, p in whose.items()))
    fill_queue(workspace)
    return workspace


@pytest.fixture
def labelbox(monkeypatch):
    with Server(b"") as server:
        server.add_rows(*(image for images in PATIENTS.values() for image in images))
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def with_push(study, section):
    return study.model_copy(update={"labelbox": study.labelbox.model_copy(update={"push": section})})


@pytest.fixture
def send(queued, study, labelbox):  # noqa: ARG001 - it is asked
    """Push the queue without ever sleeping; `send.slept` holds the waits."""

    def run(section=REWORK, **more):
        patience = Patience(sleep=run.slept.append, **more)
        return push_queue(queued, with_push(study, section), apply=True, patience=patience)

    run.slept = []
    return run


def test_a_dry_run_needs_no_key_and_says_exactly_what_would_be_sent(queued, study):
    planned = push_queue(queued, with_push(study, REWORK))
    methods = Counter(call["method"] for call in planned.calls)
    issues = [call for call in planned.calls if call["method"] == "create_issue"]

    assert not planned.applied
    assert {"update_data_row_labeling_priority": 3, "create_issue": 5, "move_data_rows_to_task_queue": 1} == methods
    priorities = [call for call in planned.calls if "priority" in call]
    assert [1, 2, 3] == [call["priority"] for call in priorities]
    assert sorted(map(list, PATIENTS.values())) == sorted(call["data_row_ids"] for call in priorities)
    assert {f"L-i{n}" for n in range(1, 6)} == {issue["label_id"] for issue in issues}
    assert all(issue["content"].startswith("Please check this label. an annotator disagrees [") for issue in issues)
    assert not (queued.folder / "pushes").exists()


def test_what_is_sent_is_what_the_dry_run_said(send, queued, study, labelbox):
    planned = push_queue(queued, with_push(study, REWORK))
    result = send()
    named = {call["label_id"]: call["content"] for call in planned.calls if "label_id" in call}

    nothing_twice_nothing_missing(labelbox)
    assert named == {label_id: content for _, label_id, content in done_of(labelbox, "issue")}
    assert planned.calls == result.calls
    assert {"priority": {"sent": 5}, "issue": {"sent": 5}, "rework": {"sent": 5}} == result.states
    assert [] == push_queue(queued, with_push(study, REWORK)).calls


def test_every_question_names_the_toolkit_and_the_sdk_looks_for_no_other_name(send, labelbox):
    send()

    assert {"lesion-toolkit"} == {asked.method for asked in labelbox.asked}


def test_sending_again_sends_nothing(send, labelbox):
    send()
    labelbox.relabel("i1")
    before = len(labelbox.asked)
    again = send()

    nothing_twice_nothing_missing(labelbox)
    assert 15 == again.sent_before
    assert {"GetProjectPyApi", "GetProjectTaskQueuesPyApi"} == set(labelbox.names()[before:])


def test_without_a_task_queue_nothing_goes_to_rework(send, labelbox):
    send(PushSection())

    assert [] == done_of(labelbox, "rework")
    assert 5 == len(done_of(labelbox, "issue")) == len(done_of(labelbox, "priority"))


@pytest.mark.parametrize("named", [None, "Reworks"])
def test_rework_without_a_task_queue_is_refused_with_the_list_before_anything_is_sent(send, labelbox, named):
    with pytest.raises(ServiceError, match="task queue") as caught:
        send(PushSection(steps=["priority", "issue", "rework"], task_queue=named))

    assert "Rework (MANUAL_REWORK_QUEUE, ID queue-rework)" in caught.value.remedy
    assert [] == labelbox.done


def test_a_task_queue_whose_name_stands_twice_is_named_by_its_id(send, labelbox):
    labelbox.queues.append({"id": "queue-2", "name": "Rework", "queueType": "MANUAL_REVIEW_QUEUE"})
    with pytest.raises(ServiceError, match="2 task queues are named 'Rework'"):
        send()
    send(PushSection(task_queue="queue-rework"))

    nothing_twice_nothing_missing(labelbox)


def test_a_photograph_that_is_in_rework_waits_or_is_gone_is_not_moved(send, queued, labelbox):
    labelbox.rows["i1"]["status"] = "IN_REWORK"
    labelbox.rows["i2"]["status"] = "TO_LABEL"
    del labelbox.rows["i3"]
    result = send(PushSection(steps=["rework"], task_queue="Rework"))
    answers = {r["image_id"]: r["answer"] for r in queued.rows("from pushes where state = 'skipped'")}

    assert ["i4", "i5"] == [each[0] for each in done_of(labelbox, "rework")]
    assert {"rework": {"sent": 2, "skipped": 3}} == result.states
    assert "already" in answers["i1"]
    assert "waits to be labeled" in answers["i2"]
    assert "no such row" in answers["i3"]


CREATES = ["AddDataRowsToTaskQueueAsyncPyApi", "createQueuePriorityUpdateTaskPyApi", "CreateIssuePyApi"]


def each(faults: list[str], *, also: list[str]) -> list:
    """Issues with every fault, the other calls with those in `also` only; soak has them all."""
    pairs = [(name, fault) for name in CREATES for fault in faults]
    quick = [name == CREATES[-1] or fault in also for name, fault in pairs]
    return [pytest.param(*pair, marks=() if is_quick else SOAK) for pair, is_quick in zip(pairs, quick, strict=True)]


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(("name", "fault"), each(["done 503", "done cut", "503", "cut", "limit"], also=["done cut"]))
def test_a_lost_answer_sends_nothing_twice(send, labelbox, name, fault):
    labelbox.faults[name] = [fault, fault]
    send()

    nothing_twice_nothing_missing(labelbox)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("name", "fault"),
    each(["done INTERNAL_SERVER_ERROR", "done 400", "INTERNAL_SERVER_ERROR"], also=["done INTERNAL_SERVER_ERROR"]),
)
def test_an_error_that_does_not_say_whether_it_was_done_ends_the_push_and_the_next_one_asks(
    send, queued, labelbox, name, fault
):
    labelbox.faults[name] = [fault]
    with pytest.raises(ServiceError, match="answered with an error"):
        send()

    assert queued.rows("from pushes where state = 'open'")
    send()
    nothing_twice_nothing_missing(labelbox)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", CREATES)
def test_what_is_refused_is_told_noted_and_sent_by_the_next_push(send, queued, labelbox, name):
    labelbox.faults[name] = [None, "OPERATION_NOT_ALLOWED"] if name != CREATES[0] else ["OPERATION_NOT_ALLOWED"]
    with pytest.raises(ServiceError, match="refused for") as caught:
        send()
    failed = queued.rows("from pushes where state = 'failed'")

    assert KEY not in str(caught.value)
    assert failed
    assert "refused" in failed[0]["answer"]
    send()
    nothing_twice_nothing_missing(labelbox)


def test_an_issue_that_can_be_seen_only_after_seconds_is_not_opened_twice(queued, study, labelbox):
    labelbox.lag = 0.3
    labelbox.faults["CreateIssuePyApi"] = ["done 503"]
    patience = Patience(first=0.01, poll=0.05, settle=20.0)
    push_queue(queued, with_push(study, PushSection(steps=["issue"])), apply=True, patience=patience)

    time.sleep(0.3)
    labelbox.let_time_pass()

    assert 5 == len(labelbox.issues) == len(done_of(labelbox, "issue"))


def test_a_task_that_fails_is_told_in_labelboxs_words(send, labelbox):
    labelbox.ending, labelbox.result = "FAILED", json.dumps({"error": "no such step"})
    with pytest.raises(ServiceError, match="no such step"):
        send(PushSection(steps=["priority"]))
    labelbox.ending = "COMPLETE"
    send(PushSection(steps=["priority"]))

    assert {i for images in PATIENTS.values() for i in images} == {each[0] for each in done_of(labelbox, "priority")}


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("polls", "lag", "settle"), [(0, 0.3, 20.0), (5, 0.9, 0.5)], ids=["soon", "a slow task"])
def test_a_move_that_can_be_seen_only_after_its_task_is_complete_is_not_told_as_failed(
    queued, study, labelbox, polls, lag, settle
):
    labelbox.lag, labelbox.polls = lag, polls
    settings = PushSection(steps=["rework"], task_queue="Rework")
    patience = Patience(first=0.01, poll=0.05, settle=settle)
    result = push_queue(queued, with_push(study, settings), apply=True, patience=patience)

    assert {"rework": {"sent": 5}} == result.states


def test_rows_that_a_complete_task_did_not_move_are_told(send, labelbox):
    labelbox.unmovable = {"i2"}
    result = send(PushSection(steps=["rework"], task_queue="Rework"))

    assert {"rework": {"failed": 1, "sent": 4}} == result.states
    assert {"it was not moved": 1} == result.problems


def test_what_annotators_read_holds_no_pseudonym_and_no_model(queued, study):
    [case] = queued.rows("select case_id, patient_id from cases where image_id = 'i1'")
    with queued.writing() as connection:
        runs = {"run_id": "ab12cd34", "split_id": "s", "truth_id": "t", "model": "/data/models/secret"}
        runs |= {"finished_at": TIME, "device": "cpu", "epochs": 1}
        runs |= {"train_cases": 1, "train_patients": 1, "seconds": 1.0}
        insert(connection, "runs", pa.Table.from_pylist([runs]))
    model = "run ab12cd34 of /data/models/secret, jo@example.org,\n\x1b[31m red"
    leaky = f"{case['patient_id']} and {case['case_id']}, {model}"
    fill_queue(queued, "ffffffff", reasons=leaky, made_at=datetime(2027, 1, 1))  # noqa: DTZ001 - as above
    planned = push_queue(queued, study)
    contents = [call["content"] for call in planned.calls if "content" in call]

    assert "ffffffff" == planned.subject
    for secret in (case["patient_id"], "ab12cd34", "secret", "jo@", "\x1b", "\n"):
        assert [] == [content for content in contents if secret in content], secret


def test_an_unknown_queue_and_none_at_all_are_told(queued, study):
    with pytest.raises(ToolkitError, match="no such queue: nonsense"):
        push_queue(queued, study, "nonsense")
    with queued.writing() as connection:
        connection.execute("delete from queues")
    with pytest.raises(ToolkitError, match="no queue was made yet"):
        push_queue(queued, study)


def test_what_was_sent_is_in_the_status_the_ledger_and_after_rebuild(send, queued, study, key, labelbox):
    send()
    before = queued.rows("from pushes order by all")
    noted = ledger.entries(queued, "push")
    parse(queued, study, key, [], anew=True)

    assert before == queued.rows("from pushes order by all")
    assert 15 == len(before)
    assert {"priority", "issue", "rework"} == {entry["operation"] for entry in noted}
    assert [{"sent": 5}] * 3 == [entry["counts"] for entry in noted]
    assert sorted(labelbox.issues) == next(e["service_ids"] for e in noted if e["operation"] == "issue")
    assert not any(patient in json.dumps(noted) for patient in ("i1", "L-i1", before[0]["case_id"] or "P-1"))
    assert [15] == [row["sent"] for row in status(queued).pushes]
    assert 0o600 == stat.S_IMODE(next((queued.folder / "pushes").iterdir()).stat().st_mode)
    assert 15 == queued.ask("pushes").num_rows


def test_a_withdrawn_patient_is_in_no_note_of_what_was_sent(send, queued, study, key, labelbox):  # noqa: ARG001 - it is asked
    send()
    [case] = queued.rows("select case_id from cases where image_id = 'i3'")
    told = withdraw(queued, study, key, "P-2", reparse=lambda: parse(queued, study, key, [], anew=True), apply=True)
    rows = queued.rows("from pushes")
    notes = b"".join(path.read_bytes() for path in (queued.folder / "pushes").iterdir())

    assert [] == told.left_in
    assert 12 == len(rows)
    assert not {"i3", "L-i3"} & {value for row in rows for value in row.values()}
    assert b'"i3"' not in notes
    assert case["case_id"].encode() not in notes


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b'"sending"', b'"sendinG"', 1),
        lambda data: b"".join(data.splitlines(keepends=True)[1:]),
        lambda data: b"[" * 100_000 + b"\n" + data,
        lambda data: data.replace(b"priority", b"prioritY", 3),
    ],
)
def test_a_damaged_note_of_what_was_sent_is_refused(send, queued, damage):
    send()
    path = next((queued.folder / "pushes").iterdir())
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DamagedError, match="changed or damaged"):
        send()


def test_a_line_that_a_kill_cut_off_counts_for_nothing(send, queued, labelbox):
    send()
    path = next((queued.folder / "pushes").iterdir())
    path.write_bytes(path.read_bytes()[:-40])
    send()

    nothing_twice_nothing_missing(labelbox)


def test_a_lost_note_does_not_open_issues_or_move_photographs_again(send, queued, labelbox):
    send()
    shutil.rmtree(queued.folder / "pushes")
    send()

    assert 5 == len(done_of(labelbox, "issue")) == len(done_of(labelbox, "rework"))


def test_the_command_sends_and_the_key_is_nowhere(queued, labelbox, tmp_path, capfd):
    text = (Path(__file__).parents[1] / "manifests" / "demo.toml").read_text(encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(f'{text}\n[labelbox.push]\ntask_queue = "Rework"\n', encoding="utf-8")
    labelbox.faults["GetProjectTaskQueuesPyApi"] = ["OPERATION_NOT_ALLOWED"]
    ends, said = [], []
    for arguments in (["push", "queue"], ["push", "queue", "--apply"], ["--json", "push", "queue", QUEUE, "--apply"]):
        with pytest.raises(SystemExit) as left:
            main(["--study", str(path), "--workspace", str(queued.folder), *arguments])
        ends.append(left.value.code or 0)
        said.append(capfd.readouterr())
    files = [file.read_bytes() for file in queued.folder.rglob("*") if file.is_file()]

    assert [0, 1, 0] == ends
    assert "dry run: nothing was sent" in said[0].out
    assert "move_data_rows_to_task_queue"[:15] in said[0].out
    assert "[key removed]" in said[1].err
    assert json.loads(said[2].out)["applied"]
    assert [] == [part for part in (*files, *("".join(one).encode() for one in said)) if KEY.encode() in part]
    nothing_twice_nothing_missing(labelbox)


@pytest.mark.soak
def test_a_dry_run_imports_no_labelbox_and_reads_no_key(queued):
    program = (
        "import sys\nfrom pathlib import Path\nfrom toolkit.manifest import load_study\n"
        "from toolkit.stages.push import push_queue\nfrom toolkit.workspace.registry import Workspace\n"
        "plan = push_queue(Workspace(Path(sys.argv[1])), load_study(Path(sys.argv[2])))\n"
        "print(len(plan.calls), 'labelbox' in sys.modules)"
    )
    demo = Path(__file__).parents[1] / "manifests" / "demo.toml"
    command = [sys.executable, "-c", program, queued.folder, demo]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "8 False" == ended.stdout.strip()


@pytest.fixture
def runner(labelbox, queued):  # noqa: ARG001 - it is asked
    made = Runner(queued.folder)
    yield made
    made.end()


@pytest.mark.soak
def test_a_push_killed_at_any_of_three_moments_and_sent_again_sends_nothing_twice(labelbox, runner, queued, tmp_path):
    assert 3 == killed_and_sent_again(labelbox, runner, queued.folder, tmp_path, kills=3, seed=4)


@pytest.fixture
def split_up(queued):
    """A workspace whose photographs are split: i3 trains, the others are tested."""
    split_photographs(queued)
    return queued


def test_metadata_is_written_only_where_the_study_allows_it(split_up, study, labelbox):
    nothing = push_metadata(split_up, study, apply=True)
    planned = push_metadata(split_up, with_push(study, PushSection(metadata=["part"])))

    assert ([], []) == (nothing.calls, labelbox.asked)
    assert "nothing is allowed" in nothing.missing[0]
    assert ["toolkit_part"] == [call["field"] for call in planned.calls]
    assert {"i3": "train", "i1": "test"}.items() <= planned.calls[0]["values"].items()


def test_subsets_and_pseudonyms_are_written_once_into_fields_of_their_own(split_up, study, labelbox):
    allowed = with_push(study, PushSection(metadata=["part", "patient_id"]))
    labelbox.faults["UpsertDataRowMetadataBetaPyApi"] = ["done 503", "limit"]
    labelbox.faults["UpsertCustomMetadataSchemaPyApi"] = ["done 503"]
    push_metadata(split_up, allowed, apply=True, patience=Patience(sleep=lambda _: None))
    written = {each[1:] for each in labelbox.done if each[0] == "metadata"}
    whose = {r["image_id"]: r["patient_id"] for r in split_up.rows("from images")}
    before = len(labelbox.done)
    push_metadata(split_up, allowed, apply=True)

    assert {"toolkit_part", "toolkit_patient_id"} == set(labelbox.fields)
    assert 2 == len([each for each in labelbox.done if each[0] == "metadata_field"])
    part, patient = labelbox.fields["toolkit_part"], labelbox.fields["toolkit_patient_id"]
    assert {("i3", part, "train"), ("i1", part, "test"), ("i4", patient, whose["i4"])} < written
    assert before == len(labelbox.done)


def test_a_row_whose_metadata_labelbox_does_not_write_is_told(split_up, study, labelbox):
    del labelbox.rows["i4"]
    result = push_metadata(split_up, with_push(study, PushSection(metadata=["part"])), apply=True)

    assert {"failed": 1, "sent": 4} == result.states["metadata"]
    assert {"no such data row": 1} == result.problems


@pytest.fixture
def predicted(split_up):
    """A workspace with predictions of the tested photographs; i5 is answered in a box."""
    fill_predictions(split_up)
    return split_up


def test_predictions_are_sent_with_every_class_and_the_splits(predicted, study, labelbox):
    planned = push_predictions(predicted, study)
    result = push_predictions(predicted, study, apply=True, patience=Patience(poll=0))
    [run] = labelbox.runs.values()
    lines = {line["dataRow"]["id"]: line for line in run["lines"].values()}
    said = {
        "name": "nevus",
        "confidence": 0.75,
        "customMetrics": [{"name": "melasma", "value": 0.25}, {"name": "nevus", "value": 0.75}],
    }

    assert planned.calls == result.calls
    assert {"i1": "TEST", "i2": "TEST", "i3": "TRAINING", "i4": "TEST", "i5": "TEST"} == run["splits"]
    assert {"i1", "i2", "i4", "i5"} == set(lines)
    assert ("diagnosis", said) == (lines["i1"]["name"], lines["i1"]["answer"])
    assert {"left": 1.0, "top": 2.0, "width": 3.0, "height": 4.0} == lines["i5"]["bbox"]
    assert [{"name": "diagnosis", "answer": said}] == lines["i5"]["classifications"]
    assert {"sent": 4} == result.states["prediction"]
    assert "secret" not in json.dumps(planned.calls)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("fault", ["done 503", "503", "limit"])
def test_predictions_whose_answers_are_lost_are_sent_once(predicted, study, labelbox, fault):
    for name in ("createModelPyApi", "CreateModelRunPyApi", "createMEAPredictionImportByFilePyApi"):
        labelbox.faults[name] = [fault]
    labelbox.faults["createMEAModelRunDataRowRegistrationTaskPyApi"] = [fault]
    patience = Patience(sleep=lambda _: None)
    push_predictions(predicted, study, apply=True, patience=patience)
    again = push_predictions(predicted, study, apply=True, patience=patience)

    assert (1, 1, 1) == (len(labelbox.models), len(labelbox.runs), len(labelbox.imports))
    assert 4 == len(done_of(labelbox, "prediction")) == len(set(done_of(labelbox, "prediction")))
    assert [] == again.calls


def test_predictions_that_labelbox_refuses_are_told_by_line(predicted, study, labelbox):
    labelbox.add_rows_to_run = lambda variables, _: (
        labelbox.runs[variables["modelRunId"]]["rows"].update({"i1"})
        or {"createMEAModelRunDataRowRegistrationTask": "j"}
    )
    labelbox.assign_split = lambda *_: {"createAssignDataRowsToDataSplitTask": "j"}
    result = push_predictions(predicted, study, apply=True, patience=Patience(poll=0))

    assert {"failed": 3, "sent": 1} == result.states["prediction"]
    assert {"not in the run": 3} == result.problems


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("value", [float("nan"), 7.0, -0.1])
def test_a_probability_that_is_none_is_not_sent(predicted, study, value):
    with predicted.writing() as connection:
        connection.execute("update predictions set probabilities = map {'nevus': $value::double}", {"value": value})

    with pytest.raises(ToolkitError, match="a probability that is none"):
        push_predictions(predicted, study)
