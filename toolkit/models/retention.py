"""The checkpoints in a training's folder: which one a resume continues from, and which ones are removed."""

import re
import shutil
from pathlib import Path

from toolkit.files import read_json

STATE = "trainer_state.json"
BEST = "best_model_checkpoint"


def checkpoint_to_resume(folder: Path, *, resume: bool) -> Path | None:
    """Return the newest complete checkpoint to `resume` from; remove all others but the best one before it.

    Incomplete checkpoints and those of an earlier training are removed too.
    """
    checkpoints = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    # The trainer's state is the last file of a checkpoint.
    complete = [path for path in checkpoints if (path / STATE).is_file()] if resume else []
    newest = max(complete, key=step_of, default=None)
    for path in checkpoints:
        if path not in (newest, _best_before(newest)):
            shutil.rmtree(path)
    return newest


def step_of(checkpoint: Path) -> int:
    """Return the number of optimizer steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _best_before(checkpoint: Path | None) -> Path | None:
    """Return the checkpoint that was the best one when another was written."""
    if checkpoint is None:
        return None
    remedy = "move the run's training folder away and train again"
    best = read_json(checkpoint / STATE, remedy=remedy).get(BEST)
    return checkpoint.with_name(Path(best).name) if best else None
