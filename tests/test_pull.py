import fcntl
import io
import json
import os
import queue
import random
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from exports import box, label, row
from fakes.labelbox_server import KEY, Server
from PIL import Image

from toolkit.cli import main
from toolkit.errors import ServiceError, ToolkitError
from toolkit.labelbox_json.links import facts_of, links_of
from toolkit.labelbox_json.withdrawn_filter import filter_export, suppression_list
from toolkit.labelbox_service.patience import PassingError
from toolkit.manifest.cohort import PullSection
from toolkit.stages.parse import parse
from toolkit.stages.pull import Patience, Pulled, PullRequest, pull
from toolkit.stages.pull.fetch import RefusedError, Rules, fetch, is_public
from toolkit.stages.withdraw import withdraw
from toolkit.workspace import locks
from toolkit.workspace.label_versions import versions
from toolkit.workspace.landed import land, landed_exports

ROWS = 10


def picture(shade=90, size=(200, 100)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 80, 70)).save(buffer, "JPEG")
    return buffer.getvalue()


def text_of(rows):
    return "".join(f"{json.dumps(line)}\n" for line in rows).encode()


@pytest.fixture
def rows():
    return [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in range(ROWS)]


@pytest.fixture
def labelbox(rows, monkeypatch):
    """A stand-in with an export of ten photographs, which its storage serves."""
    with Server(b"") as server:
        for number, line in enumerate(rows):
            line["data_row"]["row_data"] = f"{server.url}/photographs/{number}.jpg?Signature=SECRET-SIGNATURE"
            server.files[f"/photographs/{number}.jpg"] = ("image/jpeg", picture(number))
        server.export = text_of(rows)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def hospital(study):
    """The demo's study with a storage inside the own network."""
    return study.model_copy(update={"pull": PullSection(hosts=["127.0.0.1"], allow_private=True, timeout=1)})


@pytest.fixture
def ask(workspace, hospital, labelbox):  # noqa: ARG001 - it is asked
    """Pull without ever sleeping; `ask.slept` holds the waits."""

    def run(*request, **more):
        named = dict(zip(PullRequest._fields, request, strict=False))
        given = {"photographs": False} | named | more
        return pull(workspace, hospital, PullRequest(**given), patience=Patience(sleep=run.slept.append))

    run.slept = []
    return run


def landed_bytes(workspace):
    return [landed.path.read_bytes() for landed in landed_exports(workspace)]


def test_an_export_lands_byte_for_byte_with_every_section_asked_for(ask, workspace, labelbox):
    result = ask()
    landed = landed_exports(workspace)[0]
    start = next(asked for asked in labelbox.asked if asked.name == "exportDataRowsInProjectPyApi")

    assert [labelbox.export] == landed_bytes(workspace)
    assert (ROWS, ROWS) == (result.exports[0].rows, result.exports[0].announced)
    assert 0o600 == stat.S_IMODE(landed.path.stat().st_mode)
    assert ("task1", "project", "project-1", ROWS) == tuple(
        landed.pull[name] for name in ("task", "kind", "source", "rows")
    )
    assert {
        **dict.fromkeys(("includeAttachments", "includeEmbeddings", "includeMetadata", "includeDataRowDetails"), True),
        **dict.fromkeys(("includeProjectDetails", "includePerformanceDetails", "includeLabelDetails"), True),
        "includeInterpolatedFrames": True,
        "mediaTypeOverride": None,
    } == start.variables["input"]["params"]


@pytest.mark.parametrize(
    ("kind", "text", "mutation", "section"),
    [
        ("dataset", "dataset-1", "exportDataRowsInCatalogPyApi", "allProjects"),
        ("slice", "slice-1", "exportDataRowsInSlicePyApi", "allModelRuns"),
        ("model_run", "run-1", "exportDataRowsInModelRunPyApi", "includeModelRunDetails"),
        ("project", "project-1", "exportDataRowsInProjectPyApi", "includeLabelDetails"),
    ],
)
def test_other_sources_are_asked_for_whole_too(ask, labelbox, kind, text, mutation, section):
    ask(kind, text)
    start = next(asked for asked in labelbox.asked if asked.name == mutation)
    params = start.variables["input"]["params"]

    assert True is params[section]
    assert [] == [name for name, value in params.items() if name.startswith("include") and not value]


def test_the_query_for_chunks_is_the_one_of_the_installed_sdk(labelbox):
    from labelbox.schema.export_task import ExportTask

    from toolkit.labelbox_service.exports import CHUNK, ExportService

    service = ExportService(PullSection(), KEY, Patience())
    task = service.start(service.find("project", "project-1"), {})
    lines = [line.json for line in ExportTask.get_task(service.client, task).get_buffered_stream()]
    asked = next(asked for asked in labelbox.asked if asked.name == "GetExportFileFromOffsetPyApi")

    assert CHUNK == asked.query
    assert {"where": {"id": task}, "streamType": "RESULT", "offset": "0"} == asked.variables
    assert ROWS == len(lines)


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("GetProjectsPyApi", ["503", "limit"]),
        ("exportDataRowsInProjectPyApi", ["502", "cut"]),
        ("GetUserCreatedTasksPyApi", ["limit", "503", "503"]),
        ("GetExportMetadataHeaderPyApi", ["500"]),
        ("GetExportFileFromOffsetPyApi", ["503", "limit", "cut"]),
        ("chunk", ["cut", "cut", "503", "403", "cut"]),
    ],
)
def test_what_fails_in_passing_is_tried_again_with_growing_waits(ask, workspace, labelbox, name, faults):
    labelbox.faults[name] = list(faults)
    ask()

    assert [labelbox.export] == landed_bytes(workspace)
    assert len(faults) == len(ask.slept)
    assert all(0.5 * 2**turn <= wait <= 2**turn for turn, wait in enumerate(ask.slept))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"faults": {"GetProjectsPyApi": ["503"] * 9}}, "cannot be asked"),
        ({"faults": {"GetProjectsPyApi": ["limit"] * 9}}, "rate limit is reached"),
        ({"faults": {"chunk": ["403"] * 9}}, "stopped coming after 0 bytes: the storage answered 403"),
        ({"faults": {"chunk": ["cut"] * 9}}, "stopped coming after 0 bytes"),
        ({"faults": {"GetProjectsPyApi": ["AUTHORIZATION_ERROR"]}}, "may not do that"),
        ({"faults": {"exportDataRowsInProjectPyApi": ["OPERATION_NOT_ALLOWED"]}}, "answered with an error"),
        ({"faults": {"exportDataRowsInProjectPyApi": ["RESOURCE_NOT_FOUND"]}}, "answered with an error"),
        ({"ending": "FAILED"}, "its task is FAILED"),
        ({"ending": "CANCELED"}, "its task is CANCELED"),
        ({"polls": 10_000}, "has not made the export within 1 min"),
        ({"export": b""}, "the export is empty"),
        ({"projects": {}}, "knows no project 'pigmented-lesions'"),
        ({"projects": {"b": "pigmented-lesions", "a": "pigmented-lesions"}}, "by its ID in the study file: a, b"),
    ],
)
def test_what_does_not_pass_is_told_and_nothing_lands(ask, workspace, labelbox, changes, told):
    for name, value in changes.items():
        getattr(labelbox, name).update(value) if name == "faults" else setattr(labelbox, name, value)

    with pytest.raises(ServiceError) as caught:
        ask()

    assert told in str(caught.value)
    assert caught.value.remedy
    assert KEY not in str(caught.value)
    assert [] == landed_exports(workspace)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"LABELBOX_API_KEY": "another key"}, "no key has"),
        ({"LABELBOX_API_KEY": "another-key"}, "does not accept the API key"),
        ({"LABELBOX_API_KEY": ""}, "there is no Labelbox API key"),
        ({"LABELBOX_ENDPOINT": "http://127.0.0.1:1/graphql"}, "no connection"),
        ({"LABELBOX_ENDPOINT": "file:///etc/passwd"}, "no http address"),
    ],
)
def test_a_wrong_key_or_address_is_told_without_the_key(ask, monkeypatch, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ToolkitError, match=told) as caught:
        ask()

    assert "another" not in str(caught.value)


def test_the_key_may_come_from_the_keyring(ask, workspace, labelbox, tmp_path, monkeypatch):
    text = f"def get_password(service, name):\n    return {{'lesion-toolkit': {KEY!r}}}[service]\n"
    (tmp_path / "keyring.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("LABELBOX_API_KEY")
    ask()
    del sys.modules["keyring"]

    assert [labelbox.export] == landed_bytes(workspace)


def test_the_key_does_not_go_over_the_network_in_the_clear(workspace, study, monkeypatch):
    monkeypatch.setenv("LABELBOX_API_KEY", KEY)
    monkeypatch.setenv("LABELBOX_ENDPOINT", "http://labelbox.hospital.example/graphql")

    with pytest.raises(ToolkitError, match="unencrypted"):
        pull(workspace, study)


def test_a_task_that_takes_too_long_is_waited_for_again(ask, workspace, labelbox):
    labelbox.polls = 30
    with pytest.raises(ServiceError, match="within 1 min"):
        ask()
    waited = sum(ask.slept)
    labelbox.tasks["task1"].polls = 1
    result = ask()

    assert 60 <= waited <= 70
    assert (["task1"], True) == (list(labelbox.tasks), result.exports[0].resumed)
    assert [labelbox.export] == landed_bytes(workspace)


def test_a_task_that_is_gone_is_started_anew(ask, workspace, labelbox):
    labelbox.chunk = 2_000
    labelbox.faults["chunk"] = [None, None, *["503"] * 9]
    with pytest.raises(ServiceError, match="stopped coming after 4000 bytes"):
        ask()
    labelbox.tasks["task1"].ending = "FAILED"
    labelbox.faults.clear()
    ask()

    assert ["task1", "task2"] == list(labelbox.tasks)
    assert [labelbox.export] == landed_bytes(workspace)
    assert [] == list(workspace.exports.glob(".pull-*"))


def test_bytes_that_are_not_what_the_state_says_are_fetched_again(ask, workspace, labelbox):
    labelbox.chunk = 2_000
    labelbox.faults["chunk"] = [None, None, *["503"] * 9]
    with pytest.raises(ServiceError):
        ask()
    part = next(workspace.exports.glob(".pull-*/part.ndjson"))
    part.write_bytes(b"x" * 5_000)
    labelbox.faults.clear()
    ask()

    assert [labelbox.export] == landed_bytes(workspace)


def test_rows_that_labelbox_could_not_export_become_an_issue(ask, workspace, labelbox, hospital, key):
    labelbox.errors = b'{"message": "patient P-1 is broken"}\n' * 3
    result = ask()
    parse(workspace, hospital, key, [])

    assert 3 == result.exports[0].errors
    assert [{"level": "file", "reason": "export_errors"}] == workspace.rows("select level, reason from ingest_issues")


def test_the_same_bytes_land_once_and_an_old_sidecar_stays_readable(ask, workspace, labelbox, tmp_path):
    by_hand = tmp_path / "export.ndjson"
    by_hand.write_bytes(labelbox.export)
    land(workspace, by_hand, images=None)
    before = landed_exports(workspace)[0]
    result = ask()
    after = landed_exports(workspace)[0]

    assert (None, "export.ndjson") == (before.pull, before.source)
    assert ("task1", "export.ndjson") == (after.pull["task"], after.source)
    assert result.exports[0].already_there


def test_since_is_sent_as_utc_and_last_goes_on_from_the_newest_activity(ask, labelbox):
    def sent():
        start = [asked for asked in labelbox.asked if asked.name == "exportDataRowsInProjectPyApi"][-1]
        return start.variables["input"]["filters"]["searchQuery"]["query"]

    ask(since="2025-02-01T01:00:00+02:00")
    first = sent()
    ask(since="last")
    second = sent()
    labelbox.export = b""
    result = ask(since="last")

    assert ("data_row_last_activity_at", "GREATER_THAN_OR_EQUAL") == (first[0]["type"], first[0]["value"]["operator"])
    assert ("UTC", "2025-01-31T23:00:00+0000") == (first[0]["value"]["timezone"], first[0]["value"]["value"])
    assert "2025-03-01T10:00:00+0000" == second[0]["value"]["value"]
    assert (0, []) == (result.exports[0].rows, result.landed)


@pytest.mark.parametrize(
    ("pull_request", "told"),
    [
        (PullRequest(since="yesterday"), "is no time"),
        (PullRequest("slice", "slice-1", since="2025-01-01"), "cannot filter a slice"),
        (PullRequest(since="last"), "no earlier pull of this source is here"),
        (PullRequest("dataset", "dataset-9"), "knows no dataset 'dataset-9'"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(ask, pull_request, told):
    with pytest.raises(ToolkitError, match=told):
        ask(*pull_request)


def test_a_second_pull_at_the_same_time_is_refused(ask, workspace, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0.2)
    workspace.folder.mkdir()
    with (workspace.folder / ".lock-pull").open("w") as lock:
        lock.write(json.dumps({"pid": 7, "command": "pull", "since": "2026-01-02 03:04:05"}))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolkitError, match=r"toolkit pull \(process 7, since 2026-01-02 03:04:05 UTC\)"):
            ask()


def test_photographs_are_fetched_once_and_parse_finds_them(ask, workspace, labelbox, hospital, key):
    labelbox.faults["/photographs/3.jpg"] = ["503", "cut"]
    first = ask(photographs=True)
    labelbox.export = labelbox.export.replace(b"SECRET-SIGNATURE", b"ANOTHER-SIGNATURE")
    labelbox.got.clear()
    second = ask(photographs=True)
    result = parse(workspace, hospital, key, [])

    assert (ROWS, 0) == (first.fetched, first.fetched_before)
    assert (0, ROWS) == (second.fetched, second.fetched_before)
    assert [] == [path for path, _ in labelbox.got if path.startswith("/photographs")]
    assert (ROWS, ROWS) == (result.photographs_opened, result.cases)
    assert picture(3) == (workspace.folder / "photographs" / "i3").read_bytes()
    assert {0o600} == {stat.S_IMODE(p.stat().st_mode) for p in (workspace.folder / "photographs").iterdir()}


def test_a_photograph_that_was_replaced_or_damaged_is_fetched_again(ask, workspace, labelbox):
    ask(photographs=True)
    folder = workspace.folder / "photographs"
    (folder / "i2").write_bytes(b"short")
    same_size = bytearray((folder / "i6").read_bytes())
    same_size[-9] ^= 1
    (folder / "i6").write_bytes(same_size)
    index = folder / "index.jsonl"
    damaged = index.read_bytes().replace(b'"name": "i7"', b'"nbme": "i7"')
    index.write_bytes(damaged + b'\n[]\n3\n{"name": 3}\n{"name": "to')
    labelbox.files["/other/4.jpg"] = ("image/jpeg", picture(200))
    moved = labelbox.export.replace(b"/photographs/4.jpg", b"/other/4.jpg")
    labelbox.export = moved.replace(b"/photographs/5.jpg", b"/gone/5.jpg")
    result = ask(photographs=True)

    assert (4, ROWS - 5, {"url_not_found": 1}) == (result.fetched, result.fetched_before, result.not_fetched)
    assert not (workspace.folder / "photographs" / "i5").exists()
    assert picture(200) == (folder / "i4").read_bytes()
    assert picture(6) == (folder / "i6").read_bytes()


def test_photographs_that_cannot_be_had_become_issues(workspace, labelbox, hospital, key):
    labelbox.files |= {
        "/photographs/0.jpg": ("text/html", b"<html>"),
        "/photographs/1.jpg": ("image/jpeg", b"<svg onload=alert(1)>"),
        "/photographs/2.jpg": ("redirect", "http://169.254.169.254/latest/meta-data/"),
        "/photographs/3.jpg": ("redirect", f"{labelbox.url}/photographs/9.jpg"),
        "/photographs/4.jpg": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(60_000)),
        "/photographs/5.jpg": ("redirect", f"{labelbox.url}/photographs/5.jpg"),
        "/photographs/6.jpg": ("binary/octet-stream", picture(6)),
    }
    labelbox.faults |= {"/photographs/7.jpg": ["403"], "/photographs/8.jpg": ["404"]}
    small = hospital.pull.model_copy(update={"largest_photograph": 50_000})
    study = hospital.model_copy(update={"pull": small})
    result = pull(workspace, study, patience=Patience(sleep=lambda _: None))
    parse(workspace, study, key, [])
    noted = workspace.rows("select image_id, reason from ingest_issues where level = 'warning' order by image_id")

    assert ROWS - 7 == result.fetched
    assert {
        "i0": "not_an_image",
        "i1": "not_an_image",
        "i2": "url_not_allowed",
        "i4": "photograph_too_large",
        "i5": "url_not_allowed",
        "i7": "url_expired",
        "i8": "url_not_found",
    } == {issue["image_id"]: issue["reason"] for issue in noted}


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/x.jpg",
        "https://127.0.0.1:{port}/x.jpg",
        "https://localhost:{port}/x.jpg",
        "https://[::1]:{port}/x.jpg",
        "https://[::ffff:127.0.0.1]:{port}/x.jpg",
        "https://2130706433:{port}/x.jpg",
        "https://storage.googleapis.com@127.0.0.1:{port}/x.jpg",
        "https://storage.googleapis.com.127.0.0.1:{port}/x.jpg",
        "https://user:word@storage.googleapis.com/x.jpg",
        "https://storage.googleapis.com:{port}/x.jpg",
        "http://storage.googleapis.com/x.jpg",
        "https://evilamazonaws.com/x.jpg",
        "https://amazonaws.com.evil.example/x.jpg",
        "https://ѕtorage.googleapis.com/x.jpg",
        "ftp://storage.googleapis.com/x.jpg",
        "file:///etc/passwd",
        "gs://bucket/x.jpg",
        "https://[broken/x.jpg",
        "https://storage.googleapis.com:99999/x.jpg",
        "data:image/png;base64,AAAA",
        "",
    ],
)
def test_an_address_that_is_not_allowed_opens_no_connection(address):
    rules = Rules((), allow_private=False, largest=1_000, key_origin="https://api.labelbox.com", key=KEY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        with pytest.raises(RefusedError) as caught:
            fetch(address.format(port=listener.getsockname()[1]), rules, io.BytesIO())
        with pytest.raises(TimeoutError):
            listener.accept()

    assert "url_not_allowed" == caught.value.reason


def test_a_host_on_the_list_that_stands_within_the_network_is_refused_unless_the_study_allows_it(labelbox):
    address = f"{labelbox.url}/photographs/1.jpg"
    port = labelbox.http.server_port
    for rules, asked in (
        (Rules(("localhost",), allow_private=False, largest=9_999, key_origin="", key=""), "https://localhost/x.jpg"),
        (Rules(("127.0.0.1",), allow_private=False, largest=9_999, key_origin="", key=""), address),
        (Rules((), allow_private=True, largest=9_999, key_origin="", key=""), address),
    ):
        with pytest.raises(RefusedError, match=r"private network|only https|not on the list"):
            fetch(asked, rules, io.BytesIO())
    buffer = io.BytesIO()
    allowed = Rules(("127.0.0.1",), allow_private=True, largest=9_999, key_origin="", key="")
    fetch(f"http://127.0.0.1:{port}/photographs/1.jpg", allowed, buffer)

    assert picture(1) == buffer.getvalue()
    assert 1 == len(labelbox.got)


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("64:ff9b::808:808", True),
        *[(ip, False) for ip in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0")],
        *[(ip, False) for ip in ("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0")],
        *[(ip, False) for ip in ("fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::")],
    ],
)
def test_only_addresses_of_the_public_internet_are_public(ip, public):
    assert public == is_public(ip)


def certificate(folder, name):
    """Write a self-signed certificate for a host, with its key, and return the file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(secret.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


@pytest.mark.parametrize(("name", "holds"), [("localhost", True), ("storage.googleapis.com", False)])
def test_a_certificate_is_held_against_the_name_that_was_asked_for(labelbox, tmp_path, monkeypatch, name, holds):
    from toolkit.stages.pull.fetch import _tls

    file = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    _tls.cache_clear()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(file)
    labelbox.http.socket = served.wrap_socket(labelbox.http.socket, server_side=True)
    address = f"https://localhost:{labelbox.http.server_port}/photographs/1.jpg"
    rules = Rules(("localhost",), allow_private=True, largest=9_999, key_origin="", key="")
    buffer = io.BytesIO()
    try:
        if holds:
            fetch(address, rules, buffer)
        else:
            with pytest.raises(PassingError, match="SSLCertVerificationError"):
                fetch(address, rules, buffer)
    finally:
        _tls.cache_clear()

    assert (picture(1) if holds else b"") == buffer.getvalue()


def test_a_storage_that_cannot_be_reached_ends_the_pull_which_goes_on_with_its_photographs(ask, workspace, labelbox):
    lines = [row(f"i{n}", label(f"L{n}", "nevus")) for n in range(50)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for line in lines:
        line["data_row"]["row_data"] = f"http://127.0.0.1:{port}/photographs/1.jpg"
    labelbox.export = text_of(lines)
    for _ in range(2):
        with pytest.raises(ServiceError, match="storage cannot be reached"):
            ask(photographs=True)
    tasks = list(labelbox.tasks)
    chunks = labelbox.names().count("GetExportFileFromOffsetPyApi")
    state = next(workspace.exports.glob(".pull-*/state.json"))
    os.utime(state, (0, time.time() - 21 * 3600))
    ask()

    assert ["task1"] == tasks
    assert -(-len(labelbox.export) // labelbox.chunk) == chunks
    assert ["task1", "task2"] == list(labelbox.tasks)
    assert [] == list(workspace.exports.glob(".pull-*"))


def test_masks_are_fetched_with_the_key_and_photographs_without(ask, workspace, labelbox):
    drawn = box("f1", 1, 1, 20, 20)
    drawn["mask"] = {"url": f"{labelbox.url}/api/v1/projects/p/annotations/f1/mask"}
    elsewhere = {**box("f2", 1, 1, 20, 20), "mask": {"url": "https://evil.example/mask"}}
    line = row("i1", label("L1", boxes=[drawn, elsewhere]))
    line["data_row"]["row_data"] = f"{labelbox.url}/photographs/1.jpg"
    labelbox.export = text_of([line])
    labelbox.files["/api/v1/projects/p/annotations/f1/mask"] = ("image/jpeg", picture(1))
    result = ask(photographs=True)
    keys = {path: key for path, key in labelbox.got if not path.startswith("/chunk")}

    assert {
        "/photographs/1.jpg": None,
        "/api/v1/projects/p/annotations/f1/mask": f"Bearer {KEY}",
    } == keys
    assert (2, {"url_not_allowed": 1}) == (result.fetched, result.not_fetched)
    assert picture(1) == (workspace.folder / "masks" / "f1").read_bytes()


@pytest.mark.soak
def test_a_mask_that_is_pulled_gives_its_lesion_a_roi_and_goes_with_the_patient(
    ask, workspace, labelbox, hospital, key
):
    drawn = {**box("f1", 1, 1, 20, 20, "nevus"), "annotation_kind": "ImageSegmentationMask"}
    del drawn["bounding_box"]
    drawn["mask"] = {"url": f"{labelbox.url}/api/v1/projects/p/annotations/f1/mask"}
    line = row("i1", label("L1", boxes=[drawn]))
    line["data_row"]["row_data"] = f"{labelbox.url}/photographs/1.jpg?Signature=SECRET-SIGNATURE"
    labelbox.export = text_of([line, row("i2", label("L2", "nevus"), patient="P-2")])
    mask = Image.new("L", (200, 100))
    mask.paste(255, (30, 10, 80, 60))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    labelbox.files["/api/v1/projects/p/annotations/f1/mask"] = ("image/png", buffer.getvalue())
    ask(photographs=True)
    parse(workspace, hospital, key, [])
    rois = [tuple(r.values()) for r in workspace.rows("select roi_left, roi_top, roi_width, roi_height from cases")]

    def reparse():
        return parse(workspace, hospital, key, [], anew=True)

    reparse()

    assert (30.0, 10.0, 50.0, 50.0) in rois
    assert rois == [
        tuple(r.values()) for r in workspace.rows("select roi_left, roi_top, roi_width, roi_height from cases")
    ]
    withdraw(workspace, hospital, key, "P-1", reparse=reparse, apply=True)
    assert ["index.jsonl"] == [path.name for path in (workspace.folder / "masks").iterdir()]
    assert b"" == (workspace.folder / "masks" / "index.jsonl").read_bytes()


def version(number, answer, *, image="i1", by="user-1", action="SAVED", project="project-1"):
    said = {"title": "diagnosis", "value": "diagnosis", "answer": {"title": answer, "value": answer}}
    return {
        "id": f"version-{number}",
        "labelId": f"L-{image}",
        "dataRowId": image,
        "projectId": project,
        "action": action,
        "createdAt": f"2025-03-{number:02}T10:00:00.000Z",
        "createdById": by,
        "stage": {"taskQueueId": "q1", "name": "Review", "type": "MANUAL_REVIEW_QUEUE"},
        "annotationCount": 1,
        "label": json.dumps({"objects": [], "classifications": [said]}),
        "labelJson": None,
    }


def changes_of(workspace):
    rows = workspace.ask("label_versions").to_pylist()
    return [(r["label_id"], r["before"], r["after"], r["changed_back"]) for r in rows]


@pytest.mark.soak
def test_a_label_that_was_changed_and_changed_back_between_two_exports_is_seen(ask, workspace, labelbox, hospital, key):
    labelbox.page = 2
    changed = [version(1, "nevus"), version(2, "melasma"), None, None, version(3, "nevus")]
    labelbox.versions = [*changed, version(4, "nevus", image="i2"), version(5, "nevus", image="i2")]
    labelbox.faults["GetLabelVersionsPyApi"] = [None, "limit", "503"]
    first = ask()
    parse(workspace, hospital, key, [])
    before = changes_of(workspace)
    labelbox.versions += [version(6, "melasma", image="i2", action="REJECTED")]
    labelbox.asked.clear()
    second = ask()
    parse(workspace, hospital, key, [], anew=True)
    asked = [each.variables["where"] for each in labelbox.asked if each.name == "GetLabelVersionsPyApi"]

    assert [("L-i1", "nevus", "melasma", True), ("L-i1", "melasma", "nevus", True)] == before
    assert [*before, ("L-i2", "nevus", "melasma", False)] == changes_of(workspace)
    assert ([5], [1]) == ([each.versions for each in first.exports], [each.versions for each in second.exports])
    assert {"2025-03-05T10:00:00.000Z"} == {where["createdAfter"] for where in asked}
    path = workspace.exports / "label_versions" / "project-1.parquet"
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert b"user-1" not in workspace.registry.read_bytes()


TOLD_OF_VERSIONS = {"GRAPHQL_VALIDATION_FAILED": [], "AUTHORIZATION_ERROR": ["label_versions_unread"]}


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("fault", TOLD_OF_VERSIONS)
def test_versions_that_cannot_be_read_do_not_keep_an_export_out(ask, workspace, labelbox, hospital, key, fault):
    labelbox.versions = [version(1, "nevus")]
    labelbox.faults["GetLabelVersionsPyApi"] = [fault] * 20
    result = ask()
    parse(workspace, hospital, key, [])

    assert [0] == [each.versions for each in result.exports]
    assert TOLD_OF_VERSIONS[fault] == [r["reason"] for r in workspace.rows("from ingest_issues")]
    assert [] == workspace.rows("from label_versions")


@pytest.mark.soak
def test_versions_of_a_label_go_with_the_patient_and_do_not_come_back(ask, workspace, labelbox, hospital, key):
    labelbox.versions = [version(1, "nevus", image="i3"), version(2, "nevus", image="i4")]
    ask()
    parse(workspace, hospital, key, [])
    withdraw(
        workspace, hospital, key, "P-3", reparse=lambda: parse(workspace, hospital, key, [], anew=True), apply=True
    )
    suppressed = suppression_list(workspace, hospital, key)
    pull(
        workspace,
        hospital,
        PullRequest(photographs=False),
        filter_landed=partial(filter_export, workspace, suppressed=suppressed),
        is_withdrawn=suppressed.holds_photograph,
        patience=Patience(poll=0),
    )
    parse(workspace, hospital, key, [])

    assert ["i4"] == [r["image_id"] for r in workspace.rows("from label_versions")]
    assert ["i4"] == [each["image_id"] for each in versions(workspace)]


def test_a_version_of_a_form_that_is_not_known_is_kept_without_its_classes(ask, workspace, labelbox, hospital, key):
    odd = version(1, "nevus") | {"label": "no JSON"}
    empty = version(2, "nevus") | {"label": None, "labelJson": {"classifications": [], "objects": []}, "stage": None}
    labelbox.versions = [odd, empty, version(3, "nevus") | {"label": None}]
    ask()
    parse(workspace, hospital, key, [])

    assert [(1, None, "Review"), (2, "", None), (3, None, "Review")] == [
        (r["position"], r["class_names"], r["stage"]) for r in workspace.rows("from label_versions order by position")
    ]


def test_a_row_names_its_photograph_and_each_mask_once_and_a_strange_one_nothing(workspace, tmp_path):
    shared = {"composite_mask": {"url": "https://x/c", "color_rgb": [1, 2, 3]}}
    drawn = [{**box("f1", 1, 1, 9, 9), **shared}, {**box("f2", 1, 1, 9, 9), **shared}, {"mask": 7}, "nonsense"]
    good = row("i1", label("L1", boxes=drawn))
    good["experiments"] = {"m": {"runs": {"r": {"predictions": [label("L2", boxes=[{**drawn[0], "mask": None}])]}}}}
    strange = [
        {"data_row": {"id": 1}},
        {"data_row": {"id": "i2"}, "projects": [1]},
        [1],
        "not json",
        {"projects": {"p": 1}},
    ]
    path = tmp_path / "export.ndjson"
    path.write_text("".join(f"{json.dumps(line) if line != 'not json' else line}\n" for line in [good, *strange]))
    links = list(links_of(land(workspace, path, images=None), longest=100_000))

    assert [("i1", False), ("f1", True)] == [(link.id, link.is_mask) for link in links]
    assert (6, "2025-03-01T10:00:00+0000") == (facts_of(path).rows, facts_of(path).latest_at)


def test_the_command_pulls_and_parses_and_the_key_is_nowhere(labelbox, tmp_path, monkeypatch, capfd):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    study = tmp_path / "study.toml"
    text = (Path(__file__).parents[1] / "manifests" / "demo.toml").read_text(encoding="utf-8")
    study.write_text(f'{text}\n[pull]\nhosts = ["127.0.0.1"]\nallow_private = true\n', encoding="utf-8")
    labelbox.faults["GetProjectsPyApi"] = ["OPERATION_NOT_ALLOWED"]
    ends, said = [], []
    for more in ([], [], ["--json"]):
        with pytest.raises(SystemExit) as left:
            main(["--study", str(study), "--workspace", str(tmp_path / "w"), *more, "pull"])
        ends.append(left.value.code or 0)
        said.append(capfd.readouterr())
    files = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    everything = [path.read_bytes() for path in files] + ["".join(one).encode() for one in said]

    assert [1, 0, 0] == ends
    assert "Labelbox answered with an error: refused for Bearer [key removed]" in said[0].err
    assert f"project project-1: {ROWS} rows" in said[1].out
    assert "10 of 10 photographs opened" in " ".join(said[1].out.split())
    assert {"pulled", "parsed"} == set(json.loads(said[2].out))
    assert [] == [part for part in everything if KEY.encode() in part]
    assert [] == list(temporary.iterdir())
    held = [path.parent.name for path in files if b"SECRET-SIGNATURE" in path.read_bytes()]
    assert ["exports"] == held


def test_a_result_is_shown_in_a_few_lines():
    from toolkit.console.results import rendered
    from toolkit.console.text import stderr
    from toolkit.stages.pull import PulledExport

    export = PulledExport("model_run", "run-1", "t", None, rows=2, announced=3, errors=4, sha256="a" * 64)
    with stderr.capture() as capture:
        stderr.print(rendered(Pulled([export], 5, 6, {"url_expired": 7})))
    shown = capture.get()

    assert [] == [text for text in ("run-1", "2 rows", "3", "4", "5", "6", "expired", "7") if text not in shown]
    assert len(shown.splitlines()) <= 8


RUNNER = """
import os, sys
from pathlib import Path
from toolkit.manifest import load_study
from toolkit.shipped import shipped
from toolkit.manifest.cohort import PullSection
from toolkit.stages.pull import Patience, pull
from toolkit.workspace.registry import Workspace
settings = {"pull": PullSection(hosts=["127.0.0.1"], allow_private=True, connections=2)}
study = load_study(shipped("manifests") / "demo.toml").model_copy(update=settings)
patience = Patience(first=0.01)
pull(Workspace(Path(sys.argv[1])), study, patience=patience)  # what it imports, the children need not
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        result = pull(Workspace(Path(line.strip())), study, patience=patience)
        os._exit(0 if result.fetched + result.fetched_before == 10 else 1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runner:
    """Pulls in a process of its own, which can be killed; labelbox is imported once for all of them."""

    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, "-c", RUNNER, str(folder)], stdin=-1, stdout=-1, text=True)
        self.child = queue.Queue(1)
        self.process.stdout.readline()

    def pull(self, folder):
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        self.child.put(int(self.process.stdout.readline()))
        code = int(self.process.stdout.readline())
        if not self.child.empty():
            self.child.get()
        return code


def test_a_withdrawn_patient_is_not_pulled_in_again(ask, workspace, labelbox, hospital, key):
    everything = labelbox.export
    ask(photographs=True)
    parse(workspace, hospital, key, [])
    withdraw(
        workspace, hospital, key, "P-3", reparse=lambda: parse(workspace, hospital, key, [], anew=True), apply=True
    )
    filter_landed = partial(filter_export, workspace, suppressed=suppression_list(workspace, hospital, key))
    again = pull(workspace, hospital, filter_landed=filter_landed, patience=Patience(poll=0))
    names = {path.name for path in (workspace.folder / "photographs").iterdir()}

    assert everything == labelbox.export
    assert ROWS - 1 == len(landed_bytes(workspace)[0].splitlines()) == again.fetched_before
    assert {f"i{n}" for n in range(ROWS) if n != 3} | {"index.jsonl"} == names
    assert b'"i3"' not in (workspace.folder / "photographs" / "index.jsonl").read_bytes()
    assert (0, {}) == (again.fetched, again.not_fetched)


@pytest.fixture
def runner(labelbox, tmp_path):  # noqa: ARG001 - it is asked
    made = Runner(tmp_path / "first")
    yield made
    made.process.stdin.close()
    made.process.stdout.close()
    made.process.wait()


def test_a_pull_killed_at_any_of_ten_moments_goes_on_to_the_same_bytes(labelbox, runner, tmp_path):
    from toolkit.workspace.registry import Workspace

    chance, labelbox.chunk = random.Random(4), 2_000
    pieces = 2 * (-(-len(labelbox.export) // labelbox.chunk) + ROWS)
    for moment, last in enumerate(sorted(chance.sample(range(pieces), 10))):
        served, delay = iter(range(pieces)), chance.uniform(0, 0.01)

        def kill(served=served, last=last, delay=delay):
            if next(served, None) == last:
                time.sleep(delay)
                os.kill(runner.child.get(), 9)

        workspace = Workspace(tmp_path / f"w{moment}")
        labelbox.tasks.clear()
        labelbox.on_piece = kill
        killed = runner.pull(workspace.folder)
        labelbox.on_piece = None

        assert -9 == killed or last >= pieces - 3  # the last pieces may be there before the kill is
        assert 0 == runner.pull(workspace.folder)
        assert [labelbox.export] == landed_bytes(workspace)
        assert ["task1"] == list(labelbox.tasks) or last >= pieces - 3
        assert [] == [path.name for path in workspace.folder.glob("**/.*")]
        assert ROWS + 1 == len(list((workspace.folder / "photographs").iterdir()))
