"""What a new study file says, and that it can be used as it is."""

import exports
import pytest

from toolkit.cli import main
from toolkit.errors import ExportError, StudyError
from toolkit.manifest import NO_PATIENTS, load_study
from toolkit.stages.init import guess, init
from toolkit.stages.parse import parse
from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

HOSTILE = 'evil"\n[model]\nname = "x"\t\u202e\\ '


@pytest.fixture
def made(tmp_path):
    """Write a study file from rows, and return what was found and the study."""

    def make(*rows):
        to = tmp_path / "study.toml"
        found = init(exports.write(tmp_path / "export.ndjson", rows), to=to)
        return found, load_study(to), to.read_text()

    return make


def parsed_with(folder, export, key):
    """Make a study file from an export, parse it, and return what the registry holds."""
    to = folder / "study.toml"
    found = init(export, to=to)
    return found, parse(Workspace(folder / "workspace"), load_study(to), key, [export])


def metadata(name, value, kind="String"):
    return {"schema_name": name, "schema_kind": f"CustomMetadata{kind}", "value": value}


def test_the_study_of_the_sample_is_found_again(tmp_path, key):
    drawn = sample(tmp_path / "sample", cases=120, photographs=False)
    own = load_study(drawn.study)

    found, parsed = parsed_with(tmp_path, drawn.export, key)

    box = load_study(tmp_path / "study.toml").labelbox
    assert own.labelbox.projects == box.projects
    assert ("diagnosis", "lesion_roi", "patient_id", "lesion_id") == (box.question, box.roi, box.patient, box.lesion)
    assert set(own.labelbox.metadata) == set(box.metadata)
    assert {"note"} == {field.name for field in found.metadata if field.left_out} - {"patient_id", "lesion_id"}
    assert set(own.class_names) <= {c.name for c in found.classes}
    assert parsed.cases > 100
    assert parsed.patients_known


def test_a_real_study_can_be_used_as_it_is(shared, tmp_path, key):
    found, parsed = parsed_with(tmp_path, shared / "pad_ufes_20" / "export.ndjson", key)

    assert (362, 321, 283) == (parsed.cases, parsed.patients, parsed.with_roi)
    assert {"basal_cell_carcinoma", "malignant_melanoma", "squamous_cell_carcinoma"} == {
        c.name for c in found.classes if c.malignant
    }


def test_every_quirk_of_an_export_is_survived(shared, tmp_path, key):
    found, parsed = parsed_with(tmp_path, shared / "labelbox_exports" / "v2_SYNTHETIC_derm_200.ndjson", key)

    assert ("dx", "roi", "certainty", "patient_id") == (found.question, found.roi, found.certainty, found.patient)
    assert ["Derm diagnosis", "Derm QA"] == list(found.projects)
    assert 8 == len(found.classes)
    assert parsed.resolved > 50


def test_without_a_question_the_boxes_name_the_classes(shared, tmp_path, key):
    found, parsed = parsed_with(tmp_path, shared / "labelbox_exports" / "v2_zealotsniper_bbox_1235rows.ndjson", key)

    assert (None, None, None) == (found.question, found.patient, found.roi)
    assert ["other", "zealot"] == [c.name for c in found.classes]
    assert (1096, False) == (parsed.with_roi, parsed.patients_known)
    assert NO_PATIENTS in (tmp_path / "study.toml").read_text()


@pytest.mark.parametrize("name", [f"{number:02}" for number in range(1, 56)])
def test_no_hostile_export_makes_a_file_that_cannot_be_read(shared, tmp_path, name):
    export = next((shared / "hostile" / "ndjson").glob(f"{name}_*"))
    to = tmp_path / "study.toml"

    try:
        init(export, to=to)
    except ExportError:
        assert not to.exists()
    else:
        assert load_study(to)


def test_hostile_names_stay_within_their_strings(made):
    row = exports.row("a", exports.label("l", "nevus", HOSTILE), project="good")
    row["projects"]["p2"] = {"name": HOSTILE, "labels": []}
    row["metadata_fields"] += [metadata(HOSTILE, "x"), metadata("ok\u202e", 1.0, "Number")]

    _, study, text = made(row)

    assert "tiny" == study.model.name
    assert ["good"] == study.labelbox.projects
    assert ["ok\u202e"] == study.labelbox.metadata
    assert [] == [c for c in text if not c.isprintable() and c != "\n"]
    assert 1 == text.count("\n[model]\n")


def test_no_value_of_a_metadata_field_is_written(made):
    row = exports.row("scan-1", exports.label("l", "nevus"), patient="HIDDEN-77")
    row["metadata_fields"] += [metadata("remark", "Muster, Eva"), metadata("ward", "HIDDEN-78")]

    found, _, text = made(row)

    assert "patient_id" == found.patient
    assert [False] * 4 == [word in f"{text}{found}" for word in ("HIDDEN", "Muster", "scan-1", "reader1@")]


def test_spellings_of_one_answer_are_one_class(made):
    labels = [exports.label(f"l{n}", answer) for n, answer in enumerate(["Nevus", "nevus ", "BCC", "no melanoma"])]

    found, study, _ = made(*(exports.row(f"i{n}", label) for n, label in enumerate(labels)))

    assert {"Nevus": 1, "nevus ": 1} == {c.name: c for c in found.classes}["nevus"].spellings
    assert ["bcc", "nevus", "no_melanoma"] == study.class_names
    assert [] == [c.name for c in found.classes if c.malignant]


def test_a_letter_that_only_looks_like_another_is_told(made):
    found, _, text = made(exports.row("a", exports.label("l", "nevus", "nеvus")))

    assert ["", "U+0435"] == sorted(c.odd for c in found.classes)
    assert ['holds U+0435, is it "nevus"?'] == [text for key, text in found.decisions.items() if "U+" in text]
    assert "check: holds U+0435" in text


@pytest.mark.parametrize(
    ("names", "patient"),
    [
        (["age", "Patient ID"], "Patient ID"),
        (["patient_age", "patient"], "patient"),
        (["patient", "patient_no"], "patient_no"),
        (["subject", "site"], "subject"),
        (["case_no"], "case_no"),
        (["patient_name", "path", "patina"], None),
    ],
)
def test_the_field_that_identifies_patients_is_known_by_its_name(names, patient):
    found = [guess.MetadataGuess(name, None, 5, 5, left_out=False) for name in names]

    assert patient == guess.identifier(found, guess.PATIENT)


def test_the_question_with_the_most_class_like_answers_is_the_diagnosis(made):
    label = exports.label("l", "nevus")
    label["annotations"]["classifications"] += [
        exports.radio("good", question="image quality"),
        exports.radio("yes", question="Is it a melanoma?"),
    ]

    found, study, text = made(exports.row("a", label))

    assert "diagnosis" == found.question == study.labelbox.question
    assert "#   Is it a melanoma? (radio): yes 1" in text


GRADES = ["1 - Definitely", "2 - Likely", "3 - Unlikely", "4 - Definitely not"]


def graded(label_id, **grades):
    label = exports.label(label_id)
    label["annotations"]["classifications"] = [
        exports.radio(GRADES[grade], question=f"Is it a {name}?") for name, grade in grades.items()
    ] + [exports.radio("yes", question="Is a ruler visible?")]
    return label


def test_a_graded_question_for_each_class_makes_a_class_with_the_grades_that_affirm_it(tmp_path, key):
    rows = [
        exports.row("a", graded("l1", melanoma=0, nevus=3)),
        exports.row("b", graded("l2", melanoma=2, nevus=1), patient="P-2"),
        exports.row("c", graded("l3", melanoma=3, nevus=2), patient="P-3"),
    ]
    found, parsed = parsed_with(tmp_path, exports.write(tmp_path / "e.ndjson", rows), key)
    study = load_study(tmp_path / "study.toml")

    assert {"melanoma": "Is it a melanoma?", "nevus": "Is it a nevus?"} == {c.name: c.question for c in study.classes}
    assert {("1 - Definitely", "2 - Likely")} == {c.affirmative for c in study.classes}
    assert (None, 2) == (found.question, parsed.resolved)
    assert "which answers to 2 questions affirm their class?" == found.decisions["yes"]


def drawn(name, object_id, kind="ImageSegmentationMask"):
    return {
        "feature_id": object_id,
        "name": name,
        "annotation_kind": kind,
        "mask": {"url": f"https://x.org/{object_id}"},
    }


def test_masks_that_are_named_like_classes_are_the_classes(tmp_path, key):
    rows = [
        exports.row(f"i{n}", exports.label(f"l{n}", boxes=[drawn(name, f"m{n}")]), patient=f"P-{n}")
        for n, name in enumerate(["melanoma", "nevus", "nevus"])
    ]
    found, parsed = parsed_with(tmp_path, exports.write(tmp_path / "e.ndjson", rows), key)

    assert ["melanoma", "nevus"] == [c.name for c in found.classes]
    assert ({"nevus": 2, "melanoma": 1}, 3) == (found.outlines, parsed.resolved)
    assert "names of the outlines" in found.decisions["question"]


def test_answers_of_a_checklist_are_classes_where_no_radio_question_asks(made):
    labels = [exports.label(f"l{n}") for n in range(2)]
    for label, answer in zip(labels, ["nevus", "melanoma"], strict=True):
        label["annotations"]["classifications"] = [{"name": "dx", "checklist_answers": [{"name": answer}]}]

    _, study, _ = made(*(exports.row(f"i{n}", label) for n, label in enumerate(labels)))

    assert ("dx", ["melanoma", "nevus"]) == (study.labelbox.question, study.class_names)


def test_projects_that_ask_the_same_are_all_named_and_a_person_decides(made):
    production = exports.row("a", exports.label("l1", "nevus"), exports.label("l2", "nevus"))
    production["projects"]["project-2"] = {"name": "consensus", "labels": [exports.label("l3", "nevus", "melanoma")]}
    quality = exports.label("l4")
    quality["annotations"]["classifications"] = [exports.radio("good", question="image quality")]
    production["projects"]["project-3"] = {"name": "quality", "labels": [quality]}

    found, study, text = made(production)

    assert ["pigmented-lesions", "consensus"] == study.labelbox.projects == found.taken
    assert ["melanoma", "nevus"] == study.class_names
    assert "do the labels of all these projects count?" in found.decisions["projects"]
    assert "! They ask the same." in text


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    to = tmp_path / "study.toml"
    to.write_text("mine")

    with pytest.raises(StudyError, match="already"):
        init(exports.write(tmp_path / "e.ndjson", [exports.row("a")]), to=to)

    assert "mine" == to.read_text()


def test_an_export_without_a_readable_row_makes_no_file(tmp_path):
    with pytest.raises(ExportError, match="project"):
        init(exports.write(tmp_path / "e.ndjson", ["{}"]), to=tmp_path / "study.toml")

    assert not (tmp_path / "study.toml").exists()


def test_the_command_shows_what_it_took_for_what(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exports.write(tmp_path / "e.ndjson", [exports.row("a", exports.label("l", "nevus"))])

    with pytest.raises(SystemExit) as ended:
        main(["init", "e.ndjson"])

    told = capsys.readouterr().out
    assert 0 == ended.value.code
    assert "toolkit --study study.toml parse e.ndjson" in told
    assert [True] * 3 == [word in told for word in ("patient_id", "diagnosis", "class nevus")]
    assert told.index("1 row read") < told.index("to decide") < told.index("a placeholder")
