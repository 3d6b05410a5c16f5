"""The page of a study's progress: its numbers against pandas; studies without dates, annotators or queues."""

import itertools
import os
import re
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from queues import a_queue, reviewed
from registries import HOSTILE, a_registry, a_study

from toolkit.csv_files import read_csv
from toolkit.formatting import interval, proportion
from toolkit.pipeline import audit_with_page
from toolkit.stages.report.progress_page import period_of, progress_page
from toolkit.stats.intervals import Share, clustered_wilson

MONDAY = datetime(2026, 1, 5, 9)  # noqa: DTZ001 - the registry keeps UTC without a zone


class Page(HTMLParser):
    """The tables of a page by label, its sentences under the charts by section, SQL panels, links and figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.says: dict[str, str] = {}
        self.notes: list[str] = []
        self.statements: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.section, self.label, self.inside = "", "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self.links += [named[name] for name in ("href", "src") if name in named]
        if tag == "section":
            self.section = named["id"]
        elif named.get("role") == "region":
            self.label = named["aria-label"].removesuffix(", table")
        elif tag == "table":
            self.tables[self.label] = []
        elif tag == "tr":
            self.tables[self.label].append([])
        elif tag in ("th", "td"):
            self.tables[self.label][-1].append("")
        elif tag == "pre":
            self.statements.append("")
        self.inside = {"p": named.get("class", "p")}.get(tag, tag)

    def handle_data(self, data):
        if self.inside in ("th", "td"):
            self.tables[self.label][-1][-1] += data
        elif self.inside == "pre":
            self.statements[-1] += data
        elif self.inside == "says":
            self.says[self.section] = self.says.get(self.section, "") + " ".join(data.split())
        elif self.inside == "small" and self.section:
            self.notes.append(data)

    def handle_endtag(self, tag):
        self.inside = "td" if tag == "sup" else ""


def shown(written) -> tuple[Page, dict[str, list[dict[str, str]]]]:
    folder = Path(written.page).parent
    names = ("labels", "still_to_do", "agreement", "queues")
    return Page(Path(written.page).read_text(encoding="utf-8")), {n: read_csv(folder / f"{n}.csv") for n in names}


@pytest.fixture(scope="module")
def of_sample(finished):
    written = progress_page(finished.workspace, finished.study_file.study)
    return written, *shown(written)


@pytest.fixture(scope="module")
def frames(finished):
    names = ("labels", "readings", "cases", "truth", "queue_items")
    return {name: pd.DataFrame(finished.workspace.rows(f"select * from {name}")) for name in names}


def monday(times: pd.Series) -> pd.Series:
    return (times.dt.normalize() - pd.to_timedelta(times.dt.day_of_week, unit="D")).dt.strftime("%Y-%m-%d")


def counted_labels(frames) -> pd.DataFrame:
    labels = frames["labels"]
    return labels[(labels.kind == "label") & labels.in_study & labels.latest & labels.deleted_by.isna()]


def test_labels_by_week_and_annotator_are_those_of_pandas(of_sample, frames):
    _, page, tables = of_sample
    labels = counted_labels(frames)
    groups = labels.assign(week=monday(labels.created_at)).groupby(["week", "annotator"])
    expected = [
        [week, who, len(own), int(own.skipped.fillna(value=False).sum()), 0, own.image_id.nunique()]
        for (week, who), own in groups
    ]
    names = ("period", "annotator", "labels", "skipped", "verdicts", "photographs")

    assert [[str(cell) for cell in row] for row in expected] == [[row[n] for n in names] for row in tables["labels"]]
    assert [[str(cell) for cell in row] for row in expected] == page.tables["Labels by annotator over time"][1:]


def test_the_sentence_on_labels_tells_all_the_busiest_week_and_the_days(of_sample, frames):
    written, page, _ = of_sample
    labels = counted_labels(frames)
    weeks = monday(labels.created_at).value_counts()
    busiest = min(weeks[weeks == weeks.max()].index)
    first, last = (f"{each:%Y-%m-%d}" for each in (labels.created_at.min(), labels.created_at.max()))

    assert (
        f"{labels.annotator.nunique()} annotators made {len(labels)} labels from {first} to {last}; "
        f"the most, {weeks.max()}, in the week of {busiest}." == page.says["labels"]
    )
    assert len(labels) == written.labels


def test_what_is_left_is_told_by_state_reason_and_class(of_sample, frames):
    _, page, tables = of_sample
    cases = frames["cases"].merge(frames["truth"], on="case_id")
    opened = cases[cases.class_name.isna()]
    states = np.where(opened.unread.isna(), "no reference diagnosis", "no reading")
    expected = {
        (state, reason, ""): (len(own), own.patient_id.nunique())
        for (state, reason), own in opened.groupby([states, "resolved_by"])
    }
    items = frames["queue_items"]  # nobody has reviewed any
    for name, own in items.groupby("class_name"):
        expected["not reviewed", "", name] = (len(own), own.patient_id.nunique())
    got = {
        (r["state"], r["reason"], r["class_name"]): (int(r["cases"]), int(r["patients"])) for r in tables["still_to_do"]
    }
    unread, tied = (states == "no reading").sum(), (states != "no reading").sum()

    assert expected == got
    assert len(tables["still_to_do"]) == len(page.tables["Cases that are still to do"]) - 1
    assert page.says["left"].startswith(f"{unread} cases have no reading, {tied} case has readings but no reference")
    assert page.says["left"].endswith(
        f"and {len(items)} cases have not been reviewed, of {len(items)} in the newest queue."
    )


def pairs_of(frames) -> pd.DataFrame:
    labels = frames["labels"][["label_id", "revision", "updated_at", "created_at", "project_id"]]
    said = (
        frames["readings"].merge(labels, on=["label_id", "revision"]).merge(frames["cases"][["case_id", "patient_id"]])
    )
    said = said.assign(said_at=said.updated_at.fillna(said.created_at))
    rows = []
    for case_id, own in said.groupby("case_id"):
        for one, other in itertools.combinations(own.itertuples(), 2):
            time = max(one.said_at, other.said_at)
            rows.append((case_id, one.patient_id, time, one.class_name == other.class_name))
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "said_at", "is_equal"])


def test_agreement_by_week_is_that_of_every_pair_of_readings_with_an_interval_by_patient(of_sample, frames, finished):
    _, page, tables = of_sample
    pairs = pairs_of(frames)
    confidence = finished.study_file.study.evaluate.confidence

    assert 6 == len(tables["agreement"])
    assert len(pairs) == sum(int(row["pairs"]) for row in tables["agreement"])
    for row, cells in zip(tables["agreement"], page.tables["Agreement of annotators over time"][1:], strict=True):
        own = pairs[monday(pairs.said_at) == row["period"]]
        by_patient = own.groupby("patient_id").is_equal.agg(["sum", "count"]).to_numpy(dtype=float)
        low, high = clustered_wilson(Share(*by_patient.T), confidence=confidence)
        values = [float(row[name]) for name in ("agreement", "low", "high", "pairs", "cases", "patients")]
        assert [own.is_equal.mean(), low, high, len(own), own.case_id.nunique(), len(by_patient)] == pytest.approx(
            values
        )
        assert [proportion(own.is_equal.mean()), interval(low, high)] == [cells[1].rstrip("†"), cells[2]]
    by_patient = pairs.groupby("patient_id").is_equal.agg(["sum", "count"]).to_numpy(dtype=float)
    over_all = interval(*clustered_wilson(Share(*by_patient.T), confidence=confidence))
    support = f"{len(pairs)} pairs of readings of {len(by_patient)} patients"
    assert f"{proportion(pairs.is_equal.mean())} ({over_all}) of {support}" in page.says["agreement"]


def test_every_table_is_what_its_sql_gives(of_sample, finished):
    _, page, tables = of_sample
    names = ("labels", "still_to_do", "agreement", "queues")

    assert 4 == len(page.statements)
    for name, statement in zip(names, page.statements, strict=True):
        rows = finished.workspace.sql(statement).to_pylist()
        assert len(rows) == len(tables[name])
        for row, of_file in zip(rows, tables[name], strict=True):
            shared_columns = set(row) & set(of_file) - {"made_at"}
            texts = {n: "" if row[n] is None else str(row[n]) for n in shared_columns}
            assert texts == {n: of_file[n] for n in shared_columns}


def test_each_chart_has_one_sentence_a_note_of_three_lines_and_a_file(of_sample):
    written, page, _ = of_sample
    charts = {"labels", "left", "agreement", "queues"}

    assert charts == set(page.says)
    assert all(1 == len(re.findall(r"\.(?:\s|$)", says)) and says.endswith(".") for says in page.says.values())
    assert 4 == len([note for note in page.notes if 3 == len(note.strip().splitlines())])
    assert 4 == page.tags.count("figure")
    assert charts == {Path(file).stem for file in written.files if file.endswith(".svg")}
    assert {"../index.html"} == {link for link in page.links if not link.startswith("#")}


def test_the_same_registry_gives_the_same_bytes(finished):
    first = progress_page(finished.workspace, finished.study_file.study)
    sums = Path(first.files[-1]).read_bytes()
    Path(first.files[0]).unlink()  # else the page would be kept
    again = progress_page(finished.workspace, finished.study_file.study)

    assert sums == Path(again.files[-1]).read_bytes()
    assert "SHA256SUMS" == Path(first.files[-1]).name


def test_audit_writes_the_page_and_the_index_lists_it(copied, finished):
    results = {type(each).__name__ for each in audit_with_page(copied, finished.study_file)}
    index = (copied.reports / "index.html").read_text(encoding="utf-8")

    assert {"Audit", "ProgressPage", "AuditPage"} == results
    assert '<a href="progress/index.html">Progress' in index
    assert (copied.reports / "progress" / "index.html").is_file()


def written_at(copied, finished) -> dict[str, int]:
    """Audit again, and return when each page was written."""
    list(audit_with_page(copied, finished.study_file))
    return {name: (copied.reports / name / "index.html").stat().st_mtime_ns for name in ("audit", "progress")}


@pytest.mark.soak
def test_an_audit_repeated_without_changes_writes_nothing(copied, finished):
    first, registry = written_at(copied, finished), copied.registry.read_bytes()

    assert first == written_at(copied, finished)
    assert registry == copied.registry.read_bytes()


@pytest.mark.soak
def test_a_page_is_written_anew_where_a_label_a_photograph_or_one_of_its_files_is_another(own_photographs, finished):
    first = written_at(own_photographs, finished)
    (suspect,) = own_photographs.rows(
        "select path from findings join cases using (case_id) join images using (image_id) limit 1"
    )
    photograph = Path(suspect["path"])
    times = photograph.stat()
    os.utime(photograph, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    second = written_at(own_photographs, finished)
    os.utime(photograph, ns=(times.st_atime_ns, times.st_mtime_ns))
    (own_photographs.reports / "progress" / "labels.csv").write_text("changed")
    third = written_at(own_photographs, finished)
    with own_photographs.writing() as connection:
        connection.execute("delete from labels where label_id = (select min(label_id) from labels)")
    fourth = written_at(own_photographs, finished)

    assert (True, False) == (first["audit"] < second["audit"], first["progress"] < second["progress"])
    assert second["progress"] < third["progress"] < fourth["progress"]


def small(folder, *updates: str):
    """Return the page of a small registry after SQL that changes its tables."""
    study = a_study()
    workspace = a_registry(folder, study)
    with workspace.writing() as connection:
        for update in updates:
            connection.execute(update)
    written = progress_page(workspace, study)
    return written, *shown(written)


DATED = f"update labels set annotator = 'a-1', created_at = timestamp '{MONDAY}'"
LATER = f"update labels set created_at = timestamp '{MONDAY + timedelta(days=6 * 365)}' where label_id = 'label-0'"
AGAIN = """
insert into labels by name
select * replace (label_id || '-again' as label_id, 'a-2' as annotator)
from labels where image_id in ('image-0', 'image-1')
"""
READ_AGAIN = """
insert into readings by name
select * replace (
    'label-' || case_id::int || '-again' as label_id, 'a-2' as annotator,
    if(case_id = '0001', 'keratosis', class_name) as class_name
)
from readings where case_id in ('0000', '0001')
"""
FIRST_READINGS = "update readings set annotator = 'a-1'"


def test_labels_without_dates_are_counted_and_not_drawn(tmp_path):
    written, page, tables = small(tmp_path, "update labels set annotator = 'a-1'")

    assert "1 annotator made 14 labels, none of which has a date." == page.says["labels"]
    assert [("", "a-1", "14")] == [(r["period"], r["annotator"], r["labels"]) for r in tables["labels"]]
    assert "no date" == page.tables["Labels by annotator over time"][1][0]
    assert not any("labels.svg" in file for file in written.files)
    assert "week" == written.period


def test_annotators_who_are_not_known_are_called_so(tmp_path):
    _, page, tables = small(tmp_path, f"update labels set created_at = timestamp '{MONDAY}'")

    assert page.says["labels"].startswith(
        "Annotators who are not known made 14 labels from 2026-01-05 to 2026-01-05, all in"
    )
    assert ["not known"] == [row["annotator"] for row in tables["labels"]]
    assert page.says["agreement"].endswith("undefined (n = 0 pairs of readings).")


def test_a_single_week_is_told_as_one(tmp_path):
    _, page, tables = small(tmp_path, DATED)

    assert (
        "1 annotator made 14 labels from 2026-01-05 to 2026-01-05, all in the week of 2026-01-05."
        == page.says["labels"]
    )
    assert ["2026-01-05"] == [row["period"] for row in tables["labels"]]


def test_a_week_in_which_nobody_read_again_has_an_undefined_agreement_with_its_support(tmp_path):
    _, page, tables = small(tmp_path, DATED)

    assert [("nan", "nan", "nan", "0", "0")] == [
        tuple(row[name] for name in ("agreement", "low", "high", "pairs", "patients")) for row in tables["agreement"]
    ]
    assert ["2026-01-05", "–", "no interval", "0", "0", "0"] == page.tables["Agreement of annotators over time"][1]


@pytest.mark.soak
def test_agreement_counts_each_pair_and_leaves_verdicts_out(tmp_path):
    verdict = "update labels set project_id = 'review' where label_id = 'label-1-again'"
    _, page, tables = small(tmp_path / "all", DATED, FIRST_READINGS, AGAIN, READ_AGAIN)
    _, _, of_annotators = small(tmp_path / "without", DATED, FIRST_READINGS, AGAIN, READ_AGAIN, verdict)

    assert [("0.5", "2", "2")] == [(r["agreement"], r["pairs"], r["patients"]) for r in tables["agreement"]]
    assert "in 0.500 (" in page.says["agreement"]
    assert [("1.0", "1", "1")] == [(r["agreement"], r["pairs"], r["patients"]) for r in of_annotators["agreement"]]
    assert ["0", "1"] == [row["verdicts"] for row in of_annotators["labels"]]


def test_six_years_are_told_by_month_and_the_page_says_so(tmp_path):
    written, page, tables = small(tmp_path, DATED, LATER)

    assert "month" == written.period
    assert ["2026-01-01", "2032-01-01"] == [row["period"] for row in tables["labels"]]
    assert "months are shown, since the labels span more than a year" in page.says["labels"]
    assert ["2026-01-01", "2032-01-01"] == [row["period"] for row in tables["agreement"]]


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, "week"), (371, "week"), (372, "month"), (5 * 366, "month"), (3652, "month"), (3660, "year")],
)
def test_a_period_is_as_long_as_the_labels_need(days, expected):
    assert expected == period_of(date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=days))
    assert "week" == period_of(None, None)


def test_without_a_label_and_a_queue_the_page_says_what_there_is_not(tmp_path):
    written, page, tables = small(tmp_path, "delete from labels", "delete from readings")

    assert "Nobody has made a label yet." == page.says["labels"]
    assert "There is no review queue yet: toolkit queue makes one." == page.says["queues"]
    assert page.says["left"].startswith("Nothing is left to do: 14 cases have a reading and a reference diagnosis")
    assert [] == [row for rows in tables.values() for row in rows]
    assert [] == [file for file in written.files if file.endswith(".svg")]


def test_outcomes_are_those_of_every_queue(tmp_path):
    study = a_study()
    workspace = a_registry(tmp_path, study)
    a_queue(workspace)
    reviewed(workspace, ("0007", "r-1", "nevus"), ("0000", "r-2", "nevus"), ("0001", "r-2", None))
    page, tables = shown(progress_page(workspace, study))
    names = ("cases", "confirmed", "changed", "cannot_tell", "untouched")

    assert [("6", "1", "1", "1", "3")] == [tuple(row[name] for name in names) for row in tables["queues"]]
    assert (
        "Of 6 cases in 1 queue 1 was confirmed and 1 changed, 1 is undecided, and 3 have not been reviewed."
        == page.says["queues"]
    )
    assert 3 == sum(int(row["cases"]) for row in tables["still_to_do"])


def test_a_study_without_patients_counts_photographs(tmp_path):
    _, page, tables = small(
        tmp_path, DATED, FIRST_READINGS, AGAIN, READ_AGAIN, "update label_states set patient_from = 'none'"
    )
    text = " ".join([*page.says.values(), *page.notes, *(cell for rows in page.tables.values() for cell in rows[0])])

    assert "of readings of 2 photographs" in page.says["agreement"]
    assert not re.search(r"\bpatients?\b", text)
    assert "patients" not in {name for rows in tables.values() for row in rows for name in row}


def test_hostile_names_stay_text(tmp_path):
    hostile = HOSTILE.replace("'", "''")
    written, page, _ = small(tmp_path, DATED, f"update labels set annotator = '{hostile}' where label_id = 'label-0'")
    text = Path(written.page).read_text(encoding="utf-8")

    assert HOSTILE not in text
    assert "img" not in page.tags
