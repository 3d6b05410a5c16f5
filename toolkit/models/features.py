"""The cache of vision encoder outputs on disk; what is not as it was written is computed again.

A file is named by all that the pixels of a crop follow from, or by the pixels where a model gets those alone, in a
folder named by weights and image processor of the encoder. So the name depends on no identifier.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.blip_2.modeling_blip_2 import Blip2VisionModel
from transformers.models.instructblip.modeling_instructblip import InstructBlipVisionModel

from toolkit.files import UNWRITABLE, private_writing, remove, size_of
from toolkit.models.transformers_compat import Model
from toolkit.photographs.undecoded import Batch, Crop

LAYOUT = "crops-"
"""How the folder of an encoder begins."""
EARLIER = re.compile(r"[0-9a-f]{16}")
"""An encoder's folder of versions that had to decode a photograph to know its features."""
DIGEST = "sha256"
"""Key of a cached file's metadata: the digest of the features in it."""


def _hidden_states(model: Any, pixel_values: torch.Tensor, forward: Callable[..., Any]) -> BaseModelOutputWithPooling:
    """Return the hidden states of the photographs; cached features pass through."""
    states = pixel_values if pixel_values.ndim == 3 else forward(pixel_values).last_hidden_state
    return BaseModelOutputWithPooling(last_hidden_state=states.to(model.output_dtype))


class CachedVision(InstructBlipVisionModel):
    """A vision encoder that takes its own cached output, (B, T, D), in the place of pixels (B, 3, S, S)."""

    output_dtype: torch.dtype
    """What the Q-Former reads, which may be more precise than what the vision encoder computes in."""

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Return the hidden states of the photographs."""
        return _hidden_states(self, pixel_values, partial(super().forward, **kwargs))


class CachedBlip2Vision(Blip2VisionModel):
    """The same for the vision encoder of a BLIP-2."""

    output_dtype: torch.dtype

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Return the hidden states of the photographs."""
        return _hidden_states(self, pixel_values, partial(super().forward, **kwargs))


def let_features_in(model: Model) -> None:
    """Let a loaded model take cached features wherever it takes pixels: in training, scoring and generation."""
    # A subclass of the complete model would be saved under its name as the checkpoint's architecture.
    is_blip_2 = isinstance(model.vision_model, Blip2VisionModel)
    model.vision_model.__class__ = CachedBlip2Vision if is_blip_2 else CachedVision
    model.vision_model.output_dtype = model.qformer.dtype


def weights_digest(weights: torch.nn.Module | Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all weights, whatever files they came from."""
    digest = hashlib.sha256()
    tensors = weights.state_dict() if isinstance(weights, torch.nn.Module) else weights
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def vision_outputs(model: Model, processor: Any) -> "Encoder":
    """Return the vision encoder of an InstructBLIP or a BLIP-2."""

    def compute(photograph: np.ndarray) -> torch.Tensor:
        pixels = processor.image_processor([photograph], return_tensors="pt")["pixel_values"]
        model.vision_model.eval()
        return model.vision_model(pixels.to(model.vision_model.device)).last_hidden_state[0]

    return Encoder(f"{weights_digest(model.vision_model)}\0{processor.image_processor.to_json_string()}", compute)


class Encoder(NamedTuple):
    """What makes features of one photograph, and all that they depend on beside it, as a text."""

    determined: str
    compute: Callable[[np.ndarray], torch.Tensor]


class FeatureCache:
    """Outputs of an encoder; at most `room` bytes are stored below `folder`."""

    def __init__(self, encoder: Encoder, *, folder: Path, room: int) -> None:
        self.compute = encoder.compute
        self.folder = folder / f"{LAYOUT}{hashlib.sha256(encoder.determined.encode()).hexdigest()[:16]}"
        self.room = room
        _remove_old(folder)
        self.used = size_of(folder)

    def __call__(self, photographs: Batch) -> torch.Tensor:
        """Return (B, …) on the CPU, the same from the cache or computed now; only then is a photograph decoded."""
        return torch.stack([self._features(photograph) for photograph in photographs])

    def has(self, name: str) -> bool:
        """Tell whether there are features of a name; they may turn out not to be as they were written."""
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.safetensors"

    def _features(self, photograph: np.ndarray | Crop) -> torch.Tensor:
        path = self._path(photograph.name if isinstance(photograph, Crop) else _pixel_name(photograph))
        features = read_features(path)
        if features is None:
            features = self._compute(np.ascontiguousarray(photograph))
            self._store(path, features)
        return features

    @torch.inference_mode()
    def _compute(self, photograph: np.ndarray) -> torch.Tensor:
        # One by one: in a batch the last bits would depend on the other photographs.
        return self.compute(photograph).cpu().clone()

    def _store(self, path: Path, features: torch.Tensor) -> None:
        size = features.nbytes
        if self.used + size > self.room:
            return
        temporary = path.with_name(f".{path.stem[:8]}.{uuid.uuid4().hex[:8]}")
        try:
            with private_writing():
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file({"features": features.contiguous()}, temporary, {DIGEST: _digest(path, features)})
            temporary.rename(path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno not in UNWRITABLE:
                raise
            self.room = 0  # a full disk: what does not fit is computed each time
            return
        self.used += size


def _pixel_name(photograph: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(photograph).tobytes()).hexdigest()


def _remove_old(folder: Path) -> None:
    """Remove what earlier versions kept, under names that nothing asks for any more."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if EARLIER.fullmatch(path.name):
            remove(path)


def read_features(path: Path) -> torch.Tensor | None:
    """Return cached features; remove a file that is not as it was written, or that has no digest to tell."""
    if not path.is_file():
        return None
    with suppress(OSError, SafetensorError, RuntimeError), safe_open(path, framework="pt") as file:
        features = file.get_tensor("features")
        if (file.metadata() or {}).get(DIGEST) == _digest(path, features):
            return features
    path.unlink(missing_ok=True)
    return None


def _digest(path: Path, features: torch.Tensor) -> str:
    """Return the SHA-256 over the file's name, which says of what the features are, and their type, shape and bytes."""
    digest = hashlib.sha256(f"{path.stem}\0{features.dtype}\0{tuple(features.shape)}\0".encode())
    digest.update(features.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
