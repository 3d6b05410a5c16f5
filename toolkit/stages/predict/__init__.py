"""How a run says what it sees: exact probabilities of every class for every case of a part.

Refuses to look at truth. Work is done in shards of Parquet; a rerun does only the shards that are missing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import ModelError, WorkspaceError
from toolkit.files import short_id, written_atomically
from toolkit.manifest import Study
from toolkit.models import backend
from toolkit.models.backend import Backend
from toolkit.models.processes import this_process
from toolkit.photographs.crops import batches, dihedral
from toolkit.progress import Progress, silent
from toolkit.prompts import ablation
from toolkit.prompts.ablation import AblatedCase, ImageBlindBackend
from toolkit.prompts.answers import Answers, answers_of, mapped_answers, predicted
from toolkit.prompts.prompt import prompts_of, silent_prompts
from toolkit.stages.predict import external
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.runs import PartCase, find_run, part_cases, read_run

PARTS = ("validation", "test")
SHARD = 256
"""Cases per Parquet file: what an interruption can cost."""
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "part", "case_id", "predicted")),
        *((name, pa.float64()) for name in ("confidence", "label_mass")),
        *((name, pa.map_(pa.string(), pa.float64())) for name in ("probabilities", "log_likelihoods", "wordings")),
        *((name, pa.string()) for name in ("normalised", "generated", "generated_class")),
    ]
)


class Task(NamedTuple):
    """What a run is asked of every case."""

    run_id: str
    study: Study
    wordings: Answers
    control: str | None
    strict: bool
    """Whether every field of the prompt must be there: another workspace may not have what a run was trained with."""


class Shard(NamedTuple):
    """Some cases of a part with their prompts, and the file their predictions go to."""

    part: str
    cases: list[AblatedCase]
    prompts: list[str]
    path: Path


@dataclass(frozen=True)
class Predicted:
    """How many cases of each part were predicted, how many of them just now, and what is to be known of them."""

    run_id: str
    cases: dict[str, int]
    scored_now: int
    mean_label_mass: float
    flipped: int
    """Cases that would be of another class if long answers were not the less probable for it."""
    unparseable: int | None
    """Cases whose freely generated text names no class; None where none was asked for."""
    control: str | None = None
    control_of: str | None = None
    left_out: int = 0
    """Cases of which the control can show nothing."""
    values_left_out: int = 0
    """Values of metadata that name a class and do not stand in the prompt."""
    scores_are_older: bool = False
    """Whether the run was scored before some of these predictions were made."""
    external_of: str | None = None
    """The run of another workspace that this is."""
    unmapped: dict[str, int] = field(default_factory=dict)
    """Cases left out since the run does not know their class, by class."""
    patients_compared: bool | None = None
    """Whether it could be seen that the run knows none of the patients; None for a run of this workspace."""


class _Work(NamedTuple):
    shards: list[Shard]
    left_out: int
    values_left_out: int
    unmapped: dict[str, int]


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

    With a `control`, or for a control run, the photographs are replaced: a run of its own, beside the one it controls.
    `run` may be the folder of another workspace's run: then the part is external, and the run is recorded here.
    Of several processes each scores its share of the shards, and the first mirrors them all.
    """
    process = this_process()
    with process.first_alone():
        facts, task = _asked(workspace, study, run, control)
    work = _Work([], 0, 0, {})
    for part in parts or ((external.PART,) if "external_of" in facts else PARTS):
        work = _more(work, workspace, task, part, part_cases(workspace, facts["split_id"], part))
    missing = {shard.path for shard in work.shards if not shard.path.exists()}
    process.wait_for_others()  # until all have read the registry and seen what is missing
    waiting = [shard for shard in process.share(work.shards) if shard.path in missing]
    if waiting:
        learner = _learner(workspace, study, facts, device)
        shown = ImageBlindBackend(learner) if task.control in ablation.BLIND else learner
        done, total = 0, sum(len(shard.cases) for shard in waiting)
        for shard in waiting:
            for scored in score_shard(shown, task, shard):
                done += scored
                progress("predicting", done, total)
    process.wait_for_others()
    if process.is_first:
        _record(workspace, task.run_id, work.shards)
    process.wait_for_others()  # while one writes to the registry nobody can read it
    scored_now = sum(len(shard.cases) for shard in work.shards if shard.path in missing)
    return _summary(workspace, task, facts, work, scored_now=scored_now)


def _asked(workspace: Workspace, study: Study, run: str, control: str | None) -> tuple[dict[str, Any], Task]:
    """Return what a run recorded of itself, and what it is asked; a control or a run from elsewhere is recorded."""
    if external.is_folder(run):
        facts = external.bring(workspace, Path(run))
    else:
        facts = read_run(workspace, find_run(workspace, run))
    if facts.get("control"):
        control, facts = control or facts["control"], read_run(workspace, facts["control_of"])
    return facts, _task(workspace, study, facts, control)


def _learner(workspace: Workspace, study: Study, facts: dict[str, Any], device: str | None) -> Backend:
    """Load a run's checkpoint in the precision that it was trained in."""
    trained = facts["study"]
    loaded = backend(trained["model"]["backend"]).load(
        str(_checkpoint(workspace, facts)),
        device=_device(device),
        mode=trained["train"]["mode"],
        dtype=trained["model"]["dtype"],
    )
    loaded.keep_features(workspace.features, gigabytes=study.features.gigabytes)
    return loaded


def _task(workspace: Workspace, study: Study, facts: dict[str, Any], control: str | None) -> Task:
    """Return what is asked: of a run from elsewhere as it was trained, of one of this study as the study says today."""
    if "external_of" in facts:
        said = external.classes_of(facts)
        meaning = external.meaning(study, said)
        asked = external.asked_as(study, facts)
        task = Task(facts["run_id"], asked, mapped_answers(study.class_names, said, meaning), control, strict=False)
    else:
        _check_study(study, facts)
        task = Task(facts["run_id"], study, answers_of(study), control, strict=True)
    if control is None:
        return task
    ablation.check(control, task.study)
    return task._replace(run_id=ablation.record(workspace, facts, control))


def _check_study(study: Study, facts: dict[str, Any]) -> None:
    """Refuse a run that was trained on other classes, with another prompt or other crops than the study has now."""
    today, then = study.determining(), facts["study"]
    then = {**then, "classes": [{k: v for k, v in c.items() if k != "answers"} for c in then["classes"]]}
    if changed := [section for section in ("classes", "prompt", "model") if then[section] != today[section]]:
        raise ModelError(
            f"run {facts['run_id']} was trained with another [{'], ['.join(changed)}] than the study has now",
            place="the study file",
            remedy="toolkit train makes a run for the study as it is",
        )


def _more(work: _Work, workspace: Workspace, task: Task, part: str, cases: list[PartCase]) -> _Work:
    """Add a part's shards to the work. Truth is looked at only to leave out classes that a run from elsewhere lacks."""
    lacking = [name for n, name in enumerate(task.wordings.classes) if n not in task.wordings.class_of]
    counted = Counter(case.class_name for case in cases if case.class_name in lacking)
    known = [case for case in cases if case.class_name not in lacking]
    shown = ablation.ablated_cases(task.control, known, seed=task.study.study.seed) if known else []
    if not shown:
        raise WorkspaceError(
            f"no case of part {part} can be shown", place=f"run {task.run_id}", remedy="use another control or run"
        )
    ids = [each.case.case_id for each in shown]
    if task.control == "blank":
        prompts = silent_prompts(task.study, ids)
    else:
        prompts = prompts_of(workspace, task.study, ids, strict=task.strict)
    shards = _shards(workspace.run(task.run_id), task, part, shown, prompts.texts)
    return _Work(
        [*work.shards, *shards],
        work.left_out + len(known) - len(shown),
        work.values_left_out + prompts.left_out,
        dict(Counter(work.unmapped) + counted),
    )


def score_shard(learner: Backend | ImageBlindBackend, task: Task, shard: Shard) -> Iterator[int]:
    """Score one shard, yielding the size of each batch when it is done; its file appears at the end, or not at all."""
    study, texts = task.study, task.wordings.texts
    sources = [each.source for each in shard.cases]
    crops = ablation.photographs(task.control, sources, margin=study.model.roi_margin, size=learner.input_size)
    lengths = learner.answer_lengths(texts)
    rows = []
    places = iter(range(len(shard.cases)))
    for photographs in batches(crops, study.predict.batch_size):
        batch = list(islice(places, len(photographs)))
        prompts = [shard.prompts[n] for n in batch]
        views = [
            learner.log_likelihoods(np.stack([dihedral(p, view) for p in photographs]), prompts, texts)
            for view in range(study.predict.views)
        ]
        said = predicted(np.stack(views), task.wordings, lengths)
        freely = learner.generate(photographs, prompts) if study.predict.generate else [None] * len(batch)
        for n, columns, text in zip(batch, said, freely, strict=True):
            named = {"run_id": task.run_id, "part": shard.part, "case_id": shard.cases[n].case.case_id}
            class_name = None if text is None else study.class_of(text.strip(" .\"'"))
            rows.append({**named, **columns, "generated": text, "generated_class": class_name})
        yield len(batch)
    with written_atomically(shard.path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def _shards(folder: Path, task: Task, part: str, cases: list[AblatedCase], prompts: list[str]) -> list[Shard]:
    """Cut a part into shards; a file's name holds a digest of all that is asked, so that a stale one is not taken."""
    settings = [task.wordings, task.study.predict.views, task.study.predict.generate]
    shards = []
    for start in range(0, len(cases), SHARD):
        piece, asked = cases[start : start + SHARD], prompts[start : start + SHARD]
        seen = [[each.case.case_id, each.source.case_id, each.source.roi] for each in piece]
        digest = short_id([seen, asked, settings])
        path = folder / "predictions" / f"{part}-{start // SHARD:05}-{digest}.parquet"
        shards.append(Shard(part, piece, asked, path))
    return shards


def _summary(workspace: Workspace, task: Task, facts: dict[str, Any], work: _Work, *, scored_now: int) -> Predicted:
    cases: dict[str, int] = {}
    for shard in work.shards:
        cases[shard.part] = cases.get(shard.part, 0) + len(shard.cases)
    found = workspace.rows(sql.statement("predict/summary"), {"run_id": task.run_id, "parts": "\x1f".join(cases)})[0]
    scored = found.pop("scored")
    return Predicted(
        run_id=task.run_id,
        cases=cases,
        scored_now=scored_now,
        **found,
        control=task.control,
        control_of=facts["run_id"] if task.control else None,
        left_out=work.left_out,
        values_left_out=work.values_left_out,
        scores_are_older=scored_now > 0 and scored,
        external_of=facts.get("external_of"),
        unmapped=work.unmapped,
        patients_compared=facts["leaks"]["patients_compared"] if "external_of" in facts else None,
    )


def _checkpoint(workspace: Workspace, facts: dict[str, Any]) -> Path:
    path = Path(facts.get("checkpoint") or workspace.run(facts["run_id"]) / "checkpoint")
    if not path.is_dir():
        then = "put it back" if "external_of" in facts else f"delete runs/{facts['run_id']} and train again"
        raise ModelError(f"the checkpoint of run {facts['run_id']} is gone", place=str(path), remedy=then)
    return path


def _device(flag: str | None) -> str:
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to predict

    return pick_device(flag)


def _record(workspace: Workspace, run_id: str, shards: list[Shard]) -> None:
    """Mirror the shards in the registry, and delete files that are none of them."""
    current = {shard.path for shard in shards}
    for part in {shard.part for shard in shards}:
        for path in (workspace.run(run_id) / "predictions").glob(f"{part}-*.parquet"):
            if path not in current:
                path.unlink()
    table = pa.concat_tables([pq.read_table(shard.path, schema=SCHEMA) for shard in shards])
    with workspace.writing() as connection:
        for part in {shard.part for shard in shards}:
            connection.execute("delete from predictions where run_id = ? and part = ?", [run_id, part])
        insert(connection, "predictions", table)
