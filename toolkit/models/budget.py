"""Memory that each mode of training needs, computed before weights are loaded.

Activations come on top: they depend on the batch and on the kernels.
"""

import os
from collections.abc import Callable, Sequence

import torch

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget
from toolkit.models.checkpoint import read_adapter
from toolkit.models.quantised import BYTES, quantised_layers
from toolkit.models.trainable import parts_of, prepare
from toolkit.models.transformers_compat import Config, Model, quiet

GIB = 2**30
ADAMW = 16
"""Bytes for each weight that AdamW trains: the weight, its gradient and two moments, float32 each."""
WIDTHS = {"float32": 4, "bfloat16": 2}


def budgets(config: Config, lora: LoraSection) -> list[Budget]:
    """Return the budget of every mode of training, counted on a model without memory."""
    return [_budget(skeleton(config), mode, lora) for mode in parts_of(skeleton(config)).trained]


def budgets_of(source: str, lora: LoraSection, *, read: Callable[[str], Config]) -> list[Budget]:
    """Return the budget of every mode in which a checkpoint can be trained; an adapter is trained on in its own alone.

    `read` returns the configuration of a folder or hub name.
    """
    adapter = read_adapter(source)
    found = budgets(read(adapter.base if adapter else source), lora)
    return [budget for budget in found if budget.mode == "lora" or adapter is None]


def skeleton(config: Config) -> Model:
    """Return the model of a configuration on the meta device: with shapes, without memory."""
    from transformers import AutoModelForImageTextToText  # noqa: PLC0415 - with its class at hand elsewhere

    with quiet(), torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        if getattr(config.text_config, "scale_decoder_outputs", None) is False:
            # transformers 5 ties it in every new T5; a Flan-T5 has its own.
            head = model.language_model.lm_head
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
    return model


def _budget(model: Model, mode: TrainMode, lora: LoraSection) -> Budget:
    coarse = sum(layer.weight.numel() for layer in quantised_layers(model).values())
    prepared = prepare(model, mode=mode, lora=lora)
    trained = sum(p.numel() for p in prepared.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in prepared.parameters()) - trained
    sizes = {dtype: trained * ADAMW + frozen * width for dtype, width in WIDTHS.items()}
    smallest = sizes["bfloat16"] - round(coarse * (WIDTHS["bfloat16"] - BYTES)) if mode == "lora" else None
    return Budget(mode, trained, frozen, sizes["float32"], sizes["bfloat16"], smallest)


def device_memory(device: str) -> int:
    """Return the bytes of memory of a device: of the first GPU, or of this machine."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    if device == "mps":
        return torch.mps.recommended_max_memory()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_budget(
    budgets: Sequence[Budget], *, mode: TrainMode, dtype: str, device: str, memory: int, shards: int = 1
) -> None:
    """Raise ModelError where a mode does not fit into the device's memory; the error names the modes that do.

    In shards, each device needs its share; and all weights while they are read, and when validation is scored.
    """
    own = next((budget for budget in budgets if budget.mode == mode), None)
    if own is None:
        raise ModelError(
            f"this model cannot be trained with mode = {mode!r}",
            place="[train] mode",
            remedy=f"its modes are: {', '.join(budget.mode for budget in budgets)}",
        )
    need = own.needed(dtype)
    if shards > 1:
        need = need // shards + (own.trained + own.frozen) * WIDTHS["float32"]
    if need <= memory:
        return
    fitting = [
        f'mode = "{b.mode}"' + (' with dtype = "bfloat16"' if b.needed(dtype) > memory else "")
        for b in budgets
        if b.least() <= memory
    ]
    on_gpu = [b for b in budgets if device.startswith("cuda") and b.bytes_4bit is not None and b.bytes_4bit <= memory]
    fitting += [f'mode = "{b.mode}" with dtype = "4bit"' for b in on_gpu if b.least() > memory]
    raise ModelError(
        f'training with mode = "{mode}" needs {need / GIB:.1f} GiB and its activations, '
        f"this device ({device}) has {memory / GIB:.1f} GiB",
        place="[train] mode",
        remedy=f"use {' or '.join(fitting)}" if fitting else "use a larger device or a smaller model",
    )
