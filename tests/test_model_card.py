"""The model card of a run: its numbers against the registry, hostile text, what others get, what is left to authors."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from registries import HOSTILE

from toolkit.formatting import interval, metric_name, proportion, spoken, support
from toolkit.manifest.evaluation import ReportingSection
from toolkit.stages.report import guidelines, model_card, report
from toolkit.stages.report.card_tables import LEFT_OUT, OF_CLASSES
from toolkit.stages.report.facts import gather
from toolkit.stages.report.sharing import shared

MITCHELL = [
    *("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data"),
    *("Quantitative analyses", "Ethical considerations", "Caveats and recommendations"),
]


class Card(HTMLParser):
    """Headings, tables by caption, SQL panels, links and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside, self.label, self.panel = "", "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        self.links += [named[name] or "" for name in ("href", "src") if name in named]
        self.panel = self.panel or tag == "details"
        if named.get("role") == "region":
            self.label = (named["aria-label"] or "").partition(": ")[2].removesuffix(", table")
            self.tables[self.label] = []
        elif tag == "tr":
            self.tables[self.label].append([])
        elif tag in ("th", "td"):
            self.tables[self.label][-1].append("")
        self.inside = tag

    def handle_data(self, data):
        if self.inside in ("th", "td"):
            self.tables[self.label][-1][-1] += data
        elif self.inside == "h2":
            self.headings.append(data)

    def handle_endtag(self, _):
        self.inside = ""


def tables_of_markdown(text: str) -> dict[str, list[list[str]]]:
    """The rows of every table under its bold caption, unescaped, without the rule."""
    tables: dict[str, list[list[str]]] = {}
    caption = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"\*\*(.+)\*\*", line):
            caption = found[1]
        elif line.startswith("| "):
            cells = [re.sub(r"\\(.)", r"\1", cell) for cell in line[2:-2].split(" | ")]
            tables.setdefault(caption, []).append(cells)
    return {name.replace("\\", ""): [row for row in rows if set(row[0]) != {"-"}] for name, rows in tables.items()}


@pytest.fixture(scope="module")
def facts(finished):
    return gather(finished.workspace, finished.study_file.study, finished.run_id)


@pytest.fixture(scope="module")
def folder(finished) -> Path:
    return Path(finished.results["Report"].page).parent


@pytest.fixture(scope="module")
def texts(folder) -> tuple[str, str]:
    return tuple((folder / f"model_card.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))


def card_of(finished, facts, study=None):
    study = study or finished.study_file.study
    card = model_card.model_card(facts, study, guidelines.filled(finished.workspace, study, facts))
    return card, model_card.markdown(card, facts.run["run_id"]), model_card.page(card, facts, study).decode()


def test_the_card_has_the_sections_of_model_cards_in_their_order(texts):
    markdown, page = texts

    assert MITCHELL == [section["heading"] for section in model_card.listed()]
    assert MITCHELL == re.findall(r"^## (.+)$", markdown, re.MULTILINE)[:-1]
    assert MITCHELL == Card(page).headings
    assert "doi:10.1145/3287560.3287596" in page


def test_every_score_stands_with_its_interval_its_support_and_its_label_revision(finished, texts):
    scores = pd.DataFrame(finished.workspace.rows("select * from scores where part = 'test'"))
    scores = scores[scores.run_id == finished.run_id]
    [truth_id] = scores.truth_id.unique()
    overall = scores[scores.class_name.isna() & ~scores.metric.str.startswith(LEFT_OUT)].sort_values("metric")
    of_classes = scores[scores.metric.isin(OF_CLASSES) & scores.class_name.notna()].set_index(["class_name", "metric"])
    for tables in (tables_of_markdown(texts[0]), Card(texts[1]).tables):
        rows = tables[f"Scores over all classes, test set; reference diagnoses {truth_id}"][1:]
        assert len(overall) == len(rows) > 10
        for cells, score in zip(rows, overall.itertuples(), strict=True):
            expected = [metric_name(score.metric), *numbers(score)]
            assert expected == [cell.rstrip("†") for cell in cells[:4]]
        rows = tables[f"Scores of each class against all others, test set; reference diagnoses {truth_id}"][1:]
        expected = [
            [spoken(name), metric_name(metric), *numbers(of_classes.loc[name, metric])]
            for name in finished.study_file.study.class_names
            for metric in OF_CLASSES
            if (name, metric) in of_classes.index
        ]
        assert expected == [[cell.rstrip("†") for cell in cells[:5]] for cells in rows]


def numbers(score) -> list[str]:
    return [proportion(score.value), interval(score.low, score.high), support(int(score.cases), int(score.patients))]


def test_counts_of_evaluation_and_training_data_are_those_of_the_split(finished, texts):
    rows = finished.workspace.rows("select * from splits inner join cases using (case_id)")
    placed = pd.DataFrame(rows)
    placed = placed[placed.split_id == finished.results["Split"].split_id]
    tables = tables_of_markdown(texts[0])
    [cells] = [rows for caption, rows in tables.items() if caption.startswith("Cases by class")]
    told = {(row[0], row[1]): row[2] for row in cells if row[0] != "subset"}
    expected = {}
    for part, words in (("test", "test set"), ("train", "training set"), ("validation", "validation set")):
        own = placed[placed.part == part]
        expected[words, "all"] = support(len(own), own.patient_id.nunique())
        for name, of_class in own.groupby("class_name"):
            expected[words, spoken(name)] = support(len(of_class), of_class.patient_id.nunique())

    assert expected == told


@pytest.mark.soak
def test_groups_and_operating_points_are_those_of_their_questions(finished, texts):
    groups = [
        row
        for metric in ("accuracy", "macro_recall")
        for row in finished.workspace.ask("groups", run=finished.run_id, metric=metric).to_pylist()
        if metric == "accuracy" or not row["refused"]
    ]
    points = finished.workspace.ask("operating_points", run=finished.run_id, part="test").to_pylist()
    tables = tables_of_markdown(texts[0])
    [of_groups] = [rows[1:] for caption, rows in tables.items() if caption.startswith("Groups of cases")]
    [of_points] = [rows[1:] for caption, rows in tables.items() if caption.startswith("Operating points")]

    assert [proportion(row["value"]) for row in groups] == [cells[2].rstrip("†") for cells in of_groups]
    assert [support(row["cases"], row["patients"]) for row in groups] == [cells[4] for cells in of_groups]
    assert len([row for row in groups if row["refused"]]) == len([c for c in of_groups if "not scored" in c[3]])
    assert [proportion(row["threshold"]) for row in points] == [cells[2] for cells in of_points]
    assert [interval(row["low"], row["high"]) for row in points] == [cells[4] for cells in of_points]


def test_every_number_of_the_page_has_sql_that_gives_it(finished, facts):
    card, _, _ = card_of(finished, facts)
    tables = [table for section in card.sections for table in section.tables]
    [overall] = [table for table in tables if table.caption.startswith("Scores over all")]
    by_name = {
        metric_name(score.metric): score
        for (part, _, name), score in facts.scores.items()
        if part == "test" and not name
    }

    assert 6 == len(tables)
    for table in tables:
        assert finished.workspace.sql(table.query.text).num_rows
    for row in overall.rows:
        [value] = finished.workspace.read(row.query).column("value").to_pylist()
        assert by_name[row.cells[0]].value == pytest.approx(math.nan if value is None else value, nan_ok=True)


def test_what_only_the_author_can_say_is_marked_and_taken_from_the_study_file_where_it_is(finished, facts):
    study = finished.study_file.study
    empty = study.model_copy(update={"reporting": ReportingSection()})
    told = study.model_copy(update={"reporting": ReportingSection(intended_use="Triage by dermatologists.")})
    use = "What it is for, and who is to use it"
    items = [
        {item.asks: item for section in card_of(finished, facts, each)[0].sections for item in section.items}
        for each in (empty, told)
    ]

    assert "To be written by the author: [reporting] intended_use of the study file." == items[0][use].left
    assert ("", ["Triage by dermatologists."]) == (items[1][use].left, items[1][use].written)
    assert "To be written by the author." == items[0]["Licence"].left
    assert all(item.left or item.facts or item.written for item in items[0].values())


def test_the_list_of_sections_names_only_facts_and_fields_that_there_are():
    items = [item for section in model_card.listed() for item in section["items"]]

    assert {fact for item in items for fact in item.get("facts", [])} <= set(guidelines.listed()["facts"])
    assert {field for item in items for field in item.get("fields", [])} <= set(ReportingSection.model_fields)


def test_the_front_matter_says_what_was_recorded_and_no_licence(texts, facts):
    _, front, _ = texts[0].split("---\n", 2)
    lines = front.splitlines()
    values = [json.loads(line.removeprefix("  - ")) for line in lines if line.startswith("  - ")]

    assert texts[0].startswith("---\n")
    assert "library_name: transformers" in lines
    assert {"lesion-toolkit", facts.record.model.backend, "accuracy", "recall", "f1", "roc_auc"} <= set(values)
    assert ["# license: to be written by the author"] == [line for line in lines if "license" in line]


def test_hostile_texts_stay_texts_in_both_cards(finished, facts):
    study = finished.study_file.study
    texts = ReportingSection(ethics=f"{HOSTILE} [x](javascript:alert(1)) | a", limitations="# not a heading")
    hostile = study.model_copy(
        update={"reporting": texts, "study": study.study.model_copy(update={"title": HOSTILE, "notice": HOSTILE})}
    )
    model = facts.record.model.model_copy(update={"backend": f'"\n---\n{HOSTILE}', "name": HOSTILE})
    recorded = replace(facts, record=facts.record.model_copy(update={"model": model}))
    _, markdown, page = card_of(finished, recorded, hostile)
    before_sources, _, _ = markdown.partition("## Where the numbers come from")

    assert HOSTILE not in page
    assert "img" not in {tag for tag, _ in Card(page).tags}
    assert "<" not in before_sources.split("---\n", 2)[2]
    assert r"\[x\]\(javascript:alert\(1\)\) \| a" in markdown
    assert r"\# not a heading" in markdown
    assert 2 == len(re.findall(r"^---$", markdown, re.MULTILINE))


def test_the_page_stands_by_itself(texts):
    card = Card(texts[1])
    names = {name for _, attributes in card.tags for name in attributes}
    ids = [attributes["id"] for _, attributes in card.tags if "id" in attributes]

    assert {"../index.html", "index.html"} == {link for link in card.links if not link.startswith("#")}
    assert set() == {link[1:] for link in card.links if link.startswith("#")} - set(ids)
    assert len(ids) == len(set(ids))
    assert set() == {name for name in names if name == "style" or name.startswith("on")}


def test_others_get_no_number_that_is_suppressed_and_no_day(finished, facts):
    given = shared(facts)
    card, markdown, page = card_of(finished, given)
    small = {name for name in facts.classes if ("test", "recall", name) not in given.scores}
    [rows] = [t.rows for s in card.sections for t in s.tables if t.caption.startswith("Scores of each class")]
    days = re.findall(r"\b20\d\d-\d\d\b", markdown.partition("## Where the numbers come from")[0])

    assert small
    for row in rows:
        if row.cells[0] in {spoken(name) for name in small}:
            assert ["suppressed"] * 3 == row.cells[2:]
    for (part, name), cell in given.by_class.items():
        if part == "test" and name and cell.cases is None:
            assert f"| test set | {spoken(name)} | suppressed |" in markdown
    assert [] == days
    assert "All reports" not in page
    assert "<strong>For others</strong>" in page
    assert "p-" not in {cell[:2] for row in rows for cell in row.cells}


@pytest.mark.soak
def test_both_reports_hold_the_card_and_the_index_leads_to_it(copied, finished):
    report(copied, finished.study_file.study, run=finished.run_id, audience="shared")
    index = (copied.reports / "index.html").read_text(encoding="utf-8")

    for name in (finished.run_id, f"{finished.run_id}-shared"):
        assert f'<a href="{name}/model_card.html">' in index
        assert "model_card.md" in (copied.reports / name / "SHA256SUMS").read_text(encoding="utf-8")
