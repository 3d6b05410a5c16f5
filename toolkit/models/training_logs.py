"""Training logs by the callbacks of transformers, for TensorBoard, MLflow or Weights & Biases: into the run's folder.

They get losses, metrics and settings; no path, no photograph, no case. docs/privacy.md says what each adds by itself.
"""

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.integrations import is_mlflow_available, is_tensorboard_available, is_wandb_available

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainingLogs
from toolkit.models.transformers_compat import Model

AVAILABLE = {"tensorboard": is_tensorboard_available, "mlflow": is_mlflow_available, "wandb": is_wandb_available}
SENDING_WEIGHTS = ("HF_MLFLOW_LOG_ARTIFACTS", "WANDB_LOG_MODEL", "WANDB_WATCH")
"""Variables by which the callbacks would also send checkpoints or gradients."""
WITHOUT_THE_MACHINE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_RUN_CONTEXT": json.dumps({"mlflow.source.name": "lesion-toolkit", "mlflow.user": ""}),
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}
"""What keeps paths, the command line, the user's name and the terminal's text out of the logs, whatever was set."""
UNLESS_SET = {"MLFLOW_LOGGING_LEVEL": "WARNING", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}


def check_logs(report_to: TrainingLogs) -> None:
    """Raise ModelError where the package of the training logs is missing, or would send more than numbers."""
    if report_to == "none":
        return
    for name in SENDING_WEIGHTS:
        if os.environ.get(name, "").lower() not in ("", "0", "false"):
            raise ModelError(
                "weights of a model that has learned from patients do not go into training logs",
                place=f"the environment variable {name}",
                remedy=f"unset {name}",
            )
    if not AVAILABLE[report_to]():
        raise ModelError(
            f"{report_to} is not installed, or the environment switches it off",
            place=f'[train] report_to = "{report_to}"',
            remedy=f'pip install {report_to}, or report_to = "none"',
        )


@contextmanager
def logging_into(folder: Path, report_to: TrainingLogs, model: Model) -> Generator[None]:
    """Let the callbacks that are made within the block write below `folder`, without the paths of the model.

    Nothing is sent but where the environment names a server (MLFLOW_TRACKING_URI) or asks for it (WANDB_MODE=online).
    """
    if report_to == "none":
        yield
        return
    folder.mkdir(exist_ok=True)
    _forget_paths(model)
    try:
        with _environment(folder):
            yield
            if report_to == "wandb":
                _close_wandb()
    except Exception as error:
        if type(error).__module__.partition(".")[0] != report_to:
            raise
        raise ModelError(
            f"{report_to} failed: {str(error)[:300]}",
            place=str(folder),
            remedy='put that right, or set report_to = "none"; then toolkit train --resume',
        ) from error


def _close_wandb() -> None:
    """End what the callback leaves open: the next seed would go on in it, and in its folder."""
    wandb: Any = sys.modules["wandb"]
    wandb.finish()
    wandb.teardown()


@contextmanager
def _environment(folder: Path) -> Generator[None]:
    """Set what the callbacks and their packages read of the environment, and put it back afterwards."""
    own = {"TENSORBOARD_LOGGING_DIR": str(folder), "WANDB_DIR": str(folder), **WITHOUT_THE_MACHINE}
    before = dict(os.environ)
    os.environ.update({"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", **UNLESS_SET, **before, **own})
    try:
        yield
    finally:
        for name in os.environ.keys() - before:
            del os.environ[name]
        os.environ.update(before)


def _forget_paths(model: Model) -> None:
    """Empty the paths from which a model and its parts were loaded: nothing reads them any more."""
    configs: list[Any] = [getattr(module, "config", None) for module in model.modules()]
    for config in configs:
        if hasattr(config, "_name_or_path"):
            config._name_or_path = ""  # noqa: SLF001 - the library has no other name for it
    for adapter in getattr(model, "peft_config", {}).values():
        adapter.base_model_name_or_path = ""
