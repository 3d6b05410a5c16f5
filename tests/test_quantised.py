"""4-bit weights under adapters: where they are refused, which layers they are of, and what memory they take.

They need a GPU; `tests/benchmarks/four_bit.py` tries them where there is one, or with bitsandbytes alone.
"""

import tomllib
from pathlib import Path

import pytest
import torch
from tiny_families import build_family
from tiny_queries import build_queries
from transformers import AutoConfig, InstructBlipConfig

from toolkit.errors import ModelError
from toolkit.manifest import Study
from toolkit.manifest.model import LoraSection
from toolkit.models import quantised
from toolkit.models.budget import GIB, budgets, check_budget, skeleton
from toolkit.models.classifier import ImageClassifier
from toolkit.models.decoder.image_text_to_text import ImageTextToText
from toolkit.models.instructblip import InstructBlip
from toolkit.models.quantised import check_four_bit, quantised_layers
from toolkit.models.trainable import set_precision

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("backend", [InstructBlip, ImageTextToText])
def test_4_bit_weights_are_refused_on_the_cpu_before_anything_is_read(backend):
    with pytest.raises(ModelError, match="need an NVIDIA GPU, this device is cpu") as refused:
        backend.load("no/such-checkpoint", device="cpu", mode="lora", dtype="4bit")

    assert 'use dtype = "bfloat16"' == refused.value.remedy


def test_4_bit_weights_are_refused_where_they_would_be_trained_and_by_a_classifier():
    for mode in ("full", "language_model", "qformer"):
        with pytest.raises(ModelError, match="4-bit weights cannot be trained"):
            check_four_bit("4bit", mode=mode, device="cuda")
    with pytest.raises(ModelError, match="trained whole, in float32"):
        ImageClassifier.load("no/such-checkpoint", device="cpu", dtype="4bit")


def test_without_bitsandbytes_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setattr(quantised, "find_spec", {"bitsandbytes": None}.get)
    with pytest.raises(ModelError, match="bitsandbytes is not installed") as refused:
        check_four_bit("4bit", mode="lora", device="cuda:0")

    assert "lesion-toolkit[4bit]" in refused.value.remedy
    monkeypatch.setattr(quantised, "find_spec", lambda _: "there")
    check_four_bit("4bit", mode="lora", device="cuda:0")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("t5", 4 * (2 + 2 + 2) + 2 * (2 + 2)),  # attentions; wi_0 and wi_1, for wo is left out
        ("opt", 4 * 6),
        ("llama", 4 * 7),
        ("gemma3", 4 * 7),
        ("qwen3_vl", 4 * 7),
    ],
)
def test_the_layers_of_the_language_model_have_4_bits_but_the_head_and_what_t5_reads_the_type_of(
    tmp_path, family, expected
):
    build = build_queries if family in ("t5", "opt", "llama") else build_family
    build(family, tmp_path, ["What is it? nevus"], seed=1)
    model = skeleton(AutoConfig.from_pretrained(tmp_path))
    layers = quantised_layers(model)

    assert expected == len(layers)
    assert all("language_model." in name for name in layers)
    assert not {name.rpartition(".")[2] for name in layers} & {"lm_head", "wo"}
    set_precision(model, mode="lora", dtype="4bit")
    assert {torch.bfloat16} == {p.dtype for p in model.parameters()}


def test_the_memory_of_flan_t5_xl_in_4_bits_is_counted_by_hand():
    config = InstructBlipConfig(**tomllib.loads((DATA / "instructblip_flan_t5_xl.toml").read_text(encoding="utf-8")))
    found = {budget.mode: budget for budget in budgets(config, LoraSection())}
    attention, gated = 4 * 2048 * 2048, 2 * 2048 * 5120
    in_4_bits = 24 * (attention + gated) + 24 * (2 * attention + gated)
    lora = found["lora"]
    by_hand = lora.trained * 16 + (lora.frozen - in_4_bits) * 2 + in_4_bits * (4 + 8 / 64 + 32 / (64 * 256)) / 8

    assert by_hand == pytest.approx(lora.bytes_4bit, rel=1e-9)
    assert 4.6 == pytest.approx(lora.bytes_4bit / GIB, abs=0.06)
    assert lora.needed("4bit") == lora.bytes_4bit < lora.needed("bfloat16") < lora.needed("float32")
    assert all(found[mode].bytes_4bit is None for mode in ("full", "language_model", "qformer"))
    check_budget(list(found.values()), mode="lora", dtype="4bit", device="cuda", memory=6 * GIB)
    with pytest.raises(ModelError) as refused:
        check_budget(list(found.values()), mode="lora", dtype="bfloat16", device="cuda", memory=6 * GIB)
    assert 'use mode = "lora" with dtype = "4bit"' == refused.value.remedy


def test_a_study_with_4_bit_weights_trains_adapters_only(study):
    document = study.model_dump()
    document["model"]["dtype"], document["train"]["mode"] = "4bit", "lora"
    assert "4bit" == Study.model_validate(document).model.dtype
    document["train"]["mode"] = "qformer"

    with pytest.raises(ValueError, match="4-bit weights cannot be trained"):
        Study.model_validate(document)
