"""Which checkpoints a training keeps in its folder, and from which of them it goes on.

Refuses to write them: that is the trainer's.
"""

import json
import re
import shutil
from pathlib import Path

STATE = "trainer_state.json"
BEST = "best_model_checkpoint"


def checkpoint_to_resume(folder: Path, *, resume: bool) -> Path | None:
    """Return the newest whole checkpoint, if it is to be gone on from; remove all but it and the best one before it.

    What an interrupted save or an earlier training has left goes too.
    """
    there = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    # The trainer's state is the last file of a checkpoint.
    whole = [path for path in there if (path / STATE).is_file()] if resume else []
    newest = max(whole, key=step_of, default=None)
    for path in there:
        if path not in (newest, _best_before(newest)):
            shutil.rmtree(path)
    return newest


def step_of(checkpoint: Path) -> int:
    """Return the optimizer steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _best_before(checkpoint: Path | None) -> Path | None:
    """Return the checkpoint that was the best so far when another was written."""
    if checkpoint is None:
        return None
    best = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))[BEST]
    return checkpoint.with_name(Path(best).name) if best else None
