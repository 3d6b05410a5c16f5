"""Whether a run's result holds outside its test set: the stages that it takes, in a row."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.photographs import degradation
from toolkit.progress import Progress, silent
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.learning_curve import (
    CURVE_PART,
    LearningCurve,
    metadata_curve,
    own_curve,
    plain_curve,
    subset_sizes,
)
from toolkit.stages.next_batch import next_batch
from toolkit.stages.predict import predict
from toolkit.stages.report.learning_curve_page import learning_curve_page
from toolkit.stages.report.next_batch_page import next_batch_page
from toolkit.stages.train import train
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


def learning_curve(  # noqa: PLR0913 - the inputs of several stages
    workspace: Workspace,
    study: Study,
    *,
    study_folder: Path,
    model: Literal["plain", "metadata", "study"] = "plain",
    split_id: str = "latest",
    more: Sequence[int] = (),
    device: str | None = None,
    progress: Progress = silent,
) -> Iterator[Any]:
    """Measure a learning curve on the validation set and write its page; yield both results."""
    if model == "plain":
        curve = plain_curve(workspace, study, split_id=split_id, more=more, progress=progress)
    elif model == "metadata":
        curve = metadata_curve(workspace, study, split_id=split_id, more=more, progress=progress)
    else:
        curve = _curve_of_runs(
            workspace, study, study_folder, split_id=split_id, more=more, device=device, progress=progress
        )
    yield curve
    yield learning_curve_page(workspace, study, asdict(curve), progress=progress)


def _curve_of_runs(  # noqa: PLR0913 - as above
    workspace: Workspace,
    study: Study,
    folder: Path,
    *,
    split_id: str,
    more: Sequence[int],
    device: str | None,
    progress: Progress,
) -> LearningCurve:
    """Train the study's model on all training patients and on fewer, each a run; what is complete is not done again."""
    where: dict[str, Any] = {"study_folder": folder, "split_id": split_id, "device": device, "resume": True}
    whole = train(workspace, study, **where, progress=progress)
    runs = {whole.train_patients: whole.run_id}
    for size in subset_sizes(whole.train_patients, place=f"split {whole.split_id}")[:-1]:
        runs[size] = train(workspace, study, **where, patients=size, progress=progress).run_id
    for run_id in runs.values():
        predict(workspace, study, run=run_id, parts=(CURVE_PART,), device=device, progress=progress)
        evaluate(workspace, study, run=run_id, progress=progress)
    return own_curve(workspace, study, runs, run_id=whole.run_id, part=CURVE_PART, more=more)


def next_batch_with_page(
    workspace: Workspace, study: Study, *, run: str = "latest", cases: int = 50, progress: Progress = silent
) -> Iterator[Any]:
    """Choose what to label next, and write its page; yield both results."""
    batch = next_batch(workspace, run=run, cases=cases, progress=progress)
    yield batch
    yield next_batch_page(workspace, study, asdict(batch), progress=progress)
