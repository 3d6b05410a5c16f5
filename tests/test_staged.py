"""Exports once read are kept: what is parsed again is the same, whatever became of what was kept."""

import dataclasses
import json
import shutil
import stat
from functools import partial

import exports
import pytest
from exports import label, row

from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.stages.parse import parse, staged
from toolkit.stages.withdraw import withdraw
from toolkit.workers import spread
from toolkit.workspace.landed import landed_exports


@pytest.fixture
def two(tmp_path):
    first = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in range(30)]
    second = [row(f"j{n}", label(f"M{n}", "melasma"), patient=f"Q-{n}") for n in range(5)]
    return exports.write(tmp_path / "a.ndjson", [*first, "not json"]), exports.write(tmp_path / "b.ndjson", second)


@pytest.fixture
def read(monkeypatch):
    """The rows that were read from landed exports."""
    rows = []
    real = staged.raw_rows

    def counting(*given, **named):
        for each in real(*given, **named):
            rows.append(each)
            yield each

    monkeypatch.setattr(staged, "raw_rows", counting)
    return rows


def tables(workspace):
    names = ("images", "labels", "answers", "readings", "cases", "ingest_issues", "exports", "conservation")
    return {name: sorted(map(repr, workspace.rows(f"select * from {name}"))) for name in names}


@pytest.mark.soak
def test_a_second_export_costs_its_own_rows(workspace, study, key, two, read):
    parse(workspace, study, key, [two[0]])
    assert 31 == len(read)
    one = parse(workspace, study, key, [two[1]])
    assert 36 == len(read)
    again = parse(workspace, study, key, [])

    assert 36 == len(read)
    assert one == dataclasses.replace(again, changes=one.changes)


@pytest.mark.soak
def test_rows_read_in_batches_by_several_processes_give_what_one_gives(workspace, study, key, two, monkeypatch):
    parse(workspace, study, key, list(two))
    at_once = tables(workspace)
    monkeypatch.setattr(staged, "MOST_ROWS", 7)
    monkeypatch.setattr(staged, "spread", partial(spread, processes=2))
    parse(workspace, study, key, [], anew=True)

    assert at_once == tables(workspace)
    assert 5 + 1 == len(list(workspace.staged.glob("*/lines-*.parquet")))


def test_what_was_kept_gives_what_reading_gives(workspace, study, key, two):
    for export in two:
        parse(workspace, study, key, [export])
    by_steps = tables(workspace)
    parse(workspace, study, key, [], anew=True)

    assert tables(workspace) == by_steps


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "record", "stranger", "folder"])
def test_what_is_not_as_it_was_written_is_read_again(workspace, study, key, two, read, damage):
    parse(workspace, study, key, [two[0]])
    before = tables(workspace)
    [folder] = workspace.staged.iterdir()
    images = next(folder.glob("images-*.parquet"))
    if damage == "flip":
        data = bytearray(images.read_bytes())
        data[len(data) // 2] ^= 1
        images.write_bytes(data)
    elif damage == "cut":
        images.write_bytes(images.read_bytes()[:-9])
    elif damage == "gone":
        images.unlink()
    elif damage == "record":
        (folder / staged.RECORD).write_text("[" * 100_000)
    elif damage == "stranger":
        (folder / "images-x.parquet").write_bytes(images.read_bytes())
    else:
        shutil.rmtree(workspace.staged)
    parse(workspace, study, key, [])

    assert 62 == len(read)
    assert before == tables(workspace)


@pytest.mark.soak
def test_another_study_key_or_reader_reads_again_and_what_is_no_longer_used_goes(
    workspace, study, key, two, read, monkeypatch
):
    parse(workspace, study, key, [two[0]])
    document = study.model_dump()
    document["classes"][0]["aliases"] = [*document["classes"][0]["aliases"], "another spelling"]
    parse(workspace, Study.model_validate(document), key, [])
    assert 62 == len(read)
    monkeypatch.setattr(staged, "_code_digest", lambda: "another")
    parse(workspace, study, key, [])

    assert 93 == len(read)
    assert 1 == len(list(workspace.staged.iterdir()))
    [landed] = landed_exports(workspace)
    names = {
        staged.StagedExports(workspace, workspace.folder, study, other, anew=False).name_of(landed)
        for other in (key, PseudonymKey(b"other", published=True))
    }
    assert 2 == len(names)


def test_what_is_kept_is_private_and_holds_pseudonyms_only(workspace, study, key, tmp_path):
    hostile = '{"data_row": {"id": "x"}, "projects": {"jane.doe@example.org": 7}} trailing'
    export = exports.write(tmp_path / "c.ndjson", [row("k", label("N"), patient="MRN-777"), hostile])
    parse(workspace, study, key, [export])

    files = [path for path in workspace.staged.rglob("*") if path.is_file()]
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in files}
    assert {0o700} == {stat.S_IMODE(p.stat().st_mode) for p in (workspace.staged, *workspace.staged.iterdir())}
    content = b"".join(path.read_bytes() for path in files)
    assert b"MRN-777" not in content
    assert b"mrn-777" not in content
    assert b"jane.doe" not in content
    assert b"reader1@example.org" not in content


@pytest.mark.soak
def test_a_withdrawn_patient_is_no_longer_among_what_is_kept(workspace, study, key, two):
    parse(workspace, study, key, [two[0]])
    pseudonym = key.pseudonym("p", "p-7").encode()
    assert pseudonym in b"".join(path.read_bytes() for path in workspace.staged.glob("*/images-*.parquet"))
    again = lambda: parse(workspace, study, key, [], anew=True)  # noqa: E731
    withdraw(workspace, study, key, "P-7", reparse=again, apply=True)

    kept = b"".join(path.read_bytes() for path in workspace.staged.rglob("*") if path.is_file())
    assert pseudonym not in kept
    assert b'"i7"' not in kept
    assert key.pseudonym("p", "p-8").encode() in kept


def test_a_file_that_is_refused_leaves_nothing_that_was_kept(workspace, study, key, two, tmp_path):
    parse(workspace, study, key, [two[0]])
    kept = sorted(path.name for path in workspace.staged.iterdir())
    with pytest.raises(Exception, match="no row of this file"):
        parse(workspace, study, key, [exports.write(tmp_path / "no.ndjson", [json.dumps({"a": 1})])])

    assert kept == sorted(path.name for path in workspace.staged.iterdir())
    assert [] == list(workspace.folder.glob(".parse-*"))
