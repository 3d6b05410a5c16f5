"""The data embedded in a page: every case that is shown, as one JSON document from which the script makes the cards."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toolkit.csv_files import FORMULA, MARK, VALUE, WHOLE
from toolkit.formatting import clean, group_name, spoken, unit
from toolkit.manifest.evaluation import Costs
from toolkit.stages.report.case_details import CaseDetails
from toolkit.stages.report.cases import ReportCase, cost
from toolkit.stages.report.thumbnails import Thumbnails

COLUMNS = (
    "case", "image", "part", "truth", "predicted", "outcome", "chances", "mass", "patient", "resolved", "agreeing",
    "readings", "groups", "findings", "photograph", "crop", "width", "height", "fault", "large", "roi", "before",
    "votes", "suggestion", "file", "address",
)  # fmt: skip
"""Of a case's row in the document; what has few values is a position in the document's lists."""
NOTHING = CaseDetails(votes=[], suggestion=None, file="", address="")


class EmbeddedContext(NamedTuple):
    """What a page says of cases besides the cases: its classes, parts and outcomes."""

    classes: list[str]
    malignant: set[str]
    parts: list[str]
    outcomes: list[tuple[str, str]]
    """Each outcome of a case with its words; the first one is shown unless another is asked for."""
    costs: Costs
    name: str
    """Starts the name of a file that the page gives away."""
    limited: bool
    """Whether there are more cases than the page holds."""


def document(
    context: EmbeddedContext,
    cases: list[ReportCase],
    pictures: Iterable[Thumbnails],
    details: Mapping[str, CaseDetails],
) -> str:
    """Return the document of a page as JSON in which no "<" stands, so that it can stand in HTML.

    `details` are by case; a page for others has none.
    """
    classes, parts = ({name: n for n, name in enumerate(names)} for names in (context.classes, context.parts))
    outcomes = {name: n for n, (name, _) in enumerate(context.outcomes)}
    groups, findings, patients, readers = ({}, {}, {}, {})  # value → position in its list, in the order of first sight
    rows = [
        [
            case.case_id,
            case.image_id,
            parts[case.part],
            classes[case.truth],
            classes[case.predicted],
            outcomes[case.outcome],
            [case.probabilities.get(name, 0.0) for name in context.classes],
            case.label_mass,
            _position(patients, case.patient_id),
            case.resolved_by,
            case.agreeing,
            case.readings,
            [_position(groups, (*group, group_name(*group))) for group in case.groups],
            [_position(findings, clean(kind)) for kind in case.findings],
            *own,
            case.roi and [round(side, 1) for side in case.roi],
            case.before and classes[case.before],
            *_told(details.get(case.case_id, NOTHING), readers),
        ]
        for case, own in zip(cases, pictures, strict=True)
    ]
    content = {
        "name": context.name,
        "limited": context.limited,
        "classes": context.classes,
        "parts": context.parts,
        "outcomes": context.outcomes,
        "costs": [[cost(t, p, context.malignant, context.costs) for p in context.classes] for t in context.classes],
        "groups": list(groups),
        "findings": list(findings),
        "patients": list(patients),
        "readers": list(readers),
        "unit": unit(),
        "sheet": {"mark": MARK, "formula": FORMULA.pattern, "value": VALUE.pattern, "whole": WHOLE.pattern},
        "columns": COLUMNS,
        "cases": rows,
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _told(details: CaseDetails, readers: dict[str, int]) -> list[Any]:
    """Return the columns of a case's details: readings, suggestion, file name and address."""
    votes = [[_position(readers, reader), class_name or "", counts] for reader, class_name, counts in details.votes]
    suggestion = details.suggestion and [*details.suggestion[:2], clean(spoken(details.suggestion.reasons))]
    return [votes, suggestion, details.file, details.address]


def _position(known: dict[Any, int], value: Any) -> int:
    return known.setdefault(value, len(known))
