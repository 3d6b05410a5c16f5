"""The demo's claims over three seeds, and each stage's contract: some minutes each, so `make soak` runs them."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import recall_score, roc_auc_score

from toolkit.manifest import load_study
from toolkit.pipeline import run
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.study_file import StudyFile
from toolkit.synthetic import Sample, sample
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run

ROOT = Path(__file__).parents[2]


def _run(demo: Sample, workspace: Workspace, *, seed: int = 7) -> None:
    text = demo.study.read_text(encoding="utf-8")

    assert "seed = 7" in text
    demo.study.write_text(text.replace("seed = 7", f"seed = {seed}"), encoding="utf-8")
    list(run(workspace, StudyFile(load_study(demo.study), demo.study), [demo.export], images=demo.images))


def _controls(demo: Sample, workspace: Workspace, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return the run and its controls on test, by macro ROC AUC, and print them."""
    study = load_study(demo.study)
    for name in names:
        control = predict(workspace, study, control=name)
        evaluate(workspace, study, run=control.run_id)
        compare(workspace, study, find_run(workspace, "latest"), control.run_id)
    rows = {row["shown"]: row for row in workspace.shipped_rows("controls")}
    for shown, row in rows.items():
        value, low, high = (row[f"difference_{name}"] for name in ("from_run", "low", "high"))
        difference = "" if value is None else f"; {value:+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"  {shown}: macro ROC AUC {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}){difference}")
    return rows


def _truth(demo: Sample, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((demo.truth / name).read_text(encoding="utf-8").splitlines()))


def _unseen(demo: Sample, workspace: Workspace) -> list[dict[str, Any]]:
    """Return the scored test cases of photographs whose people, copies included, training has not seen."""
    people = {row["global_key"]: {row["person"]} for row in _truth(demo, "lesions.csv")}
    for row in _truth(demo, "planted.csv"):
        if row["kind"].startswith("duplicate"):
            both = people[row["global_key"]] | people[row["other_global_key"]]
            people |= {row["global_key"]: both, row["other_global_key"]: both}
    placed = workspace.rows(
        "select part, global_key, truth, predicted, probabilities from splits "
        "inner join cases using (case_id) inner join images using (image_id) left join scored using (case_id, part)"
    )
    seen = set().union(*(people[row["global_key"]] for row in placed if row["part"] == "train"))
    return [row for row in placed if row["part"] == "test" and not people[row["global_key"]] & seen]


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_tiny_model_learns_the_sample_on_patients_never_seen(tmp_path, seed):
    demo, workspace = sample(tmp_path / "sample", seed=seed), Workspace(tmp_path / "workspace")
    _run(demo, workspace, seed=seed)
    scores = workspace.rows("select metric, value from scores where part = 'test' and class_name is null")
    found = {row["metric"]: row["value"] for row in scores}
    unseen = _unseen(demo, workspace)
    truth = [row["truth"] for row in unseen]
    probabilities = [[dict(row["probabilities"])[name] for name in sorted(set(truth))] for row in unseen]
    recall = recall_score(truth, [row["predicted"] for row in unseen], average="macro")
    area = roc_auc_score(truth, probabilities, multi_class="ovr", average="macro", labels=sorted(set(truth)))
    print(f"seed {seed}: macro recall {found['macro_recall']:.3f}, macro ROC AUC {found['macro_roc_auc']:.3f}")
    print(f"  without planted leaks ({len(unseen)} cases): {recall:.3f}, {area:.3f}")

    shown = _controls(demo, workspace, ("blank", "shuffled", "border"))

    assert 0.95 <= min(found["macro_roc_auc"], area)
    assert 0.80 <= min(found["macro_recall"], recall)
    assert 0.5 == shown["blank"]["value"]
    assert 0.4 <= shown["shuffled"]["value"] <= 0.6
    assert all(shown[name]["run_beats_it"] for name in ("blank", "shuffled", "border"))


METADATA = "Clinical photograph[ of the {anatomical_site}][ of a {age} year old][, {sex}]. What is the diagnosis?"


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_model_that_is_told_metadata_still_looks_at_the_lesion(tmp_path, seed):
    demo, workspace = sample(tmp_path / "sample", seed=seed), Workspace(tmp_path / "workspace")
    text = demo.study.read_text(encoding="utf-8")
    asked = 'user = "Clinical photograph of a pigmented skin lesion. What is the diagnosis?"'

    assert asked in text
    demo.study.write_text(text.replace(asked, f'user = "{METADATA}"'), encoding="utf-8")
    _run(demo, workspace, seed=seed)
    print(f"seed {seed}, metadata in the prompt")
    shown = _controls(demo, workspace, ("blank", "metadata", "shuffled"))

    assert 0.9 <= shown["the run itself"]["value"]
    assert all(shown[name]["run_beats_it"] for name in ("blank", "metadata", "shuffled"))
    assert 0.15 <= shown["the run itself"]["value"] - shown["metadata"]["value"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_contract_holds_on_each_stage(tmp_path, stage):
    contract = ROOT.parent / "shared" / "acceptance" / "contract.py"
    if not contract.is_file():
        pytest.skip("the acceptance check does not stand beside this checkout")
    demo, workspace = sample(tmp_path / "sample", stage=stage), Workspace(tmp_path / "workspace")
    _run(demo, workspace)
    toolkit = Path(sys.executable).with_name("toolkit")
    command = [
        sys.executable,
        contract,
        "--toolkit",
        toolkit,
        "--study",
        demo.study,
        "--workspace",
        workspace.folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "contract holds") == (done.returncode, done.stdout.splitlines()[-1])
