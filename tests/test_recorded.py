"""What was recorded is compared with what is there when it is used next: exports, run records, splits."""

import json
import shutil

import exports
import pytest
from exports import label, row

from toolkit.errors import DamagedError, ToolkitError
from toolkit.files import SEAL, sha256_of
from toolkit.stages.parse import parse
from toolkit.stages.withdraw import withdraw
from toolkit.workspace.landed import landed_exports
from toolkit.workspace.runs import read_run

ROWS = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"Patient-{n}") for n in range(4)]


def content_hash(workspace) -> str:
    return workspace.rows("select content_hash from label_states")[0]["content_hash"]


@pytest.fixture
def landed(parsed, tmp_path):
    """A workspace, its landed export, and the file that it came from."""
    workspace = parsed(*ROWS)
    return workspace, landed_exports(workspace)[0].path, exports.write(tmp_path / "again.ndjson", ROWS)


def relabelled(path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"nevus"', b'"naevi"', 1))


def test_a_landed_export_that_was_changed_is_named_and_the_true_file_puts_it_right(landed, study, key):
    workspace, path, original = landed
    before = content_hash(workspace)
    relabelled(path)

    with pytest.raises(DamagedError, match="changed or damaged") as caught:
        parse(workspace, study, key, [])
    parse(workspace, study, key, [original])

    assert str(path) == caught.value.place
    assert "parse the file that it came from again" in caught.value.remedy
    assert before == content_hash(workspace)
    assert original.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"source": 1, "images": 7, "seal": "x"}', b"\xff\xfe"])
def test_a_damaged_sidecar_is_named_and_the_true_file_puts_it_right(landed, study, key, content):
    workspace, path, original = landed
    sidecar = path.with_suffix(".json")
    sidecar.write_bytes(content)

    with pytest.raises(DamagedError) as caught:
        parse(workspace, study, key, [])
    parse(workspace, study, key, [original])

    assert str(sidecar) == caught.value.place
    assert json.loads(sidecar.read_bytes())["bytes"] == path.stat().st_size


def test_an_export_whose_landing_was_cut_short_has_landed(landed, study, key):
    """A kill between the export and its sidecar: the rows are on the disk, so that a withdrawal must find them."""
    workspace, path, _ = landed
    path.with_suffix(".json").unlink()
    parse(workspace, study, key, [])
    told = withdraw(
        workspace, study, key, "Patient-2", reparse=lambda: parse(workspace, study, key, [], anew=True), apply=True
    )
    left = b"".join(each.path.read_bytes() for each in landed_exports(workspace))

    assert (1, []) == (told.rows, told.left_in)
    assert told.searched > 3
    assert b"Patient-2" not in left
    assert b"Patient-1" in left


def test_a_withdrawal_tells_of_a_file_that_still_holds_the_patient(landed, study, key):
    workspace, _, _ = landed
    (workspace.folder / "queries").mkdir()
    (workspace.folder / "queries" / "mine.sql").write_text("-- Where is patient-2?\nselect 1")
    told = withdraw(
        workspace, study, key, "Patient-2", reparse=lambda: parse(workspace, study, key, [], anew=True), apply=True
    )

    assert ["queries/mine.sql"] == told.left_in


def rewritten(path, **changed) -> dict:
    document = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps(document))
    return document


def test_a_rewritten_record_of_a_run_is_named_even_where_its_seal_was_made_again(finished, copied):
    path = copied.run(finished.run_id) / "run.json"
    document = rewritten(path, train_cases=9999)

    with pytest.raises(DamagedError, match="changed or damaged") as caught:
        read_run(copied, finished.run_id)
    assert str(path) == caught.value.place
    for seal in ({SEAL: sha256_of({key: value for key, value in document.items() if key != SEAL})}, {SEAL: None}):
        rewritten(path, **seal)
        with pytest.raises(DamagedError, match="changed or damaged"):
            read_run(copied, finished.run_id)


def test_what_a_command_could_not_do_leaves_no_export_behind(workspace, study, key, tmp_path):
    bad = tmp_path / "bad.ndjson"
    bad.write_text('{"nothing": 1}\n')

    with pytest.raises(ToolkitError):
        parse(workspace, study, key, [bad])
    assert [] == [path for path in workspace.folder.rglob("*") if path.is_file()]
    shutil.rmtree(workspace.folder)
