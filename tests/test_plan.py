"""The analysis plan: locked with the split, and what departs from it."""

import shutil
from datetime import timedelta

import forging
import pytest

from toolkit.csv_files import rows_of
from toolkit.errors import StudyError, WorkspaceError
from toolkit.manifest import load_study
from toolkit.manifest.evaluation import PlanSection
from toolkit.shipped import shipped
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.report.analysis_plan import PlanSummary
from toolkit.stages.report.facts import gather
from toolkit.stages.report.layout import page_environment
from toolkit.stages.report.page import render
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.tables import csv_tables
from toolkit.stages.split import split, verify
from toolkit.workspace import ledger, plan, sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.restore import note_split
from toolkit.workspace.results import SCORES, mirror_scorings
from toolkit.workspace.runs import now

OTHER = "0000000b"


def planning(study, **changed):
    """Give a study a plan."""
    section = {"metric": "macro_recall", "operating_points": ["melanoma", "malignant"], "subgroups": ["sex", "age"]}
    return study.model_copy(update={"plan": PlanSection(**{**section, "comparison": "blank", **changed})})


@pytest.fixture(scope="module")
def planned_study(finished):
    study = finished.study_file.study
    return planning(study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"replicates": 100})}))


@pytest.fixture(scope="module")
def locked_once(finished, planned_study, tmp_path_factory):
    """A copy of the finished workspace whose split has a locked plan, and the result of `split`; nothing is scored."""
    copy = Workspace(tmp_path_factory.mktemp("plan") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    before = finished.results["Split"].split_id
    shutil.rmtree(copy.split(before))
    ledger.path_of(copy).unlink()
    (copy.run(finished.run_id) / SCORES).unlink()
    with copy.writing() as connection:
        connection.execute("delete from evaluations")
    return copy, split(copy, planned_study)


@pytest.fixture
def locked(locked_once, tmp_path):
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(locked_once[0].folder, copy.folder)
    return copy


def scored(workspace, run_id, times=1, **changed):
    """Record scorings of test as `evaluate` does."""
    sha256 = plan.locked_for(workspace, run_id).sha256
    (truth,) = workspace.rows("select truth_id from label_states")
    (now,) = workspace.rows("select now()::timestamp as scored_at")
    row = {"run_id": run_id, "part": "test", **truth, **now, "cases": 9, "unresolved": 0, "plan_sha256": sha256}
    for number in range(times):
        scored_at = (now["scored_at"] + timedelta(microseconds=number)).isoformat()
        ledger.append(workspace, [{"kind": "scoring", **row, **changed, "scored_at": scored_at}])
    with workspace.writing() as connection:
        mirror_scorings(connection, workspace)


def kinds(found):
    return {(each.kind, each.detail) for each in found}


def test_a_plan_is_locked_in_a_certificate_that_holds_and_changes_no_split(finished, locked_once, planned_study):
    workspace, made = locked_once
    lock = plan.locked(workspace.split(made.split_id))

    assert finished.results["Split"].split_id == made.split_id == verify(workspace.split(made.split_id)).split_id
    assert plan.stated(planned_study) == lock.plan
    assert (lock.sha256, False) == (made.plan_sha256, made.plan_changed)
    assert {"sex": [], "age": [40, 60]} == lock.plan["subgroups"]
    assert ["melanoma", "malignant"] == [point["name"] for point in lock.plan["operating_points"]]


def test_what_a_plan_refers_to_is_part_of_its_digest(planned_study):
    fewer = planned_study.evaluate.model_copy(update={"replicates": 101})
    elsewhere = planned_study.report.model_copy(update={"gallery": 1})

    assert plan.sealed(planned_study) != plan.sealed(planned_study.model_copy(update={"evaluate": fewer}))
    assert plan.sealed(planned_study) == plan.sealed(planned_study.model_copy(update={"report": elsewhere}))


def test_another_plan_is_not_locked_again(locked, locked_once, planned_study):
    again = split(locked, planning(planned_study, metric="accuracy"))

    assert (locked_once[1].plan_sha256, True) == (again.plan_sha256, again.plan_changed)


def test_a_plan_changed_in_its_certificate_is_refused(locked, locked_once):
    path = locked.split(locked_once[1].split_id) / "certificate.json"
    path.write_text(path.read_text().replace('"macro_recall"', '"accuracy"'))

    with pytest.raises(WorkspaceError, match="changed after it was locked"):
        plan.locked(path.parent)


def test_a_split_without_a_plan_has_none_and_its_run_departs_from_nothing(finished):
    pinned = shipped("manifests") / "demo.split"
    (asked,) = finished.workspace.shipped_rows("departures")

    assert plan.locked(pinned) is None
    assert (None, []) == (finished.results["Evaluated"].plan_sha256, finished.results["Evaluated"].departures)
    assert ("no analysis plan was locked", None) == (asked["kind"], asked["plan_sha256"])


def test_evaluate_records_what_departs_and_the_report_says_it(finished, locked, locked_once, planned_study):
    result = evaluate(locked, planned_study)
    rows = locked.shipped_rows("departures")
    facts = shared(gather(locked, planned_study, finished.run_id))
    page = render(facts, planned_study, {}, None, [], beside=False).decode()
    listed = rows_of(csv_tables(facts)["departures.csv"])

    assert result.plan_sha256 == locked_once[1].plan_sha256 == rows[0]["plan_sha256"]
    expected = {("comparison_missing", "the planned comparison was not made")}
    expected |= {("exploratory", f"subgroup {name} was not planned") for name in ("capture_site", "fitzpatrick")}
    assert expected == kinds(result.departures) == {(row["kind"], row["detail"]) for row in rows}
    assert expected == {(row["kind"], row["detail"]) for row in listed}
    assert result.plan_sha256 in page
    assert "the planned comparison was not made" in page


def test_the_report_says_where_no_plan_was_locked(finished):
    study = finished.study_file.study
    facts = gather(finished.workspace, study, finished.run_id)

    assert "No analysis plan was locked" in render(facts, study, {}, None, [], beside=False).decode()
    assert "departures.csv" not in csv_tables(facts)


def test_every_look_at_the_part_is_counted_but_those_that_were_planned(finished, locked, planned_study):
    own = finished.run_id
    with locked.writing() as connection:
        for name, model, control in ((OTHER, "other", None), ("0000000c", "tiny", "blank")):
            connection.execute(
                "insert into runs select * replace (? as run_id, ? as model, ? as control, ? as control_of) from runs "
                "where run_id = ?",
                [name, model, control, control and own, own],
            )
    for name in (OTHER, "0000000c"):
        shutil.copytree(locked.run(own), locked.run(name))
    scored(locked, OTHER)
    scored(locked, "0000000c")
    scored(locked, own, 2)
    (detail,) = {each.detail for each in plan.departures(locked, planned_study, own) if each.kind == "scored_before"}

    assert "scored 3 times: 2 by this run, 1 by other runs" == detail
    assert [] == plan.departures(locked, planned_study, "0000000c")
    (on_page,) = (
        row for row in locked.rows(sql.statement("report/scorings"), {"run_id": own}) if row["part"] == "test"
    )
    assert (2, 3, 2, 1) == tuple(on_page[name] for name in ("times", "times_on_split", "runs", "controls"))


def test_truth_plan_and_lock_that_changed_are_told(finished, locked, planned_study):
    scored(locked, finished.run_id, plan_sha256=None, truth_id="older")
    scored(locked, finished.run_id)
    study = planning(planned_study, metric="accuracy", subgroups=["sex"])
    found = {each.kind: each.detail for each in plan.departures(locked, study, finished.run_id)}

    assert "changed since it was locked: metric, subgroups" == found["plan_changed"]
    assert "scored once while this plan was not locked" == found["plan_replaced"]
    assert found["truth_revised"].endswith("it was older at the first scoring")
    without = plan.departures(locked, planned_study.model_copy(update={"plan": None}), finished.run_id)
    assert ("plan_changed", "the study has no plan any more") in kinds(without)


def test_a_scoring_by_earlier_labels_is_counted_and_revises_no_truth(finished, locked, planned_study):
    scored(locked, finished.run_id)
    scored(locked, finished.run_id, truth_id="older", as_of="e1")
    found = {each.kind: each.detail for each in plan.departures(locked, planned_study, finished.run_id)}

    assert "scored 2 times: 2 by this run, 0 by other runs" == found["scored_before"]
    assert "truth_revised" not in found


def test_what_was_planned_and_not_done_is_told(finished, locked, planned_study):
    assert ("part_not_scored", "test was not scored") in kinds(plan.departures(locked, planned_study, finished.run_id))
    scored(locked, finished.run_id)
    with locked.writing() as connection:
        connection.execute("delete from operating_points where target = 'melanoma'")
        connection.execute("delete from subgroup_scores where group_name = 'age'")
        connection.execute("update scores set value = 'nan' where metric = 'macro_recall'")
    found = kinds(plan.departures(locked, planned_study, finished.run_id))

    assert ("operating_point_missing", "operating point melanoma was not evaluated") in found
    assert ("subgroup_missing", "subgroup age was not evaluated") in found
    assert ("primary_metric_undefined", "macro_recall has no value") in found


@pytest.mark.soak
def test_a_comparison_that_is_made_departs_no_more(finished, locked, locked_once, planned_study):
    study = planning(planned_study, comparison="resnet")
    split_id = locked_once[1].split_id
    forging.forge(locked.split(split_id), stated=lambda stated: stated.update(plan.sealed(study)))
    note_split(locked, split_id, now())
    scored(locked, finished.run_id)
    with locked.writing() as connection:
        columns = f"'{OTHER}' as run_id, 'resnet' as model"
        own = f"where run_id = '{finished.run_id}'"
        connection.execute(f"insert into runs select * replace ({columns}) from runs {own}")
        for table in ("predictions", "scores"):
            connection.execute(f"insert into {table} select * replace ('{OTHER}' as run_id) from {table} {own}")
    locked.run(OTHER).mkdir()
    before = kinds(plan.record(locked, study, finished.run_id))
    compare(locked, study, finished.run_id, OTHER)
    after = {(row["kind"], row["detail"]) for row in locked.shipped_rows("departures", run=finished.run_id)}

    assert {("comparison_missing", "the planned comparison was not made")} == before - after


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('class_name = "freckle"', "plan.class_name: no such class: freckle"),
        ('operating_points = ["melasma"]', "plan.operating_points: none of evaluate's: melasma"),
        ('subgroups = ["shoe_size"]', "plan.subgroups: none of evaluate's: shoe_size"),
    ],
)
def test_a_plan_that_refers_to_nothing_is_refused(tmp_path, line, message):
    demo = (shipped("manifests") / "demo.toml").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(f'{demo}\n[plan]\nmetric = "recall"\n{line}\n', encoding="utf-8")

    with pytest.raises(StudyError, match=message):
        load_study(tmp_path / "study.toml")


def test_a_path_in_a_plan_stays_off_the_page(planned_study):
    study = planning(planned_study, comparison="/data/secret_folder/baseline")
    facts = {
        "run": {"split_id": "s"},
        "plan": PlanSummary(plan.LockedPlan("0" * 64, plan.stated(study), "t"), [], False),
    }
    queries = {"departures": {"command": "", "text": ""}}
    shown = page_environment().get_template("plan.html.j2").render(facts=facts, queries=queries, ablations={})

    assert "<dd>the model baseline</dd>" in shown
    assert "secret_folder" not in shown
