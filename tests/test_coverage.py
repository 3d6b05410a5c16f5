import re
from pathlib import Path

import numpy as np

PAGE = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
REQUIRED = 0.93
METRICS = ("precision", "recall", "specificity", "f1", "roc_auc", "pr_auc")


def rows() -> list[tuple[str, str, str, int, str]]:
    """Return design, kind of value, metric, studies and cell of every number of patients, as the page says them."""
    text = PAGE.split("<!-- coverage: begin -->")[1].split("<!-- coverage: end -->")[0]
    most, of_many = (
        int(number) for number in re.search(r"Studies: (\d+) each, (\d+) of 1,000 patients", text).groups()
    )
    found = []
    for table in text.split("### Coverage: ")[1:]:
        design, *lines = table.strip().splitlines()
        header = [cell.strip() for cell in next(line for line in lines if line.startswith("| value of")).split("|")]
        for line in lines:
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) > 3 and cells[1] not in ("value of", "---"):
                for name, cell in zip(header[3:-1], cells[3:-1], strict=True):
                    found.append((f"{design}, {name}", cells[1], cells[2], of_many if "1,000" in name else most, cell))
    return found


def test_intervals_without_a_mark_cover_what_is_required():
    below = []
    for design, kind, metric, studies, cell in rows():
        if "†" in cell or cell == "–":
            continue
        error = np.sqrt(REQUIRED * (1 - REQUIRED) / studies)
        if float(cell.split()[0]) < REQUIRED - 2 * error:
            below.append((design, kind, metric, cell))

    assert [] == below


def test_every_metric_of_the_page_was_simulated_in_every_design():
    found = rows()
    kinds = {(kind, metric) for _, kind, metric, _, _ in found}

    assert {("one class", metric) for metric in METRICS} <= kinds
    assert {("all classes", f"macro_{metric}") for metric in METRICS} <= kinds
    assert {("difference", f"macro_{metric}") for metric in METRICS} <= kinds
    over_all = ("accuracy", "brier", "log_loss", "calibration_slope", "calibration_intercept", "weighted_pr_auc")
    assert {("all classes", metric) for metric in over_all} <= kinds
    assert len(found) == 5 * 4 * len(kinds)
    assert any("one case per patient" in design for design, *_ in found)
    assert all(re.fullmatch(r"[01]\.\d{3} \(([\d.]+|inf)\)†?|–", cell) for *_, cell in found)
    widths = [cell for *_, cell in found if "(" in cell]
    assert len(widths) > 0.9 * len(found)
