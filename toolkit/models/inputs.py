"""The tensors that InstructBLIP takes, from cropped photographs, prompts and answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.models.features import FeatureCache
from toolkit.models.sanity_checks import check_distinct, check_image_tokens
from toolkit.models.transformers_compat import Config, Processor
from toolkit.photographs.undecoded import Batch

IGNORED = -100
"""Label of a position that the loss of T5 ignores."""

Tensors = dict[str, torch.Tensor]


class PromptTokens(NamedTuple):
    """One prompt for the language model, image tokens first, and the same prompt for the Q-Former."""

    language: list[int]
    qformer: list[int]


class Inputs:
    """The processor of one checkpoint, with a cache of tokenised prompts."""

    def __init__(self, processor: Processor, config: Config) -> None:
        self.processor = processor
        self.config = config
        self.features: FeatureCache | None = None
        """Where set, the model gets cached outputs of its vision encoder instead of pixels."""
        self._tokens: dict[str, PromptTokens] = {}

    def __call__(self, photographs: Batch, prompts: Sequence[str]) -> Tensors:
        """Return the model's inputs for B photographs and their B prompts."""
        tokens = [self.prompt_tokens(prompt) for prompt in prompts]
        language, mask = _padded([t.language for t in tokens], self.processor.tokenizer.pad_token_id)
        qformer, qformer_mask = _padded([t.qformer for t in tokens], self.processor.qformer_tokenizer.pad_token_id)
        return {
            "pixel_values": (self.features or self.pixel_values)(photographs),
            "input_ids": language,
            "attention_mask": mask,
            "qformer_input_ids": qformer,
            "qformer_attention_mask": qformer_mask,
        }

    def pixel_values(self, photographs: Batch) -> torch.Tensor:
        """Return (B, 3, S, S) float32, rescaled and normalised by the checkpoint's own image processor."""
        images = [np.ascontiguousarray(photograph) for photograph in photographs]
        return self.processor.image_processor(images, return_tensors="pt")["pixel_values"]

    def prompt_tokens(self, prompt: str) -> PromptTokens:
        """Return the tokens of a prompt; raise ModelError where the model would ignore the photograph."""
        if prompt not in self._tokens:
            self._tokens[prompt] = self._tokenise(prompt)
        return self._tokens[prompt]

    def answer_tokens(self, answers: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each answer, the end token last."""
        tokens = [self.processor.tokenizer(answer)["input_ids"] for answer in answers]
        check_distinct(answers, tokens)
        return tokens

    def labels(self, answer_tokens: Sequence[list[int]]) -> torch.Tensor:
        """Return answers as targets of the loss, padded with `IGNORED`."""
        return _padded(answer_tokens, IGNORED)[0]

    def _tokenise(self, prompt: str) -> PromptTokens:
        # The processor puts image tokens before a text only when it gets an image with it.
        size = self.config.vision_config.image_size
        encoded = self.processor(images=[np.zeros((size, size, 3), np.uint8)], text=[prompt])
        tokens = PromptTokens(list(encoded["input_ids"][0]), list(encoded["qformer_input_ids"][0]))
        check_image_tokens(
            tokens.language,
            image_token=self.config.image_token_index,
            expected=self.config.num_query_tokens,
            prompt=prompt,
        )
        longest = self.config.qformer_config.max_position_embeddings
        if len(tokens.qformer) > longest:
            raise ModelError(
                f"the prompt has {len(tokens.qformer)} tokens, the model reads {longest}",
                place=f"prompt {prompt[:80]!r}",
                remedy="shorten [prompt] user",
            )
        return tokens


def _padded(rows: Sequence[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows padded on the right, and a mask that is 0 for padding."""
    length = max(len(row) for row in rows)
    padded = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return padded, mask
