"""The data of a page: every case that is shown, as one JSON document that the page's script draws from.

Refuses to draw, and to name a photograph. The document can stand in HTML: no "<" is in it.
"""

import json
from typing import Any, NamedTuple

from toolkit.formatting import clean
from toolkit.manifest.evaluation import Costs
from toolkit.stages.report.thumbnails import Thumbnails, box_of, inline

COLUMNS = (
    "case", "image", "part", "truth", "predicted", "outcome", "chances", "mass", "patient", "resolved", "agreeing",
    "readings", "groups", "findings", "photograph", "crop", "width", "height", "roi", "fault", "before", "after",
)  # fmt: skip
"""Of a case's row in the document; what has few values is a position in the document's lists."""
ENDING = {True: "", False: "-roi"}


class EmbeddedContext(NamedTuple):
    """What a page says of cases besides the cases: its classes, parts and outcomes, and where its pictures are."""

    classes: list[str]
    malignant: set[str]
    parts: list[str]
    outcomes: list[tuple[str, str]]
    """Each outcome of a case with its words; the first one is shown unless another is asked for."""
    costs: Costs
    inline: bool
    name: str
    """Starts the name of a file that the page gives away."""


def cost(truth: str, predicted: str, malignant: set[str], costs: Costs) -> float:
    """Return what it costs to take one class for another; nothing where it is right."""
    if truth == predicted:
        return 0.0
    if (truth in malignant) == (predicted in malignant):
        return costs.other
    return costs.malignant_called_benign if truth in malignant else costs.benign_called_malignant


def file_name(case_id: str, *, whole: bool) -> str:
    """Return where a case's thumbnail stands beside the page."""
    return f"thumbs/{case_id}{ENDING[whole]}.webp"


def document(shown: EmbeddedContext, cases: list[dict[str, Any]], shots: list[Thumbnails]) -> str:
    """Return the document of a page as JSON."""
    classes, parts = ({name: n for n, name in enumerate(names)} for names in (shown.classes, shown.parts))
    outcomes = {name: n for n, (name, _) in enumerate(shown.outcomes)}
    groups, findings, patients = ({}, {}, {})  # value → position in its list, in the order of first sight
    rows = []
    for case, shot in zip(cases, shots, strict=True):
        rows.append(
            [
                case["case_id"],
                case["image_id"],
                parts[case["part"]],
                classes[case["truth"]],
                classes[case["predicted"]],
                outcomes[case["outcome"]],
                [case["probabilities"].get(name, 0.0) for name in shown.classes],
                case["label_mass"],
                _place(patients, case["patient_id"]),
                case["resolved_by"],
                case["agreeing"],
                case["readings"],
                [_place(groups, group) for group in case["groups"]],
                [_place(findings, clean(kind)) for kind in case["findings"]],
                *_pictures(shot, inlined=shown.inline),
                shot.width,
                shot.height,
                _roi(case),
                shot.fault,
                *(None if name is None else classes[name] for name in (case.get("before"), case.get("after"))),
            ]
        )
    made = {
        "name": shown.name,
        "classes": shown.classes,
        "malignant": [name in shown.malignant for name in shown.classes],
        "parts": shown.parts,
        "outcomes": shown.outcomes,
        "costs": [[cost(t, p, shown.malignant, shown.costs) for p in shown.classes] for t in shown.classes],
        "groups": list(groups),
        "findings": list(findings),
        "patients": list(patients),
        "columns": COLUMNS,
        "cases": rows,
    }
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _place(known: dict[Any, int], value: Any) -> int:
    return known.setdefault(value, len(known))


def _pictures(shot: Thumbnails, *, inlined: bool) -> list[str | None]:
    if inlined:
        return [inline(shot.photograph), inline(shot.crop)]
    both = ((shot.photograph, True), (shot.crop, False))
    return [None if picture is None else file_name(shot.case_id, whole=whole) for picture, whole in both]


def _roi(case: dict[str, Any]) -> list[float] | None:
    box = box_of(case)
    return None if box is None else [round(side, 1) for side in (box.left, box.top, box.width, box.height)]
