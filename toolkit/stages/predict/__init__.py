"""Prediction: the exact probability of every class for each case of a part, written as Parquet and mirrored in tables.

Work is done in shards of some hundred cases; a rerun computes only the shards that are missing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from toolkit.errors import ModelError, WorkspaceError
from toolkit.files import read_parquet, short_id
from toolkit.manifest import Study, determined
from toolkit.models import backend
from toolkit.models.backend import Backend
from toolkit.models.processes import this_process
from toolkit.photographs import degradation
from toolkit.progress import Progress, silent
from toolkit.prompts import ablation
from toolkit.prompts.ablation import AblatedCase, ImageBlindBackend
from toolkit.prompts.answers import answers_of
from toolkit.prompts.prompt import prompts_of, prompts_without_metadata
from toolkit.stages.predict import external, plain_control
from toolkit.stages.predict.shards import Shard, Task, score_shard
from toolkit.stages.predict.unchanged import changes_at_0, first_unchecked
from toolkit.workspace import sql
from toolkit.workspace.locks import beside_others
from toolkit.workspace.others import check_checkpoint_of_others
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.runs import (
    PLAIN_CONTROL,
    UNLABELLED,
    PartCase,
    PredictedPart,
    RunRecord,
    check_checkpoint,
    find_run,
    part_cases,
    predicted_parts,
    read_run,
    record_predictions,
)
from toolkit.workspace.shared_disk import wait_for_files
from toolkit.workspace.verification import check_record

PARTS = ("validation", "test")
SHARD = 256
"""Cases per Parquet file: what an interruption can cost."""


class PartWork(NamedTuple):
    """The shards of one part, and what is left out of it."""

    shards: list[Shard]
    left_out: int
    values_left_out: int
    unmapped: Counter[str]


@dataclass(frozen=True)
class Predicted:
    """How many cases of each part were predicted, how many of them now, and what a reader has to know about them."""

    run_id: str
    cases: dict[str, int]
    scored_now: int
    mean_label_mass: float
    flipped: int
    """Cases whose class would be another one if log-likelihoods were divided by the length of the answer."""
    unparseable: int | None
    """Cases whose generated text names no class; None where no text was generated."""
    control: str | None = None
    control_of: str | None = None
    left_out: int = 0
    """Cases without a ROI, which the input ablation `border` and degraded boxes cannot use."""
    unchanged: float | None = None
    """With degraded photographs: the largest difference of a probability from the run's own at level 0."""
    values_left_out: int = 0
    """Metadata values that are left out of the prompt because they name a class."""
    scores_are_older: bool = False
    """Whether the run was scored before some of these predictions were made."""
    external_of: str | None = None
    """The run of another workspace that this is."""
    unmapped: dict[str, int] = field(default_factory=dict)
    """Cases left out because the run was not trained on their class, by class."""
    patients_compared: bool | None = None
    """Whether patients could be compared with those the run was trained on; None for a run of this workspace."""
    unknown_there: int = 0
    """Cases that it was trained on without a digest of their photograph, or that were withdrawn there since."""


def predict(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    *,
    run: str = "latest",
    parts: tuple[str, ...] | None = None,
    control: str | None = None,
    device: str | None = None,
    progress: Progress = silent,
) -> Predicted:
    """Score every class's answer for each case of the parts; write Parquet, then mirror it in the registry.

    With a `control` (an input ablation) the photographs are replaced, and the predictions are a run of their own; the
    control `plain` is another model, fitted on plain features of the run's training set, and one like `blur:2` are the
    run's predictions on degraded photographs.
    `run` may be the folder of another workspace's run: then it is recorded here, and the part is external, or test
    where the newest split has no such part.
    Of several processes each scores its share of the shards, and the first mirrors them all.
    """
    if (of := plain_control.asked_for(workspace, run, control)) is not None:
        return _predict_plainly(workspace, study, of, parts or PARTS, progress)
    process = this_process()
    with process.first_alone():
        task = _task(workspace, study, run, control)
    lock = beside_others(workspace.folder, f"run-{task.run_id}", "predict", progress=progress)
    with process.together_in(workspace.folder, lock):
        return _predict(workspace, task, parts, device, progress)


def _predict(
    workspace: Workspace, task: "Task", parts: tuple[str, ...] | None, device: str | None, progress: Progress
) -> Predicted:
    process = this_process()
    check_record(workspace, task.record)
    parts = external.parts_of(workspace, task.record, parts) if task.record.external_of else parts or PARTS
    work = [_work(workspace, task, part, part_cases(workspace, task.record.split_id, part)) for part in parts]
    shards = [shard for each in work for shard in each.shards]
    missing, changes = {shard.path for shard in shards if not shard.path.exists()}, dict[str, float]()
    unchecked = first_unchecked(workspace, task, shards, missing) if process.is_first else []
    process.wait_for_others()  # until all have read the registry and seen what is missing
    waiting = [shard for shard in process.share(shards) if shard.path in missing]
    if waiting or unchecked:
        loaded = _loaded(workspace, task, device)
        model = ImageBlindBackend(loaded) if task.control in ablation.BLIND else loaded
        changes = changes_at_0(workspace, model, task, unchecked if process.is_first else waiting)
        done, total = 0, sum(len(shard.cases) for shard in waiting)
        for shard in waiting:
            for scored in score_shard(model, task, shard):
                done += scored
                progress("predicting", done, total)
    process.wait_for_others()
    if process.is_first:
        wait_for_files(missing)
        files = {part: [shard.path for shard in shards if shard.part == part] for part in parts}
        known = {part: made.unchanged for part, made in predicted_parts(workspace, task.run_id).items()} | changes
        _mirror(workspace, task.run_id, files, {each.shards[0].part: _made(task, each, known) for each in work})
    process.wait_for_others()  # while one writes to the registry nobody can read it
    scored_now = sum(len(shard.cases) for shard in shards if shard.path in missing)
    return _summary(workspace, task, work, scored_now=scored_now)


def _predict_plainly(
    workspace: Workspace, study: Study, of: RunRecord, parts: tuple[str, ...], progress: Progress
) -> Predicted:
    process = this_process()
    lock = beside_others(workspace.folder, f"run-{of.run_id}-{PLAIN_CONTROL}", "predict", progress=progress)
    with process.together_in(workspace.folder, lock), process.first_alone():
        done = plain_control.predictions(workspace, study, of, parts, progress)
        if process.is_first:
            _mirror(workspace, done.run_id, {part: [path] for part, path in done.files.items()}, done.made)
    key = {"run_id": done.run_id, "parts": "\x1f".join(done.files)}
    counts = workspace.rows(sql.statement("predict/summary"), key)[0]
    scored_before = counts.pop("scored")
    return Predicted(
        run_id=done.run_id,
        cases=done.cases,
        scored_now=done.predicted_now,
        **counts,
        control=PLAIN_CONTROL,
        control_of=of.run_id,
        scores_are_older=done.predicted_now > 0 and scored_before,
    )


def _task(workspace: Workspace, study: Study, run: str, control: str | None) -> Task:
    """Return what to predict: an external run as it was trained, any other as the study says today.

    An external run and an input ablation are recorded here.
    """
    if (Path(run) / "run.json").is_file():
        record = external.bring(workspace, Path(run), study)
    else:
        record = read_run(workspace, find_run(workspace, run))
    if record.source:
        raise ModelError(
            f"the predictions of run {record.run_id} were read from a file: there is no model here to predict with",
            place=str(workspace.run(record.run_id)),
            remedy="toolkit predict --from FILE --model-name NAME reads such a file",
        )
    if record.control_of and not record.was_trained:
        control, record = control or record.control, read_run(workspace, record.control_of)
    if record.external_of:
        study, answers = external.as_trained(study, record)
    else:
        _check_study(study, record)
        answers = answers_of(study)
    if control is None:
        return Task(record, record.run_id, study, answers, control)
    ablation.check(control, study)
    return Task(record, ablation.record(workspace, record, control), study, answers, control)


def _check_study(study: Study, record: RunRecord) -> None:
    """Refuse a run that was trained on other classes, with another prompt or other crops than the study has now."""
    today, then = study.determining(), determined(record.study)
    if changed := [section for section in ("classes", "prompt", "model") if then[section] != today[section]]:
        raise ModelError(
            f"run {record.run_id} was trained with another [{'], ['.join(changed)}] than the study has now",
            place="the study file",
            remedy="toolkit train trains a run for the study as it is now",
        )


def _work(workspace: Workspace, task: Task, part: str, cases: list[PartCase]) -> PartWork:
    """Return the shards of a part. The reference diagnosis is used only to leave out classes that the run lacks."""
    lacking = [name for n, name in enumerate(task.answers.classes) if n not in task.answers.class_of]
    known = [case for case in cases if case.class_name not in lacking]
    ablated = ablation.ablated_cases(task.control, known, seed=task.study.study.seed) if known else []
    if not ablated:
        raise WorkspaceError(
            f"no case of part {part} can be predicted",
            place=f"run {task.run_id}",
            remedy="use another input ablation or another run",
        )
    ids = [each.case.case_id for each in ablated]
    if task.control == "blank":
        prompts = prompts_without_metadata(task.study, ids)
    else:
        prompts = prompts_of(workspace, task.study, ids, strict=not task.record.external_of)
    return PartWork(
        _shards(workspace.run(task.run_id), task, part, ablated, prompts.texts),
        len(known) - len(ablated),
        prompts.left_out,
        Counter(case.class_name for case in cases if case.class_name in lacking),
    )


def _shards(folder: Path, task: Task, part: str, cases: list[AblatedCase], prompts: list[str]) -> list[Shard]:
    """Cut a part into shards; a file's name holds a digest of all inputs, so that an outdated file is not taken.

    Earlier versions did not count the photographs' bytes among the inputs: their files are taken as they are.
    """
    settings: list[Any] = [task.answers, task.study.predict.views, task.study.predict.generate]
    if degradation.named(task.control):
        settings += [degradation.VERSION, task.study.study.seed]
    shards = []
    for start in range(0, len(cases), SHARD):
        some, texts = cases[start : start + SHARD], prompts[start : start + SHARD]
        sources = [[each.case.case_id, each.source.case_id, each.source.roi] for each in some]
        seen = [] if task.control in ablation.BLIND else [each.source.sha256 for each in some]
        digests = [short_id([sources, texts, settings, *more]) for more in ([seen], [])]
        path, earlier = (folder / "predictions" / f"{part}-{start // SHARD:05}-{one}.parquet" for one in digests)
        shards.append(Shard(part, some, texts, earlier if earlier.exists() else path))
    return shards


def _loaded(workspace: Workspace, task: Task, device: str | None) -> Backend:
    """Load a run's checkpoint in the precision that it was trained in."""
    record = task.record
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to predict

    trained, checkpoint = record.study, _checkpoint(workspace, record)
    if record.external_of:
        check_checkpoint_of_others(checkpoint, record)
    else:
        check_checkpoint(checkpoint, record)
    model = backend(trained["model"]["backend"]).load(
        str(checkpoint),
        device=pick_device(device),
        mode=trained["train"]["mode"],
        dtype=trained["model"]["dtype"],
    )
    if degradation.named(task.control) is None:  # nobody asks for those of degraded photographs again
        model.keep_features(workspace.features, gigabytes=task.study.features.gigabytes)
    return model


def _checkpoint(workspace: Workspace, record: RunRecord) -> Path:
    path = Path(record.checkpoint or workspace.run(record.run_id) / "checkpoint")
    if not path.is_dir():
        remedy = (
            "put it back" if record.external_of else f"restore it, or move runs/{record.run_id} away and train again"
        )
        raise ModelError(f"the checkpoint of run {record.run_id} is gone", place=str(path), remedy=remedy)
    return path


def _made(task: Task, work: PartWork, changes: Mapping[str, float | None]) -> PredictedPart:
    answers, predicting = task.answers, task.study.predict
    classes = [answers.classes[number] if number >= 0 else None for number in answers.class_of]
    return PredictedPart(
        views=predicting.views,
        generate=predicting.generate,
        answers=list(zip(answers.texts, classes, strict=True)),
        unmapped=dict(work.unmapped),
        without_box=work.left_out,
        values_left_out=work.values_left_out,
        unchanged=changes.get(work.shards[0].part),
    )


def _mirror(workspace: Workspace, run_id: str, files: dict[str, list[Path]], made: dict[str, PredictedPart]) -> None:
    """Mirror the files of each part in the registry, and delete those of earlier predictions of these parts."""
    remedy = "move the file away, then run the same command again: it is made anew"
    schema = table_schema("predictions")
    tables = [read_parquet(path, remedy=remedy).cast(schema) for paths in files.values() for path in paths]
    record_predictions(workspace, run_id, {part: [path.name for path in paths] for part, paths in files.items()}, made)
    for part, paths in files.items():
        for path in (workspace.run(run_id) / "predictions").glob(f"{part}-*.parquet"):
            if path not in paths:
                path.unlink()
    with workspace.writing() as connection:
        for part in files:
            connection.execute("delete from predictions where run_id = ? and part = ?", [run_id, part])
        insert(connection, "predictions", pa.concat_tables(tables))


def _summary(workspace: Workspace, task: Task, work: list[PartWork], *, scored_now: int) -> Predicted:
    record = task.record
    cases = {each.shards[0].part: sum(len(shard.cases) for shard in each.shards) for each in work}
    counts = workspace.rows(sql.statement("predict/summary"), {"run_id": task.run_id, "parts": "\x1f".join(cases)})[0]
    scored_before = counts.pop("scored")
    changes = [made.unchanged for part, made in predicted_parts(workspace, task.run_id).items() if part in cases]
    return Predicted(
        run_id=task.run_id,
        cases=cases,
        scored_now=scored_now,
        **counts,
        control=task.control,
        control_of=record.run_id if task.control else None,
        left_out=sum(each.left_out for each in work),
        unchanged=max((change for change in changes if change is not None), default=None),
        values_left_out=sum(each.values_left_out for each in work),
        scores_are_older=scored_now > 0 and scored_before and set(cases) != {UNLABELLED},
        external_of=record.external_of,
        unmapped=dict(sum((each.unmapped for each in work), Counter())),
        patients_compared=record.leaks["patients_compared"] if record.external_of else None,
        unknown_there=record.leaks.get("unknown_there", 0),
    )
