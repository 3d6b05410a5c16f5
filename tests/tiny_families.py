"""Tiny random checkpoints of each family of decoder-only vision-language models, written and read like real ones.

They have several layers, and weights large enough that a wrong mask, position or type shows in the likelihoods.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    Gemma3ImageProcessorPil,
    Idefics3ImageProcessorPil,
    Qwen2VLImageProcessorPil,
    SiglipImageProcessorPil,
    SmolVLMImageProcessorPil,
)

from toolkit.models.checkpoint import Checkpoint, write_checkpoint
from toolkit.models.decoder.chat import ImagesAndText
from toolkit.models.tiny_chat import byte_level_tokenizer, set_vocabulary
from toolkit.models.transformers_compat import quiet

SIDE, PATCH = 32, 8
GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message.role == 'assistant' else 'user' }}\n{% for part in message.content %}"
    "{{ '<start_of_image>' if part.type == 'image' else part.text | trim }}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for message in messages %}<|im_start|>"
    "{{ message.role }}\n{% for part in message.content %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content[0].type == 'image' else ': ' }}{% for part in message.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
LLAVA = (
    "{% for message in messages %}{{ message.role | upper }}: {% for part in message.content %}"
    "{{ '<image>\n' if part.type == 'image' else part.text + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
    "initializer_range": 0.2,
}
QWEN_VISION = {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH}
FAMILIES = ("gemma3", "paligemma", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "llava")


def build_family(family: str, folder: Path, texts: list[str], *, seed: int, **text_settings: Any) -> Path:
    """Write a checkpoint of a family; `text_settings` go into the language model's configuration."""
    tokenizer, config, image_processor = PARTS[family](texts, {**TEXT, **text_settings})
    set_vocabulary(config, tokenizer)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        liven(model)
    write_checkpoint(folder, Checkpoint(model, ImagesAndText(tokenizer, image_processor)))
    return folder


@torch.no_grad()
def liven(model: Any) -> None:
    """Draw what a bare configuration leaves at zero, and make vision count."""
    for name, parameter in model.named_parameters():
        if "projector" in name or "merger" in name or "connector" in name or "patch_embed" in name:
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
        elif parameter.ndim > 1:
            parameter.normal_(std=0.15)


def _gemma3(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    tokenizer = byte_level_tokenizer(
        texts,
        pad="<pad>",
        bos="<bos>",
        end="<end_of_turn>",
        specials=["<start_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"],
        adds_bos=True,
        template=GEMMA,
    )
    number = tokenizer.convert_tokens_to_ids
    config = AutoConfig.for_model(
        "gemma3",
        text_config={"sliding_window": 4096, "sliding_window_pattern": 2, "query_pre_attn_scalar": 16, **text},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        mm_tokens_per_image=4,
        image_token_index=number("<image_soft_token>"),
        boi_token_index=number("<start_of_image>"),
        eoi_token_index=number("<end_of_image>"),
    )
    size = {"height": SIDE, "width": SIDE}
    return tokenizer, config, Gemma3ImageProcessorPil(size=size, image_seq_length=4)


def _paligemma(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    locations = [f"<loc{n:04}>" for n in range(8)]
    tokenizer = byte_level_tokenizer(
        texts, pad="<pad>", bos="<bos>", end="<eos>", specials=["<image>", *locations], adds_bos=True, template=None
    )
    config = AutoConfig.for_model(
        "paligemma",
        text_config={"model_type": "gemma", **text},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=text["hidden_size"],
    )
    return tokenizer, config, SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _qwen(family: str, texts: list[str], text: dict, vision: dict, rope: dict) -> tuple[Any, Any, Any]:
    tokenizer = byte_level_tokenizer(
        texts,
        pad="<|endoftext|>",
        bos=None,
        end="<|im_end|>",
        specials=["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
        adds_bos=False,
        template=QWEN,
    )
    number = tokenizer.convert_tokens_to_ids
    config = AutoConfig.for_model(
        family,
        text_config={"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, **rope}, **text},
        vision_config={**QWEN_VISION, "out_hidden_size": text["hidden_size"], "spatial_merge_size": 2, **vision},
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    size = {"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE}
    return tokenizer, config, Qwen2VLImageProcessorPil(size=size, patch_size=PATCH, merge_size=2)


def _qwen2_5(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    vision = {"fullatt_block_indexes": [1], "window_size": 2 * PATCH * 2}
    return _qwen("qwen2_5_vl", texts, text, vision, {"mrope_section": [2, 3, 3]})


def _qwen3(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    vision = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return _qwen("qwen3_vl", texts, text, vision, {"mrope_section": [2, 3, 3], "mrope_interleaved": True})


def _idefics(family: str, image_processor: Any, texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_level_tokenizer(
        texts,
        pad="<pad>",
        bos="<|im_start|>",
        end="<end_of_utterance>",
        specials=["<image>", "<fake_token_around_image>", "<global-img>", *tiles],
        adds_bos=False,
        template=IDEFICS,
    )
    config = AutoConfig.for_model(
        family,
        text_config={"model_type": "llama", **text},
        vision_config=VISION,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    size = {"longest_edge": SIDE}
    return tokenizer, config, image_processor(size=size, max_image_size=size)


def _idefics3(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    return _idefics("idefics3", Idefics3ImageProcessorPil, texts, text)


def _smolvlm(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    return _idefics("smolvlm", SmolVLMImageProcessorPil, texts, text)


def _llava(texts: list[str], text: dict) -> tuple[Any, Any, Any]:
    tokenizer = byte_level_tokenizer(
        texts, pad="<pad>", bos="<s>", end="</s>", specials=["<image>"], adds_bos=True, template=LLAVA
    )
    config = AutoConfig.for_model(
        "llava",
        text_config={"model_type": "llama", **text},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **VISION},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    size = {"height": SIDE, "width": SIDE}
    return tokenizer, config, CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)


PARTS = {
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "qwen2_5_vl": _qwen2_5,
    "qwen3_vl": _qwen3,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "llava": _llava,
}
