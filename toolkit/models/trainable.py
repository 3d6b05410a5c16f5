"""The weights that each mode of training trains; the data type of the others, and that they are not in training."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import Module

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.decoder.families import FAMILIES
from toolkit.models.transformers_compat import Model, quiet

LORA_TARGETS = {
    "instructblip": r"language_model\..*\.(q|v)",
    "queries": r"language_model\.model\.(decoder\.)?layers\.\d+\.self_attn\.(q|v)_proj",
    "decoder": r".*\b(language_model|text_model)\.layers\.\d+\.self_attn\.(q|v)_proj",
}
"""Anchored: the suffix alone would also match layers of the vision encoder."""
LORA_PREFIX = "lora_"


class Parts(NamedTuple):
    """The weights that each mode trains, as prefixes of their names; LoRA trains none of the model's own weights."""

    trained: Mapping[TrainMode, tuple[str, ...]]
    language: str
    """What stands in the name of a weight of the language model."""
    lora_targets: str


INSTRUCTBLIP = Parts(
    {
        "full": ("",),
        "language_model": ("language_model.",),
        "qformer": ("qformer.", "query_tokens", "language_projection."),
        "lora": (),
    },
    "language_model.",
    LORA_TARGETS["instructblip"],
)


QUERIES = INSTRUCTBLIP._replace(lora_targets=LORA_TARGETS["queries"])


def parts_of(model: Model) -> Parts:
    """Return the parts of a model, by its family."""
    config = plain(model).config
    family = FAMILIES.get(config.model_type)
    if family is None or family.question:
        return QUERIES if config.use_decoder_only_language_model else INSTRUCTBLIP
    trained: dict[TrainMode, tuple[str, ...]] = {
        "full": ("",),
        "language_model": (f"model.{family.language}.", "lm_head."),
        "lora": (),
    }
    return Parts(trained, f"{family.language}.", LORA_TARGETS["decoder"])


def freezes_vision(mode: TrainMode) -> bool:
    """Tell whether a mode leaves the vision encoder as it is, so that its output can be cached."""
    return mode != "full"


def set_precision(model: Model, *, mode: TrainMode, dtype: str) -> None:
    """Cast weights that the mode does not train to `dtype`, others to float32: at 1e-6 bfloat16 does not move."""
    frozen = torch.float32 if dtype == "float32" else torch.bfloat16  # 4-bit weights are made of the latter
    trained = parts_of(model).trained[mode]
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(torch.float32 if name.startswith(trained) else frozen)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.to(frozen)


def prepare(model: Model, *, mode: TrainMode, lora: LoraSection) -> Model:
    """Freeze what the mode does not train; return the model to train, for LoRA with new adapters.

    A model in LoRA's wrapper keeps the weights of its adapters, and gets the dropout that is asked for.
    """
    adapters = {} if plain(model) is model else _adapters_of(model, mode=mode, lora=lora)
    whole = model.unload() if adapters else model
    trained = parts_of(whole).trained[mode]
    for name, parameter in whole.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    prepared = _with_adapters(whole, lora, adapters) if mode == "lora" else whole
    check_trained(prepared, mode=mode)
    return prepared


def plain(model: Model) -> Model:
    """Return a model without LoRA's wrapper; its layers contain the adapters all the same."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def rest_frozen_parts(model: Model) -> None:
    """Switch dropout and the like off in the parts of a model in training of which nothing is trained.

    A part is a direct child of the model, such as the Q-Former, or of what its head stands on; one that has adapters is
    trained, and its dropout is on.
    """
    whole = plain(model)
    inner = whole.base_model
    for part in [part for part in (*whole.children(), *inner.children()) if part is not inner]:
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()


def lora_config(lora: LoraSection, targets: str) -> Any:
    """Return peft's configuration of the adapters, the only kind that this toolkit trains and reads."""
    from peft import LoraConfig  # noqa: PLC0415 - two seconds, and only LoRA needs it

    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none"
    )


def _adapters_of(model: Model, *, mode: TrainMode, lora: LoraSection) -> dict[str, torch.Tensor]:
    """Return the weights of a model's adapters; refuse to train on it in any other way than they were trained in."""
    from peft import get_peft_model_state_dict  # noqa: PLC0415 - two seconds, and only LoRA needs it

    own = model.peft_config[model.active_adapter]
    if mode != "lora" or (own.r, own.lora_alpha) != (lora.rank, lora.alpha):
        raise ModelError(
            f"an adapter of rank {own.r} and alpha {own.lora_alpha} is trained on as it is and in no other mode",
            place="[train.lora] rank",
            remedy=f'set mode = "lora" under [train], rank = {own.r} and alpha = {own.lora_alpha} under [train.lora]',
        )
    return get_peft_model_state_dict(model, save_embedding_layers=False)


def _with_adapters(model: Model, lora: LoraSection, weights: Mapping[str, torch.Tensor]) -> Model:
    """Return the model with adapters; without `weights` they are new and change nothing yet."""
    from peft import get_peft_model, set_peft_model_state_dict  # noqa: PLC0415 - two seconds, and only LoRA needs it

    with quiet():
        adapted = get_peft_model(model, lora_config(lora, parts_of(model).lora_targets))
        if weights:
            set_peft_model_state_dict(adapted, dict(weights))
    return adapted


def check_trained(model: Module, *, mode: TrainMode) -> None:
    """Refuse a model without weights to train, with such weights not in float32, or with adapters elsewhere."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ModelError(f"mode {mode!r} trains nothing of this model", place="[train] mode", remedy="use another mode")
    if coarse := sorted(name for name, p in trained.items() if p.dtype != torch.float32):
        raise ModelError(
            f"{len(coarse)} weights to train are not float32, {coarse[0]} among them, and would lose small steps",
            place="[model] dtype",
            remedy="use bfloat16 only for weights that are not trained",
        )
    language = parts_of(model).language
    if mode == "lora" and (astray := sorted(n for n in trained if language not in n or LORA_PREFIX not in n)):
        raise ModelError(
            f"LoRA would train {astray[0]}, which is not an adapter of the language model",
            place="[train] mode",
            remedy="start from a checkpoint without adapters of its own",
        )
