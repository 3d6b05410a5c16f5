"""What a vision part makes of a photograph, and keeps it on disk so that it is made once.

Refuses to know whose photograph it is: a file is named by the pixels that went in, in a folder named by the weights
that looked at them. So crop, ROI, margin, size and the way a photograph is laid are all in the name.
"""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.instructblip.modeling_instructblip import InstructBlipVisionModel

from toolkit.files import UNWRITABLE, size_of
from toolkit.models.transformers_compat import Model


class CachedVision(InstructBlipVisionModel):
    """A vision part that also takes what it has made before, (B, T, D), in the place of pixels (B, 3, S, S)."""

    handed_over: torch.dtype
    """What the Q-Former reads, which may be finer than what the vision part computes in."""

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Return the hidden states of the photographs; features pass through as they are."""
        seen = pixel_values if pixel_values.ndim == 3 else super().forward(pixel_values, **kwargs).last_hidden_state
        return BaseModelOutputWithPooling(last_hidden_state=seen.to(self.handed_over))


def let_features_in(model: Model) -> None:
    """Let a loaded model take features wherever it takes pixels: training, scoring and generation alike."""
    # Not a subclass of the whole model: its name would be saved as the checkpoint's architecture.
    model.vision_model.__class__ = CachedVision
    model.vision_model.handed_over = model.qformer.dtype


def weights_digest(module: torch.nn.Module) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all weights, whatever files they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class FeatureCache:
    """What the vision part of `model` makes of photographs; up to `room` bytes are kept below `folder`."""

    def __init__(self, model: Model, processor: Any, *, folder: Path, room: int) -> None:
        self.vision = model.vision_model
        self.image_processor = processor.image_processor
        looked = f"{weights_digest(self.vision)}\0{self.image_processor.to_json_string()}"
        self.folder = folder / hashlib.sha256(looked.encode()).hexdigest()[:16]
        self.room = room
        self.used = size_of(folder)

    def __call__(self, photographs: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
        """Return (B, T, D) on the CPU, the same whether they were kept or are made now."""
        return torch.stack([self._of(np.ascontiguousarray(photograph)) for photograph in photographs])

    def _of(self, photograph: np.ndarray) -> torch.Tensor:
        name = hashlib.sha256(photograph.tobytes()).hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        kept = _read(path)
        if kept is not None:
            return kept
        made = self._make(photograph)
        self._keep(path, made)
        return made

    @torch.inference_mode()
    def _make(self, photograph: np.ndarray) -> torch.Tensor:
        # One by one: in a batch the last bits would depend on who else is in it.
        pixels = self.image_processor([photograph], return_tensors="pt")["pixel_values"]
        self.vision.eval()
        return self.vision(pixels.to(self.vision.device)).last_hidden_state[0].cpu().clone()

    def _keep(self, path: Path, features: torch.Tensor) -> None:
        size = features.nbytes
        if self.used + size > self.room:
            return
        temporary = path.with_name(f".{path.stem[:8]}.{uuid.uuid4().hex[:8]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"features": features.contiguous()}, temporary)
            temporary.rename(path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno not in UNWRITABLE:
                raise
            self.room = 0  # a full disk: what does not fit is made anew each time
            return
        self.used += size


def _read(path: Path) -> torch.Tensor | None:
    """Return what is kept; a file that was cut off by a power failure is made anew."""
    if not path.exists():
        return None
    try:
        return load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        path.unlink(missing_ok=True)
        return None
