"""What a study may say about patients, metadata and classes, and what everything says where there are no patients."""

import json

import exports
import pytest

from toolkit.console.results import rendered
from toolkit.console.text import stderr
from toolkit.errors import StudyError
from toolkit.manifest import NO_PATIENTS, Study, load_study
from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.stages.split import split, verify


def changed(study, *, labelbox=None, classes=None) -> Study:
    """Return the study with other keys in [labelbox], and with more in its first classes."""
    document = study.model_dump()
    document["labelbox"] |= labelbox or {}
    for position, more in enumerate(classes or []):
        document["classes"][position] |= more
    return Study.model_validate(document)


@pytest.fixture
def parsed_as(workspace, study, key, tmp_path):
    """Parse rows with a changed study."""

    def parse_rows(rows, *, classes=None, **labelbox):
        own = changed(study, labelbox=labelbox, classes=classes)
        parse(workspace, own, key, [exports.write(tmp_path / "export.ndjson", rows)])
        return own

    return parse_rows


def named(image_id, external_id, *, patient=None):
    row = exports.row(image_id, exports.label(f"l-{image_id}", "nevus"), patient=patient)
    row["data_row"] |= {"external_id": external_id, "global_key": f"key/{external_id}/{image_id}"}
    return row


def reasons(workspace) -> list[str]:
    return [row["reason"] for row in workspace.rows("select reason from ingest_issues order by image_id")]


def shown(result) -> str:
    with stderr.capture() as capture:
        stderr.print(rendered(result))
    return " ".join(capture.get().split())


PATTERN = r"(?P<patient>PAT[ _]\d+)_(?P<lesion>\d+)"


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("place", ["external_id", "global_key"])
def test_a_patient_can_stand_in_a_name(parsed_as, workspace, key, place):
    rows = [named("a", "PAT_7_1_x.jpg"), named("b", "pat_7_2_x.jpg"), named("c", "PAT_8_1_x.jpg")]

    parsed_as(rows, patient_from=place, patient_pattern=f"(?i){PATTERN}")

    found = workspace.rows("select patient_id, lesion_id from cases order by image_id")
    assert [key.pseudonym("p", name) for name in ("pat_7", "pat_7", "pat_8")] == [row["patient_id"] for row in found]
    assert key.pseudonym("l", "pat_7", "2") == found[1]["lesion_id"]


def test_a_name_without_a_patient_keeps_its_case_out(parsed_as, workspace):
    parsed_as([named("a", "scan 12.jpg"), named("b", None)], patient_from="external_id", patient_pattern=PATTERN)

    assert ["missing_patient_id", "missing_patient_id"] == reasons(workspace)
    assert [] == workspace.rows("select * from cases")
    assert [{"patient_id": None}] == workspace.rows("select distinct patient_id from images")


def test_a_name_and_a_metadata_field_must_agree(parsed_as, workspace):
    rows = [named("a", "PAT_7_1.jpg", patient=" pat_7 "), named("b", "PAT_7_1.jpg", patient="PAT_9")]

    parsed_as(rows, patient_from="external_id", patient_pattern=PATTERN)

    assert ["ambiguous_patient_id"] == reasons(workspace)
    assert [{"image_id": "a"}] == workspace.rows("select image_id from cases")


def test_a_patient_found_in_a_name_is_taken_out_of_metadata(parsed_as, workspace):
    row = named("a", "PAT_7_1.jpg")
    row["metadata_fields"] = [{"schema_name": "remark", "value": "PAT_7 came again"}]

    parsed_as([row], patient_from="external_id", patient_pattern=PATTERN, metadata=None)

    assert [{"value": "[identifier removed] came again"}] == workspace.rows("select value from metadata")


@pytest.mark.parametrize(
    ("labelbox", "told"),
    [
        ({"patient_pattern": "(?P<patient>x", "patient_from": "external_id"}, "missing )"),
        ({"patient_pattern": "(?P<person>x)", "patient_from": "external_id"}, "(?P<patient>…)"),
        ({"patient_pattern": "(x)(?P<patient>y)", "patient_from": "external_id"}, "unnamed groups"),
        ({"patient_pattern": r"(?P<patient>x)\1", "patient_from": "external_id"}, "escape"),
        ({"patient_pattern": "(?P<patient>x)" + 300 * "y", "patient_from": "external_id"}, "300"),
        ({"patient_pattern": "(?P<patient>x)"}, "patient_from"),
        ({"patient_from": "global_key"}, "patient_pattern"),
    ],
)
def test_a_pattern_is_checked_when_the_study_is_read(tmp_path, labelbox, told):
    text = 'projects = ["p"]\n' + "".join(f"{name} = {json.dumps(value)}\n" for name, value in labelbox.items())
    path = tmp_path / "study.toml"
    path.write_text(f"[labelbox]\n{text}")

    with pytest.raises(StudyError, match=r"labelbox") as error:
        load_study(path)

    assert told in str(error.value)


def test_no_pattern_makes_a_parse_hang(parsed_as, workspace):
    parsed_as([named("a", 5_000 * "a" + "b")], patient_from="external_id", patient_pattern="(?P<patient>(?:a+)+)$")

    assert ["missing_patient_id"] == reasons(workspace)


def test_without_patients_every_photograph_is_one_and_everything_says_so(parsed_as, workspace):
    rows = [named(f"img-{number}", "x.jpg", patient="P-1" if number else None) for number in range(20)]

    study = parsed_as(rows, patient_from="none")
    results = [audit(workspace), split(workspace, study)]
    certificate = json.loads((workspace.folder / "splits" / results[-1].split_id / "certificate.json").read_text())
    results.append(verify(workspace.split(results[-1].split_id)))

    assert 20 == workspace.rows("select count(distinct patient_id) as n from cases")[0]["n"]
    assert [True] * 3 == [NO_PATIENTS in shown(result) for result in results]
    assert [False] * 3 == [result.patients_known for result in results]
    assert f"nothing about persons; {NO_PATIENTS}" == certificate["attested_by_the_data_manager"]
    assert "no patient" not in certificate["proved_by_verify_sql"]
    assert "no patient in two parts" not in shown(results[1])


@pytest.mark.soak
def test_the_split_of_a_study_without_patients_is_another_one(parsed_as, workspace):
    rows = [named(f"img-{number}", "x.jpg", patient=f"P-{number}") for number in range(20)]

    with_patients = split(workspace, parsed_as(rows)).split_id
    without = split(workspace, parsed_as(rows, patient_from="none")).split_id

    assert with_patients != without


def test_a_study_keeps_only_the_metadata_it_names(parsed_as, workspace):
    row = exports.row("a")
    row["metadata_fields"] += [{"schema_name": "Age", "value": 40}, {"schema_name": "note", "value": "Muster, Eva"}]

    parsed_as([row], metadata=["age"])

    assert [{"name": "Age", "value": "40"}] == workspace.rows("select name, value from metadata")


OWN = [
    {},
    {"question": "Is it a BCC?"},
    {},
    {"question": "Is it a melanoma?", "yes": "Ja"},
]


ANSWERED = [
    ({"Is it a BCC?": "yes", "Is it a melanoma?": "Nein"}, "basal_cell_carcinoma", None),
    ({"Is it a BCC?": "no", "is it a  melanoma?": "ja"}, "malignant_melanoma", None),
    ({"Is it a BCC?": "yes", "Is it a melanoma?": "Ja"}, None, "ambiguous_label"),
    ({"Is it a BCC?": "yes", "diagnosis": "BCC"}, "basal_cell_carcinoma", None),
    ({"Is it a BCC?": "yes", "diagnosis": "nevus"}, None, "ambiguous_label"),
    ({"Is it a BCC?": "no", "Is it a melanoma?": "Nein"}, None, None),
]


def test_a_class_may_have_a_question_of_its_own(parsed_as, workspace):
    rows = []
    for number, (answers, _, _) in enumerate(ANSWERED):
        label = exports.label(f"l{number}")
        label["annotations"]["classifications"] = [exports.radio(a, question=q) for q, a in answers.items()]
        rows.append(exports.row(f"i{number}", label, patient=f"P-{number}"))

    parsed_as(rows, classes=OWN)

    read = workspace.rows("select image_id, class_name from readings inner join cases using (case_id)")
    kept_out = workspace.rows("select image_id, reason from ingest_issues")
    classes, issues = ({f"i{n}": each[place] for n, each in enumerate(ANSWERED) if each[place]} for place in (1, 2))
    assert classes == {row["image_id"]: row["class_name"] for row in read}
    assert issues == {row["image_id"]: row["reason"] for row in kept_out}
    assert (3, 2) == (len(read), len(kept_out))
    assert sum(len(answers) for answers, _, _ in ANSWERED) == len(workspace.rows("from answers"))


def test_a_label_without_a_yes_has_no_answer(parsed_as, workspace):
    label = exports.label("l")
    label["annotations"]["classifications"] = [exports.radio("no", question="Is it a BCC?")]

    parsed_as([exports.row("a", label)], classes=OWN)

    assert [{"unread": "no_answer"}] == workspace.rows("select unread from cases")


def test_graded_answers_to_a_class_s_own_question_name_it_from_the_grade_that_the_study_says(parsed_as, workspace):
    graded = ["1 - Definitely", "2 - Likely", "3 - Unlikely", "4 - Definitely not"]
    rows = []
    for number, grade in enumerate(graded):
        label = exports.label(f"l{number}")
        label["annotations"]["classifications"] = [exports.radio(grade, question="Is it a BCC?")]
        rows.append(exports.row(f"i{number}", label, patient=f"P-{number}"))

    parsed_as(rows, classes=[{}, {"question": "Is it a BCC?", "yes": ["1 - definitely", "2 - Likely"]}])

    read = workspace.rows("select image_id, class_name from readings inner join cases using (case_id)")
    assert {("i0", "basal_cell_carcinoma"), ("i1", "basal_cell_carcinoma")} == {
        (r["image_id"], r["class_name"]) for r in read
    }


def test_one_question_cannot_name_two_classes(study):
    with pytest.raises(ValueError, match="is it a bcc"):
        changed(study, classes=[{"question": "Is it a BCC?"}, {"question": "is it a bcc?"}])
    with pytest.raises(ValueError, match="diagnosis"):
        changed(study, classes=[{"question": "Diagnosis"}])


def test_certainty_stands_beside_the_answer_it_is_about(parsed_as, workspace):
    sure = exports.radio("rather sure", question="certainty")
    nested, beside = exports.label("l1"), exports.label("l2")
    nested["annotations"]["classifications"] = [exports.radio("nevus", nested=[sure])]
    beside["annotations"]["classifications"] = [exports.radio("nevus"), sure]

    parsed_as([exports.row("a", nested), exports.row("b", beside, patient="P-2")], certainty="Certainty")

    found = workspace.rows("select label_id, question, certainty from answers order by label_id, position")
    for label_id in ("l1", "l2"):
        answers = [(row["question"], row["certainty"]) for row in found if row["label_id"] == label_id]
        assert [("diagnosis", "rather sure"), ("certainty", None)] == answers
