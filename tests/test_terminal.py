"""What people read in a terminal: answers that fit, next steps that can be typed, messages that break between words."""

import io
import re
import shlex
from itertools import chain

import pytest

from toolkit.cli import app, main
from toolkit.console import rows as answers
from toolkit.console import show_error
from toolkit.console.fitting import BREAK
from toolkit.console.text import stderr, stdout, table, to_type
from toolkit.errors import WorkspaceError
from toolkit.formatting import TYPED
from toolkit.workspace import sql
from toolkit.workspace.answer_values import csv_texts

QUESTIONS = sql.questions()
ALONE = [name for name, each in QUESTIONS.items() if all(p.default is not None for p in each.parameters)]


@pytest.fixture
def printed(monkeypatch):
    """Return what something prints on a terminal of some width."""

    def terminal(width: int, show) -> str:
        file = io.StringIO()
        for console in (stdout, stderr):
            monkeypatch.setattr(console, "_width", width)
            monkeypatch.setattr(console, "_file", file)
        show()
        return file.getvalue()

    return terminal


@pytest.fixture(scope="module")
def asked(finished) -> dict:
    """The first rows of every question's answer, asked in this process."""
    with finished.workspace.reading():
        return {
            name: finished.workspace.read(each.text, sql.bind(each, {})).slice(0, 25)
            for name, each in QUESTIONS.items()
            if name in ALONE
        }


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("width", [80, 120])
def test_every_answer_fits_and_breaks_no_word(asked, printed, width):
    tables, broken = 0, []
    for name, rows in asked.items():
        text = printed(width, lambda rows=rows: answers.write_rows(rows, "table"))
        tables += "row 1" not in text
        shown = re.sub(r"\s+", "", text)
        for column, values in zip(
            rows.column_names, zip(*chain.from_iterable(csv_texts(rows)), strict=True), strict=False
        ):
            if column.endswith("_id") or column == "query":
                continue
            words = {piece for value in values if value for piece in BREAK.split(value)}
            broken += [(name, word) for word in words if not _number(word) and re.sub(r"\s", "", word) not in shown]

        assert width >= max(map(len, text.splitlines()), default=0), name
    assert [] == broken
    assert tables > len(ALONE) // 2


def _number(word: str) -> bool:
    return re.fullmatch(r"[-\d.e:+ ]*|nan", word) is not None


def test_what_is_the_same_in_every_row_stands_above_and_sql_is_named_below(printed):
    import pyarrow as pa

    rows = pa.table({"run_id": ["a" * 70] * 2, "value": [1, 2], "query": ["select 1", "select 2"], "empty": ["", ""]})
    text = printed(40, lambda: answers.write_rows(rows, "table"))

    assert f"run_id {'a' * 70}" in text.replace("\n", "").replace("run_id", "run_id ").replace("  ", " ")
    assert re.search(r"^value *$", text, re.MULTILINE)
    assert "without query: --format csv has it" in re.sub(r"\s+", " ", text)


def test_ids_are_shortened_only_as_far_as_they_differ(printed):
    import pyarrow as pa

    ids = ["0123456789abcdef", "0123456789abffff", "ffffffffffffffff"]
    rows = pa.table({"case_id": ids, "other_case_id": ids[::-1], "class_name": ["nevus", "melasma", "ephelis"]})
    narrow = printed(40, lambda: answers.write_rows(rows, "table"))
    wide = printed(80, lambda: answers.write_rows(rows, "table"))

    assert "0123456789abc\N{HORIZONTAL ELLIPSIS}" in narrow
    assert "0123456789abf\N{HORIZONTAL ELLIPSIS}" in narrow
    assert all(each in wide for each in ids)


def test_kinds_are_counted_before_the_rows(finished, printed):
    found = finished.workspace.rows(
        "select kind, count(*) as n from findings group by kind order by n desc, kind limit 1"
    )
    ask = ["--workspace", str(finished.workspace.folder), "query", "findings", "--set", "limit=1000"]
    with pytest.raises(SystemExit):
        printed(120, lambda: main(ask))
    first = stdout.file.getvalue().split("\n\n")[0].split(",")[0]

    assert f"{found[0]['kind'].replace('_', ' ')} {found[0]['n']}" == first


def test_a_next_step_carries_the_options_in_use_and_can_be_pasted(finished, capsys, tmp_path):
    spaced = tmp_path / "a study's folder"
    spaced.symlink_to(finished.workspace.folder)
    with pytest.raises(SystemExit):
        main(["--workspace", str(spaced), "status"])
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("next: ")]
    typed = shlex.split(line.removeprefix("next: "))

    assert ["--workspace", str(spaced), "query"] == typed[1:]
    with pytest.raises(SystemExit) as left:
        main(typed[1:])
    assert 0 == (left.value.code or 0)


@pytest.mark.parametrize(
    ("typed", "command", "expected"),
    [
        ({}, "toolkit audit", " audit"),
        ({"--workspace": "w"}, "toolkit audit", " --workspace w audit"),
        ({"--study": "my study.toml"}, "toolkit split", " --study 'my study.toml' split"),
        ({"--workspace": "w"}, "toolkit --workspace other parse", " --workspace other parse"),
    ],
)
def test_a_command_of_ours_is_typed_with_the_options_that_stood_before(typed, command, expected):
    token = TYPED.set(typed)
    try:
        assert to_type(command).endswith(expected)
    finally:
        TYPED.reset(token)


def test_a_table_breaks_names_at_underscores_and_headings_of_numbers_at_spaces(printed):
    made = table("name", ">patients for 0.05", "method")
    made.add_row("acquired_dermal_melanocytosis", "1 687", "Wilson, effective size by patient")
    text = printed(40, lambda: stdout.print(made))

    assert 40 >= max(map(len, text.splitlines()))
    words = set(text.split())

    assert {"acquired_", "dermal_", "melanocytosis", "effective"} <= words
    assert not re.search(r"patie\b|metho\b", text)


def test_a_table_without_room_for_its_words_is_still_whole(printed):
    made = table("name", "other")
    made.add_row("x" * 30, "y" * 30)
    text = printed(20, lambda: stdout.print(made))

    assert (30, 30) == (text.count("x"), text.count("y"))


def test_messages_break_between_words_on_a_terminal_and_nowhere_else(printed, monkeypatch):
    path = "/a/folder/" + "long-" * 20 + "name.json"
    error = WorkspaceError(
        "there is no readable certificate in this folder, or it is another's", place=path, remedy="x"
    )
    monkeypatch.setattr(stderr, "_force_terminal", True)
    narrow = re.sub(r"\x1b\[[\d;]*m", "", printed(40, lambda: show_error(error)))
    monkeypatch.setattr(stderr, "_force_terminal", False)
    piped = printed(40, lambda: show_error(error))

    assert path in narrow
    assert "error: there is no readable certificate\n         in this folder, or it is\n         another's\n" in narrow
    assert f"error: {error.problem}\n  where: {path}\n  next:  x\n" == piped


@pytest.mark.soak
def test_report_does_not_repeat_what_evaluate_prints(finished, capsys):
    with pytest.raises(SystemExit):
        main(["--workspace", str(finished.workspace.folder), "report"])
    out = capsys.readouterr().out

    assert "checks" in out
    assert "over all classes" not in out


def commands_of(page: str) -> list[str]:
    """Return the toolkit's commands in the code blocks of a page, as they stand there."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.split()]
    return [line for line in lines if line.split()[0] in ("toolkit", "tk", ".venv/bin/toolkit")]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/tutorial.md", "docs/review.md", "docs/attach.md", "docs/privacy.md"]
)
def test_every_command_of_a_page_has_only_options_that_there_are(page, pytestconfig):
    commands = commands_of((pytestconfig.rootpath / page).read_text(encoding="utf-8"))
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        while words and words[0] in ("--workspace", "--study"):
            words = words[2:]
        command, _, _ = app.parse_args(words, exit_on_error=False, print_error=False)

        assert callable(command), line
    assert commands or page != "docs/tutorial.md"
