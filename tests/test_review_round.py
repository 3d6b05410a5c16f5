"""One whole round: a queue, reviewers of whom one is careless, and back by workbook or by export."""

import csv
import json
from datetime import UTC, datetime, timedelta

import openpyxl
import pytest

from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.stages.queue import queue
from toolkit.stages.queue.outcome import outcome
from toolkit.stages.report.queue_page import queue_page
from toolkit.stages.review import review

CAREFUL, CARELESS = "Dr. Careful", "Dr. Careless"


@pytest.fixture(scope="module")
def lesions(finished):
    """The class of each photograph's only lesion that annotators mean, by global key."""
    with (finished.export.parent / "truth" / "lesions.csv").open() as file:
        meant = [row for row in csv.DictReader(file) if row["meant"].lower() == "true"]
    keys = [row["global_key"] for row in meant]
    return {row["global_key"]: row["class_name"] for row in meant if keys.count(row["global_key"]) == 1}


@pytest.fixture
def round_of(copied, finished):
    """A queue of half an hour on a copy of the finished workspace."""
    return queue(copied, finished.study_file.study, minutes=30)


def true_classes(workspace, lesions):
    rows = workspace.rows("select case_id, global_key from cases inner join images using (image_id)")
    return {row["case_id"]: lesions[row["global_key"]] for row in rows if row["global_key"] in lesions}


def said(items, true, study):
    """What reviewers say: the careless one, who has every third case, confirms whatever is there."""
    for number, item in enumerate(items):
        if item["case_id"] in true:
            careless = number % 3 == 0
            yield item, CARELESS if careless else CAREFUL, item["class_name"] if careless else true[item["case_id"]]
    assert study.class_names


def test_a_round_by_workbook(copied, finished, round_of, lesions, tmp_path):
    study, key = finished.study_file.study, finished.study_file.key(copied)
    book = openpyxl.load_workbook(queue_page(copied, study, key).workbook)
    sheet = book["queue"]
    place = {cell.value: cell.column for cell in sheet[1]}
    sheet.cell(1, sheet.max_column + 1, "reviewer")
    true = true_classes(copied, lesions)
    verdicts = {item["case_id"]: (who, name) for item, who, name in said(round_of.rows, true, study)}
    for number in range(2, sheet.max_row + 1):
        who, name = verdicts.get(sheet.cell(number, place["case_id"]).value, (None, None))
        sheet.cell(number, place["verdict"], name)
        sheet.cell(number, sheet.max_column, who)
    book.save(tmp_path / "filled.xlsx")
    wrong = {item["case_id"] for item, who, name in said(round_of.rows, true, study) if name != item["class_name"]}

    result = review(copied, study, key, tmp_path / "filled.xlsx")
    parse(copied, study, key, [])
    found = outcome(copied, study, round_of.queue_id)

    assert wrong
    assert (len(wrong), 2) == (result.verdicts["changed"], result.reviewers)
    assert wrong == {row["case_id"] for row in found.rows if row["outcome"] == "changed"}
    careless = next(each for each in found.reviewers if each["reviewer"].endswith(pseudonym(key, CARELESS)[-16:]))
    assert 0 == careless["changed"] < careless["confirmed"]
    assert {name for name, _ in found.changes.items()}
    now = {row["case_id"]: row["class_name"] for row in copied.rows("select case_id, class_name from truth")}
    assert all(now[case_id] == true[case_id] for case_id in wrong)
    audit(copied, study)
    again = queue(copied, study, minutes=30)
    assert not {item["case_id"] for item in again.rows if item["reasons"] and not item["random"]} & wrong


def test_a_round_by_labelbox(copied, finished, round_of, lesions, tmp_path):
    study, key = finished.study_file.study, finished.study_file.key(copied)
    true = true_classes(copied, lesions)
    changed = {
        item["case_id"]: name for item, _, name in said(round_of.rows, true, study) if name != item["class_name"]
    }
    images = {
        row["image_id"]: changed[row["case_id"]]
        for row in copied.rows("select case_id, image_id from cases")
        if row["case_id"] in changed
    }
    rows = [json.loads(line) for line in finished.export.open() if line.startswith("{") and line.endswith("}\n")]
    relabelled = [relabel(row, images[row["data_row"]["id"]], study) for row in known(rows, images)]
    second = tmp_path / "second.ndjson"
    second.write_text("".join(json.dumps(row) + "\n" for row in relabelled))

    parse(copied, study, key, [second], images=finished.images)
    found = outcome(copied, study, round_of.queue_id)

    assert relabelled
    assert set(changed) == {row["case_id"] for row in found.rows if row["outcome"] == "changed"}
    assert {"untouched"} == {row["outcome"] for row in found.rows if row["case_id"] not in changed}
    assert sum(found.changes.values()) == len(changed)


def known(rows, images):
    return [row for row in rows if row.get("data_row", {}).get("id") in images]


def relabel(row, class_name, study):
    """Give every label of a photograph another diagnosis, as a reviewer does in Labelbox's editor, tomorrow."""
    answer = next(c.answer for c in study.classes if c.name == class_name)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for project in row["projects"].values():
        for label in project["labels"]:
            label["label_details"]["updated_at"] = later
            annotations = label["annotations"]
            asked = [
                *annotations["classifications"],
                *(c for o in annotations["objects"] for c in o["classifications"]),
            ]
            for question in asked:
                if question["name"] == study.labelbox.question and "radio_answer" in question:
                    question["radio_answer"] |= {"name": answer, "value": answer.replace(" ", "_")}
    return row


def pseudonym(key, name):
    from toolkit.privacy import normalise

    return key.pseudonym("a", normalise(name))
