"""Checks for states in which a model runs without an error and gives wrong results."""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.errors import ModelError
from toolkit.models.decoder.families import BLIP_2
from toolkit.models.transformers_compat import Config, Model, Processor

DEGENERATE = 1e-6
"""Vision weights drawn with the default initializer_range (1e-10) are far below this, trained ones far above."""


def check_weights(model: Model, *, place: str) -> None:
    """Refuse a model whose weights are not those of a trained or trainable InstructBLIP."""
    if model.config.use_decoder_only_language_model:
        raise ModelError(
            "this checkpoint has a decoder-only language model",
            place=place,
            remedy='use backend = "image-text-to-text", or a Flan-T5 checkpoint such as '
            "Salesforce/instructblip-flan-t5-xl",
        )
    check_head(model, place=place)
    if model.config.image_token_index is None:
        raise ModelError(
            "the configuration names no image token (image_token_index): it was written for older code",
            place=place,
            remedy="fetch the checkpoint again in its newest revision",
        )
    if not model.query_tokens.any():
        problem = "the query tokens are all zero: every image token would be the same"
    elif model.vision_model.embeddings.patch_embedding.weight.abs().max() < DEGENERATE:
        problem = "the vision weights are nearly zero: the model cannot see"
    else:
        return
    raise ModelError(
        f"degenerate weights: {problem}",
        place=place,
        remedy="start from a trained checkpoint; one built from a bare configuration cannot be trained",
    )


def check_head(model: Model, *, place: str) -> None:
    """Refuse a Flan-T5 whose output layer was overwritten by the input embedding.

    transformers 5 forces `tie_word_embeddings` to True for every T5 and keeps in `scale_decoder_outputs` whether the
    checkpoint was trained with one matrix for both (T5 1.0) or with two (T5 1.1, Flan).
    """
    head, embedding = model.language_model.lm_head.weight, model.language_model.shared.weight
    tied = head is embedding or head.data_ptr() == embedding.data_ptr() != 0  # weights without memory have 0
    if tied and not model.config.text_config.scale_decoder_outputs:
        raise ModelError(
            "the output layer (lm_head) is tied to the input embedding, though this model was trained with its own",
            place=place,
            remedy="fetch the checkpoint again; never call tie_weights() or resize_token_embeddings() on it",
        )


def check_image_tokens(input_ids: list[int], *, image_token: int, expected: int, prompt: str) -> None:
    """Refuse a tokenised prompt without one image token per query: the model would answer without the photograph."""
    image_tokens = input_ids.count(image_token)
    if image_tokens != expected:
        raise ModelError(
            f"the tokenised prompt holds {image_tokens} image tokens, the model needs {expected}",
            place=f"prompt {prompt[:80]!r}",
            remedy="keep <image> out of the prompt, and let num_query_tokens of processor and model agree",
        )


def check_distinct(answers: Sequence[str], tokens: Sequence[list[int]]) -> None:
    """Refuse two answers that are the same tokens."""
    first: dict[tuple[int, ...], str] = {}
    for answer, ids in zip(answers, tokens, strict=True):
        other = first.setdefault(tuple(ids), answer)
        if other is not answer:
            raise ModelError(
                f"the model cannot tell {other!r} from {answer!r}: both become the same tokens",
                place="[[classes]] answer",
                remedy="choose answers in the characters of the model's tokenizer",
            )


def check_tokenizers(processor: Processor, config: Config, *, place: str) -> None:
    """Refuse tokenizers that do not belong to the language model and the Q-Former.

    Where a checkpoint has no folder qformer_tokenizer/, the library takes the language model's tokenizer for it.
    """
    check_vocabulary(processor.tokenizer, rows=config.text_config.vocab_size, what="the tokenizer", place=place)
    if config.model_type == BLIP_2:
        return  # its Q-Former reads no prompt
    own = processor.qformer_tokenizer.get_vocab()
    if own == processor.tokenizer.get_vocab() or type(processor.qformer_tokenizer) is type(processor.tokenizer):
        raise no_qformer_tokenizer(place)
    rows = config.qformer_config.vocab_size
    check_vocabulary(processor.qformer_tokenizer, rows=rows, what="the Q-Former's tokenizer", place=place)


def no_qformer_tokenizer(place: str) -> ModelError:
    """Return the error for a checkpoint without the tokenizer of its Q-Former."""
    return ModelError(
        "the checkpoint has no Q-Former tokenizer (qformer_tokenizer/)",
        place=place,
        remedy="fetch the checkpoint again with its folder qformer_tokenizer/",
    )


def check_qformer_length(tokens: Sequence[int], config: Config, *, prompt: str) -> None:
    """Refuse a prompt that is longer than the Q-Former reads."""
    longest = config.qformer_config.max_position_embeddings
    if len(tokens) > longest:
        raise ModelError(
            f"the prompt has {len(tokens)} tokens, the model reads {longest}",
            place=f"prompt {prompt[:80]!r}",
            remedy="shorten [prompt] user",
        )


def check_vocabulary(tokenizer: Any, *, rows: int, what: str, place: str) -> None:
    """Refuse a tokenizer with numbers that the embedding has no row for."""
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise ModelError(
            f"{what} has tokens up to number {largest}, the embedding has {rows} rows",
            place=place,
            remedy="fetch the checkpoint again: its tokenizer files belong to another checkpoint",
        )


def check_finite(values: torch.Tensor, *, what: str) -> None:
    """Refuse NaN and infinity: a prediction or metric computed from them would look valid."""
    if not torch.isfinite(values).all():
        raise ModelError(
            f"{what} is not a finite number",
            remedy="use a lower learning rate or a longer warm-up and train again; half precision is not for T5",
        )
