"""Reporting guidelines: what a run fills of them, that it invents nothing, and that no text becomes markup."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from registries import HOSTILE, a_record

from toolkit.csv_files import rows_of
from toolkit.manifest.evaluation import ReportingSection
from toolkit.stages.report import guidelines
from toolkit.stages.report.facts import gather
from toolkit.stages.report.guidelines import FILLED, NOT_KNOWN, WITHHELD
from toolkit.stages.report.page import render
from toolkit.stages.report.sharing import shared
from toolkit.workspace.runs import RunRecord
from toolkit.workspace.sql_rules import judge

RUN = {
    "TRIPOD+AI": "5b 11 12a 12e 12g 13 15 16 20a 20b 20c 21 22 23a 23b",
    "CLAIM 2024": "9 12 18 19 20 22 23 24 25 26 28 29 32 35 37 38 39",
    "STARD-AI 2025": "14 15b 15c 18 19 20 21 24 25 26b 29 30 31 40b",
    "TRIPOD-LLM 2025": "5b 5d 5e 6c 6d 6e 8b 12 16a 16c 16d 17",
    "MI-CLEAR-LLM 2025": "3 4 6 7",
    "CLEAR Derm": "4 7 10 11 12 14 19 21 23",
    "FUTURE-AI 2025": "F3 Un3 T2",
}
RUN_AND_AUTHOR = {
    "TRIPOD+AI": "5a 7 8b 12c 18f",
    "CLAIM 2024": "7 8 10 11 13 16 17 21 30 36 43",
    "STARD-AI 2025": "12 13 15a 22 23 28 40a",
    "TRIPOD-LLM 2025": "5a 5c 6a 6b 7c 7d 7e 9b 16b 18",
    "MI-CLEAR-LLM 2025": "1 2 5 8",
    "CLEAR Derm": "1 6 8 13 15 16 20 22 24",
    "FUTURE-AI 2025": "F2 Un2 T3 T5 R2 R3 G2 G3 G4",
}
NOT_APPLICABLE = dict.fromkeys(RUN, "") | {"TRIPOD-LLM 2025": "7a 10 11"}
ITEMS_OF = {
    "TRIPOD+AI": 52,
    "CLAIM 2024": 44,
    "STARD-AI 2025": 48,
    "TRIPOD-LLM 2025": 49,
    "MI-CLEAR-LLM 2025": 8,
    "CLEAR Derm": 25,
    "FUTURE-AI 2025": 30,
}
"""TRIPOD-LLM's abstract list (2a to 2l) is one item here."""
DOCUMENT = guidelines.listed()
ITEMS = [(guideline["name"], item) for guideline in DOCUMENT["guidelines"] for item in guideline["items"]]


@pytest.mark.parametrize(
    ("by", "expected"), [("run", RUN), ("run and author", RUN_AND_AUTHOR), ("not applicable", NOT_APPLICABLE)]
)
def test_the_items_a_run_fills_are_those_of_the_design(by, expected):
    found = {
        name: " ".join(item["number"] for own, item in ITEMS if own == name and item["filled"] == by) for name in RUN
    }

    assert expected == found


def test_the_list_names_only_facts_fields_and_fillings_that_there_are():
    fields = {field for _, item in ITEMS for field in item.get("fields", [])}
    used = {fact for _, item in ITEMS for fact in item.get("facts", [])}

    assert set(ReportingSection.model_fields) == fields
    assert set(DOCUMENT["facts"]) == used
    assert set(FILLED) == {item["filled"] for _, item in ITEMS}
    for _, item in ITEMS:
        assert bool(item.get("facts")) == (item["filled"] in ("run", "run and author")), item
        assert bool(item.get("why")) == (item["filled"] == "not applicable"), item
    assert {True} == {bool(item.get("fields")) for _, item in ITEMS if item["filled"] == "run and author"}
    assert {guideline["name"]: len(guideline["items"]) for guideline in DOCUMENT["guidelines"]} == ITEMS_OF
    assert len(ITEMS) == len({(name, item["number"]) for name, item in ITEMS})


@pytest.fixture(scope="module")
def facts(finished):
    return gather(finished.workspace, finished.study_file.study, finished.run_id)


@pytest.mark.soak_after(12)
@pytest.mark.parametrize(
    "name", [name for name, wanted in DOCUMENT["facts"].items() if "query" in wanted or "statement" in wanted]
)
def test_every_query_runs_and_gives_what_its_sentence_needs(finished, facts, name):
    wanted = DOCUMENT["facts"][name]
    text = guidelines.query(wanted, run=facts.run["run_id"], split=facts.run["split_id"], part="test")
    judge(text)  # may be asked through the door; here it is answered without a process of its own
    table = finished.workspace.read(text)

    assert "$" not in text
    assert wanted["says"].format(**dict.fromkeys([*table.column_names, "support", "interval"], "x"))
    assert table.num_rows or "none" in wanted


def texts_of(made) -> dict[str, str]:
    return {fact.name: fact.text for guideline in made for item in guideline.items for fact in item.facts}


def test_a_finished_run_fills_every_item_it_is_said_to_fill(finished, facts):
    texts = texts_of(guidelines.filled(finished.workspace, finished.study_file.study, facts))

    assert [] == [name for name, text in texts.items() if NOT_KNOWN in text.lower()]
    assert texts["total"].startswith(f"The split holds {facts.leakage['cases']} cases / ")
    assert f"Accuracy was {facts.scores['test', 'accuracy', None].value:.3f} (" in texts["overall"]
    assert "0 patients and 0 photographs are in more than one subset" in texts["total"]


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_undefined_is_called_not_known(facts, value):
    wanted = {"says": "It is {value}."}

    assert "It is not known." == guidelines._sentence(facts, wanted, [{"value": value}])
    assert "Not known." == guidelines._sentence(facts, wanted, [])


def test_a_key_that_was_not_recorded_is_not_known(finished, facts):
    bare = replace(facts, record=RunRecord.model_validate(a_record()), certificate={})
    texts = texts_of(guidelines.filled(finished.workspace, finished.study_file.study, bare))

    assert "The software was lesion-toolkit not known, torch not known and transformers not known." == texts["software"]
    assert "keeps not known groups in one subset each; not known patients" in texts["linked"]


def test_others_get_no_small_cell_and_no_day(finished, facts):
    given = shared(facts)
    texts = texts_of(guidelines.filled(finished.workspace, finished.study_file.study, given))
    closed = {name for name, wanted in DOCUMENT["facts"].items() if "open" not in wanted and not wanted.get("methods")}

    assert {WITHHELD} == {texts[name] for name in closed}
    assert {"matrix", "per_class", "groups", "classes_by_part", "flow", "linked"} <= closed
    assert texts["labelled"].startswith("Labels were made from 2025 to 2025;")
    few = [{"cases": 9, "patients": 4}]
    assert WITHHELD == guidelines._sentence(given, {"open": True, "says": "{cases}"}, few)


def test_what_the_study_says_stands_as_text_only(finished, facts):
    texts = ReportingSection(ethics=f"{HOSTILE} [x](javascript:alert(1)) `a`", funding="=1+1")
    study = finished.study_file.study.model_copy(update={"reporting": texts})
    made = guidelines.filled(finished.workspace, study, facts)
    page = render(facts, study, {}, None, made, beside=False).decode()
    text = guidelines.markdown(made, finished.run_id)
    rows = {(row["guideline"], row["item"]): row for row in rows_of(guidelines.table(made))}

    assert "<img" not in page + text
    assert "&lt;img src=x onerror=alert(1)&gt; [x](javascript:alert(1)) `a`" in page
    assert r"&lt;img src=x onerror=alert\(1\)&gt; \[x\]\(javascript:alert\(1\)\) \`a\`" in text
    assert len(ITEMS) == len(rows)
    assert "'=1+1" in guidelines.table(made)  # as a spreadsheet gets it
    assert "=1+1" == rows["TRIPOD+AI", "18a"]["text"]
    assert "registration" == rows["TRIPOD+AI", "18d"]["missing"]
    assert "Author must write: [reporting] registration of the study file, or the manuscript." in text
    assert "from scores" in rows["TRIPOD+AI", "23a"]["how"]


def test_a_report_has_them_as_page_text_and_table(finished):
    folder = Path(finished.results["Report"].page).parent

    assert 'id="guidelines"' in (folder / "index.html").read_text(encoding="utf-8")
    assert "## STARD-AI 2025" in (folder / "guidelines.md").read_text(encoding="utf-8")
    assert "guidelines.csv,missing,Fields" in (folder / "data_dictionary.csv").read_text(encoding="utf-8")


def test_the_corrections_to_the_guidelines_are_in_the_list():
    """../shared/design/guidelines.md, entry by entry; the numbers of items by filling are tested above."""
    facts = {(name, item["number"]): set(item.get("facts", [])) for name, item in ITEMS}
    fields = {(name, item["number"]): set(item.get("fields", [])) for name, item in ITEMS}
    asks = {(name, item["number"]): item["asks"] for name, item in ITEMS}
    llm = "TRIPOD-LLM 2025"

    assert {"measured", "intervals"} <= facts[llm, "7c"]
    assert not facts[llm, "7a"]
    assert "training_cutoff" in fields[llm, "6a"] & fields[llm, "5c"] & fields["MI-CLEAR-LLM 2025", "1"]
    assert {"annotators", "read_again", "agreement"} == facts[llm, "8b"]
    assert {"device"} == facts[llm, "12"]
    assert {"flow"} == facts[llm, "16a"]
    assert {"overall", "per_class", "calibration", "groups"} == facts[llm, "17"]
    assert all("healthcare" in asks[llm, number] for number in ("14c", "14d", "15"))
    assert "run_date" in facts["MI-CLEAR-LLM 2025", "1"]
    assert "training" in facts["MI-CLEAR-LLM 2025", "4"]
    assert all(item["asks"] and "see the guideline" not in item["asks"] for _, item in ITEMS)
    subs = [number for name, number in facts if name == llm]
    for lumped in ("3", "8", "9", "16", "19"):
        assert lumped not in subs


def test_what_a_list_is_not_is_said_with_it(finished, facts):
    made = guidelines.filled(finished.workspace, finished.study_file.study, facts)
    notes = {guideline.name: guideline.note for guideline in made}
    page = render(facts, finished.study_file.study, {}, None, made, beside=False).decode()
    text = guidelines.markdown(made, finished.run_id)

    compared = {guideline.name: guideline.compared for guideline in made}
    assert {"CLAIM 2024", "CLEAR Derm", "FUTURE-AI 2025", "MI-CLEAR-LLM 2025"} == {
        name for name, words in compared.items() if "not compared with the published table" in words
    }
    assert all(words in page and f"**{words}**" in text for words in compared.values())
    assert compared == {row["guideline"]: row["compared"] for row in rows_of(guidelines.table(made))}
    assert "fulfils none" in notes["FUTURE-AI 2025"]
    for note in filter(None, notes.values()):
        assert note in page
        assert f"**{note}**" in text
    assert "Not applicable: nothing is summarised." in page
    assert "Not applicable: nothing is summarised." in guidelines.table(made)


def test_sentences_of_numbers_have_no_empty_interval_and_no_zero_replicates(finished, facts):
    texts = texts_of(guidelines.filled(finished.workspace, finished.study_file.study, facts))
    row = {"metric": "ece", "value": 0.1, "low": math.nan, "high": None, "cases": 9, "patients": 9}

    used = finished.workspace.rows("select distinct method from scores where low is not null and not isnan(low)")
    assert all(f"{each['method']} (95%)" in texts["intervals"] for each in used)
    assert "replicates" not in texts["intervals"]
    assert "was fitted on the validation set; Calibration" in texts["temperature"]
    assert "which was chosen on the validation set (rule" in texts["thresholds"]
    assert "It is 0.100 (no interval)." == guidelines._sentence(facts, {"says": "It is {value} {interval}."}, [row])
    assert "averaged at test time: 1; free text generated besides: no." in texts["execution"]
    older = texts_of(guidelines.filled(finished.workspace, finished.study_file.study, replace(facts, made=None)))
    assert "averaged at test time: not known" in older["execution"]
