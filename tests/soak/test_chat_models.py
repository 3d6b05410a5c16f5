"""The sample trained by a tiny decoder-only model beside the tiny InstructBLIP; it takes some minutes."""

import shutil
import time

import pytest

from toolkit.manifest import load_study
from toolkit.pipeline import StudyFile, run
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.stages.report import report
from toolkit.stages.train import train
from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

TINY, CHAT = 'name = "tiny"', 'name = "tiny"\nbackend = "image-text-to-text"'


def test_a_tiny_chat_model_learns_the_sample_and_stands_beside_instructblip(tmp_path):
    demo, workspace = sample(tmp_path / "sample"), Workspace(tmp_path / "workspace")
    study = load_study(demo.study)
    list(run(workspace, StudyFile(study, demo.study), [demo.export], images=demo.images))
    first = workspace.rows("select run_id from runs where model = 'tiny'")[0]["run_id"]
    text = demo.study.read_text(encoding="utf-8")
    demo.study.write_text(text.replace(TINY, CHAT), encoding="utf-8")
    study = load_study(demo.study)

    began = time.process_time()
    trained = train(workspace, study, study_folder=demo.study.parent)
    predict(workspace, study, run=trained.run_id)
    seconds = time.process_time() - began
    evaluate(workspace, study, run=trained.run_id)
    for name in ("blank", "shuffled", "border"):
        control = predict(workspace, study, run=trained.run_id, control=name)
        evaluate(workspace, study, run=control.run_id)
        compare(workspace, study, trained.run_id, control.run_id)
    report(workspace, study, run=trained.run_id, audience="internal")

    shown = {row["shown"]: row for row in workspace.shipped_rows("controls", run=trained.run_id)}
    print(f"\n{seconds:.0f} s of CPU to train and to predict")
    for name, row in shown.items():
        print(f"  {name}: macro ROC AUC {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})")
    index = (workspace.reports / "index.html").read_text(encoding="utf-8")
    assert trained.self_test.startswith("this checkpoint scores exactly")
    assert 0.95 <= shown["the run itself"]["value"]
    assert 0.5 == shown["blank"]["value"]
    assert 0.4 <= shown["shuffled"]["value"] <= 0.6
    assert all(shown[name]["run_beats_it"] for name in ("blank", "shuffled", "border"))
    assert first != trained.run_id
    assert all(f"{run_id}/index.html" in index for run_id in (first, trained.run_id))
    assert seconds < 240


@pytest.mark.parametrize("mode", ["lora", "language_model"])
def test_modes_with_frozen_vision_are_trained_from_kept_features(tmp_path, mode):
    demo, workspace = sample(tmp_path / "sample", cases=120), Workspace(tmp_path / "workspace")
    text = demo.study.read_text(encoding="utf-8")
    text = text.replace(TINY, CHAT).replace("epochs = 20", "epochs = 2")
    demo.study.write_text(text.replace("[train]\n", f'[train]\nmode = "{mode}"\n'), encoding="utf-8")
    study = load_study(demo.study)

    list(run(workspace, StudyFile(study, demo.study), [demo.export], images=demo.images))
    rows = workspace.rows("select case_id, log_likelihoods from predictions order by all")
    shutil.rmtree(workspace.features)
    for path in workspace.folder.glob("runs/*/predictions/*.parquet"):
        path.unlink()
    predict(workspace, study)

    assert rows == workspace.rows("select case_id, log_likelihoods from predictions order by all")
    assert any(workspace.features.rglob("*.safetensors"))


@pytest.mark.parametrize("mode", ["lora", "language_model"])
def test_a_training_of_a_chat_model_starts_from_a_run_and_says_what_was_forgotten(tmp_path, mode):
    demo, workspace = sample(tmp_path / "sample", cases=120), Workspace(tmp_path / "workspace")
    text = demo.study.read_text(encoding="utf-8").replace(TINY, CHAT).replace("epochs = 20", "epochs = 2")
    demo.study.write_text(text, encoding="utf-8")
    study = load_study(demo.study)
    list(run(workspace, StudyFile(study, demo.study), [demo.export], images=demo.images))
    old = workspace.rows("select run_id from runs where model = 'tiny' and control is null")[0]["run_id"]
    demo.study.write_text(text.replace("[train]\n", f'[train]\nmode = "{mode}"\nstart_from = "{old}"\n'), "utf-8")
    study = load_study(demo.study)

    trained = train(workspace, study, study_folder=demo.study.parent)
    predict(workspace, study, run=trained.run_id)
    evaluate(workspace, study, run=trained.run_id)
    compare(workspace, study, old, trained.run_id)

    rows = workspace.shipped_rows("adaptation", run=trained.run_id, other=old)
    assert old == trained.started_from
    assert rows
    assert not any(row["is_new"] for row in rows)
