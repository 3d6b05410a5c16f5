"""What may leave the study: counts that hide small cells, and a bundle without anything that leads to a patient."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from registries import a_registry, a_study
from scipy.optimize import Bounds, LinearConstraint, milp

from toolkit.stages.evaluate import evaluate
from toolkit.stages.report import report
from toolkit.stages.report.facts import CountCell
from toolkit.stages.report.suppression import suppressed_cells
from toolkit.workspace.registry import Workspace


def table_of(rows: list[list[int]], *, sums: bool = True):
    """Return counts as a table whose patients are its cases; sums over rows and columns stand under None."""
    table = {(r, c): CountCell(n, n) for r, row in enumerate(rows) for c, n in enumerate(row)}
    if sums:
        table |= {(r, None): CountCell(sum(row), sum(row)) for r, row in enumerate(rows)}
        table |= {(None, c): CountCell(sum(col), sum(col)) for c, col in enumerate(zip(*rows, strict=True))}
    return table


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[9, 8], [7, 6]], set()),
        ([[9, 0], [0, 9]], set()),
        # one small cell takes a rectangle: two rows and two columns of which no sum tells it
        ([[9, 2, 9], [9, 9, 9], [9, 9, 9]], {(0, 0), (0, 1), (1, 0), (1, 1)}),
        # where nothing but empty cells stands beside it, the sums themselves must go
    ],
)
def test_small_counts_are_hidden_with_what_would_tell_them(rows, expected):
    found = suppressed_cells(table_of(rows))

    assert len(expected) == len(found)
    assert {place for place, cell in table_of(rows).items() if 0 < cell.patients < 5} <= found


@pytest.mark.parametrize(
    "rows",
    [
        [[9, 2, 0], [0, 8, 3], [1, 0, 7]],
        [[6, 1, 0], [2, 9, 0], [0, 0, 12]],
        [[3, 3, 0], [0, 5, 0], [0, 0, 8]],
    ],
)
def test_no_hidden_count_can_be_worked_out_from_the_shown_ones(rows):
    table = table_of(rows)
    suppressed = suppressed_cells(table, diagonal=True)
    places = list(table)
    lines = [{(k, c): 1 for c in range(3)} | {(k, None): -1} for k in range(3)]
    lines += [{(r, k): 1 for r in range(3)} | {(None, k): -1} for k in range(3)]
    sums = np.array([[line.get(place, 0) for place in places] for line in lines])
    trace = np.array([place in {(0, 0), (1, 1), (2, 2)} for place in places], dtype=float)
    known = np.array([place not in suppressed for place in places])
    counts = np.array([table[place].cases for place in places], dtype=float)
    said = [LinearConstraint(sums, 0, 0), LinearConstraint(trace, trace @ counts, trace @ counts)]
    bounds = Bounds(np.where(known, counts, 0), np.where(known, counts, 99))
    certain = []
    for number in np.flatnonzero(~known):
        aim = np.eye(len(places))[number]
        least, most = (
            milp(sign * aim, constraints=said, bounds=bounds, integrality=np.ones_like(aim)).x[number]
            for sign in (1, -1)
        )
        certain += [places[number]] if most - least < 0.5 else []

    assert [] == certain


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory) -> Path:
    """The finished sample's report for others."""
    copy = Workspace(tmp_path_factory.mktemp("shared") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    return Path(report(copy, finished.study_file.study, audience="shared").page).parent


def planted(finished) -> dict[str, set[str]]:
    """Return what the sample holds that leads to a person, by kind: from its answer sheet and its export."""
    truth = finished.export.parent / "truth"
    with (truth / "planted.csv").open(encoding="utf-8") as file:
        faults = list(csv.DictReader(file))
    found = {
        "name": {row["detail"] for row in faults if row["kind"].startswith("name_in")},
        "photograph": {row["global_key"] for row in faults},
        "label": {row["label_id"] for row in faults if row["label_id"]},
    }
    with (truth / "annotators.csv").open(encoding="utf-8") as file:
        found["e-mail"] = {row["annotator"] for row in csv.DictReader(file)}
    lines = [json.loads(line) for line in finished.export.read_text(encoding="utf-8").splitlines()]
    fields = [field for line in lines for field in line["metadata_fields"]]
    found["patient"] = {str(f["value"]).strip() for f in fields if f["schema_name"] == "patient_id"}
    found["date"] = {str(f["value"])[:10] for f in fields if f["schema_name"] == "captured_at"}
    found["file"] = {line["data_row"]["external_id"] for line in lines}
    found["row"] = {line["data_row"]["id"] for line in lines}
    found["address"] = {line["data_row"]["row_data"].partition("?")[0] for line in lines}
    return {kind: values - {""} for kind, values in found.items()}


def test_a_bundle_for_others_holds_none_of_what_is_planted_in_the_sample(finished, bundle):
    content = b"\n".join(path.read_bytes() for path in sorted(bundle.rglob("*")) if path.is_file())
    text = content.decode("utf-8", errors="replace")
    kinds = planted(finished)

    assert all(len(values) > 0 for values in kinds.values())
    assert 20 <= sum(len(values) for values in kinds.values())
    assert [] == [(kind, value) for kind, values in kinds.items() for value in values if value in text]
    assert [] == re.findall(r"\b(?:19|20)\d\d-\d\d-\d\d\b", text)
    assert [] == re.findall(r"\bp-[0-9a-f]{16}\b", text)
    assert not list(bundle.glob("thumbs/*"))
    assert not list(bundle.glob("photographs/*"))
    assert "data:image/webp" not in text


def test_what_stays_within_the_study_names_no_person_either(finished):
    folder = Path(finished.results["Report"].page).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in (".html", ".csv"))
    # names of files are shown where no patient's identifier stands in them: tests/test_case_details.py
    kinds = {kind: values for kind, values in planted(finished).items() if kind not in ("row", "label", "file")}

    assert [] == [(kind, value) for kind, values in kinds.items() for value in values if value in text]


def test_counts_of_few_patients_are_nowhere_in_a_bundle(finished, bundle):
    internal = Path(finished.results["Report"].page).parent
    for name in ("confusions.csv", "split.csv", "groups.csv", "calibration.csv"):
        of_few = []
        for folder in (internal, bundle):
            with (folder / name).open(encoding="utf-8") as file:
                shown = [int(row["patients"]) for row in csv.DictReader(file) if row["patients"]]
            of_few.append(sum(0 < patients < 5 for patients in shown))

        assert shown, name
        assert of_few[0] > of_few[1] == 0, name


def test_the_first_screen_and_operating_points_count_no_few_for_others(finished, bundle):
    page = (bundle / "index.html").read_text(encoding="utf-8")
    internal = Path(finished.results["Report"].page).read_text(encoding="utf-8")
    missed = {int(number) for number in re.findall(r">(\d+) (?:was|were) missed<", internal)}
    said = {int(number) for number in re.findall(r"(\d+) (?:was|were) (?:missed|recognised)", page)}
    points = page.partition('aria-label="Operating points, table"')[2].partition("</table>")[0]

    assert missed
    assert all(number >= 5 for number in said)
    assert not re.search(r'<td class="n">[1-4]</td>', points)


def test_a_suppressed_count_is_a_sign_that_the_page_explains(bundle):
    page = (bundle / "index.html").read_text(encoding="utf-8")
    figure = (bundle / "figures" / "confusions_test.svg").read_text(encoding="utf-8")

    assert '<span title="suppressed">*</span>' in page
    assert "* Suppressed: fewer than 5 patients, or a count that would reveal such a one." in page
    assert "predicted (* suppressed)" in figure


def test_each_page_says_whom_it_is_for(finished, bundle):
    inside = Path(finished.results["Report"].page).read_text(encoding="utf-8")

    assert "<strong>Internal</strong>" in inside
    assert "<strong>For others</strong>" in (bundle / "index.html").read_text(encoding="utf-8")


@pytest.mark.soak
def test_crops_for_others_are_numbered_and_only_of_cells_that_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.stages.report.suppression.SMALLEST", 1)
    study = a_study(share_crops=True)
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)
    page = Path(report(workspace, study, audience="shared").page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"))[1])
    cases = [dict(zip(data["columns"], row, strict=True)) for row in data["cases"]]

    assert cases
    assert [f"{number:05}" for number in range(1, len(cases) + 1)] == [case["case"] for case in cases]
    assert {("", None)} == {(case["image"], case["photograph"]) for case in cases}
    assert [""] == data["patients"]


@pytest.mark.soak
def test_too_many_errors_for_one_page_are_the_most_confident_of_each_cell_without_a_count(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.stages.report.suppression.SMALLEST", 1)
    monkeypatch.setattr("toolkit.stages.report.cases.MOST_SHOWN", 4)
    study = a_study(share_crops=True)
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)
    page = Path(report(workspace, study, audience="shared").page).read_text(encoding="utf-8")

    assert "There are too many errors to show all" in page
    assert "scored cases" not in page
    assert 4 >= len(json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["cases"]) > 0
