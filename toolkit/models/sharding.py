"""Full training with the weights in shards: FSDP by accelerate's plugin, for models that one GPU cannot train whole.

`accelerate launch --use_fsdp` asks for it; how the model is cut is said here, not there. Each process keeps a share of
the weights, their gradients and the optimizer's moments; a layer is gathered when it is computed. What is saved is
whole, and one process loads it.
"""

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainMode
from toolkit.models.processes import this_process
from toolkit.models.transformers_compat import Model

SWITCH = "ACCELERATE_USE_FSDP"
"""Set by `accelerate launch --use_fsdp`."""
PLACE = "accelerate launch --use_fsdp"


def is_sharded() -> bool:
    """Tell whether the weights are to be trained in shards."""
    return os.environ.get(SWITCH, "false").lower() == "true" and this_process().count > 1


def shards_of(mode: TrainMode) -> int:
    """Return the number of shards that the weights are cut into, 1 for whole ones; refuse what is not to be cut."""
    if not is_sharded():
        return 1
    if mode != "full":
        refuse_shards(f"only full training is sharded, not mode = {mode!r}")
    return this_process().count


def refuse_shards(problem: str) -> None:
    """Raise ModelError where the weights of a model that cannot be cut are to be trained in shards."""
    if is_sharded():
        raise ModelError(
            problem, place=PLACE, remedy="leave --use_fsdp out: without it each GPU holds all weights of the model"
        )


def arguments(model: Model) -> dict[str, Any]:
    """Return the library's arguments: each repeated layer is gathered when it is computed, and what is saved is whole.

    Every process reads all weights before they are cut: accelerate's other way ties them anew.
    """
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": layers(model),
            "state_dict_type": "FULL_STATE_DICT",
            "cpu_ram_efficient_loading": False,
        },
    }


def layers(model: nn.Module) -> list[str]:
    """Return the classes of the layers that a model repeats, the outermost ones."""
    lists: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{outer}.") for outer in lists):
            lists[name] = module
    return sorted({type(layer).__name__ for each in lists.values() for layer in each})


@contextmanager
def sharded(model: Model) -> Generator[dict[str, Any]]:
    """Yield the arguments by which the library shards a model in the block; at its end, the weights are whole again."""
    if not is_sharded():
        yield {}
        return
    tied = ties(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")  # nobody writes into it
        yield arguments(model)
    make_whole(model, tied=tied)


def let_shard(args: Any) -> None:
    """Let accelerate shard on the CPU too: it knows FSDP for accelerators only, though torch can do it by gloo."""
    from accelerate.state import DistributedType, PartialState  # noqa: PLC0415 - two seconds

    if args.fsdp and args.device.type == "cpu":
        PartialState().distributed_type = DistributedType.MULTI_GPU


@contextmanager
def embeddings_together(model: Any) -> Generator[None]:
    """Keep embeddings and head in one part with the rest while accelerate cuts a model.

    It would give the input embedding a part of its own, which torch refuses where another module has the same weights,
    as T5's encoder and decoder do, and a tied head.
    """
    if not is_sharded():
        yield
        return
    model.get_input_embeddings = model.get_output_embeddings = lambda: None
    try:
        yield
    finally:
        del model.get_input_embeddings, model.get_output_embeddings


@contextmanager
def gathered(model: nn.Module) -> Generator[None]:
    """Hold all weights whole within the block: scoring reaches into layers, which gather themselves when called."""
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415 - two seconds

    parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(reshard_after_forward=False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(reshard_after_forward=part is not model, recurse=False)


def make_whole(model: nn.Module, *, tied: set[frozenset[str]]) -> None:
    """Put a model's shards together, in place: whole weights on the CPU of the first process, none in the others.

    Raises ModelError where other weights are tied than before it was cut: what is saved would be another model.
    """
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - two seconds

    whole: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(weight, DTensor) and weight not in whole:
                gathered = weight.full_tensor()
                kept = gathered.cpu() if this_process().is_first else gathered.to("meta")
                whole[weight] = nn.Parameter(kept, requires_grad=weight.requires_grad)
            module.register_parameter(name, whole.get(weight, weight))
    if tied != (now := ties(model)):
        names = sorted({name for group in tied ^ now for name in group})
        raise ModelError(
            f"sharding has changed which weights are tied: {', '.join(names[:4])}",
            place=PLACE,
            remedy="train without --use_fsdp, and report this with the versions of torch, transformers and accelerate",
        )


def ties(model: nn.Module) -> set[frozenset[str]]:
    """Return the groups of names that stand for one weight, such as an input embedding and a tied head."""
    names: dict[int, set[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), set()).add(name)
    return {frozenset(group) for group in names.values() if len(group) > 1}
