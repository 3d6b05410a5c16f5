"""A base of 4-bit weights for adapters (QLoRA, Dettmers et al. 2023), by the package bitsandbytes on an NVIDIA GPU.

Quantised are the linear layers of the language model but its head, and but T5's `wo`: T5 casts what it reads to the
type of that weight, which would be whole numbers. All other weights are bfloat16.
"""

import importlib
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import Linear

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainMode
from toolkit.models.trainable import parts_of
from toolkit.models.transformers_compat import Model

FOUR_BIT = "4bit"
KIND = "nf4"
BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""A weight; each 64 share a scale of 8 bits, and each 256 scales one of 32 bits."""
KEPT = ("lm_head", "wo")


def check_four_bit(dtype: str, *, mode: TrainMode, device: str) -> None:
    """Refuse 4-bit weights where they would be trained, on anything but an NVIDIA GPU, or without the package."""
    if dtype != FOUR_BIT:
        return
    place = f'[model] dtype = "{FOUR_BIT}"'
    if mode != "lora":
        raise ModelError("4-bit weights cannot be trained", place=place, remedy='use [train] mode = "lora"')
    if not device.startswith("cuda"):
        raise ModelError(
            f"4-bit weights need an NVIDIA GPU, this device is {device}", place=place, remedy='use dtype = "bfloat16"'
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "bitsandbytes is not installed",
            place=place,
            remedy='install lesion-toolkit[4bit], or use dtype = "bfloat16"',
        )


def quantised_layers(model: Model) -> dict[str, Linear]:
    """Return the linear layers that have 4-bit weights, by name."""
    language = parts_of(model).language
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, Linear) and language in name and name.rpartition(".")[2] not in KEPT
    }


def dtype_of(model: Model, dtype: torch.dtype) -> str:
    """Return the precision that a study names, of a model whose other weights have a data type."""
    return FOUR_BIT if getattr(model, "is_loaded_in_4bit", False) else str(dtype).removeprefix("torch.")


def quantise(model: Model) -> None:
    """Replace these layers in place; their weights become 4-bit when the model is moved to its GPU."""
    layers: Any = importlib.import_module("bitsandbytes").nn
    for name, layer in quantised_layers(model).items():
        weight = layer.weight.data
        new = layers.Linear4bit(
            layer.in_features, layer.out_features, bias=False, compute_dtype=weight.dtype, quant_type=KIND
        )
        new.weight = layers.Params4bit(weight, requires_grad=False, quant_type=KIND, compress_statistics=True)
        new.bias = layer.bias
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, new)
    model.is_loaded_in_4bit = True  # by this peft knows what its adapters stand on
