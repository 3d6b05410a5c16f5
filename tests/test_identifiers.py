"""What leads to a person stands in the landed exports and nowhere else; tests/soak/test_identifiers.py does more."""

import base64
import gzip
import json
import stat
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from search_identifiers import identifiers_of_row, planted, search

from toolkit.pipeline import withdraw_and_parse

PATIENT = "P-4711"


def in_duckdb(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table a (x struct(y text[]))")
        connection.execute("insert into a values ({'y': ['patient P-4711']})")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("plain", lambda path: path.write_text("before P-4711 after")),
        ("other_case", lambda path: path.write_text("the p-4711, again")),
        ("utf_16", lambda path: path.write_text("P-4711", encoding="utf-16")),
        ("gzip", lambda path: path.write_bytes(gzip.compress(b"P-4711" * 9))),
        ("gzip_cut", lambda path: path.write_bytes(gzip.compress(b"P-4711" * 9)[:-9])),
        ("url", lambda path: path.write_text(quote("a P-4711 b"))),
        ("parquet", lambda path: pq.write_table(pa.table({"a": [{"b": ["P-4711"] * 50}]}), path)),
        ("duckdb", in_duckdb),
        *(
            (f"base64_{n}", lambda path, n=n: path.write_bytes(base64.b64encode(b"x" * n + b"P-4711 x")))
            for n in range(3)
        ),
        ("P-4711.jpg", lambda path: path.write_text("")),
    ],
)
def test_the_search_finds_an_identifier_in_every_form(tmp_path, name, write):
    write(tmp_path / name)

    assert {PATIENT} == {place.identifier for place in search([tmp_path], [PATIENT])}


def test_the_search_finds_what_was_printed_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("p-47110123456789ab P-4712")

    assert [] == search([tmp_path], [PATIENT], {"stdout": "nothing"})
    assert ["stdout"] == [str(place.path) for place in search([tmp_path], [PATIENT], {"stdout": "of P-4711"})]


def test_after_a_whole_run_identifiers_stand_in_the_landed_exports_only(finished):
    names = planted(finished.export.parent)
    places = search([finished.workspace.folder], names, {"results": repr(finished.results)})
    exports = {path for path in finished.workspace.exports.iterdir() if path.name.endswith(".ndjson")}

    assert 60 <= len(names)
    assert [] == [place for place in places if place.path.parent != finished.workspace.exports]
    assert exports <= {place.path for place in places}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in exports}


@pytest.mark.soak
def test_after_a_withdrawal_the_patients_identifiers_stand_nowhere(finished, copied):
    row = next(
        row
        for row in map(json.loads, finished.export.read_text().splitlines())
        if any(field["schema_name"] == "patient_id" for field in row["metadata_fields"])
    )
    patient = next(field["value"] for field in row["metadata_fields"] if field["schema_name"] == "patient_id")
    own = {each for each in identifiers_of_row(row) if "@" not in each} | {row["data_row"]["id"]}
    before = search([copied.exports], own)
    withdraw_and_parse(copied, finished.study_file, patient, apply=True)

    assert before
    assert [] == search([copied.folder], own)
