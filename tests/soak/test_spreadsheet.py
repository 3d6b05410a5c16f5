"""Round trips through LibreOffice: it evaluates no formula, and it changes no cell."""

import csv
import io
import math
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_csv_files import FORMULAS, TEXTS, VALUES

from toolkit.console.answer_files import save_rows
from toolkit.csv_files import MARK, csv_text, sheet_text
from toolkit.workspace.answer_values import csv_texts
from toolkit.workspace.sql import questions

OFFICE = shutil.which("soffice")
LANGUAGES = {"en-US": 1033, "de-DE": 1031, "fr-FR": 1036, "ja-JP": 1041}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{4,}")
COMMA, QUOTE, UTF_8 = 44, 34, 76
pytestmark = pytest.mark.skipif(
    OFFICE is None, reason="LibreOffice is not here: apt-get install libreoffice-calc-nogui"
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Open a CSV text as a spreadsheet does and save it again; return the cells by row, values instead of formulas."""
    profile = tmp_path_factory.mktemp("profile")

    def opened(text: str, *, language: str, special: bool) -> list[list[str]]:
        folder = tmp_path_factory.mktemp("sheet")
        (folder / "given.csv").write_bytes(text.encode())
        read = f"{COMMA},{QUOTE},{UTF_8},1,,{LANGUAGES[language]},false,{str(special).lower()}"
        written = f"{COMMA},{QUOTE},{UTF_8},1,,{LANGUAGES[language]},true,false,false"
        command = [
            *(OFFICE, f"-env:UserInstallation={profile.as_uri()}", "--headless"),
            *(f"--infilter=Text - txt - csv (StarCalc):{read}",),
            *("--convert-to", f"csv:Text - txt - csv (StarCalc):{written}", "--outdir", folder / "saved"),
            folder / "given.csv",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return cells((folder / "saved" / "given.csv").read_bytes().decode())

    return opened


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix(MARK), newline="")))


def plain(cell: str) -> str:
    """Return a cell as two programs agree on it: line ends are one line feed, and a NUL is nothing."""
    return re.sub(r"[\r\n]+", "\n", cell.replace("\0", ""))


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number as the toolkit writes it."""
    try:
        return math.isfinite(float(cell)) and cell in (repr(float(cell)), str(int(float(cell))))
    except ValueError:
        return False


def same(given: str, saved: str) -> bool:
    """Tell whether a cell is the same; a spreadsheet keeps 15 digits of a number and thousandths of
    a second, and writes truth values large."""
    if TIME.fullmatch(given):
        return given[:22] == saved[:22]
    if is_number(given):
        return math.isclose(float(given), float(saved.replace(",", ".")), rel_tol=1e-14, abs_tol=1e-18)
    return plain(given) == plain(saved) or (given in ("true", "false") and given == saved.lower())


def changed(given: list[list[str]], saved: list[list[str]]) -> list[tuple[str, str]]:
    assert len(given) == len(saved)
    pairs = [pair for one, other in zip(given, saved, strict=True) for pair in zip(one, other, strict=True)]
    return [(one, other) for one, other in pairs if not same(one, other)]


def hostile() -> list[list[object]]:
    """Rows of texts that a spreadsheet would compute or change, alone and within others, with a number beside each."""
    rng = random.Random(15)
    texts = [*FORMULAS, *VALUES, *TEXTS]
    pieces = ["\r", "\n", "\t", "=1+1", ",", '"', ";", "'", "a", " ", "\u200b", "1", "/", "-", "MAR", ":", "e", "."]
    texts += [f"a{end}=1+1" for end in ("\r", "\n", "\r\n", "\t", ",", ";", '"', '",', '"\n')]
    texts += ["".join(rng.choices(pieces, k=rng.randint(1, 7))) for _ in range(1500)]
    texts += [f"{rng.randrange(16**16):016x}" for _ in range(500)]
    texts += [f"{rng.randrange(10**15)}e{rng.randrange(10)}" for _ in range(100)]
    return [[f"row {number} of it", text, rng.gauss(0, 1), "end"] for number, text in enumerate(texts)]


@pytest.mark.parametrize("special", [False, True], ids=["as shipped", "special numbers"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_cells_stay_as_they_are(opened, language, special):
    text = sheet_text(["row", "=text", "number", "end"], hostile())

    assert [] == changed(cells(text), opened(text, language=language, special=special))


def test_what_goes_to_other_programs_holds_no_formula_either(opened):
    text = csv_text(["=text"], [[text] for text in FORMULAS])

    assert [] == changed(cells(text), opened(text, language="en-US", special=False))


def test_without_the_apostrophe_this_test_would_fail(opened):
    text = "a\n=1+1\n1045408649593e03\n007\n"
    saved = opened(text, language="en-US", special=False)

    assert ["=1+1", "1045408649593e03", "007"] == [one for one, _ in changed(cells(text), saved)]


def test_every_table_of_a_report_stays_as_it_is(finished, opened):
    reports = Path(finished.results["Report"].page).parents[1]
    for path in sorted(reports.glob("*/*.csv")):
        text = path.read_bytes().decode()
        saved = opened(text, language="en-US", special=True)

        assert text.startswith(MARK), path.name
        assert [] == changed(cells(text), saved), path.name


QUESTIONS = [name for name, each in questions().items() if all(p.default is not None for p in each.parameters)]


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_every_answer_saved_for_a_spreadsheet_stays_as_it_is(finished, opened, opened_workbook, tmp_path, ending):
    """What a spreadsheet shows of the file is what DuckDB says; a workbook's IDs are texts."""
    for name in QUESTIONS:
        rows = finished.workspace.ask(name)
        path = tmp_path / f"{name}.{ending}"
        save_rows(rows, ending, path=path)
        if rows.num_rows:
            given = [rows.column_names, *([each or "" for each in row] for part in csv_texts(rows) for row in part)]
            text = path.read_bytes().decode() if ending == "csv" else ""
            saved = opened(text, language="en-US", special=True) if ending == "csv" else opened_workbook(path)
            saved = [[cell.removeprefix("'") for cell in row] for row in saved]

            assert [] == [(one, other) for one, other in changed(given, saved) if not same_value(one, other)], name


def same_value(given: str, saved: str) -> bool:
    """Tell whether a spreadsheet shows a number or a time as it is, in its own way."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d.*", given):
        return given[:19] == saved[:19]
    try:
        return math.isclose(float(given), float(saved.replace(",", ".")), rel_tol=1e-9) or given == saved == "nan"
    except ValueError:
        return given == "nan" and saved in ("", "nan")


@pytest.fixture
def opened_workbook(tmp_path):
    """Open a workbook in LibreOffice and save it as CSV; return the cells by row."""

    def opened(path: Path) -> list[list[str]]:
        written = f"csv:Text - txt - csv (StarCalc):{COMMA},{QUOTE},{UTF_8},1,,{LANGUAGES['en-US']},false,false,false"
        profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
        command = [OFFICE, profile, "--headless", "--convert-to", written, "--outdir", tmp_path / "saved", path]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return cells((tmp_path / "saved" / f"{path.stem}.csv").read_bytes().decode())

    return opened
