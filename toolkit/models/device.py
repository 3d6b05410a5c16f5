"""Which device a model runs on.

Refuses to know what runs there.
"""

import os

import torch

from toolkit.errors import ModelError

DEVICES = ("cuda", "mps", "cpu")
VARIABLE = "TOOLKIT_DEVICE"


def pick_device(flag: str | None = None) -> str:
    """Return the device asked for by flag, else by TOOLKIT_DEVICE, else the first there is of cuda, mps, cpu.

    Of several processes on one machine each gets a GPU of its own.
    """
    device = _picked(flag)
    own = os.environ.get("LOCAL_RANK")
    return f"cuda:{own}" if device == "cuda" and own else device


def _picked(flag: str | None) -> str:
    asked, place = (flag, "--device") if flag else (os.environ.get(VARIABLE), VARIABLE)
    if not asked:
        return next(device for device in DEVICES if _is_there(device))
    if asked not in DEVICES:
        raise ModelError(f"no such device: {asked!r}", place=place, remedy=f"use one of {', '.join(DEVICES)}")
    if not _is_there(asked):
        there = ", ".join(device for device in DEVICES if _is_there(device))
        raise ModelError(f"this machine has no {asked} device", place=place, remedy=f"leave it out, or use {there}")
    return asked


def _is_there(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device == "cpu" or torch.backends.mps.is_available()
