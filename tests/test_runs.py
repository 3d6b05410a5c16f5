import json

import pytest
from registries import a_record

from toolkit.errors import WorkspaceError
from toolkit.files import without_nan
from toolkit.workspace.runs import RunRecord, read_record, record_run


def test_a_record_of_another_version_is_read_and_written_as_it_is(tmp_path):
    model = {"name": "tiny", "device": "cpu", "of_another_version": 1}
    epochs = [{"epoch": 1, "train_loss": 0.1, "validation_loss": None, "metrics": {"accuracy": None}, "of_another": 2}]
    stored = a_record(model=model, epochs=epochs, of_another_version={"a": [1]})
    (tmp_path / "run.json").write_text(json.dumps(stored))

    record = read_record(tmp_path)

    assert stored == without_nan(record.document())
    assert "nan" == str(record.epochs[0].metrics["accuracy"])
    assert (None, {}) == (record.control, record.study)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not readable JSON"), ("[]", "no JSON object"), ("{}", "split_id: Field required")]
)
def test_what_is_no_record_is_named(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)

    with pytest.raises(WorkspaceError, match=message):
        read_record(tmp_path)


def test_a_run_is_recorded_once_and_an_ablation_of_it_without_epochs(workspace):
    with workspace.writing():
        record = RunRecord.model_validate(a_record())
    ablated = {"run_id": "aaaa0002", "control": "blank", "control_of": record.run_id}
    for _ in range(2):
        record_run(workspace, record)
        record_run(workspace, record.model_copy(update=ablated))
    later = record_run(workspace, record.model_copy(update={"finished_at": record.finished_at.replace(year=2030)}))

    rows = workspace.rows("select run_id, model, device, epochs, control, finished_at from runs order by run_id")
    assert [(None, 2, "cpu"), ("blank", 2, "cpu")] == [(row["control"], row["epochs"], row["device"]) for row in rows]
    assert {record.finished_at} == {later.finished_at, *(row["finished_at"] for row in rows)}
    assert [{"run_id": record.run_id, "rows": 4}] == workspace.rows(
        "select run_id, count(*) as rows from epochs group by run_id"
    )
