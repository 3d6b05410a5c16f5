"""What a file of claims may say: sets of cases with their classes, and the figures that were printed about them.

Refuses to judge. A report of this toolkit is read as claims too: its CSV files say what it printed.
"""

import csv
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from toolkit.errors import ClaimsError
from toolkit.manifest import faults
from toolkit.manifest.base import ClassName, Name, Section
from toolkit.stages.claims.printed import Printed, read_value
from toolkit.stats.metrics import RATES

Metric = Literal[
    "recall",
    "specificity",
    "precision",
    "npv",
    "f1",
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "pr_auc",
    "most_confused",
]
Average = Literal["macro", "weighted", "micro"]
OF_PROBABILITIES = ("roc_auc", "pr_auc")
OVER_ALL = {"accuracy": ("recall", "micro"), "balanced_accuracy": ("recall", "macro")}
"""What these are called here: a metric and its average."""
REPORT = "report"
REPORT_DECIMALS = 6
"""Decimals to which the CSV files of a report are held against its counts: its page prints three."""


class Predictions(Section):
    """A CSV file of predictions: then every figure is computed again, areas too."""

    file: Name
    """File, relative to the file of claims."""
    truth: Name
    """Column with the true class."""
    predicted: Name
    """Column with the predicted class."""
    probabilities: dict[ClassName, Name]
    """Column with each class's probability; of two classes one is enough."""


class PartSection(Section):
    """A set of cases that figures were printed about."""

    name: Name
    """What it is called."""
    cases: dict[ClassName, Annotated[int, Field(ge=0)]] = {}
    """Cases of each class."""
    predictions: Predictions | None = None
    """Its predictions, instead of `cases`."""
    assumed: str = ""
    """Why its cases are assumed, where they were not stated."""

    @model_validator(mode="after")
    def _has_cases(self) -> "PartSection":
        if (sum(self.cases.values()) > 0) == bool(self.predictions):
            raise ValueError("give cases or predictions, and not both")
        if self.cases and len(self.cases) < 2:
            raise ValueError("a confusion matrix takes two classes")
        return self

    @property
    def classes(self) -> set[str]:
        """The classes that claims may name; empty where the predictions say."""
        return set(self.cases)


class ClaimSection(Section):
    """One printed figure."""

    part: Name
    """The set of cases it is about."""
    source: Name = "text"
    """Where it stands: abstract, results; the claims of one source are judged together."""
    metric: Metric
    """What it is; sensitivity is recall."""
    class_name: ClassName | None = None
    """The class it is about, one against the rest."""
    average: Average | None = None
    """The average it is, over all classes."""
    value: str | None = None
    """The number as it was printed, "0.860" or "86.0 %": its decimals count."""
    comparison: Literal["=", ">", ">=", "<", "<="] = "="
    """How the figure stands to the number."""
    classes: Annotated[int, Field(ge=1)] | None = None
    """Of how many classes, at least, it was said without naming them."""
    rank: Literal["highest", "lowest"] | None = None
    """That the class has the highest or the lowest value of all."""
    pairs: list[Annotated[list[ClassName], Field(min_length=2, max_length=2)]] = []
    """Of `most_confused`: pairs of classes that were taken for each other more often than any other pair."""

    @field_validator("metric", mode="before")
    @classmethod
    def _one_word(cls, metric: object) -> object:
        return "recall" if metric == "sensitivity" else metric

    @field_validator("value")
    @classmethod
    def _is_a_share(cls, value: str | None) -> str | None:
        if value is not None:
            read_value(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "ClaimSection":
        about = [self.class_name is not None, self.average is not None, self.classes is not None]
        alone = self.metric in OVER_ALL or self.metric == "most_confused"
        if sum(about) != (0 if alone else 1):
            alternatives = "no class and no average" if alone else "one of class_name, average, classes"
            raise ValueError(f"{self.metric} takes {alternatives}")
        if (self.metric == "most_confused") != bool(self.pairs):
            raise ValueError("most_confused and pairs belong together")
        if self.rank and self.class_name is None:
            raise ValueError("rank belongs to a class")
        if self.value is None and not self.rank and not self.pairs:
            raise ValueError("value: a claim needs the number that was printed")
        return self

    @property
    def rate(self) -> str:
        """The metric of a class that it rests on: accuracy rests on recall."""
        return OVER_ALL.get(self.metric, (self.metric, None))[0]

    @property
    def averaged(self) -> str | None:
        """Over the classes how: accuracy is micro recall, balanced accuracy macro recall."""
        return OVER_ALL.get(self.metric, (None, self.average))[1]

    @property
    def decidable(self) -> bool:
        """Whether a confusion matrix says it."""
        return self.metric not in OF_PROBABILITIES

    @property
    def printed(self) -> Printed | None:
        """The number, with the values that it may stand for."""
        return None if self.value is None else Printed(read_value(self.value), self.comparison)

    @property
    def text(self) -> str:
        """The claim in words."""
        if self.pairs:
            return "most confused: " + ", ".join(" with ".join(pair) for pair in self.pairs)
        of = {self.class_name: f" of {self.class_name}", None: ""}[self.class_name]
        of += f" of {self.classes} classes" if self.classes else ""
        words = f"{f'{self.average} ' if self.average else ''}{self.metric}{of}"
        number = "" if self.value is None else f" {self.comparison} {self.value}"
        return f"{words}{number}{f', {self.rank}' if self.rank else ''}"


class ClaimsFile(Section):
    """A whole file of claims."""

    title: Name
    """What the figures are of."""
    reference: str = ""
    """Where they were published."""
    parts: Annotated[list[PartSection], Field(min_length=1)]
    claims: Annotated[list[ClaimSection], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> "ClaimsFile":
        told = [f"parts: {name} stands there twice" for name, n in Counter(p.name for p in self.parts).items() if n > 1]
        parts = {part.name: part for part in self.parts}
        for number, claim in enumerate(self.claims, start=1):
            if claim.part not in parts:
                told.append(f"claims.{number}.part: there is no such part: {claim.part}")
                continue
            known = parts[claim.part].classes
            named = {name for pair in [*claim.pairs, [claim.class_name]] for name in pair if name}
            told += [
                f"claims.{number}: no such class in {claim.part}: {name}" for name in sorted(named - known) if known
            ]
        if told:
            raise ValueError("; ".join(told))
        return self


def read(path: Path) -> ClaimsFile:
    """Read a file of claims, or a report's folder; raise ClaimsError with every fault at once."""
    if path.is_dir():
        return of_report(path)
    try:
        return ClaimsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ClaimsError(
            "no such file of claims", place=str(path), remedy="docs/claims.md says what stands in one"
        ) from None
    except ValidationError as error:
        raise ClaimsError(
            "the file of claims has faults:\n" + "\n".join(f"  - {fault}" for fault in faults(error)),
            place=str(path),
            remedy="docs/claims.md lists every key",
        ) from None
    except (OSError, ValueError) as error:
        raise ClaimsError(
            f"the file of claims cannot be read: {error}", place=str(path), remedy="a file of claims is UTF-8 TOML"
        ) from None


def of_report(folder: Path) -> ClaimsFile:
    """Read the CSV files of a report as claims about its own cases."""
    try:
        classes = _rows(folder / "per_class.csv")
        summary = _rows(folder / "summary.csv")
    except (OSError, KeyError, ValueError) as error:
        raise ClaimsError(
            f"this folder holds no report: {error}", place=str(folder), remedy="give the folder of a report's page"
        ) from None
    parts = {row["part"]: {} for row in classes}
    claims = []
    for row in classes:
        parts[row["part"]][row["class_name"]] = int(row["cases"])
        about = {"part": row["part"], "source": REPORT, "class_name": row["class_name"]}
        claims += [{**about, "metric": metric, "value": row[metric]} for metric in (*RATES, *OF_PROBABILITIES)]
    for row in summary:
        average, _, metric = row["metric"].partition("_")
        told = {"metric": metric, "average": average} if average in Average.__args__ else {"metric": row["metric"]}
        if told["metric"] in Metric.__args__:
            claims.append({"part": row["part"], "source": REPORT, "value": row["value"], **told})
    kept = [
        {**claim, "value": f"{float(claim['value']):.{REPORT_DECIMALS}f}"}
        for claim in claims
        if claim["value"] and not math.isnan(float(claim["value"]))
    ]
    sections = [{"name": name, "cases": cases} for name, cases in parts.items()]
    return ClaimsFile.model_validate({"title": f"report {folder.name}", "parts": sections, "claims": kept})


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
