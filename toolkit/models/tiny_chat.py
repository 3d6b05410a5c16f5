"""A tiny decoder-only vision-language checkpoint, built offline from `manifests/models/tiny-chat.toml`.

`from_pretrained` reads it like a real one, and it can be trained on synthetic photographs.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForImageTextToText,
    Gemma3Config,
    Gemma3ImageProcessorPil,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from toolkit.models.checkpoint import Checkpoint, write_checkpoint
from toolkit.models.decoder.chat import ImagesAndText
from toolkit.models.transformers_compat import Config, Model, quiet
from toolkit.shipped import shipped

VOCABULARY = 600
PATCH_SPREAD, PROJECTION_SPREAD = 0.8, 0.3
"""Deviation of the patch embedding and of what leads from vision to text, as in the tiny InstructBLIP."""
SPECIALS = ("<start_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")


def build_tiny_chat(folder: Path, texts: list[str], *, seed: int) -> None:
    """Write a tiny Gemma 3 whose vocabulary has the words of a study's prompts and answers, and all bytes.

    The same texts and seed give the same bytes.
    """
    settings = tomllib.loads((shipped("manifests") / "models" / "tiny-chat.toml").read_text("utf-8"))
    template = settings.pop("chat_template").strip("\n")
    tokenizer = byte_level_tokenizer(
        texts, pad="<pad>", bos="<bos>", end="<end_of_turn>", specials=SPECIALS, adds_bos=True, template=template
    )
    config: Config = Gemma3Config(**settings)
    _, boi, eoi, image = tokenizer.convert_tokens_to_ids(list(SPECIALS))
    config.boi_token_index, config.eoi_token_index, config.image_token_index = boi, eoi, image
    set_vocabulary(config, tokenizer)
    side = config.vision_config.image_size
    size = {"height": side, "width": side}
    image_processor = Gemma3ImageProcessorPil(size=size, image_seq_length=config.mm_tokens_per_image)
    write_checkpoint(folder, Checkpoint(_model(config, seed), ImagesAndText(tokenizer, image_processor)))


def byte_level_tokenizer(  # noqa: PLR0913 - the special tokens and settings of a tokenizer
    texts: Sequence[str],
    *,
    pad: str,
    bos: str | None,
    end: str,
    specials: Sequence[str],
    adds_bos: bool,
    template: str | None,
) -> Any:
    """Return a tokenizer that has learned the words of `texts` and can spell any other; the same texts, the same."""
    named = [token for token in (pad, bos, end) if token is not None]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    learning = trainers.BpeTrainer(
        special_tokens=[*named, *specials],
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # A word begins a text or follows a space: both are learned whole.
    words = sorted({spelling for text in texts for word in text.split() for spelling in (word, f" {word}")})
    tokenizer.train_from_iterator(words, learning)
    if bos and adds_bos:
        number = tokenizer.token_to_id(bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, number)]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=end)
    fast.chat_template = template
    return fast


def set_vocabulary(config: Config, tokenizer: Any) -> None:
    """Let a configuration have as many tokens as a tokenizer, and the same ones to begin, to end and to pad."""
    config.text_config.vocab_size = len(tokenizer)
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(tokenizer, name))
    config.eos_token_id = tokenizer.eos_token_id


def _model(config: Config, seed: int) -> Model:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        torch.nn.init.normal_(model.model.vision_tower.embeddings.patch_embedding.weight, std=PATCH_SPREAD)
        # A bare configuration leaves it at zero: the model would be blind.
        torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=PROJECTION_SPREAD)
    model.generation_config = GenerationConfig.from_model_config(config.text_config)
    return model.eval()
