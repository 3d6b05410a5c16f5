"""The metadata of a split's cases, for models that are given metadata and no photograph."""

from typing import NamedTuple

import numpy as np

from toolkit.errors import StudyError
from toolkit.manifest import Study
from toolkit.models.metadata import Values
from toolkit.prompts.prompt import clean_value
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace


class MetadataCases(NamedTuple):
    """Cases with their metadata by field; the four have the same length."""

    ids: list[str]
    patients: list[str]
    truth: np.ndarray
    """(N,) class indices, -1 where there is none."""
    values: list[Values]

    def known(self) -> "MetadataCases":
        """Return those with a class."""
        kept = np.nonzero(self.truth >= 0)[0].tolist()
        lists = ([whole[n] for n in kept] for whole in (self.ids, self.patients, self.values))
        ids, patients, values = lists
        return MetadataCases(ids, patients, self.truth[kept], values)

    @classmethod
    def none(cls) -> "MetadataCases":
        """Return no case."""
        return cls([], [], np.array([], int), [])


def metadata_fields(study: Study) -> list[str]:
    """Return the fields that a model of metadata alone may look at; refuse identifiers."""
    names = study.baseline.fields or study.prompt.fields
    if not names:
        raise StudyError(
            "no metadata field is named",
            place="[baseline] fields",
            remedy='name those that the baseline may look at: fields = ["age", "sex", "site"]',
        )
    if hidden := {study.labelbox.patient, study.labelbox.lesion} & set(names):
        raise StudyError(
            f"{min(hidden)} identifies a patient or a lesion; no model must be told",
            place="[baseline] fields",
            remedy="leave it out",
        )
    return names


def metadata_cases(
    workspace: Workspace, study: Study, split_id: str, names: list[str]
) -> tuple[dict[str, MetadataCases], int]:
    """Return the cases of each part with their values, and how many values were left out because they name a class."""
    rows = workspace.rows(sql.statement("baseline/cases"), {"split_id": split_id})
    values: dict[str, dict[str, str]] = {}
    left_out, here = 0, {row["case_id"] for row in rows}
    for row in workspace.rows(sql.statement("predict/prompt_values"), {"names": "\x1f".join(names)}):
        text = clean_value(row["value"])
        if row["case_id"] in here and text:
            if study.names_a_class(text):
                left_out += 1
            else:
                values.setdefault(row["case_id"], {})[row["name"]] = text
    number = {name: place for place, name in enumerate(study.class_names)}
    parts = {}
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part]
        truth = np.array([number.get(row["class_name"] or "", -1) for row in own])
        ids = [row["case_id"] for row in own]
        parts[part] = MetadataCases(
            ids, [row["patient_id"] for row in own], truth, [values.get(case, {}) for case in ids]
        )
    return parts, left_out
