"""Which values a question's parameter may have, by what the registry holds: runs, splits, classes, metrics, groups."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.errors import QuestionError
from toolkit.formatting import spoken
from toolkit.workspace.names import chosen_id, unknown
from toolkit.workspace.sql import Parameter, Question

if TYPE_CHECKING:
    from toolkit.workspace.registry import Workspace

NOUNS = {
    "other": "run",
    "part": "subset",
    "class_name": "class",
    "group_name": "group",
    "before": "export",
    "after": "export",
    "label_id": "label",
    "field": "metadata field",
    "case_id": "case",
    "patient_id": "patient",
}
"""What is asked for, where the parameter has another name."""


def resolved(workspace: "Workspace", question: Question, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a question's values with every ID in full; raise QuestionError for one that the registry does not know.

    The default of a parameter is always one of its values.
    """
    return {
        each.name: values[each.name]
        if not each.among or values[each.name] == each.default or not isinstance(values[each.name], str)
        else _resolved(workspace, question, each, values[each.name])
        for each in question.parameters
    }


def _resolved(workspace: "Workspace", question: Question, parameter: Parameter, value: str) -> str:
    columns = [tuple(each.split(".")) for each in parameter.among if "." in each]
    words = [each for each in parameter.among if "." not in each]
    present = [(table, column) for table, column in columns if _has_column(workspace, table, column)]
    known = [*words, *(each for table, column in present for each in _values(workspace, table, column))]
    if value in known or (columns and not present):  # of a registry of an earlier version nothing is known
        return value
    kind = NOUNS.get(parameter.name, spoken(parameter.name))
    place = f"--set {parameter.name} of {question.name}"
    told = chosen_id if any(_holds_ids(table, column) for table, column in columns) else _refused
    return told(
        value,
        list(dict.fromkeys(known)),
        kind=kind,
        place=place,
        remedy=f"there is no {kind} yet: toolkit status tells the next step",
        error=QuestionError,
    )


def _refused(asked: str, known: list[str], **told: Any) -> str:
    raise unknown(asked, known, **told)


def _holds_ids(table: str, column: str) -> bool:
    return column.endswith("_id") or table == "run_names"


def _has_column(workspace: "Workspace", table: str, column: str) -> bool:
    key = {"table": table, "column": column}
    return bool(
        workspace.rows("from duckdb_columns() where table_name = $table and column_name = $column limit 1", key)
    )


def _values(workspace: "Workspace", table: str, column: str) -> list[str]:
    """Return the values of a column whose table and name are letters, digits and _ only."""
    text = f'select distinct "{column}"::text as value from "{table}" where "{column}" is not null order by value'  # noqa: S608
    return [row["value"] for row in workspace.rows(text)]
