"""What internal pages show of a single case: readings, doubts about its label, file name and address in Labelbox."""

import json

import pandas as pd
import pytest

from toolkit.manifest.cohort import IngestSection
from toolkit.privacy import PseudonymKey, normalise
from toolkit.stages.report.case_details import labelbox_address, read_details, shown_name

KEY = PseudonymKey(b"k" * 32, published=False)
NAMELESS = {"path": None, "external_id": None, "global_key": None}


def key_of(identifier: str) -> str:
    return KEY.pseudonym("p", normalise(identifier))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("IMG_0001.jpg", "IMG_0001.jpg"),
        ("4711_left.jpg", ""),
        ("left PAT 4711.JPG", ""),
        ("x-4711-2026.png", ""),
        ("14711.png", "14711.png"),
        ("jo@example.org.png", "[e-mail removed]"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
    ],
)
def test_a_file_name_is_shown_unless_a_known_patient_stands_in_it(name, shown):
    patients = {KEY.pseudonym("p", normalise("4711")), KEY.pseudonym("p", normalise("PAT 4711"))}

    for row in ({"path": f"/somewhere/{name}"}, {"external_id": name}, {"global_key": name}):
        assert shown == shown_name({**NAMELESS, **row}, KEY, patients)


def test_a_person_of_several_identifiers_is_known_by_each():
    own, other, stranger = (key_of(each) for each in ("4711", "0815", "99"))
    ingest = IngestSection(same_patient=[[own, other]])
    (registered, *_) = ingest.one_person(own)
    patients = ingest.every_pseudonym([registered, stranger])

    assert {own, other, stranger} == patients
    assert "" == shown_name({**NAMELESS, "path": "0815_left.jpg"}, KEY, patients)
    assert "" == shown_name({**NAMELESS, "path": "4711_left.jpg"}, KEY, patients)


def test_an_address_in_labelbox_needs_project_and_photograph():
    assert "https://app.labelbox.com/projects/a/data-rows/b" == labelbox_address({"project_id": "a", "image_id": "b"})
    assert "" == labelbox_address({"project_id": None, "image_id": "b"})


def test_readings_are_those_of_the_registry_each_by_its_annotator(finished):
    workspace = finished.workspace
    readings = pd.DataFrame(workspace.rows("select * from readings"))
    details = read_details(workspace, finished.study_file.study, readings["case_id"].unique().tolist(), None)

    assert len(details) == readings["case_id"].nunique()
    for case_id, own in readings.groupby("case_id"):
        expected = {(row.annotator, row.class_name, row.counts) for row in own.itertuples()}

        assert expected == {tuple(vote) for vote in details[case_id].votes}
        assert "" == details[case_id].file


def test_a_label_is_questioned_where_the_audit_does(finished):
    evidence = pd.DataFrame(finished.workspace.rows("select * from label_evidence"))
    details = read_details(finished.workspace, finished.study_file.study, evidence["case_id"].tolist(), None)
    doubtful = evidence[(evidence["score"] >= 0.02) & evidence["suggested_class"].notna()]

    assert set(doubtful["case_id"]) == {case_id for case_id, own in details.items() if own.suggestion}
    for row in doubtful.itertuples():
        assert (row.suggested_class, row.score, row.reasons) == tuple(details[row.case_id].suggestion)


def test_with_the_key_every_file_of_the_sample_has_its_own_name(finished):
    key = finished.study_file.key_at_hand(finished.workspace)
    names = {json.loads(line)["data_row"]["external_id"] for line in finished.export.read_text().splitlines()}
    cases = [row["case_id"] for row in finished.workspace.rows("select case_id from cases")]
    shown = [own.file for own in read_details(finished.workspace, finished.study_file.study, cases, key).values()]

    assert key is not None
    assert set(shown) <= names
    assert "" not in shown


def test_a_key_that_is_not_there_is_not_created(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    text = finished.study_file.path.read_text(encoding="utf-8").replace("published_key", "# published_key")
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    from toolkit.manifest import load_study
    from toolkit.study_file import StudyFile

    assert StudyFile(load_study(path), path).key_at_hand(finished.workspace) is None
    assert [path] == list(tmp_path.iterdir())
