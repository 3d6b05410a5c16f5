"""Training with the Trainer of transformers: balance, the best epoch, interruption and resume."""

import errno
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainSection
from toolkit.models import sharding
from toolkit.models.backend import Epoch, TrainingJob, probabilities
from toolkit.models.batches import Balanced, Cases, Example, class_weights
from toolkit.models.inputs import IGNORED, Tensors
from toolkit.models.processes import lost_others, this_process
from toolkit.models.retention import checkpoint_to_resume, step_of
from toolkit.models.sanity_checks import check_finite
from toolkit.models.trainable import rest_frozen_parts
from toolkit.models.training_logs import logging_into
from toolkit.models.transformers_compat import Model, quiet
from toolkit.photographs.undecoded import Batch
from toolkit.progress import Progress
from toolkit.stats.metrics import macro_metrics

EVAL_BATCH = 32
EVAL_PREFIX = "eval_"
VALIDATION_LOSS = f"{EVAL_PREFIX}validation_loss"


class TrainableModel(Protocol):
    """A model in training: its batches, and its scores of the answers."""

    model: Model
    lengths: np.ndarray
    """(C,) tokens of each answer."""

    def batch(self, photographs: Batch, prompts: Sequence[str], classes: Sequence[int]) -> Tensors:
        """Return the model's inputs with `labels`."""

    def logits(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return the logits of what `labels` holds, shaped as they are, with the vocabulary as last dimension."""

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-likelihoods."""


def collate(trainable: TrainableModel, cases: Sequence[Example]) -> Tensors:
    """Return the model's inputs for a batch, with its `labels` and the `classes` that an evaluation needs."""
    classes = [case.class_index for case in cases]
    inputs = trainable.batch([case.photograph for case in cases], [case.prompt for case in cases], classes)
    return {**inputs, "classes": torch.tensor(classes)}


class LabelTrainer(Seq2SeqTrainer):
    """A trainer with one token-weighted loss, that evaluates by the exact probability of every answer.

    The loss of a step is the mean over the tokens of all its cases, however many batches and processes they come in.
    """

    loss_is_scaled_for_ga = True
    """The library is not to divide by the number of accumulated batches: `compute_loss` divides by all their tokens."""

    def __init__(self, trainable: TrainableModel, *, balance: str, **kwargs: Any) -> None:
        sharding.let_shard(kwargs["args"])
        super().__init__(model=trainable.model, data_collator=partial(collate, trainable), **kwargs)
        self.trainable = trainable
        cases: Any = self.train_dataset
        classes = cases.examples.classes
        self.sampler = Balanced(classes, seed=self.args.seed) if balance == "sampling" else None
        weights = torch.tensor(class_weights(classes, len(trainable.lengths)), dtype=torch.float32)
        self.weights = weights.to(self.args.device) if balance == "weights" else None
        self.mean_weight = 1.0
        """Over the tokens of the present step."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return self.sampler or super()._get_train_sampler(*args, **kwargs)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Tensors], num_batches: int, device: torch.device
    ) -> tuple[list[Tensors], torch.Tensor]:
        """Return the batches of a step, and the tokens of its answers in all processes together.

        The library's own method takes InstructBLIP's labels for shifted ones, and misses the first token of each.
        """
        batches = list(islice(epoch_iterator, num_batches))
        counts = torch.zeros(1, 2, device=device)
        for batch in batches:
            tokens = (batch["labels"] != IGNORED).view(len(batch["classes"]), -1).sum(dim=1)
            weights = 1 if self.weights is None else self.weights[batch["classes"]]
            counts += torch.stack([tokens.sum(), (tokens * weights).sum()])
        tokens, weighted = self.accelerator.gather(counts).sum(dim=0)
        self.mean_weight = float(weighted / tokens)
        return batches, tokens

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with sharding.embeddings_together(self.model):
            return super()._prepare_for_training(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write weights under the names that the model has for them.

        The library writes them under those of the published files, but loads them as they are: a resume, and the best
        epoch, would find none of them, and would go on with others without a word.
        """
        with _own_names(self.model):
            super()._save(output_dir, state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a state that lacks weights, or has weights for which there is no place; the library only warns."""
        lacking = set(load_result.missing_keys) - set(getattr(self.model, "all_tied_weights_keys", None) or {})
        if strange := sorted(lacking | set(load_result.unexpected_keys)):
            raise ModelError(
                f"the training state does not fit the model: {len(strange)} weights, {strange[0]} among them",
                place=str(self.args.output_dir),
                remedy="put the folder back as it was, or train again without --resume",
            )

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor | None:
        """Scale a gradient down to the study's longest, times the mean weight of the step.

        Otherwise long gradients would all become equally long, and where a step has one case, its weight would be lost.
        """
        return self.accelerator.clip_grad_norm_(model.parameters(), self.args.max_grad_norm * self.mean_weight)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Tensors,
        return_outputs: bool = False,  # noqa: ARG002, FBT001, FBT002 the signature is the library's
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Return this batch's share of the loss of its step: the sum over its tokens by the tokens of all batches.

        A model's own loss is a mean over its batch: a sum of such means grows with the number of batches.
        """
        rest_frozen_parts(self.accelerator.unwrap_model(model))
        classes = inputs["classes"]
        inputs = {name: tensor for name, tensor in inputs.items() if name != "classes"}
        weights = None if self.weights is None else self.weights[classes]
        loss = summed_loss(self.trainable.logits(model, inputs), inputs["labels"], weights) / num_items_in_batch
        # Gradients are averaged over the processes; what is wanted is their sum.
        return loss * self.accelerator.num_processes

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Tensors,
        prediction_loss_only: bool,  # noqa: ARG002, FBT001 the signature is the library's
        ignore_keys: list[str] | None = None,  # noqa: ARG002 the same
        **_: Any,
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return (B, C) log-likelihoods and the true classes.

        The library's own method generates, runs a second forward, and gathers the outputs of every vision layer.
        """
        inputs = self._prepare_inputs(inputs)
        classes = inputs.pop("classes")
        with sharding.gathered(self.trainable.model):
            return None, self.trainable.scores(self.accelerator.unwrap_model(model), inputs), classes


@contextmanager
def _own_names(model: Any) -> Generator[None]:
    """Let a model save its weights by their own names within the block; adapters have one kind of names only."""
    if not isinstance(model, PreTrainedModel):
        yield
        return
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.save_pretrained


def summed_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return the sum of the cross entropies of labels (B, L) or (B,), each case with its weight (B,) or with 1."""
    losses = cross_entropy(logits.float().movedim(-1, 1), labels, ignore_index=IGNORED, reduction="none")
    return (losses if weights is None else losses * weights.view(-1, *[1] * (labels.ndim - 1))).sum()


class TrainingCallback(TrainerCallback):
    """Draws augmentation and sampling for each epoch, reports progress, and stops a training early."""

    def __init__(self, cases: Cases, settings: TrainSection, progress: Progress) -> None:
        self.cases = cases
        self.settings = settings
        self.progress = progress
        self.sampler: Balanced | None = None
        self.interrupted = False

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Draw the epoch; `state.epoch` counts what is completed, also after a resume within an epoch."""
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
        """Skip evaluation after an epoch that was interrupted."""
        if state.epoch is not None and abs(state.epoch - round(state.epoch)) > 1e-6:
            control.should_log = control.should_evaluate = control.should_save = False

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Check the mean loss of an epoch before its checkpoint is written."""
        check_finite(
            torch.tensor(kwargs["logs"].get("loss", 0.0)), what=f"the training loss at step {state.global_step}"
        )

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002 the signature is the library's
        """Stop after `patience` epochs without a better one; computed from the log, so that a resume stops as well."""
        if self.settings.best == "last":
            return
        best, epochs = self.settings.best, _epochs(state.log_history)
        values = [-e.validation_loss if best == "validation_loss" else e.metrics[best] for e in epochs]
        check_finite(torch.tensor(values), what=f"{best} on validation")
        since = len(values) - 1 - int(np.argmax(values))
        control.should_training_stop |= self.settings.patience is not None and since >= self.settings.patience


def train(trainable: TrainableModel, job: TrainingJob) -> list[Epoch]:
    """Train in place; the job's folder holds the checkpoints of the last and the best epoch.

    Raises ModelError where Ctrl-C was pressed: the current step is then finished and saved.
    """
    with this_process().first_alone():
        checkpoint = checkpoint_to_resume(job.folder, resume=job.resume)
    settings, validation = job.settings, Cases(job.validation)
    if settings.gradient_checkpointing and not trainable.model.supports_gradient_checkpointing:
        raise ModelError(
            "this model keeps its activations: it knows no gradient checkpointing",
            place="[train] gradient_checkpointing",
            remedy="leave it out, and use a smaller batch_size with accumulate where memory is short",
        )
    cases = Cases(job.training, augment_seed=job.seed if settings.augment else None)
    callback = TrainingCallback(cases, settings, job.progress)
    logs = logging_into(job.folder.with_name("logs"), settings.report_to, trainable.model)
    shards = sharding.sharded(trainable.model)
    with quiet(), _threads(settings.threads), _interruptible(callback), logs, shards as sharded:
        trainer = LabelTrainer(
            trainable,
            balance=settings.balance,
            args=arguments(
                settings, seed=job.seed, folder=job.folder, device=trainable.model.device.type, sharded=sharded
            ),
            train_dataset=cases,
            eval_dataset=validation,
            compute_metrics=lambda scored: _metrics(scored, trainable.lengths, cases=len(validation)),
            callbacks=[callback],
        )
        callback.sampler = trainer.sampler
        # With its progress bars off, the library prints its log to stdout instead.
        trainer.remove_callback(PrinterCallback)
        with lost_others(), _reading_state(checkpoint):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if callback.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise ModelError(
            f"training was interrupted, and saved after step {trainer.state.global_step} of {trainer.state.max_steps}",
            place=str(job.folder),
            remedy="toolkit train --resume continues from there",
        )
    trainable.model.eval()
    return _kept(trainer.state, settings)


@contextmanager
def _reading_state(checkpoint: Path | None) -> Generator[None]:
    """Name the checkpoint to resume from where a file of it is damaged, or holds more than numbers."""
    try:
        yield
    except (UnpicklingError, SafetensorError, EOFError, RuntimeError, OSError) as error:
        # torch says one of these two of an archive that is cut off; others of their kind come of the training.
        archive = getattr(error, "errno", None) == errno.EINVAL or "PytorchStreamReader" in str(error)
        if checkpoint is None or (isinstance(error, RuntimeError | OSError) and not archive):
            raise
        raise ModelError(
            f"the training state cannot be read: {str(error).strip().partition(chr(10))[0][:300]}",
            place=str(checkpoint),
            remedy="put the folder back as it was, or train again without --resume",
        ) from error


def _kept(state: TrainerState, settings: TrainSection) -> list[Epoch]:
    """Return the epochs; the one whose weights the model has now is marked as kept."""
    epochs = _epochs(state.log_history)
    number = len(epochs) - 1
    if settings.best != "last":
        if state.best_model_checkpoint is None or not Path(state.best_model_checkpoint).is_dir():
            raise ModelError(
                "the checkpoint of the best epoch is missing",
                place=str(state.best_model_checkpoint),
                remedy="move the run's training folder away and train again",
            )
        best_step = step_of(Path(state.best_model_checkpoint))
        number = next(n for n, epoch in enumerate(epochs) if epoch.step == best_step)
    return [replace(epoch, kept=n == number) for n, epoch in enumerate(epochs)]


class Arguments(Seq2SeqTrainingArguments):
    """The library's arguments, of which training logs get no path."""

    def to_dict(self) -> dict[str, Any]:
        """Return what the callbacks of training logs send."""
        return {**super().to_dict(), "output_dir": ""}


def arguments(
    settings: TrainSection, *, seed: int, folder: Path, device: str, sharded: dict[str, Any] | None = None
) -> Seq2SeqTrainingArguments:
    """Return the library's arguments: float32, one device, an evaluation and a checkpoint after every epoch."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # `accelerate launch` takes another from the user's own settings
    args = Arguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=EVAL_BATCH,
        gradient_accumulation_steps=settings.accumulate,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=settings.warmup_steps,
        seed=seed,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=settings.best != "last",
        metric_for_best_model=None if settings.best == "last" else settings.best,
        greater_is_better=settings.best != "validation_loss",
        # A loss that is not a number must not be filtered out.
        logging_nan_inf_filter=False,
        label_names=["labels"],
        remove_unused_columns=False,
        run_name=folder.parent.name,
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device == "cuda",
        **(sharded or {}),
    )
    # One process uses one GPU, otherwise DataParallel would split the batch among all; `torchrun` uses several.
    args._n_gpu = min(args.n_gpu, 1)  # noqa: SLF001
    # On Kubernetes the library adds a service that nobody asked for.
    args.report_to = [] if settings.report_to == "none" else [settings.report_to]
    return args


def _metrics(scored: EvalPrediction, lengths: np.ndarray, *, cases: int) -> dict[str, float]:
    """Return the loss and the metrics of a validation pass from its (N, C) log-likelihoods."""
    # Several processes fill up their last batch with the first cases.
    truth = np.asarray(scored.label_ids)[:cases]
    likelihoods = np.asarray(scored.predictions)[:cases]
    loss = -likelihoods[np.arange(len(truth)), truth].sum() / lengths[truth].sum()
    metrics = macro_metrics(truth, probabilities(likelihoods).values)
    return {"validation_loss": float(loss), **{name: float(value) for name, value in metrics.items()}}


def _epochs(history: Sequence[dict[str, Any]]) -> list[Epoch]:
    """Return the epochs in the trainer's log, which checkpoints contain."""
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

    An interruption logs the steps before it, and float32 sums of parts differ from their total in the last digits.
    """
    losses, before, total, start = {}, 0, 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
        if VALIDATION_LOSS in entry and before > start:
            losses[before] = float(f"{total / (before - start):.6g}")
            total, start = 0.0, before
    return losses


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let torch use `count` CPU threads within the block; 0 leaves the number to torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interruptible(callback: TrainingCallback) -> Generator[None]:
    """Let the first Ctrl-C end the training after the current step; a second one ends it at once."""
    # Several processes would stop at different steps; their launcher ends them anyway.
    if threading.current_thread() is not threading.main_thread() or this_process().count > 1:
        yield
        return

    def note(*_: object) -> None:
        callback.interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
