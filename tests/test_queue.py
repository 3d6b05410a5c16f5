"""Which labels to look at again, what reviewers say of them, and what becomes of it."""

import csv
import io
import math
import re
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import duckdb
import exports
import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from exports import box, label, row
from opened_once import opened_once

from toolkit.csv_files import sheet_text
from toolkit.errors import DamagedError, ReviewError, WorkspaceError
from toolkit.manifest.evaluation import Costs
from toolkit.pipeline import chosen_queue_with_page, queue_with_page, review_and_parse
from toolkit.privacy import normalise
from toolkit.stages.parse import parse
from toolkit.stages.queue import order, queue, queue_of_cases
from toolkit.stages.queue.evidence import AUDIT, evidence
from toolkit.stages.queue.order import Candidate
from toolkit.stages.queue.outcome import outcome
from toolkit.stages.report.queue_page import queue_page
from toolkit.stages.review import review
from toolkit.stages.withdraw import withdraw
from toolkit.workspace import queues
from toolkit.workspace.registry import insert, table_schema

WHEN = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - the registry keeps UTC without a zone
NAN = math.nan


def candidate(case_id, patient_id, score=0.0, *, part="train", harm=None, others=False, reviewed=False):
    return Candidate(
        case_id, patient_id, "nevus", part, score, "malignant_melanoma", 0.9, "why", others, reviewed, harm or score
    )


def many(patients=200, seed=0):
    rng = np.random.default_rng(seed)
    for patient in range(patients):
        for case in range(rng.integers(1, 6)):
            part = "test" if patient % 5 == 0 else "train"
            yield candidate(f"c{patient:03}-{case}", f"p{patient}", float(rng.beta(0.3, 3)), part=part)


PLAN = {"minutes": 60, "seconds_per_case": 40, "random_share": 0.2, "seed": 3}


def test_a_patient_is_seen_as_a_whole_and_the_time_is_kept():
    candidates = list(many())
    places = order.queue(candidates, **PLAN)
    there = {place.candidate.patient_id for place in places}

    assert len(places) == sum(each.patient_id in there for each in candidates) <= 60 * 60 / 40 + 5
    runs = [place.candidate.patient_id for place in places]
    assert len(there) == 1 + sum(one != other for one, other in pairwise(runs))
    assert order.queue(candidates[::-1], **PLAN) == places


def test_the_patients_with_the_most_harm_per_case_come_first():
    candidates = [
        candidate("a", "p1", 0.5, harm=1.0),
        candidate("b", "p2", 0.9, harm=9.0),
        candidate("c", "p3", 0.9, harm=9.5),
        *(candidate(f"d{n}", "p3", 0.0) for n in range(3)),
    ]

    places = order.queue(candidates, **PLAN | {"random_share": 0.0})

    assert ["b", "c", "d0", "d1", "d2", "a"] == [place.candidate.case_id for place in places]
    assert [None] * 6 == [place.drawn_from for place in places]
    assert order.BESIDE == places[2].reasons


def test_who_is_drawn_at_random_does_not_depend_on_the_evidence():
    candidates = list(many())
    other = [replace(each, score=1 - each.score, harm=1 - each.harm) for each in candidates]

    def drawn(of):
        return {place.candidate.patient_id for place in order.queue(of, **PLAN) if place.drawn_from == "all"}

    assert drawn(candidates) == drawn(other)
    assert drawn(candidates) != {
        place.candidate.patient_id
        for place in order.queue(candidates, **PLAN | {"seed": 4})
        if place.drawn_from == "all"
    }


def test_every_patient_is_drawn_equally_often():
    candidates = list(many(40))
    times = dict.fromkeys((each.patient_id for each in candidates), 0)
    for seed in range(600):
        for patient in {
            p.candidate.patient_id for p in order.queue(candidates, **PLAN | {"seed": seed}) if p.drawn_from
        }:
            times[patient] += 1

    sizes = {name: sum(each.patient_id == name for each in candidates) for name in times}
    train = [n for name, n in times.items() if not name.endswith(("0", "5"))]
    # The number of patients drawn is fixed beforehand: chance alone, whatever the number of their cases.
    assert np.std(train) < 1.6 * math.sqrt(np.mean(train))
    assert abs(np.corrcoef([sizes[name] for name in times], list(times.values()))[0, 1]) < 0.4


def test_test_labels_that_a_model_alone_questions_stand_beside_as_many_drawn_ones():
    places = order.queue(list(many()), **PLAN)
    proposed = [place for place in places if place.drawn_from is None and place.candidate.is_model_alone]
    drawn = [place for place in places if place.drawn_from and place.candidate.part == "test"]

    assert 0 < len(proposed) <= len(drawn)


def test_what_readers_or_duplicates_say_needs_no_drawn_case_beside_it():
    candidates = [replace(each, others_say_so=True) for each in many()]

    assert "test" not in {place.drawn_from for place in order.queue(candidates, **PLAN)}


def test_whoever_stops_half_way_has_seen_half_of_the_random_share():
    places = order.queue(list(many()), **PLAN)
    half = places[: len(places) // 2]
    whole, seen = (sum(place.drawn_from == "all" for place in some) for some in (places, half))

    assert 0.3 * whole < seen < 0.7 * whole


def test_what_was_reviewed_is_not_proposed_again():
    candidates = [candidate("a", "p1", 0.9, reviewed=True), candidate("b", "p2", 0.5)]

    places = order.queue(candidates, **PLAN | {"random_share": 0.0})

    assert ["b"] == [place.candidate.case_id for place in places]


@pytest.mark.parametrize(
    ("given", "suggested", "cost"),
    [("nevus", "melanoma", 10), ("melanoma", "nevus", 2), ("nevus", "keratosis", 1), ("melanoma", "carcinoma", 1)],
)
def test_the_harm_of_an_error_is_what_the_study_says(given, suggested, cost):
    assert 0.5 * cost == order.harm(given, suggested, 0.5, Costs(), {"melanoma", "carcinoma"})
    assert math.isnan(order.harm(given, None, 0.5, Costs(), set()))


@pytest.fixture
def audited(parsed, workspace):
    """Twelve patients with two photographs each, one label of which is doubtful, and the evidence of an audit."""
    rows = [
        row(f"i{n}-{k}", label(f"L{n}-{k}", boxes=[box(f"b{n}-{k}", 10, 10, 50, 50, "nevus")]), patient=f"P-{n}")
        for n in range(12)
        for k in range(2)
    ]
    parsed(*rows)
    cases = workspace.rows("select case_id, image_id from cases order by image_id")
    evidence = [
        {
            "case_id": each["case_id"],
            "class_name": "nevus",
            "suggested_class": "malignant_melanoma",
            "suggested_probability": 0.8,
            "score": 0.9 if each["image_id"] == "i3-0" else 0.01,
            "place": number,
            "listed": number < 4,
            "own_probability": 0.2,
            "reasons": "the photograph looks like melanoma",
        }
        for number, each in enumerate(cases, start=1)
    ]
    searched = {"inputs_sha256": "0" * 64, "settings": "{}", "cases": 24, "compared": 24, "expected_wrong": 1.1}
    with workspace.writing() as connection:
        for name, some in (("label_evidence", evidence), ("label_searches", [searched | {"temperature": 1.0}])):
            insert(connection, name, pa.Table.from_pylist(some, schema=table_schema(name)))
    return workspace


def case_of(workspace, image_id):
    return workspace.rows(f"select case_id from cases where image_id = '{image_id}'")[0]["case_id"]


def truth_of(workspace, image_id):
    return workspace.rows(
        f"select class_name, resolved_by from truth where case_id = '{case_of(workspace, image_id)}'"
    )[0]


def written(path, rows, columns=("case_id", "verdict", "comment")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def taken_in(workspace, study, key, file, **named):
    result = review(workspace, study, key, file, **{"reviewer": "Dr. Roe", "now": WHEN} | named)
    parse(workspace, study, key, [])
    return result


@pytest.mark.soak
def test_the_same_labels_and_evidence_give_the_same_queue(audited, study):
    first, again = queue(audited, study, minutes=10), queue(audited, study, minutes=10)

    assert first.is_new
    assert not again.is_new
    assert first.rows == again.rows
    assert ("i3-0", "i3-1") == tuple(
        audited.rows(f"select image_id from cases where case_id = '{item['case_id']}'")[0]["image_id"]
        for item in first.rows
        if not item["random"]
    )
    assert first.random_patients >= 1
    stored = audited.rows("select * from queue_items order by rank")
    assert [item["case_id"] for item in first.rows] == [item["case_id"] for item in stored]


@pytest.mark.soak
def test_a_queue_asked_for_again_is_the_one_whose_page_is_written(audited, study, key):
    first, other, again = (queue(audited, study, minutes=minutes) for minutes in (10, 16, 10))
    page = queue_page(audited, study, key, again.queue_id)

    assert first.queue_id == again.queue_id != other.queue_id
    assert f"Queue {first.queue_id}" in Path(page.page).read_text()


@pytest.fixture
def opened(study, key, tmp_path):
    """The study and its key, as a study file gives them."""
    return SimpleNamespace(study=study, key=lambda _: key, path=tmp_path / "study.toml", folder=tmp_path)


@pytest.mark.soak
def test_a_queue_that_was_killed_before_the_registry_had_it_is_there_when_asked_for_again(audited, study):
    first = queue(audited, study, minutes=10)
    with audited.writing() as connection:
        connection.execute("delete from queues; delete from queue_items")

    again = queue(audited, study, minutes=10)

    assert (first.queue_id, first.cases) == (again.queue_id, again.cases)
    assert first.cases == len(audited.rows("select * from queue_items"))
    assert [first.queue_id] == [each["queue_id"] for each in audited.rows("select queue_id from queues")]


@pytest.mark.soak
def test_a_review_that_was_killed_before_its_verdicts_counted_is_finished_by_the_same_command(
    audited, study, key, opened, tmp_path
):
    file = written(tmp_path / "v.csv", [(case_of(audited, "i3-0"), "melasma", "")])
    review(audited, study, key, file, reviewer="Dr. Roe", now=WHEN)
    assert "nevus" == truth_of(audited, "i3-0")["class_name"]

    reviewed, _ = review_and_parse(audited, opened, file, reviewer="Dr. Roe")

    assert 1 == reviewed.repeated
    assert "melasma" == truth_of(audited, "i3-0")["class_name"]


@pytest.mark.soak
def test_the_pipeline_writes_the_page_of_the_queue_it_made(audited, opened):
    for minutes in (10, 16, 10):
        made, page = queue_with_page(audited, opened, minutes=minutes)

        assert f"Queue {made.queue_id}" in Path(page.page).read_text()


def test_a_registry_of_an_earlier_version_has_no_queue_yet(audited, study):
    opened_once.release()
    with duckdb.connect(audited.registry) as connection:
        for name in ("queues", "queue_items", "label_searches", "verdicts"):
            connection.execute(f"drop table {name} cascade")

    with pytest.raises(WorkspaceError, match="no audit has looked"):
        queue(audited, study)
    with pytest.raises(WorkspaceError, match="no queue was made yet"):
        outcome(audited, study, "latest")


def test_a_queue_before_an_audit_and_one_without_time_are_refused(audited, study):
    with pytest.raises(WorkspaceError, match="not enough for one case"):
        queue(audited, study, minutes=0.5)
    with audited.writing() as connection:
        connection.execute("delete from label_searches")
    with pytest.raises(WorkspaceError, match="no audit"):
        queue(audited, study)


def test_a_verdict_decides_and_what_was_labelled_stays(audited, study, key, tmp_path):
    before = audited.rows("select * from labels order by all")
    readings = audited.rows("select * from readings order by all")
    rows = [(case_of(audited, "i3-0"), "malignant melanoma", "irregular"), (case_of(audited, "i4-0"), "", "")]
    file = written(tmp_path / "v.csv", rows)

    result = taken_in(audited, study, key, file)

    assert {"changed": 1} == result.verdicts
    assert {"nevus → malignant_melanoma": 1} == result.changes
    assert 1 == result.without
    assert {"class_name": "malignant_melanoma", "resolved_by": "review"} == truth_of(audited, "i3-0")
    assert readings == audited.rows("select * from readings order by all")
    after = audited.rows("select * from labels order by all")
    assert before == [each for each in after if each["project_id"] != "review"]
    (own,) = [each for each in after if each["project_id"] == "review"]
    assert (1, WHEN, True) == (own["revision"], own["created_at"], own["latest"])
    assert (
        own["annotator"]
        == audited.rows("select reviewer from verdicts")[0]["reviewer"]
        == key.pseudonym("a", normalise("Dr. Roe"))
    )
    assert "Roe" not in str(audited.rows("select * from verdicts"))


@pytest.mark.soak
def test_the_reference_diagnosis_before_a_review_can_be_asked_for(audited, study, key, tmp_path):
    case_id = case_of(audited, "i3-0")
    earlier = audited.rows("select truth_id, label_revision from label_states")
    taken_in(audited, study, key, written(tmp_path / "v.csv", [(case_id, "malignant melanoma", "")]))
    export, reviewed = audited.rows("select export_id, moment from exports order by moment")

    def said(moment):
        return audited.rows(f"select class_name from truth_at({moment}) where case_id = '{case_id}'")[0]["class_name"]

    assert "nevus" == said(export["moment"])
    assert "malignant_melanoma" == said(reviewed["moment"])
    assert earlier != audited.rows("select truth_id, label_revision from label_states")


@pytest.mark.soak
def test_a_second_verdict_of_the_reviewer_replaces_the_first(audited, study, key, tmp_path):
    case_id = case_of(audited, "i3-0")
    taken_in(audited, study, key, written(tmp_path / "a.csv", [(case_id, "malignant melanoma", "")]))
    again = taken_in(audited, study, key, written(tmp_path / "a.csv", [(case_id, "malignant melanoma", "")]))
    later = taken_in(
        audited, study, key, written(tmp_path / "b.csv", [(case_id, "nevus", "")]), now=WHEN.replace(day=2)
    )

    assert (None, 1) == (again.review_id, again.repeated)
    assert {"changed": 1} == later.verdicts
    assert {"class_name": "nevus", "resolved_by": "review"} == truth_of(audited, "i3-0")
    assert [1, 2] == [
        each["revision"] for each in audited.rows("from labels where project_id = 'review' order by revision")
    ]


@pytest.mark.soak
def test_reviewers_who_differ_leave_no_reference_diagnosis_and_are_told(audited, study, key, tmp_path):
    case_id = case_of(audited, "i3-0")
    taken_in(audited, study, key, written(tmp_path / "a.csv", [(case_id, "malignant melanoma", "")]))
    as_queued = written(tmp_path / "b.csv", [(case_id, "confirm", "nevus")], ("case_id", "verdict", "label"))
    other = taken_in(audited, study, key, as_queued, reviewer="Dr. Doe")
    assert [case_id] == other.conflicts
    assert {"class_name": None, "resolved_by": "tie"} == truth_of(audited, "i3-0")


@pytest.mark.soak
def test_a_reviewer_who_cannot_tell_takes_the_verdict_back(audited, study, key, tmp_path):
    case_id = case_of(audited, "i3-0")
    taken_in(audited, study, key, written(tmp_path / "a.csv", [(case_id, "malignant melanoma", "")]))
    result = taken_in(
        audited, study, key, written(tmp_path / "b.csv", [(case_id, "Cannot tell", "")]), now=WHEN.replace(day=2)
    )

    assert {"cannot_tell": 1} == result.verdicts
    assert {"class_name": "nevus", "resolved_by": "single_reading"} == truth_of(audited, "i3-0")


def test_every_fault_of_a_file_is_told_at_once_and_nothing_is_taken_in(audited, study, key, tmp_path):
    one, two = case_of(audited, "i1-0"), case_of(audited, "i2-0")
    rows = [
        (one, "nevus", "", ""),
        (one, "malignant melanoma", "", ""),
        ("no such", "nevus", "", ""),
        (two, "wart?", "", ""),
        (two, "nevus", "", "2999-01-01"),
    ]
    file = written(tmp_path / "v.csv", rows, ("case_id", "verdict", "comment", "reviewed_at"))

    with pytest.raises(ReviewError) as raised:
        taken_in(audited, study, key, file)

    for words in ("two verdicts of one reviewer", "no such case", "says 'wart?'", "not later than today", "4 faults"):
        assert words in str(raised.value)
    assert [] == audited.rows("select * from verdicts")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"case_id,class\nx,nevus\n", "no column verdict"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "cannot be read"),
        (b"PK\x03\x04 no archive", "workbook cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_what_is_no_file_of_verdicts_is_said(audited, study, key, tmp_path, content, words):
    file = tmp_path / "v.xlsx"
    file.write_bytes(content)

    with pytest.raises(ReviewError, match=words):
        taken_in(audited, study, key, file)


def test_a_workbook_that_unpacks_to_too_much_is_refused(audited, study, key, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.prediction_files.workbooks.LARGEST", 10_000)
    file = tmp_path / "v.xlsx"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 20_000)

    with pytest.raises(ReviewError, match="too large"):
        taken_in(audited, study, key, file)


@pytest.mark.soak
def test_a_workbook_whose_cells_lie_far_out_costs_no_memory(audited, study, key, tmp_path):
    book = openpyxl.Workbook()
    rows = [("case_id", "verdict"), (case_of(audited, "i3-0"), "melasma")]
    for cells in rows:
        book.active.append(cells)
    for number in range(3, 8):
        book.active.cell(number * 1_000, 16_384, "far out")
    book.save(tmp_path / "v.xlsx")
    tracemalloc.start()
    result = taken_in(audited, study, key, tmp_path / "v.xlsx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {"changed": 1} == result.verdicts
    assert peak < 50_000_000


@pytest.mark.soak
def test_a_review_is_no_export_that_lost_its_photographs(audited, study, key, tmp_path):
    images = audited.rows("select count(*) as n from images")[0]["n"]
    taken_in(audited, study, key, written(tmp_path / "v.csv", [(case_of(audited, "i3-0"), "melasma", "")]))
    parse(audited, study, key, [])
    after_review = [row["kind"] for row in audited.shipped_rows("changes")]
    again = label("L-again", "nevus")
    again["label_details"]["updated_at"] = "2031-01-01T00:00:00.000+00:00"
    later = exports.write(tmp_path / "later.ndjson", [row("i3-0", again, patient="P-3")])
    parse(audited, study, key, [later])
    after_export = [row["kind"] for row in audited.shipped_rows("changes")]

    assert ["label_added"] == after_review
    assert images - 1 == after_export.count("photograph_gone")


def test_a_comment_that_names_a_patient_is_not_kept(audited, study, key, tmp_path):
    rows = [
        (case_of(audited, "i3-0"), "nevus", "see P-7 too"),
        (case_of(audited, "i4-0"), "nevus", "ask jo@example.org"),
    ]

    taken_in(audited, study, key, written(tmp_path / "v.csv", rows))

    comments = {each["comment"] for each in audited.rows("select comment from verdicts")}
    assert "left out: it held the identifier of a patient" in comments
    assert not any("P-7" in each or "@" in each for each in comments)


def test_the_workbook_goes_out_and_comes_back(audited, study, key, tmp_path):
    queue(audited, study, minutes=10)
    page = queue_page(audited, study, key)
    book = openpyxl.load_workbook(page.workbook)
    sheet = book["queue"]
    names = [cell.value for cell in sheet[1]]
    choices = [cell.value for cell in book["choices"]["A"]]
    place = {name: names.index(name) + 1 for name in names}
    for number in range(2, sheet.max_row + 1):
        sheet.cell(number, place["verdict"], "melasma" if number == 2 else "confirm")
    filled = tmp_path / "filled.xlsx"
    book.save(filled)

    result = taken_in(audited, study, key, filled)

    assert ["confirm", "cannot tell", *study.class_names] == choices
    assert "list" == sheet.data_validations.dataValidation[0].type
    assert {"changed": 1, "confirmed": sheet.max_row - 2} == result.verdicts
    assert {audited.rows("select queue_id from queues")[0]["queue_id"]} == {
        each["queue_id"] for each in audited.rows("select queue_id from verdicts")
    }


def test_neither_page_nor_workbook_tells_who_was_drawn_at_random(audited, study, key):
    queue(audited, study, minutes=10)
    page = queue_page(audited, study, key)
    drawn = audited.rows("select case_id from queue_items where random")
    text = Path(page.page).read_text()
    rows = list(csv.DictReader(io.StringIO(Path(page.page).with_name("queue.csv").read_text().lstrip("\ufeff"))))

    assert drawn
    assert "drawn at random, so" not in text
    questioned = case_of(audited, "i3-0")
    for item in rows:
        is_questioned = item["case_id"].lstrip("'") == questioned
        assert is_questioned == bool(item["suggested"]) == bool(item["reasons"]) == bool(item["probability"])


def test_a_file_name_that_holds_a_patients_identifier_is_not_shown(audited, study, key):
    with audited.writing() as connection:
        connection.execute("update images set external_id = patient_id || '.jpg'")
        connection.execute("update images set external_id = 'P-3_left.jpg' where image_id = 'i3-0'")
    queue(audited, study, minutes=10)

    page = Path(queue_page(audited, study, key).page).read_text()

    assert "P-3" not in page


def test_formulas_in_texts_stay_texts_in_the_workbook(audited, study, key):
    with audited.writing() as connection:
        connection.execute("update label_evidence set reasons = '=1+1'")
        connection.execute("update images set external_id = '=HYPERLINK(1)'")
    queue(audited, study, minutes=10)
    sheet = openpyxl.load_workbook(queue_page(audited, study, key).workbook)["queue"]

    assert {"s", "n", "inlineStr"} >= {
        cell.data_type for line in sheet.iter_rows() for cell in line if not cell.hyperlink
    }


def test_the_outcome_counts_what_was_said_and_what_labelbox_shows(audited, study, key, tmp_path):
    made = queue(audited, study, minutes=16)
    changed = case_of(audited, "i3-0")
    others = [item["case_id"] for item in made.rows if item["case_id"] != changed]
    rows = [(changed, "malignant melanoma", ""), (others[0], "confirm", ""), (others[1], "cannot tell", "")]
    taken_in(audited, study, key, written(tmp_path / "v.csv", rows), now=None)

    found = outcome(audited, study, "latest")

    by_case = {item["case_id"]: item["outcome"] for item in found.rows}
    assert "changed" == by_case[changed]
    assert "confirmed" == by_case[others[0]]
    assert "cannot_tell" == by_case[others[1]]
    assert {"untouched"} == {by_case[case] for case in others[2:]}
    assert {"nevus → malignant_melanoma": 1} == found.changes
    proposed = next(group for group in found.groups if group["cases"] == "proposed")
    assert proposed["harm_per_50"] == 10 * 50 / proposed["reviewed"]
    assert [key.pseudonym("a", normalise("Dr. Roe"))] == [each["reviewer"] for each in found.reviewers]


def test_verdicts_and_queues_survive_a_rebuild_and_a_changed_file_is_told(audited, study, key, tmp_path):
    queue(audited, study, minutes=10)
    taken_in(audited, study, key, written(tmp_path / "v.csv", [(case_of(audited, "i3-0"), "melasma", "")]))
    tables = ("verdicts", "queues", "queue_items", "truth", "labels", "reading_history", "label_states")
    before = {name: sorted(map(repr, audited.rows(f"select * from {name}"))) for name in tables}
    audited.registry.unlink()
    parse(audited, study, key, [], anew=True)

    assert before == {name: sorted(map(repr, audited.rows(f"select * from {name}"))) for name in tables}
    (file,) = (audited.folder / "reviews").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match="verdicts"):
        parse(audited, study, key, [], anew=True)
    file.unlink()
    with pytest.raises(DamagedError, match="missing"):
        parse(audited, study, key, [])


def test_a_withdrawn_patient_is_in_no_queue_and_no_review(audited, study, key, tmp_path):
    queue(audited, study, minutes=100)
    gone, stays = case_of(audited, "i3-0"), case_of(audited, "i4-0")
    taken_in(audited, study, key, written(tmp_path / "v.csv", [(gone, "melasma", ""), (stays, "melasma", "")]))

    result = withdraw(audited, study, key, "P-3", apply=True, reparse=lambda: parse(audited, study, key, [], anew=True))

    assert [] == result.left_in
    assert [stays] == [each["case_id"] for each in audited.rows("select case_id from verdicts")]
    assert gone not in {each["case_id"] for each in audited.rows("select case_id from queue_items")}
    assert "melasma" == truth_of(audited, "i4-0")["class_name"]


def test_a_person_chooses_cases_and_as_many_of_the_test_set_are_drawn_beside():
    candidates = list(many())
    wanted = [*[each.case_id for each in candidates if each.part == "test"][:4], candidates[7].case_id]
    places = order.of_cases(candidates, [*wanted, wanted[0]], seed=3)
    chosen = [place for place in places if place.drawn_from is None]
    drawn = [place for place in places if place.drawn_from]

    assert sorted(wanted) == sorted(place.candidate.case_id for place in chosen)
    assert {"test"} == {place.drawn_from for place in drawn} == {place.candidate.part for place in drawn}
    assert sum(place.candidate.part == "test" for place in chosen) <= len(drawn)
    assert not {p.candidate.patient_id for p in chosen} & {p.candidate.patient_id for p in drawn}
    assert places == order.of_cases(candidates, wanted, seed=3)


def test_the_ticked_cases_of_a_page_become_a_queue_with_page_and_workbook(copied, finished, tmp_path):
    wrong = copied.rows("select case_id from errors where part = 'validation' order by case_id limit 3")
    saved = tmp_path / "ticked.csv"
    saved.write_text(sheet_text(["case_id", "part"], [[row["case_id"], "validation"] for row in wrong]))
    made, page = chosen_queue_with_page(copied, finished.study_file, saved)
    again, _ = chosen_queue_with_page(copied, finished.study_file, saved)

    assert {row["case_id"] for row in wrong} == {row["case_id"] for row in made.rows}
    assert (True, False, made.queue_id) == (made.is_new, again.is_new, again.queue_id)
    assert made.queue_id in Path(page.page).read_text()
    assert made.queue_id == queues.find_queue(copied)
    assert "chosen by a person" in copied.rows("from queues order by made_at desc")[0]["sources"]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no case"),
        ("case;part\na;test\n", "has no column case_id"),
        ("case_id,part\n\x1b]0;x,test\n", r"not cases with a reference diagnosis here: \\x1b\]0;x"),
        ("case_id\nnot-there\n", "not-there"),
    ],
)
def test_a_file_of_chosen_cases_that_is_none_is_refused(copied, finished, tmp_path, content, message):
    saved = tmp_path / "ticked.csv"
    saved.write_text(content)

    with pytest.raises(ReviewError, match=message):
        queue_of_cases(copied, finished.study_file.study, saved)
    with pytest.raises(ReviewError, match="no such file"):
        queue_of_cases(copied, finished.study_file.study, tmp_path / "none.csv")


REASONS = {
    "colour, texture and shape": "colour, texture and shape are more like nevus (0.81) than melasma (0.11)",
    "a model of the study": "a model that was not trained on it says nevus (0.93) rather than melasma (0.01)",
    "annotators differ": "1 of 2 annotators says nevus",
    "annotator often wrong": "its annotator is wrong more often than others",
    "answered fast": "answered in 2 s, usually 14 s",
    "another photograph of the lesion": "2 other photographs of this lesion, or a duplicate, have the class nevus",
    "region of interest": "its ROI is 0.3 % of the photograph",
    "photograph quality": "the photograph is one of the least sharp of the study",
}


def test_every_sentence_of_the_evidence_has_its_reason_or_speaks_for_the_label(finished):
    """Sentences come from two modules; what none of the patterns knows would not be counted."""
    both = "select evidence from queue_items union all select reasons from label_evidence"
    rows = finished.workspace.rows(both)
    written = {re.sub(r"\d+", "2", sentence) for row in rows for sentence in row["evidence"].split("; ")}
    for_it = ("colour, texture and shape are less", "its photograph could not", "its class is known from one group")
    beginnings = [re.split(r"\d| nevus| ROI", example)[0][:20] for example in REASONS.values()]
    others = ("2 of", "another photograph", "its box reaches", "the photograph has", "2 other", "answered in")

    assert len(written) > 20
    assert set() == {each for each in written if not each.startswith((*for_it, *filter(None, beginnings), *others))}


@pytest.mark.soak
def test_what_became_of_labels_is_told_by_what_spoke_against_them(copied, finished):
    [queue_id] = [row["queue_id"] for row in copied.rows("from queues")]
    items = copied.rows("from queue_items order by rank")
    with copied.writing() as connection:
        connection.execute("update queue_items set evidence = 'colour, texture and shape are less like nevus (0.1)'")
        for item, sentence in zip(items, REASONS.values(), strict=False):
            whole = f"{sentence}; {REASONS['photograph quality']}"
            connection.execute("update queue_items set evidence = ? where case_id = ?", [whole, item["case_id"]])
    said = [items[0], items[1], items[7]]
    sheet = tmp_sheet(copied, [(said[0], "nevus" if said[0]["class_name"] != "nevus" else "melasma"), (said[1], "ok")])
    list(review_and_parse(copied, finished.study_file, sheet, reviewer="Dr. Roe"))
    rows = {row["reason"]: row for row in outcome(copied, finished.study_file.study, queue_id).reasons}

    assert set(REASONS) == set(rows)
    assert (1, 1, 1, 1.0) == tuple(rows["colour, texture and shape"].values())[1:]
    assert (1, 1, 0, 0.0) == tuple(rows["a model of the study"].values())[1:]
    assert (1, 0, 0, None) == tuple(rows["annotators differ"].values())[1:]
    assert (8, 2, 1, 0.5) == tuple(rows["photograph quality"].values())[1:]


def tmp_sheet(workspace, verdicts):
    """Write verdicts on some cases as CSV."""
    path = workspace.folder.parent / "verdicts.csv"
    path.write_text("case_id,verdict\n" + "".join(f"{item['case_id']},{said}\n" for item, said in verdicts))
    return path


class TestEvidenceOfRuns:
    """What the study's own models say of cases that they were not trained on."""

    @staticmethod
    def scores(workspace, finished):
        found = evidence(workspace, finished.study_file.study)
        return found, {case: own.score for case, own in found.of_case.items()}

    @staticmethod
    def a_case(workspace, part):
        """Return a case whose label the run shares, and another class."""
        [row, *_] = workspace.rows(
            "select case_id, truth from results where part = $part and predicted = truth order by case_id",
            {"part": part},
        )
        return row["case_id"], "nevus" if row["truth"] != "nevus" else "melasma"

    @staticmethod
    def contradict(workspace, run_id, case, other):
        with workspace.writing() as connection:
            connection.execute(
                "update predictions set probabilities = map_from_entries(list_transform(map_keys(probabilities), "
                "lambda k: (k, case when k = ? then 0.93 else 0.01 end))) where run_id = ? and case_id = ?",
                [other, run_id, case],
            )

    @staticmethod
    def make_good(workspace, run_id):
        """Let the run say of nearly every case what its label says: a model that says nothing has no weight."""
        with workspace.writing() as connection:
            connection.execute(
                "update predictions set probabilities = map_from_entries(list_transform(map_keys(probabilities), "
                "lambda k: (k, case when k = truth.class_name then 0.93 else 0.01 end))) from truth "
                "where truth.case_id = predictions.case_id and run_id = ?",
                [run_id],
            )

    def test_they_stand_in_the_queue_and_among_its_sources(self, finished):
        [made] = finished.workspace.rows("from queues")
        items = finished.workspace.rows("from queue_items")
        said = [item for item in items if "a model that was not trained on it says" in (item["evidence"] or "")]

        assert made["sources"].endswith(f"what runs say of cases that they were not trained on: {finished.run_id}")
        assert said
        assert all(item["evidence"] for item in items)

    @pytest.mark.soak_after(1)
    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_a_model_that_contradicts_makes_an_error_more_probable(self, copied, finished, part):
        case, other = self.a_case(copied, part)
        self.make_good(copied, finished.run_id)
        _, before = self.scores(copied, finished)
        self.contradict(copied, finished.run_id, case, other)
        found, after = self.scores(copied, finished)

        assert after[case] > 1.5 * before[case]
        assert other in found.of_case[case].reasons

    def test_controls_and_models_that_were_trained_on_a_case_have_no_say(self, copied, finished):
        case, other = self.a_case(copied, "test")
        _, before = self.scores(copied, finished)
        [control] = copied.rows("select run_id from runs where control = 'plain'")
        self.contradict(copied, control["run_id"], case, other)

        assert before == self.scores(copied, finished)[1]
        with copied.writing() as connection:
            connection.execute("update splits set part = 'train' where case_id = ?", [case])
            connection.execute("update predictions set part = 'train' where case_id = ?", [case])
        _, trained_on = self.scores(copied, finished)
        self.contradict(copied, finished.run_id, case, other)

        assert trained_on == self.scores(copied, finished)[1]

    def test_without_a_run_the_audit_speaks_alone(self, copied, finished):
        with copied.writing() as connection:
            connection.execute("delete from predictions")
        found, scores = self.scores(copied, finished)

        assert AUDIT == found.sources
        assert scores == {row["case_id"]: row["score"] for row in copied.rows("from label_evidence")}
