"""The device that a model runs on."""

import os

import torch

from toolkit.errors import ModelError

DEVICES = ("cuda", "mps", "cpu")
VARIABLE = "TOOLKIT_DEVICE"


def pick_device(flag: str | None = None) -> str:
    """Return the device named by the flag, else by TOOLKIT_DEVICE, else the first available of cuda, mps, cpu.

    Of several processes on one machine each gets a GPU of its own.
    """
    device = _picked(flag)
    own = os.environ.get("LOCAL_RANK")
    return f"cuda:{own}" if device == "cuda" and own else device


def _picked(flag: str | None) -> str:
    name, place = (flag, "--device") if flag else (os.environ.get(VARIABLE), VARIABLE)
    if not name:
        return next(device for device in DEVICES if _is_available(device))
    if name not in DEVICES:
        raise ModelError(f"no such device: {name!r}", place=place, remedy=f"use one of {', '.join(DEVICES)}")
    if not _is_available(name):
        others = ", ".join(device for device in DEVICES if _is_available(device))
        raise ModelError(f"this machine has no {name} device", place=place, remedy=f"leave it out, or use {others}")
    return name


def _is_available(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device == "cpu" or torch.backends.mps.is_available()
