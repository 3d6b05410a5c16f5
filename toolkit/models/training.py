"""How a learner is trained with the Trainer of transformers, and resumed after an interruption.

Refuses to know runs, registries and studies: examples come in, a trained model and its epochs go out.
"""

import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    EvalPrediction,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainSection
from toolkit.models.backend import Epoch, TrainingJob, probabilities
from toolkit.models.batches import Balanced, Cases, Example, class_weights
from toolkit.models.inputs import IGNORED, Tensors
from toolkit.models.processes import this_process
from toolkit.models.retention import checkpoint_to_resume, step_of
from toolkit.models.sanity_checks import check_finite
from toolkit.models.transformers_compat import Model, quiet
from toolkit.progress import Progress
from toolkit.stats.metrics import macro_metrics

EVAL_BATCH = 32
EVAL_PREFIX = "eval_"
VALIDATION_LOSS = f"{EVAL_PREFIX}validation_loss"


class TrainableModel(Protocol):
    """What is trained: a model, how a batch is made for it, and what it says of one."""

    model: Model
    lengths: np.ndarray
    """(C,) tokens of each answer."""

    def batch(self, photographs: Sequence[np.ndarray], prompts: Sequence[str], classes: Sequence[int]) -> Tensors:
        """Return the model's inputs with `labels`."""
        ...

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-likelihoods."""
        ...


class Collator:
    """Turns cases into a batch: the learner's inputs, and the `classes` that an evaluation needs."""

    def __init__(self, learner: TrainableModel) -> None:
        self.learner = learner

    def __call__(self, batch: Sequence[Example]) -> Tensors:
        """Return the model's inputs with `labels` and `classes`."""
        classes = [case.class_index for case in batch]
        made = self.learner.batch([case.photograph for case in batch], [case.prompt for case in batch], classes)
        return {**made, "classes": torch.tensor(classes)}


class LabelTrainer(Seq2SeqTrainer):
    """A trainer that evaluates by the exact probability of every answer instead of by generated text."""

    def __init__(self, learner: TrainableModel, *, balance: str, **kwargs: Any) -> None:
        super().__init__(model=learner.model, data_collator=Collator(learner), **kwargs)
        self.learner = learner
        cases: Any = self.train_dataset
        classes = cases.examples.classes
        self.sampler = Balanced(classes, seed=self.args.seed) if balance == "sampling" else None
        weights = torch.tensor(class_weights(classes, len(learner.lengths)), dtype=torch.float32)
        self.weights = weights.to(self.args.device) if balance == "weights" else None

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return self.sampler or super()._get_train_sampler(*args, **kwargs)

    def compute_loss(self, model: torch.nn.Module, inputs: Tensors, *args: Any, **kwargs: Any) -> Any:
        """Return the model's own loss, or the one in which every class counts equally much."""
        classes = inputs["classes"]
        inputs = {name: tensor for name, tensor in inputs.items() if name != "classes"}
        if self.weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)
        return weighted_loss(model(**inputs).logits, inputs["labels"], self.weights[classes])

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
        return None, self.learner.scores(self.accelerator.unwrap_model(model), inputs), classes


def weighted_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of labels (B, L) or (B,), each case counting by its weight (B,)."""
    losses = cross_entropy(logits.float().movedim(-1, 1), labels, ignore_index=IGNORED, reduction="none")
    counted = (labels != IGNORED) * weights.view(-1, *[1] * (labels.ndim - 1))
    return (losses * counted).sum() / counted.sum()


class TrainingCallback(TrainerCallback):
    """Draws each epoch anew, tells how far the training is, and stops it: diverged, no longer better, interrupted."""

    def __init__(self, cases: Cases, settings: TrainSection, progress: Progress) -> None:
        self.cases = cases
        self.settings = settings
        self.progress = progress
        self.sampler: Balanced | None = None
        self.interrupted = False

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Lay and draw the photographs anew; `state.epoch` counts what is over, also after a resume within an epoch."""
        epoch = int((state.epoch or 0) + 1e-6)
        self.cases.draw_variants(epoch)
        if self.sampler is not None:
            self.sampler.epoch = epoch

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Report after every optimizer step; after an interruption, save and stop."""
        self.progress("training", state.global_step, state.max_steps)
        if self.interrupted and state.global_step < state.max_steps:
            control.should_log = control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Take no epoch that was broken off for a whole one."""
        if state.epoch is not None and abs(state.epoch - round(state.epoch)) > 1e-6:
            control.should_log = control.should_evaluate = control.should_save = False

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Check the mean loss of an epoch before a checkpoint is made of it."""
        check_finite(
            torch.tensor(kwargs["logs"].get("loss", 0.0)), what=f"the training loss at step {state.global_step}"
        )

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Stop when the last `patience` epochs were none better; worked out anew, so that a resume stops as well."""
        if self.settings.best == "last":
            return
        measured = [_measure(epoch, self.settings.best) for epoch in _epochs(state.log_history)]
        check_finite(torch.tensor(measured), what=f"{self.settings.best} on validation")
        since = len(measured) - 1 - int(np.argmax(measured))
        control.should_training_stop |= self.settings.patience is not None and since >= self.settings.patience


def _measure(epoch: Epoch, best: str) -> float:
    """Return what an epoch is chosen by, the higher the better."""
    return -epoch.validation_loss if best == "validation_loss" else epoch.metrics[best]


def train(learner: TrainableModel, lesson: TrainingJob) -> list[Epoch]:
    """Train in place; the lesson's folder keeps the last whole epoch, and the best one, until the caller removes it.

    Raises ModelError where Ctrl-C was pressed: the step at hand is then finished and saved.
    """
    with this_process().first_alone():
        checkpoint = checkpoint_to_resume(lesson.folder, resume=lesson.resume)
    settings, validation = lesson.settings, Cases(lesson.validation)
    cases = Cases(lesson.training, augment_seed=lesson.seed if settings.augment else None)
    watch = TrainingCallback(cases, settings, lesson.progress)
    with quiet(), _threads(settings.threads), _interruptible(watch):
        trainer = LabelTrainer(
            learner,
            balance=settings.balance,
            args=arguments(settings, seed=lesson.seed, folder=lesson.folder, device=learner.model.device.type),
            train_dataset=cases,
            eval_dataset=validation,
            compute_metrics=lambda scored: _metrics(scored, learner.lengths, cases=len(validation)),
            callbacks=[watch],
        )
        watch.sampler = trainer.sampler
        # With its bars off, the library prints its log to stdout instead.
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if watch.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise ModelError(
            f"training was interrupted after step {trainer.state.global_step} of {trainer.state.max_steps}; it is kept",
            place=str(lesson.folder),
            remedy="toolkit train --resume goes on from there",
        )
    return _kept(trainer.state, settings)


def _kept(state: TrainerState, settings: TrainSection) -> list[Epoch]:
    """Return the epochs, the one marked whose weights the model has now."""
    epochs = _epochs(state.log_history)
    number = len(epochs) - 1
    if settings.best != "last":
        if state.best_model_checkpoint is None or not Path(state.best_model_checkpoint).is_dir():
            raise ModelError(
                "the checkpoint of the best epoch is gone",
                place=str(state.best_model_checkpoint),
                remedy="delete the run's training folder and train again",
            )
        number = next(n for n, e in enumerate(epochs) if e.step == step_of(Path(state.best_model_checkpoint)))
    return [replace(epoch, kept=place == number) for place, epoch in enumerate(epochs)]


def arguments(settings: TrainSection, *, seed: int, folder: Path, device: str) -> Seq2SeqTrainingArguments:
    """Return what the library is told: everything in float32, on one device, an evaluation after every epoch."""
    told = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=EVAL_BATCH,
        gradient_accumulation_steps=settings.accumulate,
        lr_scheduler_type=settings.schedule if not settings.warmup_steps else _WITH_WARMUP[settings.schedule],
        warmup_steps=settings.warmup_steps,
        seed=seed,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=settings.best != "last",
        metric_for_best_model=None if settings.best == "last" else settings.best,
        greater_is_better=settings.best != "validation_loss",
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
    told._n_gpu = min(told.n_gpu, 1)  # noqa: SLF001
    return told


_WITH_WARMUP = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def _metrics(scored: EvalPrediction, lengths: np.ndarray, *, cases: int) -> dict[str, float]:
    """Return the loss and the metrics of a validation pass from its (N, C) log-likelihoods."""
    # Several processes fill up their last batch with the first cases again.
    truth = np.asarray(scored.label_ids)[:cases]
    likelihoods = np.asarray(scored.predictions)[:cases]
    lost = -likelihoods[np.arange(len(truth)), truth].sum() / lengths[truth].sum()
    metrics = macro_metrics(truth, probabilities(likelihoods).values)
    return {"validation_loss": float(lost), **{name: float(value) for name, value in metrics.items()}}


def _epochs(history: Sequence[dict[str, Any]]) -> list[Epoch]:
    """Read the epochs back from the trainer's log, which a checkpoint carries along."""
    losses = _losses(history)
    return [
        Epoch(
            epoch=round(entry["epoch"]),
            step=entry["step"],
            train_loss=losses[entry["step"]],
            validation_loss=entry[VALIDATION_LOSS],
            metrics={
                key.removeprefix(EVAL_PREFIX): value
                for key, value in sorted(entry.items())  # a checkpoint sorts them, the trainer does not
                if key.startswith(f"{EVAL_PREFIX}macro_") or key == f"{EVAL_PREFIX}accuracy"
            },
        )
        for entry in history
        if VALIDATION_LOSS in entry
    ]


def _losses(history: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Return the mean training loss by the step at which an epoch ended, to six digits.

    An interruption logs the part before it. float32 sums of parts differ from the sum of the whole in the last digits.
    """
    losses, before, total, began = {}, 0, 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
        if VALIDATION_LOSS in entry and before > began:
            losses[before] = float(f"{total / (before - began):.6g}")
            total, began = 0.0, before
    return losses


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let torch use `count` CPU threads within the block; 0 leaves its choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interruptible(watch: TrainingCallback) -> Generator[None]:
    """Let the first Ctrl-C end the training after the step at hand; a second one ends it at once."""
    # Of several processes each would stop at a step of its own; their launcher ends them anyway.
    if threading.current_thread() is not threading.main_thread() or this_process().count > 1:
        yield
        return

    def note(*_: object) -> None:
        watch.interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
