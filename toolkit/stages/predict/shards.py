"""The shards of a prediction: some hundred cases each, scored in batches and written as one file."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.files import write_parquet
from toolkit.manifest import Study
from toolkit.manifest.model import PredictSection
from toolkit.models.backend import Backend, kept_by
from toolkit.photographs.crops import Crops, Photographs, batches
from toolkit.photographs.undecoded import Crop, UndecodedCrops, turned
from toolkit.prompts import ablation
from toolkit.prompts.ablation import AblatedCase, ImageBlindBackend
from toolkit.prompts.answers import Answers, predicted
from toolkit.workspace.registry import table_schema
from toolkit.workspace.runs import RunRecord


class Task(NamedTuple):
    """What is predicted: the trained run, and the study, answers and input ablation for it."""

    record: RunRecord
    run_id: str
    """With an input ablation, the predictions are a run of their own."""
    study: Study
    answers: Answers
    control: str | None


class Shard(NamedTuple):
    """Some cases of a part with their prompts, and the file of their predictions."""

    part: str
    cases: list[AblatedCase]
    prompts: list[str]
    path: Path


def score_shard(model: Backend | ImageBlindBackend, task: Task, shard: Shard) -> Iterator[int]:
    """Score one shard, yielding the size of each batch when it is done; its file appears at the end, or not at all."""
    rows: list[dict[str, Any]] = []
    for batch in scored_batches(model, task, shard):
        rows += batch
        yield len(batch)
    write_parquet(shard.path, pa.Table.from_pylist(rows, schema=table_schema("predictions")))


def scored_batches(model: Backend | ImageBlindBackend, task: Task, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each batch of a shard."""
    study, texts = task.study, task.answers.texts
    sources = [each.source for each in shard.cases]
    crops = ablation.photographs(task.control, sources, study.model, size=model.input_size, seed=study.study.seed)
    lengths = model.answer_lengths(texts)
    numbers = iter(range(len(shard.cases)))
    for photographs in _batches(model, crops, study.predict):
        batch = list(islice(numbers, len(photographs)))
        prompts = [shard.prompts[n] for n in batch]
        tta = [
            model.log_likelihoods(_turned(photographs, variant), prompts, texts)
            for variant in range(study.predict.views)
        ]
        generated = model.generate(photographs, prompts) if study.predict.generate else [None] * len(batch)
        rows = []
        for n, columns, text in zip(batch, predicted(np.stack(tta), task.answers, lengths), generated, strict=True):
            key = {"run_id": task.run_id, "part": shard.part, "case_id": shard.cases[n].case.case_id}
            class_name = None if text is None else study.class_of(text.strip(" .\"'"))
            rows.append({**key, **columns, "generated": text, "generated_class": class_name})
        yield rows


def _batches(model: Backend | ImageBlindBackend, photographs: Photographs, predicting: PredictSection) -> Iterator[Any]:
    """Yield photographs by batches: decoded for a model that keeps nothing of them, as crops for one that does."""
    kept = kept_by(model)
    if kept is None or not isinstance(photographs, Crops):
        return batches(photographs, predicting.batch_size)
    return UndecodedCrops(photographs).batches(predicting.batch_size, kept, predicting.views)


def _turned(photographs: list[Crop] | np.ndarray, variant: int) -> Any:
    """Return a batch in one of the eight orientations."""
    each = [turned(photograph, variant) for photograph in photographs]
    return each if isinstance(photographs, list) else np.stack(each)
