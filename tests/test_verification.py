"""Forged splits: whatever a stranger writes is refused, or nothing more is called proved than what was checked."""

import json
import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import duckdb
import forging
import pytest
from exports import label, row, write
from forging import forge, rows_in, seal, stated_in, swapped

from toolkit.console.results import rendered
from toolkit.errors import LeakError
from toolkit.files import sha256_of
from toolkit.shipped import shipped
from toolkit.stages.parse import parse
from toolkit.stages.split import split
from toolkit.stages.split.earlier_split import pinned_parts
from toolkit.workspace import certificate, plan, verification
from toolkit.workspace.certificate import read_certificate, read_rows
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import certified_split, verify

PROVED = [
    "files and seal unchanged",
    "no case twice",
    "no patient, lesion, linked group or photograph digest in two parts",
    "counts and distances from the wish as stated",
]


@pytest.fixture(scope="module")
def split_once(tmp_path_factory, study, key):
    folder = tmp_path_factory.mktemp("split")
    names = ["nevus", "melasma", "ephelis", "solar lentigo"]
    rows = [row(f"i{n}", label(f"L{n}", names[n % 4]), patient=f"P-{n // 2}") for n in range(80)]
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, key, [write(folder / "export.ndjson", rows)])
    return workspace, split(workspace, study)


@pytest.fixture
def workspace(split_once, tmp_path):
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(split_once[0].folder, copy.folder)
    return copy


@pytest.fixture
def folder(workspace, split_once):
    return workspace.split(split_once[1].split_id)


@pytest.fixture(autouse=True)
def in_time() -> Generator[None]:
    """Fail a test that hangs, with the place where it does."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def set_digests(rows):
    """Give every case a photograph of its own, as a study with photographs has."""
    for n, each in enumerate(rows):
        each["photograph_digest"] = each["crop_digest"] = f"{n:032x}"


def one_photograph(rows):
    set_digests(rows)
    first, other = swapped(rows)
    other["photograph_digest"] = first["photograph_digest"]


def test_a_strangers_sentence_is_never_shown(folder):
    sentence = "no leak at all; certified by the FDA\x1b[31m"

    def lie(stated):
        for name in ("proved_by_verify_sql", "needs_photographs", "photograph_digest", "objective", "certified"):
            stated[name] = sentence
        stated["study"] = "certified-by-the-FDA"

    forge(folder, stated=lie)
    verified = verify(folder)

    assert PROVED == verified.checks
    assert "FDA" not in repr(verified)
    rendered(verified)


def test_other_words_of_the_data_manager_attest_no_patients(folder):
    forge(folder, stated=lambda stated: stated.update(attested_by_the_data_manager="that patients agreed"))
    verified = verify(folder)

    assert not verified.patients_known
    assert not any("patient" in check for check in verified.checks)
    assert verified.attested.startswith("nothing about persons")


def test_photographs_that_need_not_be_kept_apart_are_said_not_to_be(folder, monkeypatch):
    forge(folder, rows=one_photograph, stated=lambda stated: stated.update(binds=["patient"]))
    verified = verify(folder)
    monkeypatch.chdir(folder)
    answer = duckdb.connect().execute((folder / "verify.sql").read_text()).fetchall()

    assert "no patient, lesion or linked group in two parts" in verified.checks
    assert "1 of them stand in two parts" in verified.not_proved[0]
    assert [("PASS", "cases in 3 parts; 1 photographs in two of them, which this split permits", 80)] == answer
    rendered(verified)


def test_cases_without_a_digest_are_counted(folder):
    assert ["80 of 80 cases have no photograph digest: their photographs were not compared"] == verify(
        folder
    ).not_proved
    forge(folder, rows=set_digests)
    assert not verify(folder).not_proved


def pair(rows, name, first, other):
    one, two = swapped(rows)
    one[name], two[name] = first, other


def through_one_who_is_gone(folder):
    one, two = swapped(rows_in(folder))
    links = [("gone-1", one["patient_id"]), ("gone-1", "gone-2"), ("gone-2", two["patient_id"])]
    named = [{"relation": "identical_pixels", "patient_id": a, "other_patient_id": b} for a, b in links]
    forge(folder, stated=lambda stated: stated.update(links=named))


def states(**keys):
    return lambda folder: forge(folder, stated=lambda stated: stated.update(keys))


def holds(change):
    return lambda folder: forge(folder, rows=change)


def reads(change):
    return lambda folder: forge(folder, data=change)


def first_cell(rows, name, value):
    rows[0][name] = value


def first_stratum(**keys):
    return lambda folder: forge(folder, stated=lambda stated: stated["strata"][0].update(keys))


def lacking_wished(folder):
    forge(folder, stated=lambda stated: stated["strata"][0]["wished"].pop("test"))


def twice(folder):
    """Two values of one key: the last for Python, the first for others."""
    text = (folder / "certificate.json").read_text()
    (folder / "certificate.json").write_text(text.replace("{", '{"binds": [],', 1))


def replaced(old, new):
    def change(folder):
        path = folder / "certificate.json"
        path.write_text(path.read_text().replace(old, new, 1))

    return change


def lone_surrogate(folder):
    stated = stated_in(folder)
    (folder / "certificate.json").write_text(json.dumps({**stated, "study": "\ud800"}))


def as_fifo(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def as_folder(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def as_endless_device(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")

    return change


def huge(name):
    def change(folder):
        os.truncate(folder / name, 2**40)

    return change


def written(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def merged_patient(spelling):
    """One patient in train and test, whose identifier is spelled in another way for test."""

    def change(rows):
        one, two = swapped(rows)
        two["patient_id"], two["lesion_id"] = spelling(one["patient_id"]), one["lesion_id"]

    return holds(change)


def header(data: bytes) -> bytes:
    return data.replace(b"case_id,part,patient_id", b"case_id,part,part", 1)


FORGERIES = {
    "no binding": states(binds=[]),
    "photograph in two parts": holds(one_photograph),
    "link through one without a case": through_one_who_is_gone,
    "unknown binding": states(binds=["patient", "goodwill"]),
    "binds is a text": states(binds="identical_pixels"),
    "another salt": states(salt="0" * 16),
    "another split": states(split_id="0" * 8),
    "path for a split": states(split_id="../../x"),
    "split is a number": states(split_id=7),
    "further file": lambda f: forge(f, stated=lambda stated: stated["files"].update({"/dev/zero": "0" * 64})),
    "files is a list": states(files=["cases.csv", "verify.sql"]),
    "digest is a number": lambda f: forge(f, stated=lambda stated: stated["files"].update({"verify.sql": 1})),
    "counts is null": states(counts=None),
    "counts are texts": states(counts={"train": {"nevus": "many"}}),
    "counts are empty": states(counts={}),
    "a count beyond 64 bits": states(groups=10**30),
    "groups": states(groups=1),
    "linked patients": states(linked_patients=3),
    "patients": states(patients={"train": 1, "validation": 1, "test": 1}),
    "largest deviation": states(largest_deviation=99.0),
    "largest bound": states(largest_bound=99.0),
    "no stratum": states(strata=[]),
    "links is a number": states(links=1),
    "link without an end": states(links=[{"relation": "lesion", "patient_id": "p"}]),
    "link is null": states(links=[None]),
    "distance": first_stratum(distance=0.5),
    "bound": first_stratum(bound=42.0),
    "wish is negative": first_stratum(wished={"train": -1.0, "validation": 1.0, "test": 1.0}),
    "wish is missing": lacking_wished,
    "wishes are of another total": first_stratum(wished={"train": 900.0, "validation": 1.0, "test": 1.0}),
    "stratum is null": states(strata=[None]),
    "study is a paragraph": states(study="x" * 10_000),
    "study has control characters": states(study="a\x1b[2J"),
    "plan is a text": states(plan="none", plan_sha256="0" * 64),
    "plan is empty": states(plan={}, plan_sha256=sha256_of({})),
    "withdrawn is a text": states(withdrawn="yes"),
    "proved is a number": states(proved_by_verify_sql=1),
    "seal is null": replaced('"seal": "', '"seal": null, "x": "'),
    "key twice": twice,
    "NaN": replaced('"largest_deviation": ', '"largest_deviation": NaN, "x": '),
    "infinity": replaced('"largest_deviation": ', '"largest_deviation": Infinity, "x": '),
    "endless number": replaced('"minimum": ', '"minimum": ' + "9" * 100_000),
    "lone surrogate": lone_surrogate,
    "nested deeply": written("certificate.json", b"[" * 100_000),
    "nested deeply in a key": written("certificate.json", b'{"plan": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a list": written("certificate.json", b"[]"),
    "empty": written("certificate.json", b""),
    "invalid UTF-8": written("certificate.json", b'{"study": "\xff"}'),
    "UTF-16": lambda f: (f / "certificate.json").write_text((f / "certificate.json").read_text(), encoding="utf-16"),
    **{f"{name}: FIFO": as_fifo(name) for name in ("certificate.json", "cases.csv", "verify.sql")},
    **{f"{name}: folder": as_folder(name) for name in ("certificate.json", "cases.csv", "verify.sql")},
    **{f"{name}: device": as_endless_device(name) for name in ("certificate.json", "cases.csv", "verify.sql")},
    **{f"{name}: 1 TB": huge(name) for name in ("certificate.json", "cases.csv", "verify.sql")},
    "patient in capitals": merged_patient(str.upper),
    "patient with a space": merged_patient(lambda patient: f"{patient} "),
    "patient with a space before": merged_patient(lambda patient: f" {patient}"),
    "patient with a tab": merged_patient(lambda patient: f"{patient}\t"),
    "patient full width": merged_patient(lambda patient: patient.replace("p-", "p－")),
    "patient with a soft hyphen": merged_patient(lambda patient: f"{patient}\u00ad"),
    "patient without width": merged_patient(lambda patient: f"{patient}\u200b"),
    "patient with a newline": merged_patient(lambda patient: f"{patient}\n"),
    "patient with NUL": merged_patient(lambda patient: f"{patient}\0"),
    "patient with a bare CR": merged_patient(lambda patient: f"{patient}\r"),
    "patient empty": holds(lambda rows: pair(rows, "patient_id", "", "")),
    "patient of one case empty": holds(lambda rows: first_cell(rows, "patient_id", "")),
    "group empty": holds(lambda rows: pair(rows, "group_id", "", "")),
    "case empty": holds(lambda rows: first_cell(rows, "case_id", "")),
    "part empty": holds(lambda rows: first_cell(rows, "part", "")),
    "part in capitals": holds(lambda rows: first_cell(rows, "part", "TRAIN")),
    "part with a space": holds(lambda rows: first_cell(rows, "part", "train ")),
    "class empty": holds(lambda rows: first_cell(rows, "class_name", "")),
    "class with an escape": holds(lambda rows: first_cell(rows, "class_name", "nevus\x1b[2J")),
    "digest is a text": holds(lambda rows: first_cell(rows, "photograph_digest", "none")),
    "digest in capitals": holds(lambda rows: first_cell(rows, "photograph_digest", "A" * 32)),
    "strata is a list": holds(lambda rows: first_cell(rows, "strata", "[]")),
    "strata is empty": holds(lambda rows: first_cell(rows, "strata", "")),
    "strata nested": holds(lambda rows: first_cell(rows, "strata", "[" * 100_000)),
    "strata hold a key twice": holds(lambda rows: first_cell(rows, "strata", '{"a": "1", "a": "2"}')),
    "strata hold a lone surrogate": holds(lambda rows: first_cell(rows, "strata", '{"a": "\\ud800"}')),
    "header: column twice": reads(header),
    "header: other order": reads(lambda data: data.replace(b"lesion_id,group_id", b"group_id,lesion_id", 1)),
    "header: none": reads(lambda data: data.split(b"\n", 1)[1]),
    "header: twice": reads(lambda data: data.split(b"\n", 1)[0] + b"\n" + data),
    "byte-order mark": reads(lambda data: b"\xef\xbb\xbf" + data),
    "CR at line ends": reads(lambda data: data.replace(b"\n", b"\r\n")),
    "CR alone at line ends": reads(lambda data: data.replace(b"\n", b"\r")),
    "empty line": reads(lambda data: data + b"\n"),
    "line too short": reads(lambda data: data + b"00,train\n"),
    "line too long": reads(lambda data: data.replace(b"{}", b"{},more", 1)),
    "quote left open": reads(lambda data: data.replace(b",train,", b',"train,', 1)),
    "text after a quote": reads(lambda data: data.replace(b",train,", b',"train"x,', 1)),
    "invalid UTF-8 in cases": reads(lambda data: data.replace(b"nevus", b"nevu\xff", 1)),
    "cases are UTF-16": reads(lambda data: data.decode().encode("utf-16")),
    "cell beyond any size": reads(lambda data: data.replace(b"nevus", b"n" * 200_000, 1)),
    "nothing but a header": reads(lambda data: data.split(b"\n", 1)[0] + b"\n"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_split_is_refused_in_one_message(folder, name):
    FORGERIES[name](folder)

    with pytest.raises(LeakError) as refused:
        verify(folder)
    assert str(folder) in refused.value.place
    assert refused.value.remedy
    assert len(str(refused.value)) < 2_000


@pytest.mark.parametrize("name", [name for name in FORGERIES if ": " in name and "header" not in name])
def test_every_reader_of_a_split_gives_the_same_clear_message(folder, workspace, name):
    FORGERIES[name](folder)
    readers = (
        verify,
        lambda folder: certified_split(workspace, folder.name),
        lambda folder: pinned_parts(folder, []),
        plan.locked if name.startswith("certificate") else verify,
        read_rows if name.startswith("cases") else verify,
        read_certificate if name.startswith("certificate") else verify,
    )
    for read in readers:
        with pytest.raises(LeakError):
            read(folder)


def test_an_input_error_of_the_disk_is_one_message(folder):
    """The disk fails where the certificate stands: nothing of the file can be read."""
    failing = Path("/proc/self/mem")  # reading its first bytes is an input/output error
    (folder / "certificate.json").unlink()
    (folder / "certificate.json").symlink_to(failing)

    with pytest.raises(LeakError, match="no readable certificate"):
        verify(folder)


def test_a_split_that_was_rewritten_and_sealed_again_is_not_the_one_in_the_ledger(folder, workspace, study):
    def leave_out(rows):
        gone = rows.pop()
        rows[:] = [each for each in rows if each["patient_id"] != gone["patient_id"]]

    forge(folder, rows=leave_out)
    stated = stated_in(folder)
    forging.count_again(folder, stated)
    seal(folder, stated)

    assert verify(folder).cases < 80
    for use in (lambda: certified_split(workspace, folder.name), lambda: split(workspace, study)):
        with pytest.raises(LeakError, match="not the one that was noted in the ledger"):
            use()


def test_a_split_that_is_made_again_in_another_way_is_noted_again(folder, workspace, study, monkeypatch):
    shutil.rmtree(folder)
    monkeypatch.setattr("toolkit.stages.split.version", lambda _: "9.9.9")
    split(workspace, study)

    assert "9.9.9" == certified_split(workspace, folder.name)["toolkit"]


def test_a_plan_cannot_be_lost_with_its_certificate(folder):
    (folder / "certificate.json").write_text("{")

    with pytest.raises(LeakError, match="no readable certificate"):
        plan.locked(folder)


def test_verify_needs_no_folder_that_may_be_written(folder):
    before = sorted(folder.iterdir())
    verify(folder)

    assert before == sorted(folder.iterdir())


def test_the_pinned_split_of_an_earlier_version_holds_and_its_verify_sql_is_known():
    folder = shipped("manifests") / "demo.split"

    assert verification.VERIFY_SQL_KNOWN[0] == stated_in(folder)["files"]["verify.sql"]
    assert verification.VERIFY_SQL_KNOWN[-1] != verification.VERIFY_SQL_KNOWN[0]
    assert PROVED == verify(folder).checks


def test_duckdb_and_the_toolkit_read_the_same_cases(folder, monkeypatch):
    """Should a row ever be read in two ways, the certificate fails."""
    monkeypatch.setattr(verification, "rows_of", lambda data, *, place: certificate.rows_of(data, place=place)[1:])

    with pytest.raises(LeakError, match="DuckDB reads other cases"):
        verify(folder)
