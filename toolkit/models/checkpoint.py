"""How an InstructBLIP checkpoint is read, and how its folder is written whole or not at all.

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
from toolkit.files import UNWRITABLE, write_json
from toolkit.models.sanity_checks import check_weights
from toolkit.models.transformers_compat import Config, Model, Processor, quiet

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Checkpoint(NamedTuple):
    """A model in float32, ready to score, with the processor that belongs to it."""

    model: Model
    processor: Processor


ADAPTER = "adapter_config.json"
BASE = "base.json"
"""Beside an adapter: the checkpoint it belongs to, and the digest of that one's weights."""


class Adapter(NamedTuple):
    """A LoRA adapter on disk; `base` is the folder or hub name of the checkpoint it was trained on."""

    folder: Path
    base: str
    weights_sha256: str

    def put_around(self, model: Model, *, weights_sha256: str) -> Any:
        """Return the model with the adapter in it; refuse one that the adapter was not trained on."""
        from peft import PeftModel  # noqa: PLC0415 - two seconds, and only LoRA needs it

        if weights_sha256 != self.weights_sha256:
            raise ModelError(
                f"the checkpoint {self.base} is not the one that this adapter was trained on: its weights differ",
                place=str(self.folder),
                remedy="put the old one back, or train again",
            )
        with quiet(), readable(str(self.folder), is_folder=True):
            return PeftModel.from_pretrained(model, str(self.folder))


def read_adapter(source: str) -> Adapter | None:
    """Return the adapter in a folder, or None where it holds none."""
    folder = Path(source)
    if not (folder / ADAPTER).is_file():
        return None
    with readable(source, is_folder=True):
        base = json.loads((folder / BASE).read_bytes())
        beside = folder / base["name"]
        name = str(beside.resolve()) if beside.is_dir() else base["name"]
        return Adapter(folder, name, base["weights_sha256"])


def read_config(source: str) -> Config:
    """Read a checkpoint's configuration only."""
    is_folder = _found(source)
    with quiet(), readable(source, is_folder=is_folder):
        return InstructBlipConfig.from_pretrained(source, local_files_only=is_folder)


def _found(source: str) -> bool:
    """Tell whether a source is a folder; refuse what is neither one of InstructBLIP nor a hub name."""
    is_folder = bool(source) and Path(source).is_dir()
    if is_folder:
        _check_folder(Path(source))
    elif not HUB_NAME.fullmatch(source):
        raise ModelError("no such checkpoint folder", place=source, remedy=_REMEDY)
    return is_folder


def read_checkpoint(source: str) -> Checkpoint:
    """Read a checkpoint from a folder or by its hub name; raise ModelError if it cannot be used as it stands."""
    is_folder = _found(source)
    model = _read_model(source, is_folder=is_folder)
    check_weights(model, place=source)
    processor = _read_processor(source, is_folder=is_folder)
    # Processors saved before transformers 4.46 do not say it.
    processor.num_query_tokens = processor.num_query_tokens or model.config.num_query_tokens
    return Checkpoint(model.eval(), processor)


def write_checkpoint(
    folder: Path, checkpoint: Checkpoint, *, adapted: Any = None, base: dict[str, str] | None = None
) -> None:
    """Write model and processor so that `read_checkpoint` gives them back; of an adapted model the adapter only."""
    with whole_folder(folder) as temporary, quiet():
        if adapted is None:
            checkpoint.model.save_pretrained(temporary)
        else:
            _write_adapter(temporary, adapted, base or {}, beside=folder)
        checkpoint.processor.save_pretrained(temporary)


def _write_adapter(temporary: Path, adapted: Any, base: dict[str, str], *, beside: Path) -> None:
    # Whether embeddings were resized is not asked: the library would look for the answer on the hub.
    adapted.save_pretrained(temporary, save_embedding_layers=False)
    (temporary / "README.md").unlink(missing_ok=True)
    is_folder = Path(base["name"]).is_dir()
    name = os.path.relpath(Path(base["name"]).resolve(), beside.resolve()) if is_folder else base["name"]
    write_json(temporary / BASE, {**base, "name": name})
    config = json.loads((temporary / ADAPTER).read_bytes())
    write_json(temporary / ADAPTER, {**config, "base_model_name_or_path": name})


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
    with readable(str(folder), is_folder=True):
        config = json.loads((folder / "config.json").read_bytes())
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != InstructBlipConfig.model_type:
        raise ModelError(f"this is no InstructBLIP checkpoint but {found!r}", place=str(folder), remedy=_REMEDY)


def _read_model(source: str, *, is_folder: bool) -> Model:
    # float32 is asked for: version 5 loads in the checkpoint's own dtype, and bfloat16 weights do not move at 1e-6.
    with quiet(), readable(source, is_folder=is_folder):
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
    with quiet(), readable(source, is_folder=is_folder):
        processor = InstructBlipProcessor.from_pretrained(source, local_files_only=is_folder)
        # The same pixels everywhere: where torchvision is installed, another resize would be chosen.
        processor.image_processor = BlipImageProcessorPil.from_pretrained(source, local_files_only=is_folder)
    return processor


@contextmanager
def readable(source: str, *, is_folder: bool, remedy: str = "") -> Generator[None]:
    """Turn whatever reading a checkpoint raises into one ModelError: what can be wrong with a folder has no end."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        where = source if is_folder else f"{source} (not a folder here, so looked for on the hub)"
        raise ModelError(
            f"the checkpoint cannot be read: {type(error).__name__}: {lines[0][:300]}",
            place=where,
            remedy=remedy or _REMEDY,
        ) from error
