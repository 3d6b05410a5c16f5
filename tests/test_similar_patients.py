"""Patients who may be one: IDs that name nobody or differ by a slip, second IDs, and what a study says of them."""

import random

import exports
import pytest
from exports import label, row
from PIL import Image

from toolkit.console.results import rendered
from toolkit.console.text import stderr
from toolkit.errors import StudyError, WorkspaceError
from toolkit.labelbox_json.similar_ids import nobody, swaps, without_zeros
from toolkit.manifest import Study, load_study
from toolkit.privacy import as_typed, normalise
from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.stages.withdraw import withdraw
from toolkit.workspace.registry import Workspace
from toolkit.workspace.withdrawn import record_withdrawal


def rows_of(*patients):
    return [row(f"i{n}", label(f"L{n}", "nevus"), patient=patient) for n, patient in enumerate(patients)]


def one_person(study, *groups):
    document = study.model_dump()
    document["ingest"]["same_patient"] = [list(group) for group in groups]
    return Study.model_validate(document)


@pytest.fixture
def parsed_patients(workspace, study, key, tmp_path):
    def parse_them(*patients, study=study, images=None):
        export = exports.write(tmp_path / "e.ndjson", rows_of(*patients))
        return parse(workspace, study, key, [export], images=images)

    return parse_them


def similar(workspace, key, *names):
    """Return the pairs of IDs among `names` that are said to be similar, with what they differ in."""
    of = {key.pseudonym("p", normalise(name)): name for name in names}
    rows = workspace.shipped_rows("similar_patients")
    return {frozenset((of[r["patient_id"]], of[r["other_patient_id"]])): r["detail"] for r in rows}


NOBODIES = ["nan", "NaN", "unknown", "-", "--", "N/A", "n/a", "None", "null", "#N/A", "?", ".", "1.23E+11", "4.5e+08"]


@pytest.mark.parametrize("text", [*NOBODIES, "Unbekannt", "–", "#REF!", "(blank)", "_"])
def test_what_stands_for_no_patient_is_none(text):
    assert nobody(normalise(text)) is not None


@pytest.mark.parametrize("text", ["12", "0", "P-1", "1.2e1", "NA12", "nancy", "unknown-7", "e+11", "é"])
def test_an_identifier_is_one(text):
    assert nobody(normalise(text)) is None


def test_missing_patients_are_counted_by_what_stands_in_their_place(parsed_patients, workspace):
    result = parsed_patients("P-1", "unknown", "Unknown ", "N/A", "-", "1.23E+11", "9.87E+11", " ", "NaN")

    assert {
        "missing_patient_id:unknown": 2,
        "missing_patient_id:n/a": 1,
        "missing_patient_id:signs only": 1,
        "missing_patient_id:a number in scientific notation": 2,
        "missing_patient_id": 1,
        "missing_patient_id:nan": 1,
    } == result.kept_out
    assert 1 == result.patients
    texts = " ".join(r["detail"] for r in workspace.rows("select detail from ingest_issues"))
    assert "23" not in texts.casefold()


def test_ids_that_differ_by_zeros_are_told_with_their_photographs(parsed_patients, workspace, key):
    names = ("0012", "12", "12.0", "7", "P-03", "P-3", "P-30")
    result = parsed_patients(*names, "0012")

    found = similar(workspace, key, *names)
    pairs = [("0012", "12"), ("0012", "12.0"), ("12", "12.0"), ("P-03", "P-3")]
    assert {frozenset(pair) for pair in pairs} == {p for p, detail in found.items() if "zeros" in detail}
    zero_three = key.pseudonym("p", "0012") < key.pseudonym("p", "12")
    counts = "2 and 1 photograph" if zero_three else "1 and 2 photographs"
    assert f"the IDs of two patients differ only in leading zeros or .0: {counts}" == found[frozenset(("0012", "12"))]
    assert len(found) == result.similar_patients
    with stderr.capture() as shown:
        stderr.print(rendered(result))
    assert "patients with similar IDs" in shown.get()


def test_a_swapped_pair_is_told_among_ids_that_are_far_apart(parsed_patients, workspace, key):
    rng = random.Random(3)
    names = [f"MRN{rng.randrange(10**8):08}" for _ in range(150)]
    slip = names[0][:6] + names[0][7] + names[0][6] + names[0][8:]
    if slip == names[0]:
        pytest.fail("the two digits are the same")
    parsed_patients(*names, slip)

    assert {frozenset((names[0], slip))} == set(similar(workspace, key, *names, slip))


def test_swapped_pairs_that_chance_explains_are_counted_not_listed(parsed_patients, workspace, key):
    names = [f"P-{number:03}" for number in range(300)]
    parsed_patients(*names)
    numbers = set(names)
    expected = {frozenset((a, b)) for a in names for b in names if a < b and b in set(swapped(a)) & numbers}

    assert {} == similar(workspace, key, *names)
    [told] = workspace.rows("select detail from ingest_issues where reason = 'similar_patient_ids'")
    assert told["detail"].startswith(f"{len(expected)} pairs of patients whose IDs differ only in two neighbouring")


def swapped(name):
    for at in range(2, len(name) - 1):
        yield name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def test_swaps_and_zeros_by_hand():
    assert {"2 p-132", "3 p-123"} == set(swaps("p-132"))
    assert set(swaps("p-132")).isdisjoint(swaps("p-213"))  # both are one swap from p-123
    assert set(swaps("p-132")) & set(swaps("p-123"))
    assert not set(swaps("p-111"))
    assert ["12", "12", "p-3.5", "1-2", "10"] == [without_zeros(x) for x in ("0012", "12.0", "p-03.5", "01-02", "10")]


def test_patients_that_the_study_calls_one_are_one(parsed_patients, workspace, study, key):
    parsed_patients("12", "0012", "7")
    both = [row["patient_id"] for row in workspace.rows("select patient_id from patients order by 1")]
    twelve = {key.pseudonym("p", "12"), key.pseudonym("p", "0012")}
    result = parsed_patients("12", "0012", "7", study=one_person(study, twelve))

    assert 3 == len(both)
    assert {min(twelve), key.pseudonym("p", "7")} == {
        row["patient_id"] for row in workspace.rows("select patient_id from cases")
    }
    assert 2 == result.patients
    assert {} == similar(workspace, key, "12", "0012", "7")


def test_a_pseudonym_that_nobody_has_is_told(parsed_patients, workspace, study, key):
    there, absent = key.pseudonym("p", "12"), "p-0123456789abcdef"
    parsed_patients("12", study=one_person(study, (there, absent)))

    told = workspace.rows("select reason, detail from ingest_issues")
    assert [{"reason": "unknown_same_patient", "detail": f"ingest.same_patient: no row is of {absent}"}] == told


@pytest.mark.parametrize(
    "groups", [[["p-1", "p-2"]], [["p-0123456789abcdef"]], [["p-" + 16 * "0"] * 2], [["12", "13"]]]
)
def test_a_list_of_persons_that_cannot_be_is_refused(study, groups):
    with pytest.raises((StudyError, ValueError), match="same_patient"):
        one_person(study, *groups)


@pytest.mark.soak
def test_who_is_withdrawn_under_one_id_is_withdrawn_under_all(parsed_patients, workspace, study, key, tmp_path):
    twelve = (key.pseudonym("p", "12"), key.pseudonym("p", "0012"))
    own = one_person(study, twelve)
    parsed_patients("12", "0012", "7", study=own)
    withdrawn = withdraw(
        workspace, own, key, "0012", reparse=lambda: parse(workspace, own, key, [], anew=True), apply=True
    )

    assert 2 == withdrawn.rows
    assert [key.pseudonym("p", "7")] == [r["patient_id"] for r in workspace.rows("select patient_id from patients")]
    export = exports.write(
        tmp_path / "more.ndjson", [row("n1", label("L9", "nevus"), patient="12"), row("n2", patient="8")]
    )
    assert 1 == parse(workspace, study, key, [export]).not_taken_in  # also where the study no longer says it


@pytest.mark.soak
def test_a_withdrawal_by_an_earlier_version_holds(parsed_patients, workspace, study, key, tmp_path):
    parsed_patients("7")
    dashed = "P\u201312"
    assert as_typed(dashed) != normalise(dashed)
    record_withdrawal(workspace, key.pseudonym("p", as_typed(dashed)), set(), key=key, date="2026-01-01")

    export = exports.write(tmp_path / "m.ndjson", [row("new", label("L9", "nevus"), patient=dashed), *rows_of("7")])
    assert 1 == parse(workspace, study, key, [export]).not_taken_in
    with pytest.raises(WorkspaceError, match="holds nothing of such a patient"):
        withdraw(workspace, study, key, "P-13", reparse=lambda: None)


@pytest.mark.soak
def test_a_duplicate_under_two_ids_with_equal_metadata_is_a_finding(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = random.Random(1)
    for name in "ab":
        picture = noise(rng)
        for copy in "12":
            picture.save(folder / f"{name}{copy}.jpg")
    rows = []
    for patient, (name, age) in enumerate((("a1", 70), ("a2", 70), ("b1", 50), ("b2", 60))):
        own = row(name, label(f"L{name}", "nevus"), patient=f"P-{patient}0{patient}7{patient}")
        for field, value in (("age", age), ("sex", "male"), ("taken", f"2025-01-0{patient + 1}T00:00:00Z")):
            kind = "CustomMetadataDateTime" if field == "taken" else "CustomMetadataString"
            own["metadata_fields"].append({"schema_name": field, "schema_kind": kind, "value": value})
        rows.append(own)
    parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", rows)], images=folder)
    findings = audit(workspace).findings

    assert (1, 2) == (findings["second_patient_id"], findings["identical_bytes"])
    [pair] = workspace.shipped_rows("similar_patients")
    assert {key.pseudonym("p", "p-00070"), key.pseudonym("p", "p-10171")} == {
        pair["patient_id"],
        pair["other_patient_id"],
    }
    assert "whose 2 metadata fields are all equal" in pair["detail"]


def noise(rng):
    return Image.frombytes("RGB", (20, 10), rng.randbytes(600)).resize((200, 100))


def test_without_patients_no_ids_are_compared(parsed_patients, workspace, study):
    document = study.model_dump()
    document["labelbox"]["patient_from"] = "none"
    result = parsed_patients("12", "0012", study=Study.model_validate(document))

    assert 0 == result.similar_patients
    assert [] == workspace.shipped_rows("similar_patients")


@pytest.mark.soak
def test_public_case_04_seven_patients_and_who_may_be_one(shared, tmp_path, key):
    folder = shared / "public_cases" / "04_patient_spellings"
    workspace = Workspace(tmp_path / "w")
    result = parse(
        workspace, load_study(folder / "study.toml"), key, [folder / "export.ndjson"], images=folder / "images"
    )

    assert 7 == result.patients
    twelve = ("12", "12.0", "0012", "00012")
    pairs = {frozenset((a, b)) for a in twelve for b in twelve if a != b}
    assert pairs == set(similar(workspace, key, *twelve, "p-12", "p- 12", "1.2e1"))
    assert 6 == audit(workspace).findings["similar_patient_ids"]
