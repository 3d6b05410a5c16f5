import unicodedata

import pytest

from toolkit.errors import StudyError
from toolkit.manifest import NEWER, determined, load_study
from toolkit.shipped import shipped

SMALLEST = """
[study]
name = "s"
title = "S"
[labelbox]
projects = ["p"]
[[classes]]
name = "nevus"
answer = "nevus"
malignant = false
[[classes]]
name = "melanoma"
answer = "malignant melanoma"
malignant = true
aliases = ["MM"]
[prompt]
user = "What is it?"
[model]
name = "tiny"
"""


@pytest.fixture
def write(tmp_path):
    def write_study(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write_study


@pytest.mark.parametrize("path", sorted(shipped("manifests").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path):
    assert path.stem == load_study(path).study.name


def test_seven_studies_ship():
    shipping = {path.stem for path in shipped("manifests").glob("*.toml")}

    of_paper = {"pigmented8", *(f"pigmented8-{model}" for model in ("lora", "medgemma", "qwen"))}

    assert {"demo", "pad_ufes_20", "pad_ufes_20-pacheco", *of_paper} == shipping


def test_a_class_is_found_by_any_of_its_spellings(write):
    study = load_study(write(SMALLEST))

    assert ["melanoma"] * 4 == [
        study.class_of(s) for s in ("melanoma", "Malignant_Melanoma", "mm", "malignant-melanoma ")
    ]
    assert None is study.class_of("nеvus")


@pytest.mark.parametrize("name", ["Bösartiges Melanom", "悪性黒色腫", "سرطان_الجلد", "त्वचा", "nevus-2.a+", "x" * 80])
def test_a_class_may_be_named_in_any_script(write, name):
    study = load_study(write(SMALLEST.replace('name = "nevus"', f'name = "{name}"')))

    assert [name, "melanoma"] == study.class_names
    assert name == study.class_of(unicodedata.normalize("NFD", name).upper())


@pytest.mark.parametrize(
    "name", ["", "a'b", "-x", " x", "a\u202eb", "a\tb", "a<b", 'a\\"b', "a;b", "x" * 81, "a\u200bb"]
)
def test_no_quotation_mark_and_nothing_invisible_stands_in_a_class_name(write, name):
    with pytest.raises(StudyError, match=r"classes\.1\.name"):
        load_study(write(SMALLEST.replace('name = "nevus"', f'name = "{name}"'.replace("\t", "\\t"))))


def test_all_faults_are_told_at_once_with_their_keys(write):
    text = SMALLEST.replace('name = "s"', "name = 7\ncolour = 1").replace('user = "What is it?"', "")

    with pytest.raises(StudyError) as caught:
        load_study(write(text))

    told = str(caught.value)
    assert [] == [key for key in ("study.name", "study.colour", "prompt.user", "study.toml") if key not in told]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("What is it?", "Is it a Nevus?"), "the model must not be told"),
        (('aliases = ["MM"]', 'aliases = ["Nevus"]'), "share the spelling nevus"),
        (("[model]", "[split]\ntrain = 0.9\n[model]"), "add up to 1"),
        (("[model]", '[privacy]\npublished_key = "a"\nkey_file = "b"\n[model]'), "not both"),
        (('projects = ["p"]', "projects = []"), "labelbox.projects"),
        (("[model]", "[split]\nexternal = true\nfolds = 3\n[model]"), "there is one part"),
        (("[model]", '[external]\nclasses = {wart = "nevus"}\n[model]'), "external.classes: no such class: wart"),
        (('aliases = ["MM"]', 'answers = ["nevus"]'), "share the spelling nevus"),
        (("[model]", '[evaluate]\nordered = ["nevus"]\n[model]'), "names every class of the study once"),
        (("What is it?", "A [x]?"), "holds no field"),
        (('"tiny"', '"tiny'), "cannot be read"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(write, change, told):
    with pytest.raises(StudyError, match=told):
        load_study(write(SMALLEST.replace(*change)))


def test_a_missing_study_file_says_what_to_do(tmp_path):
    with pytest.raises(StudyError, match="toolkit sample"):
        load_study(tmp_path / "none.toml")


def test_a_digest_follows_its_sections_only(write):
    study, other = load_study(write(SMALLEST)), load_study(write(SMALLEST.replace("tiny", "other")))

    assert study.digest("classes") == other.digest("classes")
    assert study.digest("model") != other.digest("model")


def test_a_newer_key_determines_nothing_at_its_default(write):
    study = load_study(write(SMALLEST))
    document = study.model_dump(mode="json")
    for section, key in NEWER:
        document[section].pop(key)

    assert study.determining() == determined(document)
    for (section, key), default in NEWER.items():
        assert default == study.model_dump(mode="json")[section][key]


@pytest.mark.parametrize("name", ["pigmented8", "pigmented8-lora", "pigmented8-medgemma", "pigmented8-qwen"])
def test_a_study_that_ships_can_be_read(name):
    study = load_study(shipped("manifests") / f"{name}.toml")

    assert 8 == len(study.classes)
    assert ("full" if name == "pigmented8" else "lora") == study.train.mode
