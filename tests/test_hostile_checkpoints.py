"""Checkpoints of strangers: whatever their files say, no code of theirs runs, and no pickle is read."""

import ast
import contextlib
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.classifier import ImageClassifier
from toolkit.models.decoder.image_text_to_text import ImageTextToText
from toolkit.models.instructblip import InstructBlip

PROMPT, ANSWERS = "What is the diagnosis?", ["nevus", "melasma"]
ADAPTER = "adapter_config.json"


class Payload:
    """What runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One checkpoint of each kind: InstructBLIP, decoder-only model, classifier, LoRA adapter of the InstructBLIP."""
    folder = tmp_path_factory.mktemp("made")
    InstructBlip.build_tiny(folder / "blip", [PROMPT, *ANSWERS], seed=3)
    ImageTextToText.build_tiny(folder / "chat", [PROMPT, *ANSWERS], seed=3)
    ImageClassifier.build_tiny(folder / "classifier", [], seed=3)
    train_adapter(folder, epochs=1).save(folder / "adapter")
    return folder


def train_adapter(folder: Path, *, epochs: int, resume: bool = False) -> InstructBlip:
    photographs = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 2, np.array([0, 1]))
    model = InstructBlip.load(str(folder / "blip"), device="cpu", mode="lora")
    settings = TrainSection(epochs=epochs, batch_size=2, threads=1, mode="lora", lora=LoraSection(rank=2))
    model.fit(TrainingJob(examples, examples, ANSWERS, settings, 1, folder / "training", resume))
    return model


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The file that every payload makes; the user says yes to whatever a library asks."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 50))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "code has run"


@pytest.fixture
def copy(made, tmp_path):
    """Copies of the checkpoints, to be tampered with."""
    for kind in ("blip", "chat", "classifier", "adapter"):
        shutil.copytree(made / kind, tmp_path / kind)
    return tmp_path


def load(folder: Path):
    kind = {"classifier": ImageClassifier, "chat": ImageTextToText}.get(folder.name, InstructBlip)
    return kind.load(str(folder), device="cpu")


def change(path: Path, **keys: object) -> None:
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | keys), encoding="utf-8")


def code(mark: Path, *names: str) -> str:
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\n" + "".join(f"class {n}: pass\n" for n in names)


def try_to_load(folder: Path) -> None:
    with contextlib.suppress(ModelError):
        load(folder)
    if folder.name in ("classifier", "chat"):
        kind = ImageClassifier if folder.name == "classifier" else ImageTextToText
        with contextlib.suppress(ModelError):
            kind.budgets(str(folder), lora=LoraSection())


@pytest.mark.soak_after(3)
@pytest.mark.parametrize("kind", ["blip", "chat", "classifier"])
@pytest.mark.parametrize(
    ("file", "key", "names"),
    [
        ("config.json", "model_type", ("AutoConfig", "AutoModelForImageClassification", "AutoModel")),
        ("preprocessor_config.json", "image_processor_type", ("AutoImageProcessor", "AutoProcessor")),
        ("processor_config.json", "processor_class", ("AutoProcessor", "AutoImageProcessor", "AutoTokenizer")),
        ("tokenizer_config.json", "tokenizer_class", ("AutoTokenizer", "AutoProcessor")),
        ("qformer_tokenizer/tokenizer_config.json", "tokenizer_class", ("AutoTokenizer",)),
    ],
)
def test_code_that_a_checkpoint_brings_never_runs(copy, mark, kind, file, key, names):
    """Code for a class that the library knows, and for one that it does not; the second it offers to run."""
    folder = copy / kind
    (folder / file).parent.mkdir(exist_ok=True)
    maps = {name: ["evil.Evil", "evil.Evil"] if name == "AutoTokenizer" else "evil.Evil" for name in names}
    for place in (folder, (folder / file).parent, copy):
        (place / "evil.py").write_text(code(mark, "Evil"), encoding="utf-8")

    change(folder / file, auto_map=maps)
    try_to_load(folder)
    change(folder / file, **{key: "Evil"})
    try_to_load(folder)

    assert not mark.exists()


@pytest.mark.parametrize("kind", ["blip", "chat", "classifier"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused(copy, mark, kind, name):
    (copy / kind / "model.safetensors").unlink()
    (copy / kind / name).write_bytes(pickle.dumps(Payload(mark)))

    with pytest.raises(ModelError, match="cannot be read"):
        load(copy / kind)

    assert not mark.exists()


def test_a_pickled_adapter_is_refused_even_where_it_is_harmless(copy):
    weights = copy / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()

    with pytest.raises(ModelError, match=r"without adapter_model\.safetensors"):
        load(copy / "adapter")


@pytest.mark.parametrize(
    "keys",
    [
        {"megatron_config": {"tensor_model_parallel_size": 1}, "megatron_core": "evil"},
        {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}, "megatron_core": "evil"},
        {"peft_type": "PROMPT_TUNING", "tokenizer_name_or_path": ".", "prompt_tuning_init": "TEXT"},
        {"peft_type": "XLORA", "adapters": {"0": "someone/else"}},
        {"init_lora_weights": "corda", "corda_config": {"cache_file": "evil.pt"}},
        {"use_dora": True},
        {"target_modules": "(a+)+$"},
        {"rank_pattern": {".*": 4}},
        {"r": "2"},
        {"r": 10**9},
    ],
    ids=["megatron", "mapping", "prompt", "xlora", "corda", "dora", "regular expression", "ranks", "text", "huge"],
)
def test_an_adapter_says_no_more_than_its_rank_alpha_and_dropout(copy, mark, keys):
    (copy / "evil.py").write_text(code(mark, "Evil"), encoding="utf-8")
    change(copy / "adapter" / ADAPTER, **keys)

    with pytest.raises(ModelError, match=r"adapter of another kind|less than or equal|valid integer|ValidationError"):
        load(copy / "adapter")

    assert not mark.exists()


@pytest.mark.parametrize("kind", ["blip", "chat", "classifier"])
def test_a_whole_checkpoint_with_an_adapter_of_its_own_is_refused(copy, made, mark, kind):
    (copy / "evil.py").write_text(code(mark), encoding="utf-8")
    shutil.copy(made / "adapter" / ADAPTER, copy / kind)
    change(copy / kind / ADAPTER, megatron_config={"a": 1}, megatron_core="evil")
    source = copy / kind
    if kind == "blip":  # it is the base of the adapter that is named
        source = copy / "adapter"

    with pytest.raises(ModelError, match=r"with an adapter beside it|an adapter without"):
        load(source)

    assert not mark.exists()


@pytest.mark.soak_after(8)
@pytest.mark.parametrize("kind", ["blip", "chat", "classifier"])
@pytest.mark.parametrize(
    "keys",
    [
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "someone/kernel:forward"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"transformers_weights": "../evil.safetensors"},
        {"use_kernels": True},
        {"custom_pipelines": {"image-classification": {"impl": "evil.Evil", "pt": ["AutoModel"]}}},
    ],
)
def test_a_configuration_fetches_no_code_and_names_no_file_elsewhere(copy, mark, kind, keys):
    (copy / "evil.py").write_text(code(mark, "Evil"), encoding="utf-8")
    (copy / kind / "evil.py").write_text(code(mark, "Evil"), encoding="utf-8")
    change(copy / kind / "config.json", **keys)

    with contextlib.suppress(ModelError):
        assert torch.float32 == load(copy / kind).model.dtype

    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ 1 / 0 }}",
        "{% for",
        "{{ raise_exception('no') }}",
        "{{ a.b.c }}",
    ],
)
def test_a_chat_template_reaches_nothing_and_its_failure_is_named(copy, text):
    (copy / "chat" / "chat_template.jinja").write_text(text, encoding="utf-8")

    with pytest.raises(ModelError, match=r"chat template cannot be rendered|holds 0 image tokens"):
        load(copy / "chat")


def test_an_adapter_that_lacks_weights_is_refused(copy):
    path = copy / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    weights.popitem()
    save_file(weights, path)

    with pytest.raises(ModelError, match="missing adapter keys"):
        load(copy / "adapter")


def test_every_reader_of_transformers_is_told_to_run_no_code_and_to_read_no_pickle():
    """Left to themselves they would ask the user, or take what is there."""
    calls = [
        (path.name, ast.unparse(node))
        for path in (Path(__file__).parents[1] / "toolkit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".from_pretrained", ".from_config"))
    ]

    assert len(calls) >= 9
    for name, call in calls:
        assert "trust_remote_code=False" in call or "**options" in call or "PeftModel" in call, (name, call)
        if "For" in call.partition(".")[0] and ".from_pretrained" in call:
            assert "use_safetensors=True" in call, (name, call)


def test_the_base_that_an_adapter_config_names_is_never_looked_for(copy):
    """The folder of the base stands in base.json, which this toolkit writes; its weights are held against a digest."""
    change(copy / "adapter" / ADAPTER, base_model_name_or_path="someone/else")

    assert load(copy / "adapter").base["name"] == str((copy / "blip").resolve())


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.bin"])
def test_a_training_state_that_would_run_code_is_refused(made, copy, mark, name):
    shutil.copytree(made / "training", copy / "training")
    state = next((copy / "training").glob("checkpoint-*"))
    if name == "adapter_model.bin":
        (state / "adapter_model.safetensors").unlink()
    (state / name).write_bytes(pickle.dumps(Payload(mark), protocol=2))

    with pytest.raises(ModelError, match="training state cannot be read"):
        train_adapter(copy, epochs=2, resume=True)

    assert not mark.exists()


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "adapter_model.safetensors"])
def test_a_training_state_that_is_cut_off_is_named(made, copy, name):
    shutil.copytree(made / "training", copy / "training")
    path = next((copy / "training").glob("checkpoint-*")) / name
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ModelError, match="training state cannot be read"):
        train_adapter(copy, epochs=2, resume=True)
