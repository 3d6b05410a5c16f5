"""Training that starts from a run: what it may start from, and what it forgets."""

import json
import shutil

import exports
import pytest
from pydantic import ValidationError
from sklearn.metrics import recall_score
from texture_backend import textured_rows, textured_study

from toolkit.console.runs import rendered
from toolkit.console.text import stdout
from toolkit.errors import DamagedError, LeakError, ModelError
from toolkit.manifest import Study
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.report import report
from toolkit.stages.report.adaptation_figure import adaptation_figure
from toolkit.stages.report.facts import gather
from toolkit.stages.report.headlines import model_line
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.tables import csv_tables
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.stages.withdraw.results import runs_on
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run


def changed(study: Study, *, start: str = "", **sections) -> Study:
    trained = study.train.model_copy(update={"start_from": start})
    return Study.model_validate(study.model_copy(update={"train": trained, **sections}).model_dump())


@pytest.fixture(scope="module")
def adapted(study, key, tmp_path_factory):
    """A run on two classes, and one that started from it when a third class came with new patients."""
    folder = tmp_path_factory.mktemp("adapted")
    whole, workspace = textured_study(study), Workspace(folder / "workspace")
    two = changed(whole, classes=[c for c in whole.classes if c.name in ("nevus", "melasma")])
    first = textured_rows(folder / "images", ["nevus", "melasma"] * 24)
    parse(workspace, two, key, [exports.write(folder / "first.ndjson", first)], images=folder / "images")
    before = split(workspace, two).split_id
    old = train(workspace, two, study_folder=folder).run_id
    predict(workspace, two)
    evaluate(workspace, two)
    more = textured_rows(folder / "images", ["ephelis"] * 32, first=48)
    parse(workspace, whole, key, [exports.write(folder / "second.ndjson", [*first, *more])], images=folder / "images")
    split(workspace, whole, frozen=before)
    third = changed(whole, start=old)
    result = train(workspace, third, study_folder=folder)
    predict(workspace, third, run=result.run_id)
    evaluate(workspace, third, run=result.run_id)
    compare(workspace, third, old, result.run_id)
    return workspace, third, folder, old, result


def test_training_starts_from_the_weights_of_the_run_and_says_so(adapted):
    workspace, study, _, old, result = adapted
    weights = [
        json.loads((workspace.run(run) / "checkpoint" / "means.json").read_text()) for run in (old, result.run_id)
    ]
    facts = gather(workspace, study, result.run_id)

    assert {"nevus", "melasma"} == set(weights[0])
    assert {"nevus", "melasma", "ephelis"} == set(weights[1])
    assert weights[0]["nevus"] == pytest.approx(weights[1]["nevus"], abs=1e-3)  # the same patients, trained again
    assert old == result.started_from == read_run(workspace, result.run_id).started_from
    assert f"Its training started from run {old}." in model_line(facts, "")


def test_the_same_study_without_a_start_is_another_run_and_keeps_its_id(adapted):
    workspace, study, folder, _, result = adapted
    plain = train(workspace, changed(study), study_folder=folder)

    assert plain.started_from is None
    assert plain.run_id != result.run_id
    assert study.digest("train") == changed(study).digest("train")
    assert "started_from" not in read_run(workspace, plain.run_id).document()


def test_old_classes_are_told_with_what_was_forgotten_and_new_ones_without(adapted):
    workspace, _, _, old, result = adapted
    rows = {row["class_name"]: row for row in workspace.shipped_rows("adaptation", run=result.run_id, other=old)}
    asked = "select truth, predicted, case_id from scored where run_id = $run and part = 'test' order by case_id"
    scored = workspace.rows(asked, {"run": result.run_id})
    names = ["nevus", "melasma", "ephelis"]
    expected = recall_score([r["truth"] for r in scored], [r["predicted"] for r in scored], labels=names, average=None)

    assert {"nevus": False, "melasma": False, "ephelis": True} == {name: rows[name]["is_new"] for name in names}
    assert expected.tolist() == pytest.approx([rows[name]["recall_on_all"] for name in names])
    assert rows["ephelis"]["difference"] is None
    assert rows["nevus"]["difference"] == rows["nevus"]["recall_after"] - rows["nevus"]["recall_before"]
    assert not any(row["forgotten"] for row in rows.values())


@pytest.mark.soak
def test_the_page_shows_both_and_others_see_neither(adapted):
    workspace, study, _, _, result = adapted
    facts = gather(workspace, study, result.run_id)
    drawn = adaptation_figure(facts.adaptation)["adaptation"]

    assert ["melasma", "nevus", "ephelis"] == [row["class_name"] for row in facts.adaptation]
    assert ["recall before", "recall after"] == [line["label"] for line in drawn.readout["lines"]]
    assert "adaptation.csv" in csv_tables(facts)
    assert [] == shared(facts).adaptation


def test_the_commands_that_tell_what_was_forgotten_are_named(adapted, capsys):
    _, _, _, old, result = adapted
    stdout.print(rendered(result), crop=False)
    text = " ".join(capsys.readouterr().out.split())

    assert f"compare {old} {result.run_id}" in text
    assert "query adaptation" in text


def test_a_patient_of_the_earlier_run_is_withdrawn_from_what_started_from_it(adapted):
    workspace, _, _, old, result = adapted

    assert {old, result.run_id} <= set(runs_on(workspace, {read_run(workspace, old).split_id}))


def test_a_run_that_has_seen_patients_of_the_test_set_is_refused(adapted):
    workspace, study, folder, _, _ = adapted
    mixed = study.model_copy(update={"study": study.study.model_copy(update={"seed": 12345})})
    other = split(workspace, mixed)

    with pytest.raises(LeakError, match=r"has seen patients of split .* that it must not know: .* of test"):
        train(workspace, mixed, study_folder=folder, split_id=other.split_id)


def test_what_has_no_weights_of_its_own_is_refused(adapted):
    workspace, study, folder, _, result = adapted
    blank = predict(workspace, study, run=result.run_id, control="blank")

    with pytest.raises(ModelError, match="has no training of its own"):
        train(workspace, changed(study, start=blank.run_id), study_folder=folder)


def test_another_backend_an_adapter_and_a_changed_checkpoint_are_refused(adapted, tmp_path):
    workspace, study, folder, old, _ = adapted
    other = study.model_copy(update={"model": study.model.model_copy(update={"backend": "instructblip"})})
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    (copy.run(old) / "checkpoint" / "means.json").write_text("{}")

    with pytest.raises(ModelError, match=r"another \[model\] backend"):
        train(workspace, other, study_folder=folder)
    with pytest.raises(DamagedError, match=r"means\.json"):
        train(copy, changed(study, start=old[:5]), study_folder=folder)


@pytest.mark.parametrize("start", ["latest", "zzzz", "abc"])
def test_only_an_id_is_a_start(study, start):
    with pytest.raises(ValidationError, match="start_from"):
        changed(study, start=start)


def test_intervals_of_few_patients_are_marked_in_the_table(adapted):
    workspace, study, _, old, result = adapted
    rows = {row["class_name"]: row for row in workspace.shipped_rows("adaptation", run=result.run_id, other=old)}
    asked = "select class_name, too_few from scores where run_id = $run and part = 'test' and metric = 'recall'"
    marks = {row["class_name"]: row["too_few"] for row in workspace.rows(asked, {"run": result.run_id})}
    report(workspace, study, run=result.run_id, audience="internal")
    text = (workspace.reports / result.run_id / "index.html").read_text(encoding="utf-8")
    section = text[text.index('id="adaptation"') :]
    section = section[: section.index("</section>")]

    assert 20 > max(row["patients"] for row in rows.values())  # TOO_FEW of toolkit.stats.intervals
    assert dict.fromkeys(rows, True) == {name: row["too_few"] for name, row in rows.items()}
    assert dict.fromkeys(rows, True) == {name: marks[name] for name in rows}
    assert {"nevus": True, "melasma": True, "ephelis": None} == {
        name: row["difference_too_few"] for name, row in rows.items()
    }
    assert 3 + 2 == section.count('title="few patients"')
    assert "Few patients: the interval is only approximate." in section
