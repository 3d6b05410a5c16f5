"""Knows how an InstructBLIP checkpoint is read, and how its folder is written whole or not at all.

Refuses to know what the model is used for.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    BlipImageProcessorPil,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
)

from toolkit.errors import ModelError
from toolkit.files import UNWRITABLE
from toolkit.models.guards import check_weights
from toolkit.models.library import Model, Processor, quiet

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Checkpoint(NamedTuple):
    """A model in float32, ready to score, with the processor that belongs to it."""

    model: Model
    processor: Processor


def read_checkpoint(source: str, *, device: str) -> Checkpoint:
    """Read a checkpoint from a folder or by its hub name; raise ModelError if it cannot be used as it stands."""
    is_folder = bool(source) and Path(source).is_dir()
    if is_folder:
        _check_folder(Path(source))
    elif not HUB_NAME.fullmatch(source):
        raise ModelError("no such checkpoint folder", place=source, remedy=_REMEDY)
    model = _read_model(source, is_folder=is_folder)
    check_weights(model, place=source)
    processor = _read_processor(source, is_folder=is_folder)
    # Processors saved before transformers 4.46 do not say it.
    processor.num_query_tokens = processor.num_query_tokens or model.config.num_query_tokens
    return Checkpoint(model.to(device).eval(), processor)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write model and processor so that `read_checkpoint` gives them back."""
    with whole_folder(folder) as temporary, quiet():
        checkpoint.model.save_pretrained(temporary)
        checkpoint.processor.save_pretrained(temporary)


@contextmanager
def whole_folder(folder: Path) -> Generator[Path]:
    """Give a temporary folder beside `folder`; when the block ends well, put it in its place."""
    temporary = folder.with_name(f".{folder.name[:40]}.{uuid.uuid4().hex[:8]}")
    replaced = temporary.with_name(f"{temporary.name}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ModelError(
            f"the checkpoint cannot be written: {os.strerror(error.errno)}",
            place=str(folder),
            remedy="free some disk space or choose a folder that may be written, then run the same command again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


_REMEDY = "give the folder of a checkpoint (config.json, *.safetensors, processor and tokenizer files) or a hub name"


def _check_folder(folder: Path) -> None:
    """Refuse a folder of something else; the library would go looking for its configuration on the hub."""
    with _readable(str(folder), is_folder=True):
        config = json.loads((folder / "config.json").read_bytes())
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != InstructBlipConfig.model_type:
        raise ModelError(f"this is no InstructBLIP checkpoint but {found!r}", place=str(folder), remedy=_REMEDY)


def _read_model(source: str, *, is_folder: bool) -> Model:
    # float32 is asked for: version 5 loads in the checkpoint's own dtype, and bfloat16 weights do not move at 1e-6.
    with quiet(), _readable(source, is_folder=is_folder):
        loaded: Any = InstructBlipForConditionalGeneration.from_pretrained(
            source, dtype=torch.float32, local_files_only=is_folder, use_safetensors=True, output_loading_info=True
        )
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"the checkpoint lacks {len(missing)} weights, {missing[0]} among them; they would be random",
            place=source,
            remedy="fetch the checkpoint again",
        )
    return model


def _read_processor(source: str, *, is_folder: bool) -> Processor:
    with quiet(), _readable(source, is_folder=is_folder):
        processor = InstructBlipProcessor.from_pretrained(source, local_files_only=is_folder)
        # The same pixels everywhere: where torchvision is installed, another resize would be chosen.
        processor.image_processor = BlipImageProcessorPil.from_pretrained(source, local_files_only=is_folder)
    return processor


@contextmanager
def _readable(source: str, *, is_folder: bool) -> Generator[None]:
    """Turn whatever reading a checkpoint raises into one ModelError: what can be wrong with a folder has no end."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        where = source if is_folder else f"{source} (not a folder here, so looked for on the hub)"
        raise ModelError(
            f"the checkpoint cannot be read: {type(error).__name__}: {lines[0][:300]}", place=where, remedy=_REMEDY
        ) from error
