"""Knows how InstructBLIP is trained with the Trainer of transformers, and resumed after an interruption.

Refuses to know runs, registries and studies: examples come in, a trained model and its epochs go out.
"""

import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    EvalPrediction,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)

from toolkit.images import DIHEDRAL, dihedral
from toolkit.manifest import TrainSection
from toolkit.metrics import macro_metrics
from toolkit.models.backend import Epoch, Examples, probabilities
from toolkit.models.guards import check_finite, check_head
from toolkit.models.inputs import Inputs, Tensors
from toolkit.models.library import Model, quiet
from toolkit.models.scoring import Trie, build_trie, log_likelihoods
from toolkit.progress import Progress

EVAL_BATCH = 32
EVAL_PREFIX = "eval_"
VALIDATION_LOSS = f"{EVAL_PREFIX}validation_loss"


class Example(NamedTuple):
    """One case of a batch to be."""

    photograph: np.ndarray
    prompt: str
    class_index: int


class Cases(Dataset):
    """Examples one by one; with a seed, each laid in one of eight ways, drawn anew for every epoch."""

    def __init__(self, examples: Examples, *, augment_seed: int | None = None) -> None:
        self.examples = examples
        self.augment_seed = augment_seed
        self.variants = np.zeros(len(self), dtype=int)

    def draw_variants(self, epoch: int) -> None:
        """Draw the variants of an epoch: they depend on nothing else, so a resumed training sees the same."""
        if self.augment_seed is not None:
            self.variants = np.random.default_rng([self.augment_seed, epoch]).integers(DIHEDRAL, size=len(self))

    def __len__(self) -> int:
        return len(self.examples.prompts)

    def __getitem__(self, index: int) -> Example:
        photograph = dihedral(self.examples.photographs[index], int(self.variants[index]))
        return Example(photograph, self.examples.prompts[index], int(self.examples.classes[index]))


class Collator:
    """Turns cases into a batch: photographs and prompts as inputs, the tokens of the true answers as labels."""

    def __init__(self, inputs: Inputs, answer_tokens: Sequence[list[int]]) -> None:
        self.inputs = inputs
        self.answer_tokens = answer_tokens

    def __call__(self, batch: Sequence[Example]) -> Tensors:
        """Return the model's inputs with `labels`, and the `classes` that an evaluation needs."""
        tensors = self.inputs([case.photograph for case in batch], [case.prompt for case in batch])
        classes = [case.class_index for case in batch]
        labels = self.inputs.labels([self.answer_tokens[index] for index in classes])
        return {**tensors, "labels": labels, "classes": torch.tensor(classes)}


class LabelTrainer(Seq2SeqTrainer):
    """A trainer that evaluates by the exact probability of every answer instead of by generated text."""

    def __init__(self, *args: Any, trie: Trie, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trie = trie

    def compute_loss(self, model: torch.nn.Module, inputs: Tensors, *args: Any, **kwargs: Any) -> Any:
        """Leave out what only the evaluation needs."""
        return super().compute_loss(model, {k: v for k, v in inputs.items() if k != "classes"}, *args, **kwargs)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Tensors,
        prediction_loss_only: bool,  # noqa: ARG002, FBT001 the signature is the library's
        ignore_keys: list[str] | None = None,  # noqa: ARG002 the same
        **_: Any,
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return (B, C) log-likelihoods and the true classes.

        The library's own would generate, run a second forward, and gather the outputs of every vision layer.
        """
        inputs = self._prepare_inputs(inputs)
        classes = inputs.pop("classes")
        scores = log_likelihoods(self.accelerator.unwrap_model(model), inputs, self.trie)
        return None, scores, classes


class Watch(TrainerCallback):
    """Draws each epoch's variants, tells how far the training is, and stops one that has diverged."""

    def __init__(self, cases: Cases, progress: Progress) -> None:
        self.cases = cases
        self.progress = progress

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Lay the photographs anew; `state.epoch` counts those that are over, also after a resume."""
        self.cases.draw_variants(round(state.epoch or 0))

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Report after every optimizer step."""
        self.progress("training", state.global_step, state.max_steps)

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Check the mean loss of an epoch before a checkpoint is made of it."""
        check_finite(
            torch.tensor(kwargs["logs"].get("loss", 0.0)), what=f"the training loss at step {state.global_step}"
        )


def train(  # noqa: PLR0913 the arguments of a backend's fit
    model: Model,
    inputs: Inputs,
    *,
    training: Examples,
    validation: Examples,
    answers: list[str],
    settings: TrainSection,
    seed: int,
    folder: Path,
    resume: bool,
    progress: Progress,
) -> list[Epoch]:
    """Train `model` in place; `folder` keeps a checkpoint of the last whole epoch until the caller removes it."""
    checkpoint = _last_checkpoint(folder) if resume else None
    _remove_checkpoints(folder, but=checkpoint)
    answer_tokens = inputs.answer_tokens(answers)
    lengths = np.array([len(tokens) for tokens in answer_tokens])
    cases = Cases(training, augment_seed=seed if settings.augment else None)
    with quiet(), _threads(settings.threads):
        trainer = LabelTrainer(
            model=model,
            args=_arguments(settings, seed=seed, folder=folder, device=model.device.type),
            train_dataset=cases,
            eval_dataset=Cases(validation),
            data_collator=Collator(inputs, answer_tokens),
            compute_metrics=lambda scored: _metrics(scored, lengths),
            callbacks=[Watch(cases, progress)],
            trie=build_trie(answer_tokens, start=model.config.text_config.decoder_start_token_id),
        )
        # With its bars off, the library prints its log to stdout instead.
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    check_head(model, place=str(folder))
    model.eval()
    return _epochs(trainer.state.log_history)


def _arguments(settings: TrainSection, *, seed: int, folder: Path, device: str) -> Seq2SeqTrainingArguments:
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=EVAL_BATCH,
        lr_scheduler_type=settings.schedule if not settings.warmup_steps else _WITH_WARMUP[settings.schedule],
        warmup_steps=settings.warmup_steps,
        seed=seed,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        # A loss that is not a number must be seen, not smoothed over.
        logging_nan_inf_filter=False,
        label_names=["labels"],
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device == "cuda",
    )
    # One process uses one GPU: DataParallel would split the batch among all; `torchrun` is the way to several.
    arguments._n_gpu = min(arguments.n_gpu, 1)  # noqa: SLF001
    return arguments


_WITH_WARMUP = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def _metrics(scored: EvalPrediction, lengths: np.ndarray) -> dict[str, float]:
    """Return the loss and the metrics of a validation pass from its (N, C) log-likelihoods."""
    truth = np.asarray(scored.label_ids)
    likelihoods = np.asarray(scored.predictions)
    lost = -likelihoods[np.arange(len(truth)), truth].sum() / lengths[truth].sum()
    metrics = macro_metrics(truth, probabilities(likelihoods).values)
    return {"validation_loss": float(lost), **{name: float(value) for name, value in metrics.items()}}


def _epochs(history: Sequence[dict[str, Any]]) -> list[Epoch]:
    """Read the epochs back from the trainer's log, which a checkpoint carries along."""
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    return [
        Epoch(
            epoch=round(entry["epoch"]),
            step=entry["step"],
            train_loss=losses[entry["step"]],
            validation_loss=entry[VALIDATION_LOSS],
            metrics={
                key.removeprefix(EVAL_PREFIX): value
                for key, value in entry.items()
                if key.startswith(f"{EVAL_PREFIX}macro_") or key == f"{EVAL_PREFIX}accuracy"
            },
        )
        for entry in history
        if VALIDATION_LOSS in entry
    ]


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end: the trainer's state is its last file."""
    whole = [path for path in _checkpoints(folder) if (path / "trainer_state.json").is_file()]
    return max(whole, key=_step, default=None)


def _remove_checkpoints(folder: Path, *, but: Path | None) -> None:
    """Remove the checkpoints of an earlier training, and what an interrupted save has left."""
    for path in _checkpoints(folder):
        if path != but:
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let torch use `count` CPU threads within the block; 0 leaves its choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
