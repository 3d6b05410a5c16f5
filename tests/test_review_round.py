"""The round of docs/review.md, command by command: with reviewers, one of them careless, by workbook and by export."""

import contextlib
import csv
import io
import json
import re
import shlex
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pytest

from toolkit.cli import main
from toolkit.privacy import normalise
from toolkit.stages.impact import impact
from toolkit.stages.queue.outcome import outcome
from toolkit.workspace.registry import Workspace

pytestmark = pytest.mark.soak
PAGE = Path(__file__).parents[1] / "docs" / "review.md"
CAREFUL, CARELESS = "Dr. Careful", "Dr. Careless"


class Round(NamedTuple):
    """A whole round in a workspace: its queue, what became of it and what it changed, and what `impact` printed."""

    workspace: Workspace
    queue_id: str
    outcome: Any
    impact: Any
    printed: str


class Tutorial(NamedTuple):
    """The page's commands, those that were run, and the rounds that they made, by workspace."""

    commands: list[list[str]]
    run: list[list[str]]
    rounds: dict[str, Round]
    true: dict[str, str]
    """The class of each case with one lesion that annotators mean."""


def commands() -> list[list[str]]:
    """Return the commands of the page's first section, in order."""
    section = PAGE.read_text(encoding="utf-8").partition("## A whole round")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def tutorial(finished, tmp_path_factory) -> Tutorial:
    """The commands run in a folder as the page's first three leave it, which `finished` has done."""
    folder = tmp_path_factory.mktemp("round")
    shutil.copytree(finished.workspace.folder, folder / "workspace")
    shutil.copy(finished.study_file.path, folder / "study.toml")
    true = true_classes(finished.workspace, finished.export.parent)
    done = Tutorial(commands(), [], {}, true)
    with contextlib.chdir(folder):
        for words in done.commands[3:]:
            if words[:2] == ["cp", "-r"]:
                shutil.copytree(*words[2:])
            else:
                run(words[1:], done, finished)
            done.run.append(words)
    return done


def run(arguments: list[str], done: Tutorial, finished) -> None:
    """Run a command, and before it do what people do: fill in the workbook, change labels in Labelbox."""
    name, *others = arguments[2:] if arguments[0] == "--workspace" else arguments
    workspace = Workspace(Path(arguments[1] if arguments[0] == "--workspace" else "workspace").resolve())
    if name == "review":
        fill_in(workspace.reports / "queue" / "queue.xlsx", Path(others[0]), others[-1], done.true)
    elif name == "parse":
        export_again(finished, workspace, wrong_labels(workspace, newest_queue(workspace), done.true), Path(others[0]))
    text = printed(arguments)
    if name == "impact":
        queue_id, study = newest_queue(workspace), finished.study_file.study
        results = outcome(workspace, study, queue_id), impact(workspace, study, queue_id)
        done.rounds[workspace.folder.name] = Round(workspace, queue_id, *results, text)


def printed(arguments: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
        main(["--quiet", *arguments])
    assert 0 == ended.value.code, arguments
    return out.getvalue()


def newest_queue(workspace) -> str:
    return workspace.rows("select queue_id from queues order by made_at desc limit 1")[0]["queue_id"]


def is_careless(row: int) -> bool:
    """Say whether a row of the workbook is the careless reviewer's: every third."""
    return row % 3 == 0


def fill_in(workbook: Path, copy: Path, reviewer: str, true: dict[str, str]) -> None:
    """Write a reviewer's verdicts: the careless one confirms whatever is there, the careful one gives the class."""
    book = openpyxl.load_workbook(workbook)
    sheet = book["queue"]
    place = {cell.value: cell.column for cell in sheet[1]}
    for number in range(2, sheet.max_row + 1):
        name = true.get(sheet.cell(number, place["case_id"]).value)
        if name and is_careless(number) == (reviewer == CARELESS):
            sheet.cell(number, place["verdict"], "confirm" if reviewer == CARELESS else name)
    book.save(copy)


def true_classes(workspace, sample: Path) -> dict[str, str]:
    with (sample / "truth" / "lesions.csv").open() as file:
        meant = [row for row in csv.DictReader(file) if row["meant"].lower() == "true"]
    keys = [row["global_key"] for row in meant]
    lesions = {row["global_key"]: row["class_name"] for row in meant if keys.count(row["global_key"]) == 1}
    rows = workspace.rows("select case_id, global_key from cases inner join images using (image_id)")
    return {row["case_id"]: lesions[row["global_key"]] for row in rows if row["global_key"] in lesions}


def items(workspace, queue_id: str) -> list[dict[str, Any]]:
    return workspace.rows("from queue_items where queue_id = $id order by rank", {"id": queue_id})


def wrong_labels(workspace, queue_id: str, true: dict[str, str]) -> dict[str, str]:
    """Return the cases of a queue whose label is not what the lesion is, and what it is."""
    rows = items(workspace, queue_id)
    return {
        row["case_id"]: true[row["case_id"]]
        for row in rows
        if true.get(row["case_id"], row["class_name"]) != row["class_name"]
    }


def export_again(finished, workspace, changed: dict[str, str], file: Path) -> None:
    """Write what Labelbox exports tomorrow of the photographs whose labels were changed."""
    cases = workspace.rows("select case_id, image_id from cases")
    images = {row["image_id"]: changed[row["case_id"]] for row in cases if row["case_id"] in changed}
    rows = [json.loads(line) for line in finished.export.open() if line.startswith("{") and line.endswith("}\n")]
    chosen = [row for row in rows if row.get("data_row", {}).get("id") in images]
    study = finished.study_file.study
    again = [relabel(row, images[row["data_row"]["id"]], study) for row in chosen]
    file.write_text("".join(json.dumps(row) + "\n" for row in again))


def relabel(row, class_name, study):
    """Give every label of a photograph another diagnosis, as a reviewer does in Labelbox's editor, tomorrow."""
    answer = next(c.answer for c in study.classes if c.name == class_name)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for project in row["projects"].values():
        for label in project["labels"]:
            label["label_details"]["updated_at"] = later
            annotations = label["annotations"]
            nested = [question for each in annotations["objects"] for question in each["classifications"]]
            for question in [*annotations["classifications"], *nested]:
                if question["name"] == study.labelbox.question and "radio_answer" in question:
                    question["radio_answer"] |= {"name": answer, "value": answer.replace(" ", "_")}
    return row


def pseudonym(finished, workspace, name: str) -> str:
    return finished.study_file.key(workspace).pseudonym("a", normalise(name))


def test_every_command_of_the_page_is_run(tutorial):
    first = ["toolkit sample round --cases 200 --seed 3", "cd round", "toolkit run export.ndjson --images images"]

    assert first == [" ".join(words) for words in tutorial.commands[:3]]
    assert tutorial.commands[3:] == tutorial.run
    assert {"workspace", "through-labelbox"} == set(tutorial.rounds)


def test_what_the_careful_reviewer_says_counts_and_the_careless_one_can_be_seen(tutorial, finished):
    workspace, queue_id, found, *_ = tutorial.rounds["workspace"]
    wrong = wrong_labels(workspace, queue_id, tutorial.true)
    confirmed = {row["case_id"] for row in items(workspace, queue_id) if is_careless(row["rank"] + 1)}
    counts = {row["reviewer"]: row for row in found.reviewers}
    careful, careless = (counts[pseudonym(finished, workspace, name)] for name in (CAREFUL, CARELESS))
    corrected = {row["case_id"]: row["class_reviewed"] for row in found.rows if row["outcome"] == "changed"}

    assert corrected
    assert {case_id: name for case_id, name in wrong.items() if case_id not in confirmed} == corrected
    assert (len(corrected), 0) == (careful["changed"], careless["changed"])
    assert len(confirmed & tutorial.true.keys()) == careless["confirmed"]


def test_what_was_decided_is_not_proposed_again(tutorial):
    workspace, queue_id, found, *_ = tutorial.rounds["workspace"]
    decided = {row["case_id"] for row in found.rows if row["outcome"] == "changed"}
    again = newest_queue(workspace)
    proposed = {row["case_id"] for row in items(workspace, again) if row["suggested_class"] and not row["random"]}

    assert queue_id != again
    assert not proposed & decided


def test_what_was_changed_in_labelbox_counts_once_the_export_is_there(tutorial):
    workspace, queue_id, found, *_ = tutorial.rounds["through-labelbox"]
    wrong = wrong_labels(workspace, queue_id, tutorial.true)

    assert wrong
    assert set(wrong) == {row["case_id"] for row in found.rows if row["outcome"] == "changed"}
    assert {"untouched"} == {row["outcome"] for row in found.rows if row["case_id"] not in wrong}
    assert sum(found.changes.values()) == len(wrong)


@pytest.mark.parametrize("name", ["workspace", "through-labelbox"])
def test_a_round_ends_with_the_page_of_its_impact(tutorial, name):
    workspace, queue_id, _, result, text = tutorial.rounds[name]
    page = workspace.reports / f"impact-{queue_id}" / "index.html"
    f1 = next(row for row in result.of_run.scores if row["metric"] == "macro_f1")

    assert f"page: {page.relative_to(workspace.folder.parent)}" in text
    assert f"goes from {f1['before']:.3f} to {f1['reviewed']:.3f}" in " ".join(text.split())
    assert f"<strong>{f1['reviewed']:.3f}</strong>" in page.read_text(encoding="utf-8")
