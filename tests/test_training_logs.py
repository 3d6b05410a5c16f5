"""Training logs: a package that is missing, what would send weights, and what the callbacks get to know."""

import importlib.util
import json
import os

import numpy as np
import pytest

from toolkit.cli import main
from toolkit.errors import ModelError, StudyError
from toolkit.manifest import load_study
from toolkit.manifest.model import TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.instructblip import InstructBlip
from toolkit.models.tiny import build_tiny
from toolkit.models.training import arguments
from toolkit.models.training_logs import check_logs, logging_into
from toolkit.shipped import shipped

PROMPT, ANSWERS = "What is it?", ["nevus", "melanoma"]
SETTINGS = TrainSection(epochs=1, threads=1, learning_rate=1e-3)
PACKAGES = ["tensorboard", "mlflow", "wandb"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "patient-4711"
    build_tiny(folder, [PROMPT, *ANSWERS], seed=3)
    return folder


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_missing_is_told_before_the_model_is_loaded(name, finished, tmp_path, capsys):
    assert importlib.util.find_spec(name) is None  # the locks hold none of them

    study = tmp_path / "study.toml"
    text = finished.study_file.path.read_text(encoding="utf-8")
    # another recipe, so that it is another run
    study.write_text(text.replace("[train]", f'[train]\nreport_to = "{name}"\naccumulate = 2'), encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["--study", str(study), "--workspace", str(finished.workspace.folder), "train"])

    assert 1 == left.value.code
    assert f"{name} is not installed" in (told := capsys.readouterr().err)
    assert f"pip install {name}" in told


@pytest.mark.parametrize("variable", ["WANDB_LOG_MODEL", "WANDB_WATCH", "HF_MLFLOW_LOG_ARTIFACTS"])
def test_a_variable_that_would_send_the_weights_is_refused(variable, monkeypatch):
    monkeypatch.setenv(variable, "all")

    with pytest.raises(ModelError, match=f"unset {variable}"):
        check_logs("wandb")
    monkeypatch.setenv(variable, "false")
    with pytest.raises(ModelError, match="not installed"):
        check_logs("wandb")
    check_logs("none")


def test_an_unknown_kind_of_logs_is_a_fault_of_the_study(tmp_path):
    text = (shipped("manifests") / "demo.toml").read_text(encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(text.replace("[train]", '[train]\nreport_to = "all"'), encoding="utf-8")

    with pytest.raises(StudyError, match=r"train\.report_to.*'tensorboard'"):
        load_study(path)


def test_where_logs_go_makes_no_other_run(study):
    logged = study.model_copy(update={"train": study.train.model_copy(update={"report_to": "tensorboard"})})

    assert study.digest("train", "model") == logged.digest("train", "model")


def test_nothing_is_reported_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_CA_CERT", "x")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", "x")

    assert [] == arguments(SETTINGS, seed=1, folder=tmp_path / "training", device="cpu").report_to


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_what_the_callbacks_get_holds_no_path(tiny, tmp_path, mode):
    settings = SETTINGS.model_copy(update={"mode": mode})
    photographs = np.zeros((2, 64, 64, 3), np.uint8)
    examples = Examples(photographs, [PROMPT] * 2, np.array([0, 1]))
    model = InstructBlip.load(str(tiny), device="cpu", mode=mode)
    run = tmp_path / "runs" / "1a2b3c4d"
    run.mkdir(parents=True)
    model.fit(TrainingJob(examples, examples, ANSWERS, settings, 1, run / "training"))
    args = arguments(settings, seed=1, folder=run / "training", device="cpu")
    told_before = configs(model.model)

    with logging_into(run / "logs", "tensorboard", model.model):
        told = args.to_json_string() + configs(model.model)

    assert "patient-4711" in told_before
    assert "patient-4711" not in told
    assert str(tmp_path) not in told
    assert "1a2b3c4d" == json.loads(args.to_json_string())["run_name"]


def configs(model):
    """Return all that a callback can write of a model's configuration, and of its adapter's."""
    adapters = [adapter.to_dict() for adapter in getattr(model, "peft_config", {}).values()]
    return json.dumps([model.config.to_dict(), adapters], default=str)


def test_logs_stand_in_the_folder_of_the_run_and_the_environment_is_as_before(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/elsewhere")
    model, before, folder = InstructBlip.load(str(tiny), device="cpu").model, dict(os.environ), tmp_path / "logs"

    with logging_into(folder, "mlflow", model):
        inside = dict(os.environ)

    assert before == dict(os.environ)
    assert f"sqlite:///{folder}/mlflow.db" == inside["MLFLOW_TRACKING_URI"]
    assert str(folder) == inside["TENSORBOARD_LOGGING_DIR"] == inside["WANDB_DIR"]
    assert "disabled" == inside["WANDB_MODE"]
    assert "true" == inside["MLFLOW_DISABLE_TELEMETRY"]


def test_nothing_is_sent_unless_the_environment_asks_for_it(tiny, tmp_path, monkeypatch):
    model = InstructBlip.load(str(tiny), device="cpu").model
    modes, servers = [], []

    for variable, value in ((None, None), ("WANDB_MODE", "online"), ("MLFLOW_TRACKING_URI", "https://mlflow.example")):
        if variable:
            monkeypatch.setenv(variable, value)
        with logging_into(tmp_path / "logs", "mlflow", model):
            modes.append(os.environ["WANDB_MODE"])
            servers.append(os.environ["MLFLOW_TRACKING_URI"].partition(":")[0])

    assert ["offline", "online", "online"] == modes
    assert ["sqlite", "sqlite", "https"] == servers
