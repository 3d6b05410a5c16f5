"""Between a hospital's identifiers and pseudonyms: for who has the key, noted, and never in a log."""

import json
import stat

import pytest
from exports import label, row

from toolkit.cli import main
from toolkit.csv_files import read_csv
from toolkit.errors import StudyError, WorkspaceError
from toolkit.pipeline import translate
from toolkit.stages.parse import parse
from toolkit.study_file import StudyFile
from toolkit.workspace import ledger

OWN = "PAT-001"


@pytest.fixture
def study_file(study, tmp_path):
    published = study.privacy.model_copy(update={"published_key": "a key for tests"})
    return StudyFile(study.model_copy(update={"privacy": published}), tmp_path / "study.toml")


@pytest.fixture
def two(parsed):
    return parsed(
        row("i0", label("l0", "nevus"), patient=OWN),
        row("i1", label("l1", "nevus"), patient="pat-001 "),
        row("i2", label("l2", "nevus"), patient=4711.0),
    )


def noted(workspace):
    return ledger.entries(workspace, "translation")


def test_an_identifier_becomes_the_pseudonym_that_the_registry_has(two, study_file):
    result = translate(two, study_file, ["pat-001", " 4711 ", "P-9"], [])

    [patient] = two.rows("select distinct patient_id from images where image_id = 'i0'")
    assert patient["patient_id"] == result.pairs[0]["pseudonym"]
    assert [True, True, False] == [pair["in_study"] for pair in result.pairs]
    assert (3, 2) == (result.asked, result.found)


def test_a_pseudonym_becomes_the_identifier_as_the_export_writes_it(two, study_file, key):
    own, number, nobody = (key.pseudonym("p", each) for each in ("pat-001", "4711", "nobody"))
    result = translate(two, study_file, [], [own, number, nobody])

    assert {own: OWN, number: "4711"} == {pair["pseudonym"]: pair["identifier"] for pair in result.pairs}
    assert (3, 2) == (result.asked, result.found)


def test_there_and_back_is_the_same(two, study_file):
    there = translate(two, study_file, [OWN], []).pairs
    back = translate(two, study_file, [], [there[0]["pseudonym"]]).pairs

    assert there == back


@pytest.mark.soak
def test_one_person_with_two_identifiers_has_both(parsed, study_file, key, tmp_path):
    workspace = parsed(*(row(f"i{n}", label(f"l{n}", "nevus"), patient=f"PAT-00{n}") for n in (1, 2)))
    both = [key.pseudonym("p", f"pat-00{n}") for n in (1, 2)]
    ingest = type(study_file.study.ingest)(same_patient=[both])
    study = study_file.study.model_copy(update={"ingest": ingest})
    parse(workspace, study, key, [])
    same = StudyFile(study, tmp_path / "study.toml")

    assert {min(both)} == {each["pseudonym"] for each in translate(workspace, same, ["PAT-001", "PAT-002"], []).pairs}
    found = translate(workspace, same, [], [max(both)])
    assert ["PAT-001", "PAT-002"] == [each["identifier"] for each in found.pairs]


def test_each_use_is_noted_without_an_identifier(two, study_file, monkeypatch):
    monkeypatch.setenv("LOGNAME", "drroe")
    pseudonym = translate(two, study_file, [OWN], []).pairs[0]["pseudonym"]
    translate(two, study_file, [], [pseudonym])

    first, second = noted(two)
    text = ledger.path_of(two).read_text().lower()
    assert [("to pseudonyms", 1, 1), ("to identifiers", 1, 1)] == [
        (each["direction"], each["asked"], each["found"]) for each in (first, second)
    ]
    assert first["user"] == second["user"] != "drroe"
    assert not any(word in text for word in ("pat-001", "drroe", pseudonym))


def test_an_answer_in_a_file_is_private_and_not_shown(two, study_file, tmp_path):
    file = tmp_path / "answer.csv"
    result = translate(two, study_file, ["007", OWN], [], output=file)

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert ["007", OWN] == [each["identifier"] for each in read_csv(file)]
    assert [] == result.pairs
    with pytest.raises(WorkspaceError, match="there already"):
        translate(two, study_file, [OWN], [], output=file)


def test_no_file_of_identifiers_stands_inside_the_workspace(two, study_file):
    with pytest.raises(WorkspaceError, match="inside the workspace"):
        translate(two, study_file, [OWN], [], output=two.folder / "reports" / "answer.csv")

    assert [] == noted(two)


@pytest.mark.parametrize(
    ("identifiers", "pseudonyms", "words"),
    [
        ([], [], "give identifiers, or pseudonyms"),
        (["a"], ["p-0123456789abcdef"], "give identifiers, or pseudonyms"),
        ([], ["p-0123456789abcdef", OWN], "pseudonym 2 of 2 is none of a patient"),
        (["unknown"], [], "this is no identifier"),
    ],
)
def test_what_cannot_be_translated_is_said_without_repeating_it(two, study_file, identifiers, pseudonyms, words):
    with pytest.raises((StudyError, WorkspaceError), match=words) as raised:
        translate(two, study_file, identifiers, pseudonyms)

    assert OWN not in str(raised.value)
    assert [] == noted(two)


def test_without_the_key_nothing_is_translated_and_no_key_is_made(two, study, tmp_path):
    privacy = study.privacy.model_copy(update={"published_key": None, "key_file": "gone.key"})
    own = StudyFile(study.model_copy(update={"privacy": privacy}), tmp_path / "study.toml")

    with pytest.raises(StudyError, match="is not here"):
        translate(two, own, [OWN], [])
    assert not (tmp_path / "gone.key").exists()


def test_the_command_answers_on_stdout_alone(finished, copied, capsys):
    [patient] = copied.rows("select min(patient_id) as patient_id from patients")
    common = ["--study", str(finished.study_file.path), "--workspace", str(copied.folder), "--json", "translate"]
    with pytest.raises(SystemExit, match="0"):
        main([*common, "--pseudonym", patient["patient_id"]])
    answer = capsys.readouterr()
    [identifier] = {pair["identifier"] for pair in json.loads(answer.out)["pairs"]}

    assert identifier not in answer.err
    with pytest.raises(SystemExit, match="0"):
        main([*common, identifier])
    [back] = json.loads(capsys.readouterr().out)["pairs"]
    assert patient["patient_id"] == back["pseudonym"]
    assert 2 == len(noted(copied))
