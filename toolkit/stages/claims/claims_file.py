"""A file of claims: sets of cases with their classes, and the figures that were printed about them.

The CSV files of one of our own reports are read as claims too.
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from toolkit.csv_files import read_csv
from toolkit.errors import ClaimsError, DamagedError
from toolkit.files import check_sums, read_toml
from toolkit.manifest import faults
from toolkit.manifest.base import ClassName, Name, Section
from toolkit.stages.claims.rounding import Printed, read_printed
from toolkit.stats.metrics import AREAS, RATES

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
    "part_share",
]
Average = Literal["macro", "weighted", "micro"]
OVER_ALL = {"accuracy": ("recall", "micro"), "balanced_accuracy": ("recall", "macro")}
"""Metrics over all classes, as the average of a metric by class."""
TABLES = {
    "per_class.csv": ("part", "class_name", "cases", *RATES, *AREAS),
    "summary.csv": ("part", "metric", "value"),
}
"""The files of a report that are read as claims, and the columns that they must have."""
REPORT = "report"
REPORT_DECIMALS = 6
"""Decimals of a report's CSV files that are compared with its counts: its page prints three."""


class Predictions(Section):
    """A CSV, Parquet or JSON Lines file of predictions: then every figure is computed again, areas too."""

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
        if self.cases and (not sum(self.cases.values()) or self.predictions):
            raise ValueError("give cases or predictions, and not both; some class has a case")
        if self.cases and len(self.cases) < 2:
            raise ValueError("a confusion matrix takes two classes")
        return self


class ClaimSection(Section):
    """One printed figure."""

    part: Name
    """The set of cases it is about."""
    source: Name = "text"
    """Where it was printed: abstract, results; the claims of one source are also checked together."""
    metric: Metric
    """What it is; sensitivity is recall, part_share the share that the set has of `total`: 80 % for training."""
    class_name: ClassName | None = None
    """The class it is about, one against the rest."""
    average: Average | None = None
    """The average it is, over all classes."""
    value: str | None = None
    """The number as it was printed, "0.860" or "86.0 %": its decimals count."""
    comparison: Literal["=", ">", ">=", "<", "<="] = "="
    """How the figure compares with the number."""
    classes: Annotated[int, Field(ge=1)] | None = None
    """Of how many classes, at least, it was said without naming them."""
    rank: Literal["highest", "lowest"] | None = None
    """That the class has the highest or the lowest value of all."""
    pairs: list[Annotated[list[ClassName], Field(min_length=2, max_length=2)]] = []
    """Of `most_confused`: pairs of classes that were confused with each other more often than any other pair."""

    @field_validator("metric", mode="before")
    @classmethod
    def _canonical(cls, metric: object) -> object:
        return "recall" if metric == "sensitivity" else metric

    @field_validator("value")
    @classmethod
    def _is_a_share(cls, value: str | None) -> str | None:
        if value is not None:
            read_printed(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "ClaimSection":
        about = [self.class_name is not None, self.average is not None, self.classes is not None]
        alone = self.metric in OVER_ALL or self.metric in ("most_confused", "part_share")
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
        """The metric by class that it rests on: accuracy rests on recall."""
        return OVER_ALL.get(self.metric, (self.metric, None))[0]

    @property
    def averaged(self) -> str | None:
        """Its average over the classes: accuracy is micro recall, balanced accuracy macro recall."""
        return OVER_ALL.get(self.metric, (None, self.average))[1]

    @property
    def decidable(self) -> bool:
        """Whether a confusion matrix decides it."""
        return self.metric not in (*AREAS, "part_share")

    @property
    def is_roc_auc(self) -> bool:
        """Whether it gives a ROC AUC, and not a bound of one."""
        return self.metric == "roc_auc" and self.comparison == "="

    @property
    def printed(self) -> Printed | None:
        """The number, with the values that it may stand for."""
        return None if self.value is None else read_printed(self.value, self.comparison)

    @property
    def text(self) -> str:
        """The claim in words."""
        if self.pairs:
            return "most confused: " + ", ".join(" with ".join(pair) for pair in self.pairs)
        words = [self.average or "", self.metric]
        words += ["of", self.class_name] if self.class_name else []
        words += [f"of {self.classes} classes"] if self.classes else []
        words += [self.comparison, self.value] if self.value is not None else []
        return " ".join(filter(None, words)) + (f", {self.rank}" if self.rank else "")


class ClaimsFile(Section):
    """A whole file of claims."""

    title: Name
    """What the figures are of."""
    reference: str = ""
    """Where they were published."""
    total: dict[ClassName, Annotated[int, Field(ge=0)]] = {}
    """Cases of each class in the whole study, for claims about shares of it."""
    parts: Annotated[list[PartSection], Field(min_length=1)]
    claims: Annotated[list[ClaimSection], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> "ClaimsFile":
        counts = Counter(part.name for part in self.parts)
        problems = [f"parts: the name {name} is used twice" for name, count in counts.items() if count > 1]
        classes = {part.name: set(part.cases) for part in self.parts}
        for number, claim in enumerate(self.claims, start=1):
            if claim.part not in classes:
                problems.append(f"claims.{number}.part: there is no such part: {claim.part}")
            elif known := classes[claim.part]:
                named = {name for pair in [*claim.pairs, [claim.class_name]] for name in pair if name}
                unknown = sorted(named - known)
                problems += [f"claims.{number}: no such class in {claim.part}: {name}" for name in unknown]
        problems += self._unstated()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unstated(self) -> list[str]:
        """Name the sets and claims that lack the cases they need."""
        shares = [claim.part for claim in self.claims if claim.metric == "part_share"]
        others = [claim.part for claim in self.claims if claim.metric != "part_share"]
        bare = [part.name for part in self.parts if not part.cases and not part.predictions]
        problems = [
            f"parts: {name} needs cases or predictions" for name in bare if name in others or name not in shares
        ]
        if shares and not sum(self.total.values()):
            problems.append("total: a part_share needs the cases of the whole study")
        problems += [
            f"parts: {part.name} holds more {name} than total"
            for part in self.parts
            for name, number in part.cases.items()
            if self.total and number > self.total.get(name, 0)
        ]
        return problems


def read(path: Path) -> ClaimsFile:
    """Read a file of claims, or a report's folder; raise ClaimsError with every fault at once."""
    if path.is_dir():
        return of_report(path)
    if not os.path.lexists(path):
        remedy = "docs/claims.md says how to write one"
        raise ClaimsError("there is no such file of claims", place=str(path), remedy=remedy)
    try:
        return ClaimsFile.model_validate(read_toml(path))
    except ValidationError as error:
        problem = "the file of claims has faults:\n" + "\n".join(f"  - {fault}" for fault in faults(error))
        remedy = "docs/claims.md lists every key"
    except (DamagedError, ValueError) as error:
        reason = error.problem if isinstance(error, DamagedError) else str(error)[:300]
        problem, remedy = f"the file of claims cannot be read: {reason}", "a file of claims is UTF-8 TOML"
    raise ClaimsError(problem, place=str(path), remedy=remedy)


def of_report(folder: Path) -> ClaimsFile:
    """Read the CSV files of a report as claims about its own cases; they must be those that were written."""
    check_sums(folder, remedy="make the report again")
    try:
        return _of_tables(folder.name, *(_table(folder / name, columns) for name, columns in TABLES.items()))
    except (DamagedError, ValueError, TypeError) as error:
        reason = error.problem if isinstance(error, DamagedError) else str(error)[:300]
        raise ClaimsError(
            f"this folder holds no report: {reason}", place=str(folder), remedy="give the folder of a report's page"
        ) from None


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a report's table; raise ClaimsError where it lacks columns."""
    rows = read_csv(path)
    if missing := [name for name in columns if name not in (rows[0] if rows else {})]:
        raise ClaimsError(
            f"{path.name} lacks the columns {', '.join(missing)}" if rows else f"{path.name} holds no row",
            place=str(path),
            remedy="make the report again: toolkit report",
        )
    return rows


def _of_tables(name: str, classes: list[dict[str, str]], summary: list[dict[str, str]]) -> ClaimsFile:
    """Return the numbers of a report's tables as claims."""
    cases: dict[str, dict[str, int]] = {}
    for row in classes:
        cases.setdefault(row["part"], {})[row["class_name"]] = int(row["cases"])
    claims = [
        {"part": row["part"], "class_name": row["class_name"], "metric": metric, "value": row[metric]}
        for row in classes
        for metric in (*RATES, *AREAS)
    ]
    claims += [{"part": row["part"], "value": row["value"], **_metric(row["metric"])} for row in summary]
    printed = [
        {**claim, "source": REPORT, "value": f"{float(claim['value']):.{REPORT_DECIMALS}f}"}
        for claim in claims
        if claim["metric"] in Metric.__args__ and claim["value"] and not math.isnan(float(claim["value"]))
    ]
    parts = [{"name": name, "cases": counts} for name, counts in cases.items()]
    return ClaimsFile.model_validate({"title": f"report {name}", "parts": parts, "claims": printed})


def _metric(name: str) -> dict[str, Any]:
    """Return a metric of the summary as a claim names it, its average apart."""
    average, _, metric = name.partition("_")
    return {"metric": metric, "average": average} if average in Average.__args__ else {"metric": name}
