import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import registries
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import WorkspaceError
from toolkit.photographs.crops import border_pixels
from toolkit.prompts import ablation
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.stages.status import status
from toolkit.stages.withdraw.results import clean_runs, runs_on
from toolkit.workspace.runs import PartCase, find_run


def cases(*counts: int) -> list[PartCase]:
    """Patients with so many cases each, mixed."""
    made = [
        PartCase(f"c{patient}-{n}", f"p{patient}", "", Path("x"), None)
        for patient, count in enumerate(counts)
        for n in range(count)
    ]
    return sorted(made, key=lambda case: case.case_id[::-1])


@pytest.fixture(scope="module")
def controlled(finished, tmp_path_factory):
    """A copy of the finished workspace with the blank, the shuffled and the border control of its run."""
    import shutil

    from toolkit.workspace.registry import Workspace

    copy = Workspace(tmp_path_factory.mktemp("controls") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    study = finished.study_file.study
    made = {name: predict(copy, study, control=name) for name in ("blank", "shuffled", "border")}
    evaluate(copy, study, run=made["blank"].run_id)
    compare(copy, study, finished.run_id, made["blank"].run_id)
    return copy, made


@pytest.mark.parametrize("counts", [(1, 1), (2, 1, 1), (3, 2, 1), (4, 4), (1,) * 30, (5, 1, 1, 1, 1, 1, 2, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_photographs_are_exchanged_so_that_no_patient_keeps_one(counts, seed):
    whole = cases(*counts)
    shown = ablation.ablated_cases("shuffled", whole, seed=seed)

    assert whole == [each.case for each in shown]
    assert sorted(whole) == sorted(each.source for each in shown)
    assert [] == [each for each in shown if each.case.patient_id == each.source.patient_id]
    assert shown == ablation.ablated_cases("shuffled", whole, seed=seed)


def test_the_exchange_depends_on_the_seed_and_on_no_pseudonym():
    whole = cases(3, 2, 2, 1, 1, 4)
    renamed = [case._replace(patient_id=f"x{case.patient_id[::-1]}") for case in whole]
    sources = [each.source.case_id for each in ablation.ablated_cases("shuffled", whole, seed=1)]

    assert sources == [each.source.case_id for each in ablation.ablated_cases("shuffled", renamed, seed=1)]
    assert sources != [each.source.case_id for each in ablation.ablated_cases("shuffled", whole, seed=2)]


def test_a_patient_with_most_of_the_cases_cannot_be_given_others_photographs():
    with pytest.raises(WorkspaceError, match="one patient has 3 of the 5 cases"):
        ablation.ablated_cases("shuffled", cases(3, 1, 1), seed=0)


def test_the_box_is_painted_in_the_mean_colour_of_what_is_around_it(tmp_path):
    drawn = np.full((100, 100, 3), (200, 100, 50), np.uint8)
    drawn[40:60, 30:70] = 0
    Image.fromarray(drawn).save(tmp_path / "lesion.png")
    seen = border_pixels((tmp_path / "lesion.png").read_bytes(), Box(30, 40, 40, 20), margin=0.5, size=32)

    assert {(200, 100, 50)} == set(map(tuple, seen.reshape(-1, 3).tolist()))


def test_a_box_as_large_as_the_photograph_leaves_a_grey_square(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "lesion.png")
    seen = border_pixels((tmp_path / "lesion.png").read_bytes(), Box(0, 0, 64, 64), margin=0.2, size=16)

    assert {128} == set(seen.ravel().tolist())


def test_a_blind_control_says_the_same_of_every_case(controlled):
    workspace, made = controlled
    said = workspace.rows(
        "select distinct log_likelihoods from predictions where run_id = $run", {"run": made["blank"].run_id}
    )

    assert 1 == len(said)


def test_a_control_is_a_run_of_its_own_that_names_the_run_it_controls(controlled, finished):
    workspace, made = controlled
    rows = workspace.rows("select run_id, control, control_of from runs where control <> 'plain'")
    record = json.loads((workspace.run(made["border"].run_id) / "run.json").read_text())

    assert {(each.run_id, name, finished.run_id) for name, each in made.items()} == {tuple(r.values()) for r in rows}
    assert ("border", finished.run_id) == (record["control"], record["control_of"])
    assert made["border"].run_id == record["run_id"]


def test_the_latest_run_is_never_a_control(controlled, finished):
    workspace, _ = controlled
    named = workspace.rows("select run_id from run_names where name = 'latest'")

    assert finished.run_id == find_run(workspace, "latest") == named[0]["run_id"]
    assert "toolkit query" == status(workspace).next


def test_a_run_stands_beside_its_controls(controlled):
    workspace, made = controlled
    rows = {row["shown"]: row for row in workspace.shipped_rows("controls", part="validation")}

    assert {"the run itself", "plain", *made} == set(rows)
    assert 0.5 == rows["blank"]["value"]
    assert rows["blank"]["difference_from_run"] == rows["blank"]["value"] - rows["the run itself"]["value"]
    assert rows["blank"]["run_beats_it"] == (rows["blank"]["difference_high"] < 0)


def test_a_control_that_is_complete_is_not_predicted_again(controlled, finished):
    workspace, made = controlled
    again = predict(workspace, finished.study_file.study, run=made["shuffled"].run_id)

    assert (0, "shuffled", made["shuffled"].run_id) == (again.scored_now, again.control, again.run_id)
    assert finished.run_id == again.control_of


@pytest.mark.parametrize(
    ("change", "control", "message"),
    [
        ({}, "metadata", "the prompt has no metadata"),
        ({"roi_margin": 0.0}, "border", "nothing around the lesion is left"),
    ],
)
def test_a_control_that_shows_nothing_new_is_refused(study, change, control, message):
    with pytest.raises(WorkspaceError, match=message.replace("the prompt", "the study's prompt")):
        ablation.check(control, study.model_copy(update={"model": study.model.model_copy(update=change)}))


def test_where_photographs_were_exchanged_a_withdrawal_takes_every_prediction(workspace):
    for run_id, control in {"one": None, "two": "shuffled"}.items():
        folder = workspace.run(run_id)
        (folder / "predictions").mkdir(parents=True)
        recorded = registries.a_record(run_id=run_id, split_id="s", control=control)
        (folder / "run.json").write_text(json.dumps(recorded))
        pq.write_table(pa.table({"case_id": ["a", "b"]}), folder / "predictions" / "test-0.parquet")
    clean_runs(workspace, {"a"})

    assert ["b"] == pq.read_table(workspace.run("one") / "predictions" / "test-0.parquet")["case_id"].to_pylist()
    assert not list((workspace.run("two") / "predictions").iterdir())
    assert ["one"] == runs_on(workspace, {"s"})
