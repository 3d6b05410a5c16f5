"""What a workspace's pseudonyms are made with, and who can join them."""

import json
import shutil

import exports
import pytest
from exports import label, row

from toolkit.errors import StudyError, WorkspaceError
from toolkit.files import write_json
from toolkit.manifest.cohort import PrivacySection
from toolkit.pipeline import parse_study, rebuild
from toolkit.privacy import PseudonymKey
from toolkit.stages.parse import parse
from toolkit.stages.split import split
from toolkit.study_file import StudyFile
from toolkit.workspace.note import NOTE, read_note
from toolkit.workspace.registry import Workspace

PATIENTS = ["P-1", "P-2", "P-3"]


@pytest.fixture
def export(tmp_path):
    rows = [row(f"i{n}", label(f"L{n}", "nevus"), patient=patient) for n, patient in enumerate(PATIENTS)]
    return exports.write(tmp_path / "export.ndjson", rows)


@pytest.fixture
def of_study(study, tmp_path):
    """Give the file of a study of this name with a secret key of its own, or of a group."""

    def of_study(name: str, **privacy) -> StudyFile:
        section = PrivacySection(**({"key_file": "study.key"} | privacy))
        named = study.study.model_copy(update={"name": name})
        return StudyFile(study.model_copy(update={"study": named, "privacy": section}), tmp_path / f"{name}.toml")

    return of_study


def pseudonyms(workspace: Workspace) -> set[str]:
    return {each["patient_id"] for each in workspace.rows("select patient_id from patients")}


def made_before(workspace: Workspace, study_file: StudyFile, export) -> set[str]:
    """Make a workspace as an earlier version did: no join group, and workspace.json names the study only."""
    bare = bare_key(study_file)
    parse(workspace, study_file.study, bare, [export])
    write_json(workspace.folder / NOTE, {"study": str(study_file.path)})
    return pseudonyms(workspace)


def bare_key(study_file: StudyFile) -> PseudonymKey:
    nothing_there = Workspace(study_file.folder / "nothing there")
    study_file.key(nothing_there)
    return PseudonymKey(bytes.fromhex((study_file.folder / "study.key").read_text().strip()), published=False)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ({}, {}, False),
        ({"join_group": "clinic"}, {"join_group": "clinic"}, True),
        pytest.param({"join_group": "clinic"}, {"join_group": "clinics"}, False, marks=pytest.mark.soak),
        ({"join_group": "two"}, {}, True),  # the name of the other study
        pytest.param(*[{"key_file": None, "published_key": "x"}] * 2, True, marks=pytest.mark.soak),
    ],
)
def test_pseudonyms_of_two_studies_join_within_a_group_only(of_study, export, tmp_path, one, other, joined):
    workspaces = [Workspace(tmp_path / "one"), Workspace(tmp_path / "two")]
    for workspace, name, privacy in zip(workspaces, ("one", "two"), (one, other), strict=True):
        parse_study(workspace, of_study(name, **privacy), [export])
    here, there = map(pseudonyms, workspaces)
    fingerprints = {workspace.rows("from label_states")[0]["key_fingerprint"] for workspace in workspaces}

    assert len(PATIENTS) == len(here) == len(there)
    assert (here == there) == joined
    assert bool(here & there) == joined
    assert (1 if joined else 2) == len(fingerprints)


def test_the_origin_of_the_salt_is_noted_before_anything_is_pseudonymised(of_study, workspace, tmp_path):
    (tmp_path / "bad.ndjson").write_text("no export\n")
    study_file = of_study("one")
    with pytest.raises(Exception, match="no row of this file"):
        parse_study(workspace, study_file, [tmp_path / "bad.ndjson"])
    note = json.loads((workspace.folder / NOTE).read_text())

    assert {"join_group": "one", "key_fingerprint": study_file.key(workspace).fingerprint} == note["pseudonyms"]
    assert 0o600 == (workspace.folder / NOTE).stat().st_mode & 0o777


def test_another_name_of_the_study_is_refused_with_the_choice_explained(of_study, workspace, export):
    parse_study(workspace, of_study("one"), [export])
    before = pseudonyms(workspace)
    with pytest.raises(StudyError, match=r'write join_group = "one" under \[privacy\]'):
        of_study("renamed").key(workspace)
    parse_study(workspace, of_study("renamed", join_group="one"), [])

    assert before == pseudonyms(workspace)
    assert of_study("renamed").path == read_note(workspace).study


EACH = [pytest.param([name], id=name, marks=pytest.mark.soak) for name in ("registry.duckdb", NOTE)]


@pytest.mark.soak
@pytest.mark.parametrize("lost", [*EACH, pytest.param(["registry.duckdb", NOTE], id="both")])
@pytest.mark.parametrize("is_old", [True, False], ids=["earlier version", "today"])
def test_what_is_lost_is_made_again_with_the_same_pseudonyms(of_study, workspace, export, is_old, lost):
    study_file = of_study("one")
    if is_old:
        before = made_before(workspace, study_file, export)
    else:
        parse_study(workspace, study_file, [export])
        before = pseudonyms(workspace)
    small = study_file.study.model_copy(update={"split": study_file.study.split.model_copy(update={"uneven": True})})
    split(workspace, small, study_folder=study_file.folder)
    for name in lost:
        (workspace.folder / name).unlink()
    rebuild(workspace, study_file)

    assert before == pseudonyms(workspace)
    assert (None if is_old else "one") == read_note(workspace).pseudonyms.join_group
    assert study_file.key(workspace).fingerprint == read_note(workspace).pseudonyms.key_fingerprint


@pytest.mark.soak
def test_a_workspace_of_an_earlier_version_keeps_its_pseudonyms_and_takes_no_group(of_study, workspace, export):
    before = made_before(workspace, of_study("one"), export)
    parse_study(workspace, of_study("renamed"), [])

    assert before == pseudonyms(workspace)
    with pytest.raises(StudyError, match="take join_group out"):
        of_study("one", join_group="one").key(workspace)


def test_another_key_is_refused_before_anything_is_read(of_study, workspace, export, tmp_path):
    parse_study(workspace, of_study("one"), [export])
    (workspace.folder / "registry.duckdb").unlink()
    shutil.move(tmp_path / "study.key", tmp_path / "first.key")

    with pytest.raises(StudyError, match="use the first key"):
        rebuild(workspace, of_study("one"))
    with pytest.raises(StudyError, match="use the first key"):
        of_study("one", key_file=None, published_key="x").key(workspace)


@pytest.mark.parametrize("pseudonyms", [3, {}, {"join_group": 1, "key_fingerprint": "a"}, {"join_group": None}])
def test_a_note_that_says_nothing_of_use_is_refused(of_study, workspace, pseudonyms):
    write_json(workspace.folder / NOTE, {"study": "study.toml", "pseudonyms": pseudonyms})

    with pytest.raises(WorkspaceError, match=r"workspace\.json"):
        of_study("one").key(workspace)


def test_a_published_key_takes_no_group():
    with pytest.raises(ValueError, match="can join everything"):
        PrivacySection(published_key="x", join_group="one")


def test_a_group_changes_pseudonym_and_fingerprint_and_reveals_neither():
    key = PseudonymKey(b"k" * 32, published=False)
    groups = [key, key.of_group("one"), key.of_group("two"), key.of_group("")]

    assert 4 == len({each.fingerprint for each in groups}) == len({each.pseudonym("p", "7") for each in groups})
    assert key.of_group("one") == key.of_group("one")
    assert "kkk" not in repr(key.of_group("one"))
