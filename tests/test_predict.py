import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from toolkit.errors import ModelError, WorkspaceError
from toolkit.predict import predict


def shards(workspace, run_id):
    return sorted((workspace.run(run_id) / "predictions").glob("*.parquet"))


def test_every_case_of_both_parts_has_probabilities_that_sum_to_1(finished):
    rows = finished.workspace.rows("from predictions")
    expected = finished.workspace.rows("select case_id from splits where part <> 'train'")

    assert {r["case_id"] for r in expected} == {r["case_id"] for r in rows}
    for r in rows:
        chances = dict(r["probabilities"])
        assert 1.0 == pytest.approx(sum(chances.values()))
        assert r["predicted"] == max(chances, key=chances.get)
        assert r["confidence"] == max(chances.values())
        assert r["label_mass"] == pytest.approx(sum(np.exp(list(dict(r["log_likelihoods"]).values()))))


def test_a_rerun_does_only_what_is_missing_and_gives_the_same(copied, finished):
    study, run_id = finished.study_file.study, finished.run_id
    before = {path.name: pq.read_table(path) for path in shards(copied, run_id)}
    shards(copied, run_id)[0].unlink()
    again = predict(copied, study)

    assert 0 < again.scored_now < sum(again.cases.values())
    assert 0 == predict(copied, study).scored_now
    for path in shards(copied, run_id):
        old, new = before[path.name].to_pylist(), pq.read_table(path).to_pylist()
        assert [r["predicted"] for r in old] == [r["predicted"] for r in new]
        assert [r["confidence"] for r in old] == pytest.approx([r["confidence"] for r in new], abs=1e-9)


def test_one_part_alone_leaves_the_other_as_it_was(copied, finished):
    before = len(copied.rows("from predictions"))
    result = predict(copied, finished.study_file.study, parts=("test",))

    assert ["test"] == list(result.cases)
    assert before == len(copied.rows("from predictions"))


def test_an_interruption_costs_no_finished_shard(copied, finished, monkeypatch):
    monkeypatch.setattr("toolkit.predict.SHARD", 8)
    study = finished.study_file.study

    def interrupt(_, done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(copied, study, progress=interrupt)
    kept = len(list((copied.run(finished.run_id) / "predictions").glob("*-0000?-*.parquet")))
    rest = predict(copied, study)

    assert 1 < kept
    assert 0 < rest.scored_now < sum(rest.cases.values())
    assert len(finished.workspace.rows("from predictions")) == len(copied.rows("from predictions"))


def test_a_run_of_other_classes_is_refused(finished):
    study = finished.study_file.study
    fewer = study.model_copy(update={"classes": study.classes[:-1]})

    with pytest.raises(ModelError, match=r"another \[classes\]"):
        predict(finished.workspace, fewer)


def test_a_checkpoint_that_is_gone_is_named(copied, finished):
    shutil.rmtree(copied.run(finished.run_id) / "checkpoint")
    shards(copied, finished.run_id)[0].unlink()

    with pytest.raises(ModelError, match="is gone"):
        predict(copied, finished.study_file.study)


def test_no_such_run_names_those_there_are(finished):
    with pytest.raises(WorkspaceError, match=finished.run_id):
        predict(finished.workspace, finished.study_file.study, run="nonsense")


def test_a_run_of_another_prompt_is_refused_even_where_its_predictions_are_there(finished):
    study = finished.study_file.study
    other = study.model_copy(update={"prompt": study.prompt.model_copy(update={"user": "What else is it?"})})

    with pytest.raises(ModelError, match=r"another \[prompt\]"):
        predict(finished.workspace, other)
