import csv
import io
import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.csv_files import (
    MARK,
    cell,
    cell_text,
    csv_text,
    read_csv,
    rows_of,
    sheet_cell,
    sheet_cell_text,
    sheet_lines,
    sheet_text,
)
from toolkit.errors import DamagedError

FORMULAS = [
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\ttab", "\rreturn", "\nline", "-", "-x"),
    *("＝1+1", "＋1", "－1", "＠SUM(1)", "﹦1"),
    *(" =1", "\xa0=1", "\u3000＝1", "\u200b=1", "\ufeff=1", "\u202e=1", "\x00=1", '"=1', "'=1", " ' =1"),
]
VALUES = [
    *(
        "1045408649593e03",
        "1e5",
        "1E+10",
        "007",
        "00",
        "123456789012",
        "1.5",
        ".5",
        "5.",
        "1,000",
        " 12",
        "12 ",
        "１２",
    ),
    *(
        "2-1",
        "1/2",
        "1 1/2",
        "12%",
        "$5",
        "(5)",
        "1.2.2020",
        "2020-01-02",
        "2020-01-02T03:04:05Z",
        "1:30",
        "3 PM",
        "4am",
    ),
    *("MAR1", "SEPT2", "Mar 1", "1-Mar", "21-May-20", "March 2020", "1. März", "2 déc. 2020", "OCT4", "dic-21"),
    *("TRUE", "true", "False", "WAHR", "#N/A", "#DIV/0!", "#NAME?", "'007"),
]
TEXTS = [
    *(
        "nevus",
        "mel 3",
        "V600E",
        "a=1",
        "1a",
        "a1b2c3d4",
        "x@y",
        "T1",
        "I/O",
        "Mark 5",
        "III",
        "<5",
        "12e",
        "e10",
        "Jan",
    ),
    *("0", "7", "40", "12345678", "it's", "'s", "", "a'b", "fold_1", "12 cases", "40 mm", "3 of 7"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_taken_for_a_formula(text):
    assert f"'{text}" == cell(text) == sheet_cell(text)


@pytest.mark.parametrize("text", VALUES)
def test_in_a_file_for_spreadsheets_no_text_is_taken_for_a_value(text):
    assert f"'{text}" == sheet_cell(text)
    assert text == cell(text)


@pytest.mark.parametrize("text", TEXTS)
def test_other_texts_stay_as_they_are(text):
    assert text == cell(text) == sheet_cell(text)


def test_numbers_are_never_rounded_and_never_guarded():
    rows = [["=cmd()", -0.1, math.nan, None, True, 3], ["plain, text", 1 / 3, 0.0, "@x", False, -3]]

    assert "a,b,c,d,e,f\n'=cmd(),-0.1,nan,,true,3\n\"plain, text\",0.3333333333333333,0.0,'@x,false,-3\n" == csv_text(
        "abcdef", rows
    )
    assert MARK + csv_text("abcdef", rows) == sheet_text("abcdef", rows)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal(6), "6"),
        (Decimal("-1.50"), "-1.50"),
        (Decimal("1E+30"), f"1{'0' * 30}"),
        (2**70, str(2**70)),
        (date(2020, 1, 2), "2020-01-02"),
        (b"\x00\xff", "00ff"),
        ({"a": math.nan}, '{"a": null}'),
        (-1e-300, "-1e-300"),
    ],
)
def test_each_type_is_written_so_that_it_is_read_again(value, written):
    assert written == cell(value) == sheet_cell(value)


ENDS = "\r\n\t\x00\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("end", ENDS)
def test_nothing_in_a_cell_starts_a_row(end):
    line = sheet_lines([[f"a{end}=1+1", "b"]])

    assert f'"a{end}=1+1",b\n' == line


texts = (
    st.text(st.characters(codec="utf-8"))
    | st.text(alphabet="'=+-@ \t\r\n\"1e5,/MARmar\u200b＝")
    | st.sampled_from(FORMULAS + VALUES)
)


@given(st.lists(st.tuples(texts, texts), max_size=5), st.sampled_from([csv_text, sheet_text]))
def test_every_text_is_read_as_it_was_written(rows, written):
    text = written(["one", "other"], rows)

    assert [{"one": one, "other": other} for one, other in rows] == rows_of(text)
    assert len(rows) + 1 == len(list(csv.reader(io.StringIO(text, newline=""))))


@given(texts)
def test_a_cell_never_starts_as_a_formula(text):
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert text == sheet_cell_text(sheet_cell(text)) == cell_text(cell(text))


def test_an_only_empty_cell_is_a_row():
    assert 'a\n""\n""\n' == csv_text(["a"], [[None], [""]])
    assert [{"a": ""}, {"a": ""}] == rows_of(csv_text(["a"], [[None], [""]]))


@pytest.mark.parametrize("data", [b"\xff\xfe", None])
def test_what_is_no_csv_of_ours_is_told(tmp_path, data):
    path = tmp_path / "a.csv"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(DamagedError, match=r"a\.csv"):
        read_csv(path)
