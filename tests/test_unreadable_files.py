"""Files that are damaged, endless or no files at all: one clear message each, and nothing hangs."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.errors import ClaimsError, DamagedError, StudyError, ToolkitError
from toolkit.files import read_json, read_parquet, read_toml, sha256_of_file
from toolkit.manifest import load_study
from toolkit.privacy import load_key
from toolkit.prompts.chat_json import read_chat
from toolkit.shipped import shipped
from toolkit.stages.claims import claims
from toolkit.stages.init import init
from toolkit.stages.parse import parse
from toolkit.workspace.landed import Landed, check, fetched_files, note_issues, noted_issues
from toolkit.workspace.ledger import entries
from toolkit.workspace.runs import read_record
from toolkit.workspace.withdrawn import read_withdrawn

DEMO = (shipped("manifests") / "demo.toml").read_text()
SECONDS = 3.0
"""Longer is hanging."""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def failing_disk(path: Path) -> None:
    """Every read of this file fails with EIO: the first page of a process's memory is not there."""
    path.symlink_to("/proc/self/mem")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def endless(path: Path) -> None:
    """A file of 2 TB that takes no room."""
    with path.open("wb") as file:
        file.truncate(2 * 1024**4)


NO_FILES = {
    "fifo": fifo,
    "folder": Path.mkdir,
    "eio": failing_disk,
    "device": device,
    "dangling": lambda path: path.symlink_to("gone"),
}
EVERY = {**NO_FILES, "endless": endless}
READERS = {
    "study": load_study,
    "claims": claims,
    "chat": read_chat,
    "json": read_json,
    "parquet": read_parquet,
    "digest": sha256_of_file,
    "key": lambda path: load_key(None, str(path), study_folder=path.parent, workspace=path.parent / "w"),
    "export": check,
    "init": lambda path: init(path, to=path.parent / "new.toml"),
}


def said(call, *, within: float = SECONDS) -> str:
    """Return the message of a ToolkitError, which must come soon, name the place and say what to do next."""
    began = time.monotonic()
    with pytest.raises(ToolkitError) as caught:
        call()
    assert time.monotonic() - began < within
    assert caught.value.place
    assert "delete" not in str(caught.value)
    assert len(str(caught.value)) < 30_000
    return str(caught.value)


OTHERWISE = {("endless", "digest"), ("endless", "export"), ("endless", "init"), ("folder", "claims")}
"""Read in pieces, or a report."""


@pytest.mark.parametrize(("kind", "reader"), [(k, r) for r in READERS for k in EVERY if (k, r) not in OTHERWISE])
def test_what_is_no_readable_file_is_named_at_once(tmp_path, kind, reader):
    path = tmp_path / "file"
    EVERY[kind](path)

    message = said(lambda: READERS[reader](path))
    assert str(path) in message


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_stands_in_the_place_of_a_workspaces_file_is_named(workspace, make):
    for name, read in {
        "withdrawn.json": lambda: read_withdrawn(workspace),
        "runs/r/run.json": lambda: read_record(workspace.run("r")),
        "ledgers/ledger.jsonl": lambda: entries(workspace),
        "photographs/index.jsonl": lambda: fetched_files(workspace.photographs),
        f"exports/{'a' * 64}.issues.jsonl": lambda: noted_issues(landed(workspace)),
    }.items():
        path = workspace.folder / name
        path.parent.mkdir(parents=True)
        make(path)
        if path.exists():  # what is not there is no fault
            assert str(path) in said(read), name


def landed(workspace) -> Landed:
    return Landed(workspace.exports / f"{'a' * 64}.ndjson", "a" * 64, "x", None)


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_a_registry_that_is_no_file_is_named(workspace, make):
    workspace.folder.mkdir()
    make(workspace.registry)
    if workspace.registry.exists():
        assert "toolkit rebuild" in said(lambda: workspace.rows("select 1"))


HOSTILE_TOML = {
    "50,000 parts": "a" + ".a" * 50_000 + " = 1",
    "50,000 quoted parts": '"a"' + ' . "a"' * 50_000 + " = 1",
    "50,000 parts of a header": "[a" + ".a" * 50_000 + "]",
    "50,000 parts within a table": "x = {a" + ".a" * 50_000 + " = 1}",
    "a million digits": "seed = 1" + "0" * 10**6,
    "a million hexadecimal digits": "[study]\nname = 'x'\nseed = 0x1" + "0" * 10**6,
    "nested lists": "x = " + "[" * 100_000,
    "nested tables": "x = " + "{a = " * 100_000,
    "a long line": "x = " + "1" * 1_000_000 + "e5",
    "a long key": "k" * 1_000_000 + " = 1",
    "many keys": "".join(f"k{n} = {n}\n" for n in range(20_000)),
    "quotes": "'" * 1_000_000,
    "double quotes": '"' * 1_000_001,
    "spaces": "a" + " " * 1_000_000 + ".",
    "dots": "." * 1_000_000,
    "words": "a " * 500_000,
    "a lone surrogate": 'x = "\\ud800"',
    "a zero byte": "x = \0",
    "a bad number": "x = 99999-99-99",
}


@pytest.mark.soak_after(5)
@pytest.mark.parametrize("text", HOSTILE_TOML.values(), ids=HOSTILE_TOML)
@pytest.mark.parametrize(("read", "error"), [(load_study, StudyError), (claims, ClaimsError)])
def test_hostile_toml_is_refused_at_once(tmp_path, text, read, error):
    path = tmp_path / "file.toml"
    path.write_text(text, encoding="utf-8")

    message = said(lambda: read(path), within=10)
    assert str(path) in message
    with pytest.raises(error):
        read(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = '\xed\xa0\x80'", b"\x80"])
def test_toml_that_is_not_utf8_is_refused(tmp_path, content):
    (tmp_path / "file.toml").write_bytes(content)

    for read in (load_study, claims):
        assert "UTF-8" in said(lambda read=read: read(tmp_path / "file.toml"))


@pytest.mark.parametrize(
    "text",
    [
        DEMO,
        'a.b.c.d.e.f.g.h = 1\nx = "One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. Eleven. Twelve. More."\n',
        "x = [1.5, 2.5]\ny = '''\na\n'''\nz = 2026-11-28T10:00:00.5Z\n",
    ],
)
def test_usual_toml_is_read(tmp_path, text):
    (tmp_path / "file.toml").write_text(text, encoding="utf-8")

    assert read_toml(tmp_path / "file.toml")


HOSTILE_JSON = {
    "nested lists": "[" * 200_000,
    "nested objects": '{"a":' * 200_000,
    "closed nested lists": '{"a": ' + "[" * 5_000 + "]" * 5_000 + "}",
    "a million digits": '{"a": ' + "1" * 10**6 + "}",
    "a lone surrogate": '{"a": "\\ud800"}',
    "a list": "[]",
    "nothing": "",
    "a cut": '{"a": ',
}


@pytest.mark.parametrize("text", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_refused_at_once(workspace, tmp_path, text):
    folder = workspace.run("r")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    (workspace.folder / "withdrawn.json").write_text(text)
    (workspace.folder / "ledgers").mkdir()
    (workspace.folder / "ledgers" / "ledger.jsonl").write_text(text or "x")
    (tmp_path / "chat.json").write_text(text or "{}")
    workspace.photographs.mkdir()
    (workspace.photographs / "index.jsonl").write_text(text)

    assert "run.json" in said(lambda: read_record(folder))
    assert "ledger.jsonl" in said(lambda: entries(workspace))
    assert {} == fetched_files(workspace.photographs)
    if text != "[]":
        assert "withdrawn.json" in said(lambda: read_withdrawn(workspace))
        assert "chat.json" in said(lambda: read_chat(tmp_path / "chat.json"))


def test_what_went_wrong_in_a_pull_is_sealed(workspace):
    workspace.exports.mkdir(parents=True)
    one = landed(workspace)
    issues = [
        {"level": "warning", "reason": "url_not_found", "detail": f"x {n}", "image_id": f"i{n}"} for n in range(3)
    ]
    note_issues(one, issues)
    file = workspace.exports / f"{one.sha256}.issues.jsonl"
    good = file.read_bytes()

    assert issues == noted_issues(one)
    for place in range(0, len(good), 7):
        data = bytearray(good)
        data[place] ^= 1
        file.write_bytes(data)
        with contextlib.suppress(DamagedError):
            assert issues == noted_issues(one), place
    file.write_text("".join(json.dumps(issue) + "\n" for issue in issues))  # as earlier versions wrote it
    assert issues == noted_issues(one)
    for wrong in ("[1]\n", '{"level": 1, "other": 2}\n', "3\n", "[" * 100_000):
        file.write_text(wrong)
        assert str(file) in said(lambda: noted_issues(one))


def test_a_report_without_its_columns_or_with_other_numbers_is_no_report(tmp_path):
    for text in (
        "a,b\n1,2\n",
        "",
        "part,class_name,cases\ntest,x,many\n",
        "part\n" + "x" * 200_000 + "\n",
        '"' * 300_000,
    ):
        (tmp_path / "per_class.csv").write_text(text)
        (tmp_path / "summary.csv").write_text(text)

        assert str(tmp_path) in said(lambda: claims(tmp_path))


def test_a_disk_that_fails_under_a_landed_export_is_named(parsed, study, key):
    from exports import label, row

    workspace = parsed(row("i1", label("L1", "nevus"), patient="P-1"))
    (export,) = workspace.exports.glob("*.ndjson")
    export.unlink()
    failing_disk(export)

    assert str(export) in said(lambda: parse(workspace, study, key, []))


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_the_command_line_shows_one_message_and_no_traceback(tmp_path, capsys, make):
    make(tmp_path / "study.toml")
    for command in (["audit"], ["status"], ["claims", str(tmp_path / "study.toml")]):
        with pytest.raises(SystemExit) as left:
            main(["--study", str(tmp_path / "study.toml"), "--workspace", str(tmp_path / "w"), *command])
        words = capsys.readouterr().err
        assert 1 == left.value.code
        assert "study.toml" in words
        assert "next:" in words
        assert "Traceback" not in words
