"""The self-check of degraded photographs: at level 0 a run must give its own predictions again."""

from collections.abc import Collection, Sequence
from pathlib import Path

from toolkit.errors import ModelError, WorkspaceError
from toolkit.models.backend import Backend
from toolkit.photographs import degradation
from toolkit.prompts.ablation import ImageBlindBackend
from toolkit.stages.predict.shards import Shard, Task, scored_batches
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import predicted_parts

TOLERANCE = 1e-3
"""What a probability may differ by where another device, or other cases in a batch, round differently."""


def first_unchecked(
    workspace: Workspace, task: Task, shards: Sequence[Shard], missing: Collection[Path]
) -> list[Shard]:
    """Return the first shard of each part that the self-check has not seen whole, whichever shards are missing."""
    if degradation.named(task.control) is None:
        return []
    done = {part for part, made in predicted_parts(workspace, task.run_id).items() if made.unchanged is not None}
    open_parts = {shard.part for shard in shards if shard.path in missing or shard.part not in done}
    return list({shard.part: shard for shard in reversed(shards) if shard.part in open_parts}.values())


def changes_at_0(
    workspace: Workspace, model: Backend | ImageBlindBackend, task: Task, shards: Sequence[Shard]
) -> dict[str, float]:
    """Return by part the largest difference of a probability from the run's own, on a batch of photographs at level 0.

    Nothing where no photograph is degraded. Raises ModelError where it is more than rounding: a paired difference would
    then be one of devices.
    """
    degraded = degradation.named(task.control)
    if degraded is None:
        return {}
    at_0 = task._replace(control=degraded._replace(level=0.0).name)
    first = {shard.part: shard for shard in reversed(shards)}
    changes = {part: _change(workspace, model, at_0, shard) for part, shard in first.items()}
    if faults := [part for part, change in changes.items() if change > TOLERANCE]:
        raise ModelError(
            f"the photographs as they are do not give the predictions of run {task.record.run_id} again: a probability "
            f"on the {faults[0]} set differs by {changes[faults[0]]:.3f}",
            place=f"run {task.record.run_id}",
            remedy="predict the run on this device and with these versions: move its folder predictions/ away, then "
            f"toolkit predict --run {task.record.run_id}",
        )
    return changes


def _change(workspace: Workspace, model: Backend | ImageBlindBackend, task: Task, shard: Shard) -> float:
    some = task.study.predict.batch_size
    few = shard._replace(cases=shard.cases[:some], prompts=shard.prompts[:some])
    rows = workspace.rows(
        "select case_id, probabilities from predictions where run_id = $run_id and part = $part",
        {"run_id": task.record.run_id, "part": shard.part},
    )
    own = {row["case_id"]: dict(row["probabilities"]) for row in rows}
    if missing := [each.case.case_id for each in few.cases if each.case.case_id not in own]:
        raise WorkspaceError(
            f"run {task.record.run_id} has no prediction of {len(missing)} of these cases of the {shard.part} set",
            place=str(workspace.run(task.record.run_id)),
            remedy=f"toolkit predict --run {task.record.run_id}, then the same command again",
        )
    again = [row for batch in scored_batches(model, task, few) for row in batch]
    return max(
        abs(value - own[row["case_id"]][name]) for row in again for name, value in dict(row["probabilities"]).items()
    )
