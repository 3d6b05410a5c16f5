"""Tiny random checkpoints of BLIP-2 and InstructBLIP, by the kind of their language model.

They are written and read like real ones, and have several layers, and weights large enough that a wrong mask or
position shows in the likelihoods.
"""

from pathlib import Path
from typing import Any

import torch
from tiny_families import PATCH, SIDE, TEXT, VISION
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BertTokenizer,
    Blip2Processor,
    BlipImageProcessorPil,
    GenerationConfig,
    InstructBlipProcessor,
    T5Tokenizer,
)

from toolkit.models.checkpoint import Checkpoint, write_checkpoint
from toolkit.models.tiny import _unigrams, _wordpieces
from toolkit.models.tiny_chat import byte_level_tokenizer, set_vocabulary
from toolkit.models.transformers_compat import quiet

QUERIES = 4
QFORMER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
OPT = {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 96, "num_hidden_layers": 4, "num_attention_heads": 4}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
KINDS = {"opt": "blip-2", "llama": "instructblip", "t5": "blip-2"}
"""The model that each language model is in."""


def build_queries(text: str, folder: Path, texts: list[str], *, seed: int) -> Path:
    """Write a checkpoint whose language model is of a kind."""
    kind = KINDS[text]
    tokenizer, settings = _language(text, texts)
    qformer = {"vocab_size": 600, "cross_attention_frequency": 1, **QFORMER, **NO_DROPOUT}
    config = AutoConfig.for_model(
        kind,
        text_config={"model_type": text, **settings},
        vision_config={"image_size": SIDE, "patch_size": PATCH, **VISION},
        qformer_config=qformer,
        num_query_tokens=QUERIES,
    )
    image_processor = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    if kind == "instructblip":
        own = BertTokenizer(vocab=_wordpieces(texts))
        processor: Any = InstructBlipProcessor(image_processor, tokenizer, own, num_query_tokens=QUERIES)
        config.qformer_config.vocab_size = len(own)
    else:
        processor = Blip2Processor(image_processor, tokenizer, num_query_tokens=QUERIES)
    config.image_token_index = tokenizer.convert_tokens_to_ids("<image>")
    if text == "t5":
        config.text_config.vocab_size = len(tokenizer)
    else:
        set_vocabulary(config, tokenizer)
    if text == "opt":  # BLIP-2 was trained to end with a line break
        config.text_config.eos_token_id = config.eos_token_id = tokenizer.convert_tokens_to_ids("Ċ")
    write_checkpoint(folder, Checkpoint(_model(config, seed), processor))
    return folder


def _language(text: str, texts: list[str]) -> tuple[Any, dict[str, Any]]:
    """Return a tokenizer, and the configuration of a language model."""
    if text == "t5":
        special = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0}
        return T5Tokenizer(vocab=_unigrams(texts), extra_ids=0), {**T5, **special, "dropout_rate": 0.0}
    pad, bos, end = ("<pad>", "</s>", "</s>") if text == "opt" else ("<pad>", "<s>", "</s>")
    tokenizer = byte_level_tokenizer(
        texts, pad=pad, bos=bos, end=end, specials=["<image>"], adds_bos=True, template=None
    )
    longest = {"max_position_embeddings": 1024}
    return tokenizer, ({**OPT, **longest, "dropout": 0.0} if text == "opt" else TEXT | longest)


@torch.no_grad()
def _model(config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3 if "projection" in name or "patch_embedding" in name else 0.15)
        if config.text_config.model_type == "t5":
            # transformers 5 ties the output layer in every new T5; a Flan-T5 has its own.
            head = torch.empty_like(model.language_model.lm_head.weight).normal_(std=0.15)
            model.language_model.lm_head.weight = torch.nn.Parameter(head)
            model.language_model.all_tied_weights_keys.pop("lm_head.weight", None)
            model.all_tied_weights_keys.pop("language_model.lm_head.weight", None)
        else:
            model.generation_config = GenerationConfig.from_model_config(config.text_config)
    return model.eval()
