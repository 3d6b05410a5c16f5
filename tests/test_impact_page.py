"""The page of a review's impact: what it says, that it says the same everywhere, and what it must not say."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from queues import QUEUE, a_queued_registry, reviewed
from registries import HOSTILE

from toolkit.console import print_results
from toolkit.csv_files import MARK, columns_of, read_csv
from toolkit.files import SUMS
from toolkit.formatting import counted_by, estimate_note, interval, proportion, signed
from toolkit.pipeline import impact_with_page

FORMULA = re.compile(r'(?:^|[,\n])"?[=+@\t\r＝＋－＠]', re.MULTILINE)
VERDICTS = (("0007", "r-1", "nevus"), ("0006", "r-1", "malignant_melanoma"), ("0000", "r-2", "keratosis"))


class Tables(HTMLParser):
    """The cells of every table by its label, its rows as lists of texts; SQL panels; all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.statements: list[str] = []
        self.links: list[str] = []
        self.label, self.inside, self.words = "", "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [named[name] for name in ("href", "src") if name in named]
        self.inside = tag if tag in ("pre", "style", "script", "th", "td") else self.inside
        if named.get("role") == "region":
            self.label = named["aria-label"]
            self.tables[self.label] = []
        elif tag == "tr":
            self.tables[self.label].append([])
        elif tag in ("th", "td"):
            self.tables[self.label][-1].append("")
        elif tag == "pre":
            self.statements.append("")

    def handle_data(self, data):
        if self.inside in ("th", "td"):
            self.tables[self.label][-1][-1] += data
        elif self.inside == "pre":
            self.statements[-1] += data
        if self.inside not in ("style", "script", "pre"):
            self.words += data

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def texts(self, label: str) -> list[list[str]]:
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[f"{label}, table"][1:]]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A review half done: what became of it, what it changes, the page, and the page's parts."""
    workspace, study = a_queued_registry(tmp_path_factory.mktemp("impact"))
    reviewed(workspace, *VERDICTS)
    review, impact, page = impact_with_page(workspace, study)
    text = Path(page.page).read_text(encoding="utf-8")
    return workspace, review, impact, page, text, Tables(text)


def table(page, name: str) -> list[dict[str, str]]:
    return read_csv(Path(page.page).parent / name)


def test_the_page_says_first_what_was_found_and_what_it_changes(written):
    _, review, impact, _, text, page = written
    words = " ".join(page.words.split())
    before, after = (
        next(row for row in impact.of_run.scores if row["metric"] == "macro_f1")[n] for n in ("before", "reviewed")
    )
    [proposed, drawn] = review.groups

    assert "confirmed 1 label and changed 2; 3 cases have not been reviewed" in words
    assert f"{proposed['harm_per_50']:.1f} among the cases proposed and {drawn['harm_per_50']:.1f} among" in words
    assert f"goes from {proportion(before)} to {proportion(after)} ({signed(after - before)}); 2 labels there" in words
    [rate, corrected] = impact.estimates  # both lie outside their intervals: the ranked part rules them out
    bounds = [f"between {proportion(row['low'])} and {proportion(row['high'])}" for row in (rate, corrected)]
    assert f"a share {bounds[0]} is wrong (95% interval)" in words
    assert "by 1 patient drawn at random, of 12: too few patients to tell" in words
    assert f"With all labels corrected the accuracy on the test set lies {bounds[1]}" in words
    assert text.index("goes from") < text.index("<main")


def test_page_csv_and_json_say_the_same(written, capsys):
    _, review, impact, written_page, _, page = written
    print_results([review, impact, written_page])
    document = json.loads(capsys.readouterr().out)
    scores, estimates, candidates = (
        table(written_page, f"{name}.csv") for name in ("scores", "estimates", "candidates")
    )
    names = ("before", "reviewed", "suggested")

    for row, told, of_file in zip(impact.of_run.scores, document["impact"]["of_run"]["scores"], scores, strict=True):
        values = [math.nan if told[name] is None else told[name] for name in names]
        assert [float(of_file[name]) for name in names] == pytest.approx(values, nan_ok=True, abs=0)
        assert [row[name] for name in names] == pytest.approx(values, nan_ok=True, abs=0)
    overall = [row for row in impact.of_run.scores if row["class_name"] is None]
    for cells, row in zip(page.texts("Scores over all classes"), overall, strict=True):
        changes = [signed(row[name] - row["before"]) for name in names[1:]]
        assert [
            proportion(row["before"]),
            proportion(row["reviewed"]),
            changes[0],
            proportion(row["suggested"]),
            changes[1],
        ] == cells[1:]
    for cells, row, of_file in zip(page.texts("Estimates for all labels"), impact.estimates, estimates, strict=True):
        assert [proportion(row["value"]), interval(row["low"], row["high"])] == [cells[1].rstrip("†"), cells[2]]
        assert row["value"] == float(of_file["value"])
    assert [row["case_id"] for row in impact.of_run.candidates] == [row["case_id"] for row in candidates]
    assert [signed(row["contribution"]) for row in impact.of_run.candidates] == [
        row[-1] for row in page.texts("Labels that matter most")
    ]


def test_every_table_is_what_its_sql_gives(written):
    workspace, review, impact, _, _, page = written
    groups, changes, reviewers, scores, candidates, estimates = (
        workspace.sql(statement).to_pylist() for statement in page.statements
    )
    known = {(row["metric"], row["class_name"]): row for row in scores}

    assert review.groups == [{name: row[name] for name in review.groups[0]} for row in groups]
    assert review.changes == {f"{row['class_name']} → {row['changed_to']}": row["cases"] for row in changes}
    assert review.reviewers == [{name: row[name] for name in review.reviewers[0]} for row in reviewers]
    for row in impact.of_run.scores:
        value = known.get((row["metric"], row["class_name"]), {"reviewed": None})["reviewed"]
        assert row["reviewed"] == pytest.approx(math.nan if value is None else value, nan_ok=True)
    for row, by_sql in zip(impact.estimates, estimates, strict=True):
        assert all(row[name] == pytest.approx(value) for name, value in by_sql.items())
    told = {row["case_id"]: (row["outcome"], row["changed_to"], row["predicted"]) for row in impact.of_run.candidates}
    assert told == {row["case_id"]: (row["outcome"], row["changed_to"], row["predicted"]) for row in candidates}


def test_the_page_stands_by_itself_and_hostile_text_stays_text(written):
    _, _, _, written_page, text, page = written

    assert HOSTILE not in text
    assert "<img" not in text
    assert [] == [link for link in page.links if re.match(r"[a-z]+:|//|/", link)]
    assert "example.org" not in text
    for path in Path(written_page.page).parent.glob("*.csv"):
        content = path.read_bytes().decode()
        assert content.startswith(MARK), path
        assert not FORMULA.search(content.removeprefix(MARK)), path


def test_neither_page_nor_files_tell_who_was_drawn_at_random(written):
    """Case 0010 is one that nobody has reviewed, of a patient drawn at random: reviews may go on."""
    _, _, _, written_page, *_ = written
    texts = [Path(file).read_text(encoding="utf-8") for file in written_page.files if not file.endswith(SUMS)]

    assert [] == [text for text in texts if "0010" in text or "p-8" in text]
    assert "drawn_from" not in {column for text in texts if text.startswith(MARK) for column in columns_of(text)}


def test_every_column_has_its_meaning(written):
    _, _, _, page, *_ = written
    meanings = {(row["file"], row["column"]): row["meaning"] for row in table(page, "data_dictionary.csv")}
    files = [Path(name) for name in page.files if name.endswith(".csv")]

    assert {(file.name, column) for file in files for column in columns_of(file.read_text())} == set(meanings)
    assert [] == [column for column, meaning in meanings.items() if not meaning]


def test_the_index_links_it(written):
    workspace, *_ = written

    assert f'href="impact-{QUEUE}/index.html"' in (workspace.reports / "index.html").read_text(encoding="utf-8")


@pytest.mark.soak
def test_before_a_review_and_without_a_run_the_page_says_so(tmp_path):
    workspace, study = a_queued_registry(tmp_path)
    *_, page = impact_with_page(workspace, study)
    untouched = " ".join(Tables(Path(page.page).read_text(encoding="utf-8")).words.split())
    for name in ("scores", "predictions", "epochs", "runs"):
        with workspace.writing() as connection:
            connection.execute(f"delete from {name}")
    *_, page = impact_with_page(workspace, study)
    without_a_run = " ".join(Tables(Path(page.page).read_text(encoding="utf-8")).words.split())

    assert "Nobody has reviewed any of them yet." in untouched
    assert "no patient drawn at random has been reviewed whole" in untouched
    assert "There is no run yet whose scores could change" in without_a_run
    assert not (Path(page.page).parent / "scores.csv").exists()


def test_without_patient_identifiers_photographs_are_counted_and_no_pseudonym_is_shown(tmp_path):
    workspace, study = a_queued_registry(tmp_path)
    reviewed(workspace, *VERDICTS)
    with workspace.writing() as connection:
        connection.execute("update label_states set patient_from = 'none'")
    *_, page = impact_with_page(workspace, study)
    text = Path(page.page).read_text(encoding="utf-8")

    assert "1 photograph drawn at random" in text
    assert "patient" not in " ".join(Tables(text).words.split()).lower()
    assert "p-5" not in text
    assert "patient_id" not in table(page, "candidates.csv")[0]


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ({"cases": 0}, "no patient drawn at random has been reviewed whole yet"),
        ({"patients": 19, "too_few": True}, "too few patients to tell"),
        ({"value": 0.1}, "the value lies outside its interval, since what is known of the ranked part rules it out"),
        ({}, ""),
    ],
)
def test_what_limits_an_estimate_is_said(row, note):
    told = {"cases": 9, "patients": 20, "too_few": False, "value": 0.3, "low": 0.2, "high": 0.4}

    with counted_by(patients_known=True):
        assert note == estimate_note(told | row)
