"""A study's own data about its patients: they come in under pseudonyms, and stand where metadata fields stand."""

import json
import stat

import exports
import openpyxl
import pandas as pd
import pytest
from exports import label, row
from search_identifiers import search

from toolkit.errors import AttachError, DamagedError, StudyError
from toolkit.pipeline import attach_and_parse, rebuild
from toolkit.privacy import PseudonymKey, normalise
from toolkit.prompts.prompt import prompts_of
from toolkit.stages import withdraw as withdraw_stage
from toolkit.stages.attach import attach
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.study_file import StudyFile

PATIENTS = ("PAT-001", "PAT-002", "PAT-003")
HEADER = "Patient,Age,Smoker,Diagnosed,Remark"
CLINICAL = f"""{HEADER}
PAT-001,54,yes,2021-03-04,seen at the day clinic
pat-002,61.5,no,2020-11-30,"sister of PAT-003, roe@example.org"
PAT-777,12,no,2019-01-01,of nobody here
,40,no,2019-01-01,without a patient
"""


def image(name, patient, *, fields=()):
    made = row(name, label(f"label-{name}", "nevus"), patient=patient)
    made["metadata_fields"] += [{"schema_id": n, "schema_name": n, "value": v} for n, v in fields]
    return made


@pytest.fixture
def few(parsed):
    """A workspace with four photographs of three patients."""
    rows = [image(f"i{number}", patient) for number, patient in enumerate(PATIENTS)]
    return parsed(*rows, image("i3", PATIENTS[0]))


@pytest.fixture
def attached(few, study, key, tmp_path):
    """Attach a text as a file and parse; return what was said of it."""

    def attach_text(text, name="clinical.csv", patient="Patient", **more):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = attach(few, study, key, file, patient=patient, **more)
        parse(few, study, key, [])
        return result

    return attach_text


def values_of(workspace, image_id) -> dict[str, str]:
    rows = workspace.rows("select name, value from metadata where image_id = $id", {"id": image_id})
    return {row["name"]: row["value"] for row in rows}


def places_of(workspace, *texts) -> set[str]:
    return {place.path.relative_to(workspace.folder).parts[0] for place in search([workspace.folder], texts)}


def test_columns_of_a_file_stand_where_metadata_fields_stand(few, attached):
    attached(CLINICAL)

    first, other = values_of(few, "i0"), values_of(few, "i3")
    assert {"Age": "54", "Smoker": "true", "Diagnosed": "2021-03-04", "Remark": "seen at the day clinic"} == first
    assert first == other
    assert {} == values_of(few, "i2")


def test_what_matched_and_what_did_not_is_counted(attached):
    result = attached(CLINICAL)

    assert (2, 1) == (result.patients, result.patients_without)
    assert (4, 1, 1) == (result.rows, result.rows_unknown, result.rows_without_patient)
    assert {"Age": "number", "Smoker": "boolean", "Diagnosed": "date", "Remark": "text"} == result.columns


def test_case_table_has_a_typed_column_for_each(few, attached):
    attached(CLINICAL)

    [row] = few.rows(
        "select Age + 0.5 as age, Smoker as smoker, year(Diagnosed) as year from case_table where Age > 60"
    )
    assert {"age": 62.0, "smoker": False, "year": 2020} == row


@pytest.mark.soak
def test_the_table_attached_joins_with_patients(few, attached):
    attached(CLINICAL)

    rows = few.rows(
        "select name, kind, value, number, day from attached inner join patients using (patient_id) "
        "where name in ('Age', 'Diagnosed') order by name, value"
    )
    assert [("Age", 54.0), ("Age", 61.5)] == [(row["name"], row["number"]) for row in rows[:2]]
    assert ["2020-11-30", "2021-03-04"] == [row["day"].isoformat()[:10] for row in rows[2:]]


@pytest.mark.soak
def test_a_prompt_names_an_attached_column_like_a_metadata_field(few, attached, study):
    attached(CLINICAL)
    prompt = study.prompt.model_copy(update={"user": "What is it?[ The patient is {Age} years old.]"})
    [case] = few.rows("select case_id from cases where image_id = 'i0'")
    asked = prompts_of(few, study.model_copy(update={"prompt": prompt}), [case["case_id"]])

    assert "The patient is 54 years old." in asked.texts[0]


def test_no_raw_identifier_and_no_e_mail_address_is_kept(few, attached):
    attached(CLINICAL)

    assert {"exports"} == places_of(few, "PAT-001", "PAT-002", "PAT-003")
    assert set() == places_of(few, "roe@example.org", "PAT-777")
    assert "sister of [identifier removed], [e-mail removed]" == values_of(few, "i1")["Remark"]


@pytest.mark.soak
def test_a_column_that_repeats_the_identifier_is_left_out(few, attached):
    result = attached("Patient,MRN,Age\nPAT-001,pat-001,54\nPAT-002,PAT-002,61\n")

    assert ["MRN"] == result.columns_left_out
    assert {"Age": "54"} == values_of(few, "i0")


def test_the_file_is_private_and_sealed(few, attached, study, key):
    attached(CLINICAL)
    path = few.folder / "attached" / "clinical.parquet"
    assert (0o600, 0o700) == tuple(stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent))

    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(DamagedError, match=r"damaged|Parquet"):
        parse(few, study, key, [])


@pytest.mark.soak
def test_a_file_of_the_same_name_replaces_the_earlier_one(few, attached):
    attached(CLINICAL)
    result = attached("Patient,Stage\nPAT-003,II\n")

    assert result.is_replaced
    assert {} == values_of(few, "i0")
    assert {"Stage": "II"} == values_of(few, "i2")


@pytest.mark.soak
def test_the_same_file_again_gives_the_same_content(few, attached):
    def content():
        return few.rows("select content_hash from label_states")[0]["content_hash"]

    attached(CLINICAL)
    before = content()
    attached(CLINICAL)

    assert before == content()


def test_rebuild_makes_it_anew(few, attached, study, tmp_path):
    attached(CLINICAL)
    before = few.table("attached").sort_values(["patient_id", "name"]).reset_index(drop=True)
    published = study.privacy.model_copy(update={"published_key": "a key for tests"})
    own = StudyFile(study.model_copy(update={"privacy": published}), tmp_path / "study.toml")
    few.registry.unlink()

    rebuild(few, own)

    after = few.table("attached").sort_values(["patient_id", "name"]).reset_index(drop=True)
    assert 8 == len(before)
    pd.testing.assert_frame_equal(before, after)
    assert "54" == values_of(few, "i0")["Age"]


def test_a_withdrawn_patient_leaves_the_file_and_does_not_come_back_with_it(few, attached, study, key):
    attached(CLINICAL)
    own = key.pseudonym("p", "pat-001")
    withdrawn = withdraw_stage.withdraw(
        few, study, key, "PAT-001", apply=True, reparse=lambda: parse(few, study, key, [], anew=True)
    )
    stored = pd.read_parquet(few.folder / "attached" / "clinical.parquet")

    assert [] == withdrawn.left_in
    assert own not in set(stored["patient_id"])
    assert 4 == len(stored)
    assert 1 == attached(CLINICAL).rows_withdrawn
    assert {key.pseudonym("p", "pat-002")} == set(few.table("attached")["patient_id"])


@pytest.mark.soak
def test_two_ids_of_one_person_are_one(few, key, study, tmp_path):
    one, other = (key.pseudonym("p", name.lower()) for name in PATIENTS[:2])
    ingest = type(study.ingest)(same_patient=[[one, other]])
    same = study.model_copy(update={"ingest": ingest})
    parse(few, same, key, [])
    (tmp_path / "ages.csv").write_text("Patient,Age\nPAT-001,54\nPAT-002,55\n")

    with pytest.raises(AttachError, match=r"conflicting values.*row 2 \(Age\) says otherwise than row 1"):
        attach(few, same, key, tmp_path / "ages.csv", patient="Patient")


def test_rows_that_contradict_each_other_are_named_by_their_numbers_alone(attached):
    with pytest.raises(AttachError) as raised:
        attached("Patient,Age,Sex\nPAT-001,54,f\nPAT-002,61,m\nPAT-001,55,\npat-001,,m\n")

    words = raised.value.problem  # the place is a path that may hold any digits
    assert "row 3 (Age) says otherwise than row 1" in words
    assert "row 4 (Sex) says otherwise than row 1" in words
    assert "pat" not in words.lower().replace("patient", "")
    assert "55" not in words


@pytest.mark.soak
def test_rows_that_agree_or_add_to_each_other_are_one(few, attached):
    result = attached("Patient,Age,Sex\nPAT-001,54,\nPAT-001,54,f\nPAT-002,,m\n")

    assert 1 == result.rows_repeated
    assert {"Age": "54", "Sex": "f"} == values_of(few, "i0")
    assert {"Sex": "m"} == values_of(few, "i1")


CELLS = {
    "54;61": ("number", "54"),
    "54,5;61,25": ("number", "54.5"),
    "54.0;61": ("number", "54"),
    "-0.5;\N{MINUS SIGN}2": ("number", "-0.5"),
    "007;012": ("text", "007"),
    "54;unknown": ("number", "54"),
    "04.03.2021;30.11.2020": ("date", "2021-03-04"),
    "04/03/2021;30/11/2020": ("date", "2021-03-04"),
    "03/04/2021;11/30/2020": ("date", "2021-03-04"),
    "03/03/2021;2021-05-06": ("date", "2021-03-03"),
    "2021-03-04 10:20;2021-03-05": ("time", "2021-03-04T10:20:00"),
    "2021-03-04T00:00:00;2021-03-05": ("date", "2021-03-04"),
    "ja;Nein": ("boolean", "true"),
    "FALSE;TRUE": ("boolean", "false"),
    "0;1": ("number", "0"),
    "none;surgery": ("text", "none"),
    "1e999;2": ("text", "1e999"),
}
"""The cells of a column for two patients; what they are, and how the first one's is read."""


def test_columns_are_read_by_what_all_their_cells_are(few, attached):
    columns = zip(*(cells.split(";") for cells in CELLS), strict=True)
    rows = [
        ["Patient", *(f"F{n}" for n in range(len(CELLS)))],
        *([p, *c] for p, c in zip(PATIENTS, columns, strict=False)),
    ]
    result = attached("".join(f"{';'.join(row)}\n" for row in rows))
    read = values_of(few, "i0")

    for number, (cells, (kind, value)) in enumerate(CELLS.items()):
        assert (kind, value) == (result.columns[f"F{number}"], read[f"F{number}"]), cells


@pytest.mark.soak
def test_a_column_that_is_nearly_one_of_numbers_says_what_keeps_it_from_it(attached):
    rows = "".join(f"{PATIENTS[0]},54\n" for _ in range(4))
    result = attached(f"Patient,Age\n{rows}PAT-002,about 60\n")

    assert {"Age": "text"} == result.columns
    assert ["Age is text: row 5 holds no number"] == result.notes


FAULTS = {
    "no column": ("Patient;Age\nPAT-001;54\n", "no column 'Case'", {"patient": "Case"}),
    "no value": ("Patient,Age\nPAT-001,\n", "no column holds a value", {}),
    "empty": ("", "holds no row|one column only", {}),
    "header alone": ("Patient,Age\n", "holds no row", {}),
    "nobody": ("Patient,Age\nX-1,54\n", "no row is of a patient of this study", {}),
    "ragged": ("Patient,Age\nPAT-001,54,3\n", "not as many cells as the header: row 1", {}),
    "formula": ('Patient,Age\nPAT-001,"=HYPERLINK(A1)"\n', r"a formula instead of a value: row 1 \(Age\)", {}),
    "error": ("Patient,Age\nPAT-001,#DIV/0!\n", r"an error of a spreadsheet: row 1 \(Age\)", {}),
    "huge": (f"Patient,Remark\nPAT-001,{'x' * 1_001}\n", r"a text too long: row 1 \(Remark\)", {}),
    "control": ("Patient,Remark\nPAT-001,a\x1b[31mb\n", r"a control character: row 1 \(Remark\)", {}),
    "thousands": ('Patient,Size\nPAT-001,"1,234"\n', r"a comma that may divide thousands: row 1 \(Size\)", {}),
    "day or month": ("Patient,Seen\nPAT-001,03/04/2021\n", r"a date whose day may be its month: row 1 \(Seen\)", {}),
    "day or month beside others": (
        "Patient,Seen\nPAT-001,03/04/2021\nPAT-002,2021-05-06\n",
        r"a date whose day may be its month: row 1 \(Seen\)",
        {},
    ),
    "of case_table": ("Patient,confidence\nPAT-001,1\n", "'confidence' is a column of case_table already", {}),
    "reserved": ("Patient,annotator\nPAT-001,x\n", "'annotator' is a name that groups of the toolkit have", {}),
    "lesion": ("Patient,lesion_id\nPAT-001,x\n", "'lesion_id' is a column of case_table already", {}),
    "twice": ("Patient,Age,AGE\nPAT-001,1,1\n", "'AGE' is the name of two columns", {}),
    "nameless": ("Patient,,Age\nPAT-001,1,2\n", "column 2 has no name", {}),
    "braces": ("Patient,{age}\nPAT-001,1\n", "column 2 has a name that is none for a field", {}),
    "identifier": ("Patient,PAT-002\nPAT-001,1\n", "column 2 has a name that is none for a field", {}),
    "absent choice": ("Patient,Age\nPAT-001,1\n", "no column 'Sex'", {"columns": ("Sex",)}),
    "utf-16 torn": (b"\xff\xfeP\x00a", "cannot be read", {}),
    "binary": (b"\x81\x8d\x8f,\x90\n1,2\n", "cannot be read", {}),
    "gzip": (b"\x1f\x8b\x08\x00", "compressed", {}),
    "torn workbook": (b"PK\x03\x04 and no more", "the workbook cannot be read", {}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_used_is_refused_in_words_and_changes_nothing(name, few, attached):
    text, words, more = FAULTS[name]

    with pytest.raises(AttachError, match=words) as raised:
        attached(text, **more)
    assert raised.value.remedy
    assert "clinical.csv" in raised.value.place
    assert not {"PAT-001", "PAT-002"} & set(str(raised.value).replace("'", " ").split())
    assert not (few.folder / "attached").exists()


def test_a_column_that_the_exports_have_is_refused(parsed, study, key, tmp_path):
    workspace = parsed(image("i0", "PAT-001", fields=[("anatomical_site", "arm")]))
    (tmp_path / "sites.csv").write_text("Patient,Anatomical site\nPAT-001,leg\n")

    with pytest.raises(AttachError, match="'Anatomical site' is a metadata field of the exports already"):
        attach(workspace, study, key, tmp_path / "sites.csv", patient="Patient")


@pytest.mark.soak
def test_a_column_that_another_file_has_brought_is_refused(attached):
    attached(CLINICAL)

    with pytest.raises(AttachError, match="'age' was attached with clinical already"):
        attached("Patient,age\nPAT-001,1\n", name="more.csv")


def test_a_name_of_a_file_that_holds_an_identifier_is_refused_without_saying_it(few, attached):
    with pytest.raises(AttachError) as raised:
        attached(CLINICAL, name="report PAT-001.csv")

    assert "PAT-001" not in raised.value.problem
    assert not (few.folder / "attached").exists()


@pytest.mark.soak
def test_only_the_columns_that_are_named_come_in(few, attached):
    attached(CLINICAL, columns=("age",))

    assert {"Age": "54"} == values_of(few, "i0")


@pytest.mark.soak
def test_ids_that_lost_their_leading_zeros_are_hinted_at(parsed, study, key, tmp_path):
    workspace = parsed(image("i0", "00017"), image("i1", "00018"))
    (tmp_path / "ages.csv").write_text("Patient,Age\n17,54\n00018,60\n")

    result = attach(workspace, study, key, tmp_path / "ages.csv", patient="Patient")

    assert (1, 1, 1) == (result.patients, result.rows_unknown, result.rows_nearly_known)


@pytest.mark.soak
def test_ids_that_a_program_wrote_as_decimals_are_found(parsed, study, key, tmp_path):
    workspace = parsed(image("i0", "17"), image("i1", "18"))
    pd.DataFrame({"Patient": [17.0, 18.0], "Age": [54, 60]}).to_parquet(tmp_path / "ages.parquet")

    result = attach(workspace, study, key, tmp_path / "ages.parquet", patient="Patient")

    assert (2, 0) == (result.patients, result.rows_unknown)


def test_a_workbook_comes_in_with_its_types(few, study, key, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["notes"])
    sheet = book.create_sheet("patients")
    sheet.append(["Patient", "Age", "Diagnosed", "Smoker"])
    sheet.append(["PAT-001", 54, pd.Timestamp("2021-03-04").to_pydatetime(), True])
    book.save(tmp_path / "clinical.xlsx")

    result = attach(few, study, key, tmp_path / "clinical.xlsx", patient="Patient")

    assert {"Age": "number", "Diagnosed": "date", "Smoker": "boolean"} == result.columns


def test_a_formula_of_a_workbook_that_was_never_computed_is_refused(few, study, key, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["Patient", "Age"])
    book.active.append(["PAT-001", "=50+4"])
    book.save(tmp_path / "clinical.xlsx")

    with pytest.raises(AttachError, match=r"a formula instead of a value: row 1 \(Age\)"):
        attach(few, study, key, tmp_path / "clinical.xlsx", patient="Patient")


@pytest.mark.soak
def test_a_field_that_an_export_brings_later_goes_before_the_attached_one(few, attached, study, key, tmp_path):
    field = study.labelbox.metadata[0]
    attached(f"Patient,{field}\nPAT-001,of the file\n")
    later = exports.write(tmp_path / "later.ndjson", [image("i9", "PAT-002", fields=[(field, "of the export")])])

    parse(few, study, key, [later])

    rows = few.rows("select value from metadata where name = $name", {"name": field})
    assert ["of the export"] == [row["value"] for row in rows]
    issues = few.rows("select detail from ingest_issues where reason = 'attached_column_taken'")
    assert [f"{field}: the exports have a metadata field of this name; the column of clinical is not used"] == [
        row["detail"] for row in issues
    ]


def test_a_study_without_patients_is_told_that_nothing_can_be_joined(few, study, key, tmp_path):
    nobody = study.model_copy(update={"labelbox": study.labelbox.model_copy(update={"patient_from": "none"})})
    (tmp_path / "clinical.csv").write_text(CLINICAL)

    with pytest.raises(StudyError, match="no patient identifiers"):
        attach(few, nobody, key, tmp_path / "clinical.csv", patient="Patient")


def test_the_command_attaches_parses_and_says_both(few, study, tmp_path):
    published = study.privacy.model_copy(update={"published_key": "a key for tests"})
    own = StudyFile(study.model_copy(update={"privacy": published}), tmp_path / "study.toml")
    (tmp_path / "clinical.csv").write_text(CLINICAL)

    result, parsed_again = attach_and_parse(few, own, tmp_path / "clinical.csv", patient="Patient")

    assert (2, 4) == (result.patients, parsed_again.photographs)
    assert "54" == values_of(few, "i0")["Age"]


def test_another_key_finds_nobody(few, study, tmp_path):
    (tmp_path / "clinical.csv").write_text(CLINICAL)

    with pytest.raises(AttachError, match="no row is of a patient of this study"):
        attach(few, study, PseudonymKey(b"another", published=True), tmp_path / "clinical.csv", patient="Patient")


def test_json_lines_come_in_too(few, study, key, tmp_path):
    (tmp_path / "clinical.jsonl").write_text(json.dumps({"Patient": "PAT-001", "Age": 54.0, "Smoker": True}) + "\n")

    result = attach(few, study, key, tmp_path / "clinical.jsonl", patient="Patient")

    assert {"Age": "number", "Smoker": "boolean"} == result.columns


@pytest.mark.soak
def test_a_run_is_scored_by_groups_of_an_attached_column(finished, copied):
    """Second opinion: pandas on the file as it was, joined by the key's pseudonyms."""
    study, own = finished.study_file.study, finished.study_file.key(copied)
    rows = [json.loads(line) for line in finished.export.read_text().splitlines() if line.startswith("{")]
    fields = [field for made in rows for field in made.get("metadata_fields", ()) if isinstance(field, dict)]
    patients = sorted({normalise(each["value"]) for each in fields if each.get("schema_name") == "patient_id"} - {""})
    smokes = {patient: number % 3 == 0 for number, patient in enumerate(patients)}
    file = finished.export.parent / "smoking.csv"
    file.write_text("Patient;Smokes\n" + "".join(f"{p};{'yes' if yes else 'no'}\n" for p, yes in smokes.items()))
    list(attach_and_parse(copied, finished.study_file, file, patient="Patient"))
    grouped = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"groups": ["Smokes"]})})

    evaluate(copied, grouped)

    scored = copied.table("scored").query("part == 'test'").merge(copied.table("cases")[["case_id", "patient_id"]])
    of_pseudonym = {own.pseudonym("p", patient): str(yes).lower() for patient, yes in smokes.items()}
    scored = scored[scored["run_id"] == copied.rows("select run_id from run_names where name = 'latest'")[0]["run_id"]]
    right = (scored["predicted"] == scored["truth"]).groupby(scored["patient_id"].map(of_pseudonym))
    found = copied.rows(
        "select group_value, value, cases from subgroup_scores inner join run_names using (run_id) "
        "where name = 'latest' and part = 'test' and group_name = 'Smokes' and metric = 'accuracy'"
    )
    assert {"true", "false"} == {row["group_value"] for row in found}
    assert right.size().to_dict() == {row["group_value"]: row["cases"] for row in found}
    shares = {row["group_value"]: row["value"] for row in found if row["value"] == row["value"]}
    assert pytest.approx({value: right.mean()[value] for value in shares}) == shares
