"""Knows how a run says what it sees: exact probabilities of every class for every case of a part.

Refuses to look at truth. Work is done in shards of Parquet; a rerun does only the shards that are missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import ModelError
from toolkit.files import short_id, written_atomically
from toolkit.images import batches
from toolkit.manifest import Study
from toolkit.models import backend
from toolkit.models.backend import Backend, probabilities
from toolkit.models.processes import this_process
from toolkit.progress import Progress, silent
from toolkit.prompts import prompt_of
from toolkit.registry import Workspace, insert
from toolkit.runs import PartCase, crops_of, find_run, part_cases, read_run

PARTS = ("validation", "test")
SHARD = 256
"""Cases per Parquet file: what an interruption can cost."""
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "part", "case_id", "predicted")),
        *((name, pa.float64()) for name in ("confidence", "label_mass")),
        *((name, pa.map_(pa.string(), pa.float64())) for name in ("probabilities", "log_likelihoods")),
    ]
)


class Shard(NamedTuple):
    """Some cases of a part, and the file their predictions go to."""

    part: str
    cases: list[PartCase]
    path: Path


@dataclass(frozen=True)
class Predicted:
    """How many cases of each part were predicted, and how many of them just now."""

    run_id: str
    cases: dict[str, int]
    scored_now: int
    mean_label_mass: float


def predict(
    workspace: Workspace,
    study: Study,
    *,
    run: str = "latest",
    parts: tuple[str, ...] = PARTS,
    device: str | None = None,
    progress: Progress = silent,
) -> Predicted:
    """Score every class's answer for each case of the parts; write Parquet, then mirror it in the registry.

    Of several processes each scores its share of the shards, and the first mirrors them all.
    """
    process = this_process()
    run_id = find_run(workspace, run)
    facts = read_run(workspace, run_id)
    _check_study(study, facts)
    cases = {part: part_cases(workspace, facts["split_id"], part) for part in parts}
    shards = [shard for part in parts for shard in _shards(workspace.run(run_id), part, cases[part])]
    missing = {shard.path for shard in shards if not shard.path.exists()}
    process.wait_for_others()  # until all have read the registry and seen what is missing
    waiting = [shard for shard in process.share(shards) if shard.path in missing]
    trained = facts["study"]["train"]["mode"]
    learner = backend(study.model.backend).load(
        str(_checkpoint(workspace, run_id)), device=_device(device), mode=trained, dtype=study.model.dtype
    )
    learner.keep_features(workspace.features, gigabytes=study.features.gigabytes)
    done, total = 0, sum(len(shard.cases) for shard in waiting)
    for shard in waiting:
        for scored in score_shard(learner, study, run_id, shard):
            done += scored
            progress("predicting", done, total)
    process.wait_for_others()
    if process.is_first:
        _record(workspace, run_id, shards)
    process.wait_for_others()  # while one writes to the registry nobody can read it
    mass = workspace.rows("select avg(label_mass) as mass from predictions where run_id = $run_id", {"run_id": run_id})
    scored_now = sum(len(shard.cases) for shard in shards if shard.path in missing)
    return Predicted(run_id, {part: len(cases[part]) for part in parts}, scored_now, float(mass[0]["mass"]))


def _check_study(study: Study, facts: dict[str, Any]) -> None:
    """Refuse a run that was trained on other classes, with another prompt or other crops than the study has now."""
    today = study.model_dump(mode="json")
    if changed := [section for section in ("classes", "prompt", "model") if facts["study"][section] != today[section]]:
        raise ModelError(
            f"run {facts['run_id']} was trained with another [{'], ['.join(changed)}] than the study has now",
            place="the study file",
            remedy="toolkit train makes a run for the study as it is",
        )


def score_shard(learner: Backend, study: Study, run_id: str, shard: Shard) -> Iterator[int]:
    """Score one shard, yielding the size of each batch when it is done; its file appears at the end, or not at all."""
    crops = crops_of(shard.cases, margin=study.model.roi_margin, size=learner.input_size)
    size = study.predict.batch_size
    rows = []
    for start, photographs in zip(range(0, len(shard.cases), size), batches(crops, size), strict=True):
        batch = shard.cases[start : start + size]
        likelihoods = learner.log_likelihoods(photographs, [prompt_of(study.prompt)] * len(batch), study.answers)
        chances = probabilities(likelihoods)
        for number, case in enumerate(batch):
            values = chances.values[number]
            best = int(values.argmax())
            rows.append(
                {
                    "run_id": run_id,
                    "part": shard.part,
                    "case_id": case.case_id,
                    "predicted": study.class_names[best],
                    "confidence": float(values[best]),
                    "label_mass": float(chances.label_mass[number]),
                    "probabilities": list(zip(study.class_names, map(float, values), strict=True)),
                    "log_likelihoods": list(zip(study.class_names, map(float, likelihoods[number]), strict=True)),
                }
            )
        yield len(batch)
    with written_atomically(shard.path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def _shards(folder: Path, part: str, cases: list[PartCase]) -> list[Shard]:
    """Cut a part into shards; a file's name holds a digest of its cases and ROIs, so that a stale one is not taken."""
    shards = []
    for start in range(0, len(cases), SHARD):
        piece = cases[start : start + SHARD]
        digest = short_id([[case.case_id, case.roi] for case in piece])
        shards.append(Shard(part, piece, folder / "predictions" / f"{part}-{start // SHARD:05}-{digest}.parquet"))
    return shards


def _checkpoint(workspace: Workspace, run_id: str) -> Path:
    path = workspace.run(run_id) / "checkpoint"
    if not path.is_dir():
        raise ModelError(
            f"the checkpoint of run {run_id} is gone", place=str(path), remedy=f"delete runs/{run_id} and train again"
        )
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
