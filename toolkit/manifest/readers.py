"""The section of a study file about a reader study: which readings were made without the model and which with it."""

from datetime import date

from pydantic import model_validator

from toolkit.manifest.base import ClassName, Name, Section


class ReaderArm(Section):
    """Where the readings of one modality stand."""

    project: Name
    """Name or ID of a Labelbox project, one of `labelbox.projects`."""
    since: date | None = None
    """Only labels last changed on this day or later (UTC): the second of two consensus rounds in one project."""
    until: date | None = None
    """Only labels last changed on this day or earlier (UTC): the first round."""
    export: Name | None = None
    """ID of an export: the labels as they stood then, where readers changed them after they saw the model's answer."""


class ReadersSection(Section):
    """A reader study for `toolkit readers`: the same annotators read the same cases without and with the model."""

    unaided: ReaderArm
    """Readings without the model: `unaided = {project = "Reading A"}`; with `since`, `until` (days) or `export` where
    one project holds several rounds."""
    aided: ReaderArm
    """Readings with the model, likewise."""
    positive: list[ClassName] = []
    """Classes to be detected, for sensitivity and specificity; without any, the malignant ones."""
    rating: Name | None = None
    """Question by whose answers a reader rates how suspicious a lesion is, for the ROC AUC."""
    ratings: list[Name] = []
    """The answers to that question, the least suspicious first."""

    @model_validator(mode="after")
    def _arms_differ(self) -> "ReadersSection":
        if self.unaided == self.aided:
            raise ValueError("unaided and aided are the same readings")
        if bool(self.rating) != (len(self.ratings) > 1):
            raise ValueError("ratings: name the question (rating) and its answers (ratings, two or more) together")
        return self
