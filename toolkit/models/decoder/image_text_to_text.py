"""The backend for decoder-only models: Gemma 3 and MedGemma, Qwen-VL, PaliGemma, SmolVLM, LLaVA, BLIP-2 with OPT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.files import sha256_of
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget, Epoch, TrainingJob
from toolkit.models.budget import budgets_of
from toolkit.models.checkpoint import Checkpoint, read_adapter, write_checkpoint
from toolkit.models.decoder.chat import Chat
from toolkit.models.decoder.checkpoint import family_of, read_checkpoint, read_config
from toolkit.models.decoder.inputs import DecoderInputs, input_side, pixels
from toolkit.models.decoder.queries import QueryChat, QueryInputs
from toolkit.models.decoder.scoring import Way, log_likelihoods, model_inputs
from toolkit.models.decoder.self_test import Passed, generate, self_test
from toolkit.models.features import Encoder, FeatureCache, let_features_in, vision_outputs, weights_digest
from toolkit.models.inputs import Tensors
from toolkit.models.quantised import FOUR_BIT, check_four_bit, dtype_of, quantise
from toolkit.models.scoring import Trie, build_trie
from toolkit.models.tiny_chat import build_tiny_chat
from toolkit.models.trainable import freezes_vision, parts_of, plain, prepare, set_precision
from toolkit.models.training import train
from toolkit.models.transformers_compat import Model, model_facts, quiet
from toolkit.photographs.undecoded import Batch, Kept

HEAD = "lm_head.weight"
LONGEST_TEXT = 32
"""Tokens of a generated text."""


class TrainableDecoder:
    """A decoder-only model in training: the loss is that of the true answers' tokens alone."""

    def __init__(self, model: Model, inputs: DecoderInputs, answers: list[str], *, way: Way) -> None:
        self.model, self.inputs, self.way = model, inputs, way
        self.tokens = inputs.chat.answer_tokens(answers)
        self.lengths = np.array([len(tokens) for tokens in self.tokens])
        self.trie = build_trie(self.tokens, start=0)

    def batch(self, photographs: Batch, prompts: Sequence[str], classes: Sequence[int]) -> Tensors:
        """Return the model's inputs with the true answers at their end, and their tokens as `labels`."""
        return self.inputs(photographs, prompts, [self.tokens[index] for index in classes])

    def logits(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return the logits of the answers' tokens: each is foretold by the column before its own."""
        columns = inputs["labels"].shape[1] + 1
        given = model_inputs(inputs, self.inputs.family)
        return model(**given, logits_to_keep=columns, use_cache=False).logits[:, :-1]

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-likelihoods of the answers."""
        return log_likelihoods(plain(model), inputs, self.trie, self.inputs.family, way=self.way)


class ImageTextToText:
    """A loaded decoder-only model; the weights that `mode` trains are float32, the others `dtype`."""

    def __init__(self, checkpoint: Checkpoint, *, mode: TrainMode = "full", source: str = "") -> None:
        self.model, self.processor = checkpoint
        self.mode = mode
        self.family = family_of(self.model.config, place=source)
        self.input_size = input_side(self.model.config, self.processor.image_processor, self.family)
        has_queries = bool(self.family.question)
        self.image_tokens = self.model.config.num_query_tokens if has_queries else self._count_image_tokens()
        chat = (QueryChat if has_queries else Chat)(
            self.processor.tokenizer,
            self.family,
            image_token=self.model.config.image_token_id,
            image_tokens=self.image_tokens,
            ends=_ends(self.model.language_model if has_queries else self.model),
        )
        self.inputs = (QueryInputs if has_queries else DecoderInputs)(self.processor, self.model, self.family, chat)
        self.adapted: Any = None
        """The model in LoRA's wrapper; None for every other mode."""
        self.base: dict[str, str] = {}
        self.passed: Passed
        self._tries: dict[tuple[str, ...], Trie] = {}

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint, or a LoRA adapter and its checkpoint; raise ModelError if it fails the self-test."""
        check_four_bit(dtype, mode=mode, device=device)
        adapter = read_adapter(source)
        name = adapter.base if adapter else source
        loaded = cls(read_checkpoint(name), mode=mode, source=name)
        model = loaded.model
        if mode not in parts_of(model).trained:
            raise ModelError(
                f"this model cannot be trained with mode = {mode!r}",
                place="[train] mode",
                remedy=f"its modes are: {', '.join(parts_of(model).trained)}",
            )
        digest = weights_digest(model)
        loaded.base = {"weights_sha256": digest, "name": name}
        set_precision(model, mode=mode, dtype=dtype)
        if dtype == FOUR_BIT:
            quantise(model)
        if adapter:
            loaded.adapted = adapter.put_around(model, weights_sha256=digest)
        if loaded.family.question:
            let_features_in(model)
        model.to(device).eval()
        with quiet():
            loaded.passed = self_test(model, loaded.inputs, loaded.family, side=loaded.input_size)
        return loaded

    build_tiny = staticmethod(build_tiny_chat)

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> list[Budget]:
        """Return the memory that each mode of training needs, from the configuration alone."""
        return budgets_of(source, lora, read=read_config)

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Cache what the vision part makes of photographs below `folder`, unless it is trained."""
        if freezes_vision(self.mode) and gigabytes > 0:
            encoder = vision_outputs(self.model, self.processor) if self.family.question else self._encoder()
            self.inputs.features = FeatureCache(encoder, folder=folder, room=int(gigabytes * 1e9))

    @property
    def kept(self) -> Kept | None:
        """What tells whether features of a crop are kept; None where the vision part is trained."""
        return self.inputs.features.has if self.inputs.features else None

    def fit(self, job: TrainingJob) -> list[Epoch]:
        """Train the weights of the job's mode."""
        torch.manual_seed(job.seed)  # new adapters are drawn from it
        prepared = prepare(self.adapted or self.model, mode=job.settings.mode, lora=job.settings.lora)
        self.adapted = prepared if job.settings.mode == "lora" else None
        return train(TrainableDecoder(prepared, self.inputs, job.answers, way=self.passed.way), job)

    def log_likelihoods(self, photographs: Batch, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each complete answer."""
        self.model.eval()
        inputs, trie = self.inputs(photographs, prompts), self._trie(answers)
        return log_likelihoods(self.model, inputs, trie, self.family, way=self.passed.way).numpy()

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return the number of tokens of each answer, end token included."""
        return [len(tokens) for tokens in self.inputs.chat.answer_tokens(answers)]

    @torch.inference_mode()
    def generate(self, photographs: Batch, prompts: Sequence[str]) -> list[str]:
        """Return the model's own text, by greedy decoding."""
        self.model.eval()
        features, self.inputs.features = self.inputs.features, None  # the library generates from pixels
        try:
            inputs = {name: t.to(self.model.device) for name, t in self.inputs(photographs, prompts).items()}
        finally:
            self.inputs.features = features
        texts: Any = generate(self.model, inputs, tokens=LONGEST_TEXT)
        answers = texts[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)]

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, complete or not at all."""
        write_checkpoint(folder, Checkpoint(self.model, self.processor), adapted=self.adapted, base=self.base)

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        return model_facts(self.model) | {
            "dtype": dtype_of(self.model, self.model.get_input_embeddings().weight.dtype),
            "mode": self.mode,
            "family": self.model.config.model_type,
            "base_weights_sha256": self.base["weights_sha256"],
            "tokenizer_sha256": sha256_of([each.backend_tokenizer.to_str() for each in self.processor.tokenizers]),
            "chat_template_sha256": sha256_of([self.processor.tokenizer.chat_template]),
            "image_tokens": self.image_tokens,
            "input_size": self.input_size,
            "self_test": str(self.passed),
        }

    @torch.inference_mode()
    def _image_features(self, photograph: np.ndarray) -> torch.Tensor:
        """Return (layers, tokens, width): what goes into the text, and what some families add within first layers."""
        given = pixels(photograph[None], self.processor.image_processor, self.family)
        output = self.model.get_image_features(**{n: t.to(self.model.device) for n, t in given.items()})
        layers = [output.pooler_output, *(output.get("deepstack_features") or [])]
        return torch.stack([torch.cat(list(layer)) for layer in layers])

    def _count_image_tokens(self) -> int:
        grey = np.full((self.input_size, self.input_size, 3), 128, np.uint8)
        return self._image_features(grey).shape[1]

    def _encoder(self) -> Encoder:
        language = parts_of(self.model).language
        weights = {name: t for name, t in self.model.state_dict().items() if language not in name and name != HEAD}
        settings = self.processor.image_processor.to_json_string()

        def compute(photograph: np.ndarray) -> torch.Tensor:
            self.model.eval()
            return self._image_features(photograph)

        return Encoder(f"{weights_digest(weights)}\0{settings}\0{dict(self.family.options)}", compute)

    def _trie(self, answers: list[str]) -> Trie:
        key = tuple(answers)
        if key not in self._tries:
            self._tries[key] = build_trie(self.inputs.chat.answer_tokens(answers), start=0)
        return self._tries[key]


def _ends(model: Model) -> set[int]:
    """Return the tokens at which a model stops to generate."""
    tokens = model.generation_config.eos_token_id
    return set(tokens) if isinstance(tokens, list) else {tokens}
