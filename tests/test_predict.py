import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from toolkit.errors import ModelError, WorkspaceError
from toolkit.stages.predict import predict
from toolkit.workspace.runs import read_run, record_run


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
    assert again.scores_are_older
    assert 0 == predict(copied, study).scored_now
    for path in shards(copied, run_id):
        old, new = before[path.name].to_pylist(), pq.read_table(path).to_pylist()
        assert [r["predicted"] for r in old] == [r["predicted"] for r in new]
        assert [r["confidence"] for r in old] == pytest.approx([r["confidence"] for r in new], abs=1e-9)


TESTED = "select * from predictions where part = 'test' and run_id in (select run_id from runs where control is null)"


def test_shards_and_batches_of_any_size_say_the_same(copied, finished, monkeypatch):
    study = finished.study_file.study
    before = {row["case_id"]: row for row in copied.rows(TESTED)}
    monkeypatch.setattr("toolkit.stages.predict.SHARD", 7)
    predict(copied, study.model_copy(update={"predict": study.predict.model_copy(update={"batch_size": 3})}))
    after = copied.rows(TESTED)

    assert set(before) == {row["case_id"] for row in after}
    for row in after:
        old = before[row["case_id"]]
        assert old["predicted"] == row["predicted"]
        assert dict(old["wordings"]) == pytest.approx(dict(row["wordings"]), abs=1e-4)


def test_views_wordings_and_free_text_on_request(copied, finished):
    study = finished.study_file.study
    classes = [study.classes[0].model_copy(update={"answers": ["ADM", "Hori nevus"]}), *study.classes[1:]]
    settings = study.predict.model_copy(update={"views": 8, "generate": True})
    result = predict(copied, study.model_copy(update={"classes": classes, "predict": settings}), parts=("test",))
    rows = copied.rows(TESTED)
    asked = copied.shipped_rows("generated")[0]

    assert len(rows) == result.scored_now > 0
    assert sum(row["generated_class"] is None for row in rows) == result.unparseable == asked["unparseable"]
    assert sum(row["predicted"] != row["normalised"] for row in rows) == result.flipped
    for row in rows:
        likelihoods, wordings = dict(row["log_likelihoods"]), dict(row["wordings"])
        own = [wordings[text] for text in ("acquired dermal melanocytosis", "ADM", "Hori nevus")]
        assert 1.0 == pytest.approx(sum(dict(row["probabilities"]).values()))
        assert np.logaddexp.reduce(own) == pytest.approx(likelihoods[study.class_names[0]])
        assert row["generated_class"] in {None, study.class_of(row["generated"])}


@pytest.mark.soak
def test_metadata_stands_in_the_prompt_and_in_its_own_control(copied, finished):
    study, run_id = finished.study_file.study, finished.run_id
    asked = study.prompt.model_copy(update={"user": "A lesion[ of a {age} year old patient]. What is it?"})
    study = study.model_copy(update={"prompt": asked})
    record = read_run(copied, run_id)
    record_run(copied, record.model_copy(update={"study": {**record.study, "prompt": asked.model_dump()}}))
    made = {control: predict(copied, study, control=control, parts=("test",)) for control in ("metadata", "blank")}
    said = {
        control: len(copied.rows("select distinct wordings from predictions where run_id = $run", {"run": each.run_id}))
        for control, each in made.items()
    }

    assert 1 == said["blank"]
    assert 1 < said["metadata"] <= made["metadata"].cases["test"]


def test_one_part_alone_leaves_the_other_as_it_was(copied, finished):
    before = len(copied.rows("from predictions"))
    result = predict(copied, finished.study_file.study, parts=("test",))

    assert ["test"] == list(result.cases)
    assert before == len(copied.rows("from predictions"))


def test_an_interruption_costs_no_finished_shard_and_changes_no_bit(copied, finished, monkeypatch):
    monkeypatch.setattr("toolkit.stages.predict.SHARD", 8)
    study = finished.study_file.study
    predict(copied, study)
    clean = copied.rows("from predictions order by case_id")
    for path in shards(copied, finished.run_id):
        path.unlink()

    def interrupt(_, done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(copied, study, progress=interrupt)
    kept = shards(copied, finished.run_id)
    (kept[0].parent / f".{kept[0].name}.half").write_bytes(kept[0].read_bytes()[:100])
    rest = predict(copied, study)

    assert 1 < len(kept)
    assert 0 < rest.scored_now < sum(rest.cases.values())
    assert clean == copied.rows("from predictions order by case_id")


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
