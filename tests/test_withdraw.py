"""A patient leaves a workspace: nothing of them is left, what remains holds, and they do not come back."""

import io
import json
import shutil

import exports
import pytest

from toolkit.cli import main
from toolkit.errors import ExportError, LeakError, WorkspaceError
from toolkit.pipeline import impact_with_page
from toolkit.privacy import PseudonymKey, normalise
from toolkit.stages import withdraw as stage
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.split import split
from toolkit.stages.withdraw import results
from toolkit.workspace import audited
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import verify
from toolkit.workspace.withdrawn import WITHDRAWN_FILE

STEPS = [
    (results, "clean_splits"),
    (stage, "filter_export"),
    (audited, "leave_out"),
]


@pytest.fixture(scope="module")
def own_key(finished):
    return finished.study_file.key(finished.workspace)


def withdraw(workspace, study, key, patient, **given):
    return stage.withdraw(
        workspace, study, key, patient, reparse=lambda: parse(workspace, study, key, [], anew=True), **given
    )


@pytest.fixture(scope="module")
def patient(finished):
    """A patient of the test part with several photographs, by the identifier in the export, and their photographs."""
    rows = [json.loads(line) for line in finished.export.read_text().splitlines() if line.startswith("{")]
    photographs = {}
    for row in rows:
        named = {f["value"] for f in row.get("metadata_fields", ()) if f["schema_name"] == "patient_id"}
        for identifier in set(map(normalise, named)) - {""}:
            photographs.setdefault(identifier, set()).add(row["data_row"]["id"])
    placed = finished.workspace.rows(
        "select distinct image_id, part from splits inner join cases using (case_id) where part = 'test'"
    )
    tested = {row["image_id"] for row in placed}
    return next((name, own) for name, own in sorted(photographs.items()) if len(own) > 1 and own <= tested)


@pytest.fixture(scope="module")
def left(finished, own_key, patient, tmp_path_factory):
    """What was said of the finished workspace's patient, and a copy of it that the patient has left."""
    copy = Workspace(tmp_path_factory.mktemp("left") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    list(impact_with_page(copy, finished.study_file.study))
    return withdraw(copy, finished.study_file.study, own_key, patient[0], apply=True), copy


@pytest.fixture
def left_copy(left, tmp_path):
    """A copy of the workspace that the patient has left, for tests that change it."""
    copy = Workspace(tmp_path / "left")
    shutil.copytree(left[1].folder, copy.folder)
    return copy


def files_with(workspace, *secrets) -> set[str]:
    """Return the files of a workspace that hold any of these, upper and lower case alike."""
    found = set()
    for path in workspace.folder.rglob("*"):
        content = path.read_bytes().lower() if path.is_file() else b""
        if any(secret.lower().encode() in content for secret in secrets):
            found.add(str(path.relative_to(workspace.folder)))
    return found


def state(workspace) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file()}


def test_without_apply_nothing_is_changed_and_all_of_it_is_told(finished, copied, own_key, patient):
    before = state(copied)

    said = withdraw(copied, finished.study_file.study, own_key, f" {patient[0].upper()} ")

    assert before == state(copied)
    assert (False, 1, len(patient[1])) == (said.applied, said.exports, said.photographs)
    assert said.cases == sum(said.splits.values()) == said.predictions[finished.run_id] > 0
    assert {"audit", "progress", "queue", finished.run_id} == set(said.reports)
    assert [] == said.models_that_saw


def test_nothing_of_the_patient_is_left_but_the_entry_of_the_suppression_list(finished, left, own_key, patient):
    (said, workspace), (identifier, photographs) = left, patient
    pseudonym = own_key.pseudonym("p", normalise(identifier))
    secrets = (identifier, pseudonym, *photographs)

    entries = json.loads((workspace.folder / WITHDRAWN_FILE).read_text())["withdrawn"]
    sidecar = json.loads(next(workspace.exports.glob("*.json")).read_text())

    assert len(files_with(finished.workspace, *secrets)) > 3
    assert {WITHDRAWN_FILE} == files_with(workspace, *secrets)
    assert set() == files_with(workspace, identifier, *photographs)
    assert [(pseudonym, len(photographs))] == [(entry["patient"], len(entry["photographs"])) for entry in entries]
    assert f"impact-{finished.results['Queue'].queue_id}" in said.reports
    assert said.rows == sidecar["withdrawn_rows"]
    assert next(finished.workspace.exports.glob("*.ndjson")).stem == sidecar["replaces_sha256"]
    assert {0o600} == {path.stat().st_mode & 0o777 for path in workspace.exports.glob("*.ndjson")}


def test_what_remains_holds_and_can_be_scored_again(finished, left, left_copy):
    said = left[0]
    split_id = next(iter(said.splits))

    certificate = json.loads((left_copy.split(split_id) / "certificate.json").read_text())
    before = verify(finished.workspace.split(split_id))
    checked = verify(left_copy.split(split_id))
    scores = left_copy.rows("select * from scores")
    key = {"run": finished.run_id}
    [looks] = left_copy.rows("select count(*) as n from evaluations where part = 'test' and run_id = $run", key)
    scored = evaluate(left_copy, finished.study_file.study)

    assert said.splits[split_id] == certificate["withdrawn"][0]["cases"]
    assert before.cases - said.cases == checked.cases
    assert checked.cases == left_copy.rows("select count(*) as n from splits")[0]["n"]
    assert [] == scores
    assert finished.results["Evaluated"].cases["test"] - said.predictions[finished.run_id] == scored.cases["test"]
    assert not left_copy.reports.exists()
    assert looks["n"] + 1 == scored.times_scored["test"]


@pytest.mark.soak
def test_the_same_command_finishes_what_was_interrupted(finished, copied, own_key, patient, monkeypatch):
    study, (identifier, photographs) = finished.study_file.study, patient

    def killed(*_, **__):
        raise KeyboardInterrupt

    for place, step in STEPS:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, step, killed)
            withdraw(copied, study, own_key, identifier, apply=True)
    withdraw(copied, study, own_key, identifier, apply=True)

    secrets = (identifier, own_key.pseudonym("p", normalise(identifier)), *photographs)
    assert {WITHDRAWN_FILE} == files_with(copied, *secrets)
    assert [] == copied.rows("select * from scores")
    assert [1] == [verify(folder).parts // 3 for folder in (copied.folder / "splits").iterdir()]


def test_a_split_that_was_swapped_half_way_is_finished(left_copy):
    folder = next((left_copy.folder / "splits").iterdir())
    new = folder.with_name(f".new-{folder.name}")
    folder.rename(new)

    results.check_splits(left_copy)

    assert verify(folder)
    assert [folder] == list(folder.parent.iterdir())


def test_the_patient_is_not_taken_in_again(finished, left, left_copy, own_key, patient):
    parsed = parse(left_copy, finished.study_file.study, own_key, [finished.export])

    assert left[0].rows + left[0].unreadable_lines == parsed.not_taken_in
    assert set() == files_with(left_copy, patient[0], *patient[1])
    assert 1 == parsed.exports


def test_a_changed_certificate_is_not_sealed_again(finished, copied, own_key, patient):
    path = next((copied.folder / "splits").glob("*/cases.csv"))
    path.write_text(path.read_text().replace(",test,", ",train,", 1))
    before = state(copied)

    with pytest.raises(LeakError):
        withdraw(copied, finished.study_file.study, own_key, patient[0], apply=True)

    assert before == state(copied)


ROWS = [
    exports.row("a", exports.label("la", "nevus"), patient="P-77"),
    exports.row("b", exports.label("lb", "nevus"), patient=" p-77"),
    exports.row("c", exports.label("lc", "nevus"), patient="P-770"),
    exports.row("d", exports.label("ld", "BCC"), patient="P-8"),
]


@pytest.mark.soak
def test_it_takes_every_row_that_could_be_the_patients(parsed, study, key, tmp_path):
    two = exports.row("e", patient="P-8")
    two["metadata_fields"] *= 2
    two["metadata_fields"][1] = {**two["metadata_fields"][1], "value": "P-77"}
    broken = exports.row("f", patient="P-77", size=("x", 1))
    noted = exports.row("g", patient="P-9")
    noted["metadata_fields"].append({"schema_name": "remark", "value": "sister of P-77, not of P-770"})
    workspace = parsed(*ROWS, two, broken, noted, '{"torn": "P-77"', '["P-77"]')
    newer = exports.row("a", exports.label("la", "nevus"), patient=None)
    newer["data_row"]["global_key"] = "other"
    parse(workspace, study, key, [exports.write(tmp_path / "newer.ndjson", [newer, ROWS[3]])])

    said = withdraw(workspace, study, key, "p-77", apply=True)

    kept = "".join(path.read_text() for path in workspace.exports.glob("*.ndjson"))
    assert (2, 5, 2, 1) == (said.exports, said.rows, said.unreadable_lines, said.mentions)
    assert ["c", "d", "g"] == [row["image_id"] for row in workspace.rows("select image_id from images order by all")]
    assert 1 == kept.count("P-77,")
    assert not any(f'"{image}"' in kept for image in "abef")


@pytest.mark.soak
def test_photographs_go_from_the_workspace_only(study, key, workspace, tmp_path):
    for folder in (workspace.photographs, tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        for name in ("a.jpg", "d.jpg"):
            (folder / name).write_bytes(b"no photograph")
    for folder in (workspace.photographs, tmp_path / "elsewhere"):
        export = exports.write(tmp_path / "e.ndjson", [*ROWS, exports.row(folder.name)])
        parse(workspace, study, key, [export], images=folder)

    said = withdraw(workspace, study, key, "P-77", apply=True)

    assert ["d.jpg"] == [path.name for path in workspace.photographs.iterdir()]
    assert ["a.jpg", "d.jpg"] == sorted(path.name for path in (tmp_path / "elsewhere").iterdir())
    assert 1 == said.files_removed


@pytest.mark.soak
def test_the_last_patient_can_leave(parsed, study, key):
    workspace = parsed(ROWS[0], *ROWS[2:])
    split_id = split(workspace, study).split_id

    for patient in ("P-8", "P-770", "P-77"):
        withdraw(workspace, study, key, patient, apply=True)

    assert not workspace.split(split_id).exists()
    assert {WITHDRAWN_FILE} == files_with(workspace, key.pseudonym("p", "p-77"))


@pytest.mark.soak
def test_an_export_of_withdrawn_patients_only_is_refused(parsed, study, key, tmp_path):
    workspace = parsed(*ROWS)
    withdraw(workspace, study, key, "P-77", apply=True)

    with pytest.raises(ExportError, match="withdrawn"):
        parse(workspace, study, key, [exports.write(tmp_path / "again.ndjson", ROWS[:2])])

    assert set() == files_with(workspace, 'P-77"')


def test_a_stranger_is_told_and_gets_no_entry(parsed, study, key):
    workspace = parsed(*ROWS)

    with pytest.raises(WorkspaceError, match="nothing of such a patient") as error:
        withdraw(workspace, study, key, "P-99", apply=True)

    assert "P-99" not in str(error.value)
    assert not (workspace.folder / WITHDRAWN_FILE).exists()


@pytest.mark.soak
def test_another_key_would_not_know_the_withdrawn(parsed, study, key, tmp_path):
    workspace = parsed(*ROWS)
    withdraw(workspace, study, key, "P-77", apply=True)
    workspace.registry.unlink()

    with pytest.raises(WorkspaceError, match="another pseudonym key"):
        parse(workspace, study, PseudonymKey(b"another", published=True), [exports.write(tmp_path / "e.ndjson", ROWS)])


def test_the_command_reads_the_identifier_from_standard_input(finished, copied, patient, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{patient[0]}\n"))
    where = ["--study", str(finished.study_file.path), "--workspace", str(copied.folder)]

    with pytest.raises(SystemExit) as ended:
        main([*where, "withdraw", "-"])

    told = capsys.readouterr().out
    assert 0 == ended.value.code
    assert "nothing was changed" in told
    assert patient[0] not in told
