"""Reading of decoder-only vision-language checkpoints, and refusal of those that could not be scored or trained."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import cached_file

from toolkit.errors import ModelError
from toolkit.models.checkpoint import Checkpoint, check_missing, check_quantised, reading, refuse_adapter
from toolkit.models.decoder.chat import PROCESSOR_CONFIG, QFORMER_TOKENIZER, ImagesAndText
from toolkit.models.decoder.families import FAMILIES, Family
from toolkit.models.sanity_checks import check_vocabulary, no_qformer_tokenizer
from toolkit.models.transformers_compat import Config, Model

REMEDY = (
    "give the folder of a vision-language checkpoint of transformers (config.json, *.safetensors, tokenizer, "
    "preprocessor_config.json, chat_template.jinja) or a hub name"
)
LEGACY_TEMPLATE = "chat_template.json"


def family_of(config: Config, *, place: str) -> Family:
    """Return the rules of a checkpoint's family; raise ModelError where there are none."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise ModelError(
            f"{config.model_type!r} is no family of decoder-only models that can be scored exactly here",
            place=place,
            remedy=f"use one of {', '.join(FAMILIES)}",
        )
    text = config.get_text_config().model_type
    if family.texts and text not in family.texts:
        known = " or ".join(family.texts)
        raise ModelError(
            f"a {config.model_type} with the language model {text!r}, which is not one that is scored exactly here",
            place=place,
            remedy='use backend = "instructblip"' if text == "t5" else f"use one with {known}, or with a Flan-T5",
        )
    return family


def read_config(source: str) -> Config:
    """Read a checkpoint's configuration only."""
    with reading(source, remedy=REMEDY) as is_folder:
        config = AutoConfig.from_pretrained(source, local_files_only=is_folder, trust_remote_code=False)
        family_of(config, place=source)
        check_quantised(config, place=source)
    return config


def read_checkpoint(source: str) -> Checkpoint:
    """Read a checkpoint from a folder or by its hub name, in float32; raise ModelError if it cannot be used."""
    config = read_config(source)
    with reading(source, remedy=REMEDY) as is_folder:
        refuse_adapter(source, is_folder=is_folder)
        options: dict[str, Any] = {"local_files_only": is_folder, "trust_remote_code": False}
        processor = _read_processor(source, FAMILIES[config.model_type], options)
        check_image_token(config, processor.tokenizer, FAMILIES[config.model_type], place=source)
        model = _read_model(source, config, options)
        rows = model.get_input_embeddings().num_embeddings
        check_vocabulary(processor.tokenizer, rows=rows, what="the tokenizer", place=source)
        if processor.qformer_tokenizer is not None:
            rows, what = config.qformer_config.vocab_size, "the Q-Former's tokenizer"
            check_vocabulary(processor.qformer_tokenizer, rows=rows, what=what, place=source)
    return Checkpoint(model.eval(), processor)


def _read_model(source: str, config: Config, options: dict[str, Any]) -> Model:
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        source,
        dtype=torch.float32,
        attn_implementation=attention_of(config),
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=False,
        local_files_only=options["local_files_only"],
    )
    model, report = loaded
    check_missing(report, place=source)
    return model


def attention_of(config: Config) -> str:
    """Return the attention that is proven exact for a configuration: nothing that a file names is used."""
    return "eager" if config.get_text_config().model_type == "gemma2" else "sdpa"


def _read_processor(source: str, family: Family, options: dict[str, Any]) -> ImagesAndText:
    tokenizer: Any = AutoTokenizer.from_pretrained(source, **options)
    # The same pixels everywhere: where torchvision is installed, another resize would be chosen.
    image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
    legacy = _small_file(source, LEGACY_TEMPLATE, options)
    if legacy:
        tokenizer.chat_template = json.loads(legacy)["chat_template"]
    if family.has_template and not isinstance(tokenizer.chat_template, str):
        raise ModelError(
            "the checkpoint has no chat template (chat_template.jinja)",
            place=source,
            remedy="use a checkpoint that is tuned to follow instructions (its name often ends in -it or -Instruct)",
        )
    configuration = _small_file(source, PROCESSOR_CONFIG, options)
    own = _qformer_tokenizer(source, options) if family.instructed else None
    return ImagesAndText(tokenizer, image_processor, configuration=configuration, qformer_tokenizer=own)


def _qformer_tokenizer(source: str, options: dict[str, Any]) -> Any:
    """Return the Q-Former's own tokenizer; the library would silently take the language model's where it is missing."""
    if _small_file(source, f"{QFORMER_TOKENIZER}/tokenizer_config.json", options) is None:
        raise no_qformer_tokenizer(source)
    return AutoTokenizer.from_pretrained(source, subfolder=QFORMER_TOKENIZER, **options)


def _small_file(source: str, name: str, options: dict[str, Any]) -> bytes | None:
    path = cached_file(
        source,
        name,
        local_files_only=options["local_files_only"],
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else Path(path).read_bytes()


def check_image_token(config: Config, tokenizer: Any, family: Family, *, place: str) -> None:
    """Refuse a checkpoint whose configuration names no image token, or whose tokenizer lacks the family's."""
    number = getattr(config, "image_token_id", None)
    problem = None
    if number is None or number not in tokenizer.get_vocab().values():
        problem = f"the configuration names no image token of the tokenizer (image_token_id is {number})"
    else:
        image = tokenizer.convert_ids_to_tokens(number)
        texts = [family.placeholder, f"{family.before}{image}{family.after}"]
        tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        if len(tokens[0]) != 1 or tokens[1].count(number) != 1:
            problem = f"the tokenizer does not know {family.placeholder!r} or {image!r} as one token"
    if problem:
        raise ModelError(
            problem,
            place=place,
            remedy="fetch the checkpoint again in its newest revision: old ones were written for other code",
        )
