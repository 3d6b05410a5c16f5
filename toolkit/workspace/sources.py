"""Runs that are the predictions of another model, read from a file: what is recorded of it, what it leaves undefined.

No model of theirs is here, and nothing tells what it was trained on.
"""

from typing import Literal

from pydantic import BaseModel

UNTOLD = "trained elsewhere: leakage cannot be told"
"""What everything says of such a run."""
FROM_FILE = "predictions-file"
"""Backend of such a run."""
AREAS = ("roc_auc", "pr_auc")
LOSSES = ("brier", "log_loss")
OF_EVENTS = ("ece", "ece_debiased", "calibration_slope", "calibration_intercept")


class PredictionSource(BaseModel, extra="allow", frozen=True):
    """The file that a run's predictions came from; no copy of it is kept."""

    name: str
    """Its name, without folders and e-mail addresses."""
    sha256: str
    rows: int
    knows: Literal["distribution", "scores", "predicted"]
    """Every class's probability, a score of each class by itself, or the probability of the predicted class alone."""
    scale: str
    """How its numbers were written: probabilities, percentages, logits, scores."""
    notes: list[str] = []
    """How the file was read and what was taken for what."""
    key: str = ""
    """What its rows were found by."""


def is_undefined(source: PredictionSource | None, metric: str, class_name: str | None) -> bool:
    """Tell whether a score rests on numbers that a run's file does not give.

    Scores of each class by itself rank cases, so that areas stand; a loss over all classes needs a distribution.

    >>> file = PredictionSource(name="a.csv", sha256="0", rows=1, knows="scores", scale="scores")
    >>> is_undefined(file, "log_loss", None), is_undefined(file, "roc_auc", "nevus"), is_undefined(None, "brier", None)
    (True, False, False)
    """
    if source is None or source.knows == "distribution":
        return False
    of_all = metric.removeprefix("scaled_") in LOSSES and class_name is None
    if source.knows == "scores":
        return of_all
    return of_all or metric.endswith(AREAS) or (class_name is not None and metric in (*LOSSES, *OF_EVENTS))
