"""Whether a run's result holds outside its test set: the stages that it takes, in a row."""

from dataclasses import dataclass
from typing import Any

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.photographs import degradation
from toolkit.progress import Progress, silent
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run
from toolkit.workspace.scores import read_scores, scored_parts


@dataclass(frozen=True)
class ComparedWithDegraded:
    """What a run loses on degraded photographs; `rows` are those asked for of the question `image_quality`."""

    run_id: str
    part: str
    unchanged: dict[str, float | None]
    """By degradation: the largest difference of a probability from the run's own at level 0."""
    left_out: int
    """Cases without a ROI, which degraded boxes cannot use."""
    rows: list[dict[str, Any]]


def compare_with_degraded(  # noqa: PLR0913 - the inputs of three stages
    workspace: Workspace,
    study: Study,
    texts: list[str],
    *,
    run: str = "latest",
    part: str | None = None,
    device: str | None = None,
    progress: Progress = silent,
) -> ComparedWithDegraded:
    """Predict a part again on degraded photographs, score it, and compare it with the run on the same cases.

    `texts` are kinds and levels such as blur:2. Without a part it is the one that people are shown first.
    """
    asked, run_id = degradation.parsed(texts), find_run(workspace, run)
    scored = scored_parts(read_scores(workspace, run_id))
    part = part or scored[0]
    if part not in scored:
        raise WorkspaceError(
            f"run {run_id} has no scores on the {part} set to compare with",
            place=str(workspace.run(run_id)),
            remedy=f"toolkit predict --run {run_id} --part {part}, then toolkit evaluate --run {run_id}",
        )
    made = {}
    for each in asked:
        made[each.name] = predict(
            workspace, study, run=run_id, parts=(part,), control=each.name, device=device, progress=progress
        )
        evaluate(workspace, study, run=made[each.name].run_id, progress=progress)
        compare(workspace, study, run_id, made[each.name].run_id, progress=progress)
    own = {result.run_id for result in made.values()}
    return ComparedWithDegraded(
        run_id=run_id,
        part=part,
        unchanged={name: result.unchanged for name, result in made.items()},
        left_out=max(result.left_out for result in made.values()),
        rows=[
            row
            for row in workspace.shipped_rows("image_quality", run=run_id, part=part)
            if row["degraded_run_id"] in own
        ],
    )
