"""The tensors that InstructBLIP or BLIP-2 takes, from cropped photographs, prompts and answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from toolkit.models.backend import user_words
from toolkit.models.decoder.families import BLIP_2, BLIP_2_QUESTION
from toolkit.models.features import FeatureCache
from toolkit.models.sanity_checks import check_distinct, check_image_tokens, check_qformer_length
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
        self.is_instructed = config.model_type != BLIP_2
        """Whether the Q-Former reads the prompt too."""
        self.features: FeatureCache | None = None
        """Where set, the model gets cached outputs of its vision encoder instead of pixels."""
        self._tokens: dict[str, PromptTokens] = {}

    def __call__(self, photographs: Batch, prompts: Sequence[str]) -> Tensors:
        """Return the model's inputs for B photographs and their B prompts."""
        tokens = [self.prompt_tokens(prompt) for prompt in prompts]
        language, mask = padded([t.language for t in tokens], self.processor.tokenizer.pad_token_id)
        pixel_values = (self.features or self.pixel_values)(photographs)
        given = {"pixel_values": pixel_values, "input_ids": language, "attention_mask": mask}
        return given | (qformer_inputs([t.qformer for t in tokens], self.processor) if self.is_instructed else {})

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
        return padded(answer_tokens, IGNORED)[0]

    def _tokenise(self, prompt: str) -> PromptTokens:
        # The processor puts image tokens before a text only when it gets an image with it.
        size = self.config.vision_config.image_size
        text = prompt if self.is_instructed else BLIP_2_QUESTION.format(user_words(prompt))
        encoded = self.processor(images=[np.zeros((size, size, 3), np.uint8)], text=[text])
        qformer = list(encoded["qformer_input_ids"][0]) if self.is_instructed else []
        tokens = PromptTokens(list(encoded["input_ids"][0]), qformer)
        check_image_tokens(
            tokens.language,
            image_token=self.config.image_token_index,
            expected=self.config.num_query_tokens,
            prompt=prompt,
        )
        check_qformer_length(tokens.qformer, self.config, prompt=prompt)
        return tokens


def qformer_inputs(rows: Sequence[list[int]], processor: Processor) -> Tensors:
    """Return prompts as the Q-Former of an InstructBLIP reads them."""
    ids, mask = padded(rows, processor.qformer_tokenizer.pad_token_id)
    return {"qformer_input_ids": ids, "qformer_attention_mask": mask}


def padded(rows: Sequence[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows padded on the right, and a mask that is 0 for padding."""
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask
