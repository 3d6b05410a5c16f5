"""Reading and writing of InstructBLIP and BLIP-2 checkpoints and of LoRA adapters; a folder is written whole or not."""

import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    Blip2Processor,
    BlipImageProcessorPil,
    InstructBlipProcessor,
)
from transformers.utils import find_adapter_config_file

from toolkit.errors import DamagedError, ModelError
from toolkit.files import DIGESTS, UNWRITABLE, check_digests, private_writing, read_json, write_json
from toolkit.manifest.model import LoraSection
from toolkit.models.decoder.families import BLIP_2
from toolkit.models.sanity_checks import check_tokenizers, check_weights
from toolkit.models.trainable import LORA_TARGETS, lora_config
from toolkit.models.transformers_compat import Config, Model, Processor, quiet

PROCESSORS: dict[str | None, Any] = {"instructblip": InstructBlipProcessor, BLIP_2: Blip2Processor}
"""What makes inputs, by the kind of checkpoint."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Checkpoint(NamedTuple):
    """A model in float32, ready to score, with its processor."""

    model: Model
    processor: Processor


ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NOT_READ = ("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision")
"""Keys of an adapter's configuration that are never looked at: the base stands in base.json."""
BASE = "base.json"
"""File beside an adapter: the checkpoint it was trained on, and the digest of that checkpoint's weights."""


class Adapter(NamedTuple):
    """A LoRA adapter on disk; `base` is the folder or hub name of the checkpoint it was trained on."""

    folder: Path
    base: str
    weights_sha256: str
    lora: LoraSection
    targets: str

    def put_around(self, model: Model, *, weights_sha256: str) -> Any:
        """Return the model with the adapter in it; refuse a model that the adapter was not trained on."""
        from peft import PeftModel  # noqa: PLC0415 - two seconds, and only LoRA needs it

        if weights_sha256 != self.weights_sha256:
            raise ModelError(
                f"the weights of {self.base} are not those that this adapter was trained on",
                place=str(self.folder),
                remedy="put back the checkpoint that it was trained on, or train again",
            )
        with reading(str(self.folder)), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return PeftModel.from_pretrained(model, str(self.folder), config=lora_config(self.lora, self.targets))


def read_adapter(source: str) -> Adapter | None:
    """Return the adapter in a folder, or None where there is none."""
    folder = Path(source)
    if not (folder / ADAPTER).is_file():
        return None
    with reading(source):
        lora, targets = _read_lora(folder)
        base = read_json(folder / BASE)
        relative = folder / base["name"]
        name = str(relative.resolve()) if relative.is_dir() else base["name"]
        check_if_built(Path(name))
        return Adapter(folder, name, base["weights_sha256"], lora, targets)


def _read_lora(folder: Path) -> tuple[LoraSection, str]:
    """Return rank, alpha and dropout of an adapter, and where it goes; refuse one whose files could say more.

    A configuration of peft may name modules to import, other adapters and files of pickles; without safetensors, peft
    would read a pickle.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(f"an adapter without {ADAPTER_WEIGHTS}", place=str(folder), remedy="train the adapter again")
    config = read_json(folder / ADAPTER)
    lora = LoraSection.model_validate(
        {"rank": config["r"], "alpha": config["lora_alpha"], "dropout": config["lora_dropout"]}, strict=True
    )
    targets = next((known for known in LORA_TARGETS.values() if known == config["target_modules"]), "")
    written = lora_config(lora, targets).to_dict()
    usual = {name: (written.get(name), None, False, {}, []) for name in config}
    if strange := sorted(name for name in config if name not in NOT_READ and config[name] not in usual[name]):
        raise ModelError(
            f"an adapter of another kind than this toolkit trains: {strange[0]} is {config[strange[0]]!r:.100}",
            place=str(folder / ADAPTER),
            remedy='train an adapter with [train] mode = "lora"',
        )
    return lora, targets


def check_if_built(folder: Path) -> None:
    """Refuse a checkpoint that was built into the workspace, and of which a file is no longer as it was."""
    if (folder / DIGESTS).exists():
        check_digests(folder, remedy="move the folder away and run the same command again: it is built again")


def read_config(source: str) -> Config:
    """Read a checkpoint's configuration only."""
    with reading(source) as is_folder:
        if is_folder:
            _check_folder(Path(source))
        config = AutoConfig.from_pretrained(source, local_files_only=is_folder, trust_remote_code=False)
        _check_kind(config.model_type, place=source)
    return config


def read_checkpoint(source: str) -> Checkpoint:
    """Read a checkpoint from a folder or by its hub name; raise ModelError if it cannot be used."""
    with reading(source) as is_folder:
        if is_folder:
            _check_folder(Path(source))
        refuse_adapter(source, is_folder=is_folder)
        config = read_config(source)
        check_quantised(config, place=source)
        model = _read_model(source, is_folder=is_folder)
        check_weights(model, place=source)
        options: dict[str, Any] = {"local_files_only": is_folder, "trust_remote_code": False}
        processor: Processor = PROCESSORS[config.model_type].from_pretrained(source, **options)
        check_tokenizers(processor, model.config, place=source)
        # The same pixels everywhere: where torchvision is installed, another resize would be chosen.
        processor.image_processor = BlipImageProcessorPil.from_pretrained(source, **options)
    # Processors saved before transformers 4.46 lack it.
    processor.num_query_tokens = processor.num_query_tokens or model.config.num_query_tokens
    return Checkpoint(model.eval(), processor)


def write_checkpoint(
    folder: Path, checkpoint: Checkpoint, *, adapted: Any = None, base: dict[str, str] | None = None
) -> None:
    """Write model and processor so that `read_checkpoint` gives them back; of an adapted model only the adapter."""
    with whole_folder(folder) as temporary, quiet():
        if adapted is None:
            checkpoint.model.save_pretrained(temporary)
        else:
            _write_adapter(temporary, adapted, base or {}, beside=folder)
        checkpoint.processor.save_pretrained(temporary)


def _write_adapter(temporary: Path, adapted: Any, base: dict[str, str], *, beside: Path) -> None:
    # Without save_embedding_layers=False the library asks the hub whether the embeddings were resized.
    adapted.save_pretrained(temporary, save_embedding_layers=False)
    (temporary / "README.md").unlink(missing_ok=True)
    is_folder = Path(base["name"]).is_dir()
    name = os.path.relpath(Path(base["name"]).resolve(), beside.resolve()) if is_folder else base["name"]
    write_json(temporary / BASE, {**base, "name": name})
    config = json.loads((temporary / ADAPTER).read_bytes())
    write_json(temporary / ADAPTER, {**config, "base_model_name_or_path": name})


@contextmanager
def whole_folder(folder: Path) -> Generator[Path]:
    """Yield a temporary folder beside `folder`; replace `folder` by it when the block ends without an error."""
    temporary = folder.with_name(f".{folder.name[:40]}.{uuid.uuid4().hex[:8]}")
    replaced = temporary.with_name(f"{temporary.name}.old")
    try:
        with private_writing():
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
    """Refuse the folder of another kind of model: the library would look for its configuration on the hub."""
    _check_kind(read_json(folder / "config.json").get("model_type"), place=str(folder))


def _check_kind(kind: str | None, *, place: str) -> None:
    if kind not in PROCESSORS:
        raise ModelError(f"this is no InstructBLIP or BLIP-2 checkpoint but {kind!r}", place=place, remedy=_REMEDY)


def refuse_adapter(source: str, *, is_folder: bool) -> None:
    """Refuse a whole checkpoint with an adapter beside it: transformers would load it as its configuration says."""
    if find_adapter_config_file(source, local_files_only=is_folder):
        raise ModelError(
            f"a whole checkpoint with an adapter beside it, {ADAPTER}",
            place=source,
            remedy="use a checkpoint without an adapter, or an adapter that this toolkit has trained",
        )


def _read_model(source: str, *, is_folder: bool) -> Model:
    # float32 is explicit: version 5 loads in the checkpoint's own dtype, and bfloat16 weights do not move at 1e-6.
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        source,
        dtype=torch.float32,
        local_files_only=is_folder,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, report = loaded
    check_missing(report, place=source)
    return model


def check_missing(report: dict[str, Any], *, place: str) -> None:
    """Refuse a model with weights that were in no file: the library has drawn them at random."""
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"the checkpoint lacks {len(missing)} weights, {missing[0]} among them, which would be random",
            place=place,
            remedy="fetch the checkpoint again",
        )


def check_quantised(config: Config, *, place: str) -> None:
    """Refuse weights in a few bits: they cannot be trained, and their code is another library's."""
    if getattr(config, "quantization_config", None):
        raise ModelError(
            "the weights of this checkpoint are quantised (quantization_config)",
            place=place,
            remedy="use the checkpoint as it was published in bfloat16 or float32",
        )


POINTER = b"version https://git-lfs.github.com/spec"


def _check_fetched(folder: Path) -> None:
    """Refuse files that only say where Git LFS has the real ones."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 1_000 and path.read_bytes().startswith(POINTER):
            raise ModelError(
                f"{path.relative_to(folder)} is a Git LFS pointer: the real file was not fetched",
                place=str(folder),
                remedy="run `git lfs pull` in the checkpoint's folder, or fetch the checkpoint by its hub name",
            )


@contextmanager
def reading(source: str, *, remedy: str = _REMEDY) -> Generator[bool]:
    """Turn every error of reading a checkpoint into one ModelError, without log lines; yield whether it is a folder."""
    is_folder = bool(source) and Path(source).is_dir()
    if not is_folder and not HUB_NAME.fullmatch(source):
        raise ModelError("no such checkpoint folder", place=source, remedy=remedy)
    try:
        if is_folder and (strange := [p for p in Path(source).rglob("*") if not (p.is_file() or p.is_dir())]):
            raise ModelError("no ordinary file", place=str(strange[0]), remedy=remedy)  # a pipe would be waited for
        if is_folder:
            _check_fetched(Path(source))
        with quiet():
            yield is_folder
    except ModelError:
        raise
    except DamagedError as error:
        problem, then = f"the checkpoint cannot be read: {error.problem}", error.remedy or remedy
        raise ModelError(problem, place=error.place, remedy=then) from None
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"the checkpoint cannot be read: {type(error).__name__}: {lines[0][:300]}",
            place=source if is_folder else f"{source} (not a folder here, so looked for on the hub)",
            remedy=remedy,
        ) from error
