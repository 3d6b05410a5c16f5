"""The tensors that a decoder-only vision-language model takes, from cropped photographs, prompts and answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.models.decoder.chat import Chat, ImagesAndText
from toolkit.models.decoder.families import SIDE, Family
from toolkit.models.features import FeatureCache
from toolkit.models.inputs import IGNORED, Tensors
from toolkit.models.transformers_compat import Config, Model
from toolkit.photographs.undecoded import Batch

FEATURES = "image_features"
"""Input that stands for a photograph's pixels: what the vision part makes of them."""
PIXELS = ("pixel_values", "image_grid_thw", "pixel_attention_mask")


def input_side(config: Config, image_processor: Any, family: Family) -> int:
    """Return the side of the square photographs that a checkpoint gets, in pixels."""
    if not family.any_size:
        return int(config.vision_config.image_size)
    step = image_processor.patch_size * image_processor.merge_size
    longest = min(SIDE, int(dict(image_processor.size)["longest_edge"] ** 0.5))
    return max(step, longest // step * step)


def pixels(photographs: Batch, image_processor: Any, family: Family) -> Tensors:
    """Return the pixels of photographs that have the right size already, normalised as the checkpoint wants them."""
    images: list[Any] = [np.ascontiguousarray(photograph) for photograph in photographs]
    if family.nested:
        images = [[image] for image in images]
    options: dict[str, Any] = {"do_resize": False, "return_tensors": "pt", **family.options}
    made = image_processor(images, **options)
    return {name: made[name] for name in PIXELS if name in made}


class DecoderInputs:
    """Chat and image processor of one checkpoint, and the positions that its model gives to tokens.

    A row is laid out as [padding, prompt, answer, padding]: prompts end in the same column, so that scoring takes the
    columns before it, and the true answer never stands in what is scored.
    """

    def __init__(self, processor: ImagesAndText, model: Model, family: Family, chat: Chat) -> None:
        self.processor, self.family, self.chat = processor, family, chat
        self.model, self.config = model, model.config
        self.features: FeatureCache | None = None
        """Where set, the model gets cached image features instead of pixels."""
        tokenizer = processor.tokenizer
        self.padding = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        side = input_side(self.config, processor.image_processor, family)
        self.grid = self.pixels(np.zeros((1, side, side, 3), np.uint8)).get("image_grid_thw")

    def __call__(
        self,
        photographs: Batch,
        prompts: Sequence[str],
        answers: Sequence[list[int]] = (),
    ) -> Tensors:
        """Return the model's inputs for B photographs and their B prompts, and their answers where there are any."""
        rows = [self.chat.prompt_tokens(prompt) for prompt in prompts]
        text = self.text(rows, answers or [[]] * len(rows))
        return self._with_positions({**text, **self.seen(photographs, prompts)})

    def seen(self, photographs: Batch, prompts: Sequence[str]) -> Tensors:  # noqa: ARG002 - a Q-Former reads prompts
        """Return what stands for the photographs: their pixels, or features of them that were kept."""
        return self._cached(photographs) if self.features else self.pixels(photographs)

    def pixels(self, photographs: Batch) -> Tensors:
        """Return the pixels of photographs that have the right size already."""
        return pixels(photographs, self.processor.image_processor, self.family)

    def _cached(self, photographs: Batch) -> Tensors:
        """Return features in the place of pixels; with them only the grid of patches is needed, the same for all."""
        grid = {} if self.grid is None else {"image_grid_thw": self.grid.repeat(len(photographs), 1)}
        return {FEATURES: self.features(photographs), **grid} if self.features else grid

    def text(self, rows: Sequence[list[int]], answers: Sequence[list[int]]) -> Tensors:
        """Return ids, mask, types and, where there are answers, `labels` of their tokens alone, padded."""
        longest = max(len(row) + len(answer) for row, answer in zip(rows, answers, strict=True))
        check_length(longest, self.config, self.family)
        left, right = max(map(len, rows)), max(map(len, answers))
        ids, mask, labels = [], [], []
        for row, answer in zip(rows, answers, strict=True):
            before, after = left - len(row), right - len(answer)
            ids.append([self.padding] * before + row + answer + [self.padding] * after)
            mask.append([0] * before + [1] * (len(row) + len(answer)) + [0] * after)
            labels.append(answer + [IGNORED] * after)
        tensors = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        if self.family.types:
            types = (tensors["input_ids"] == self.chat.image_token).long() * self.family.image_type
            types[:, left:] = self.family.answer_type
            tensors[self.family.types] = types
        return tensors | ({"labels": torch.tensor(labels)} if right else {})

    def _with_positions(self, tensors: Tensors) -> Tensors:
        mask = tensors["attention_mask"]
        if self.family.multimodal_positions:
            positions, _ = self.model.model.get_rope_index(
                tensors["input_ids"],
                mm_token_type_ids=tensors[str(self.family.types)],
                image_grid_thw=tensors["image_grid_thw"],
                attention_mask=mask,
            )
        else:
            positions = (mask.cumsum(-1) - 1).clamp(min=0) + self.family.first_position
        return tensors | {"position_ids": positions}


def check_length(tokens: int, config: Config, family: Family) -> None:
    """Refuse what is longer than a model reads at once; less where a window slides that has no mask of its own."""
    text = config.get_text_config()
    window, longest = getattr(text, "sliding_window", None), int(text.max_position_embeddings)
    kinds = getattr(text, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    if window and "sliding_attention" in kinds and not family.masks_by_layer:
        longest = min(longest, int(window))
    if tokens > longest:
        raise ModelError(
            f"photograph, prompt and answer have {tokens} tokens, the model reads {longest}",
            place="[prompt] user",
            remedy="shorten the prompt",
        )


def without_answers(inputs: Tensors) -> Tensors:
    """Return the prompt's columns of a training batch, which holds the true answers too."""
    inputs = dict(inputs)
    answers = inputs.pop("labels").shape[1] if "labels" in inputs else 0
    columns = inputs["input_ids"].shape[1] - answers
    texts = ("input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids")
    return {name: tensor[..., :columns] if name in texts else tensor for name, tensor in inputs.items()}
