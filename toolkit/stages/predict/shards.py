"""The shards of a prediction: some hundred cases each, scored in batches and written as one file."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.files import write_parquet
from toolkit.manifest import Study
from toolkit.models.backend import Backend
from toolkit.photographs.crops import batches, dihedral
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
    for photographs in batches(crops, study.predict.batch_size):
        batch = list(islice(numbers, len(photographs)))
        prompts = [shard.prompts[n] for n in batch]
        tta = [
            model.log_likelihoods(np.stack([dihedral(p, variant) for p in photographs]), prompts, texts)
            for variant in range(study.predict.views)
        ]
        generated = model.generate(photographs, prompts) if study.predict.generate else [None] * len(batch)
        rows = []
        for n, columns, text in zip(batch, predicted(np.stack(tta), task.answers, lengths), generated, strict=True):
            key = {"run_id": task.run_id, "part": shard.part, "case_id": shard.cases[n].case.case_id}
            class_name = None if text is None else study.class_of(text.strip(" .\"'"))
            rows.append({**key, **columns, "generated": text, "generated_class": class_name})
        yield rows
