"""Numbers, names of metrics, subsets and groups, and free texts as people read them, on pages and in the terminal."""

import math
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from toolkit.privacy import scrub

SMALLEST = 5
"""Patients; counts of fewer are suppressed for others."""
SUPPRESSED, FEW_PATIENTS = "*", "\N{DAGGER}"
"""Signs in narrow cells; a legend beside the table says what they mean."""
PATIENT, PHOTOGRAPH = "patient", "photograph"
TYPED: ContextVar[Mapping[str, str]] = ContextVar("TYPED")
"""The options that stood before the command, by name: a command to type next needs them too."""
_unit = ContextVar("unit", default=PATIENT)
PATIENTS = re.compile(r"(?<![-\w{])(?<!counts as a )(?<!leakage by )([Pp])atient(s?)\b(?! identifier)")
"""The word in our own sentences; not where they say that there are no patients, nor in an attribute's name."""
CURVES = {"plain": "plain features", "metadata": "the metadata baseline"}
"""The cheap models of a learning curve, in words."""
FEW_PATIENTS_LEGEND = f"{FEW_PATIENTS} few patients: the interval is only approximate"
UNDEFINED = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*:/{2,}\S*", re.IGNORECASE)
PATH = re.compile(r"(?<![\w.~<])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\]+[/\\])+[^\s/\\]*")

FILE = re.compile(r"[\w.%+-]+\.(?:jpe?g|png|webp|tiff?|bmp|gif|heic|dcm)\b", re.IGNORECASE)


@contextmanager
def counted_by(*, patients_known: bool) -> Generator[None]:
    """Call what counts as a patient by its name, where photographs name none: every photograph counts as one."""
    token = _unit.set(PATIENT if patients_known else PHOTOGRAPH)
    try:
        yield
    finally:
        _unit.reset(token)


def count_by(*, patients_known: bool) -> None:
    """Call what counts as a patient by its name from here on: for a command, which shows results of one study."""
    _unit.set(PATIENT if patients_known else PHOTOGRAPH)


def unit() -> str:
    """Return what is counted as a patient: "patient", or "photograph" in a study without patient identifiers."""
    return _unit.get()


def in_units(text: str) -> str:
    """Return one of our own sentences about patients with the word for what is counted as such.

    >>> with counted_by(patients_known=False):
    ...     in_units("no interval: few patients; no patient identifiers")
    'no interval: few photographs; no patient identifiers'
    """
    return text if unit() == PATIENT else PATIENTS.sub(_photographs, text)


def _photographs(found: re.Match[str]) -> str:
    return f"{'P' if found[1] == 'P' else 'p'}hotograph{found[2]}"


def proportion(value: float | None) -> str:
    """Write a value with three decimals, 0 without a sign; an en dash where it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:z.3f}".replace("-", "\N{MINUS SIGN}")


def short_number(value: object) -> str:
    """Write a setting with as few digits as it has: "1e−3"; an en dash where it was not recorded."""
    known = isinstance(value, int | float)
    return f"{value:g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}") if known else UNDEFINED


def chance(p: float | None) -> str:
    """Write a p-value; one below 0.001 is said to be that."""
    return "<0.001" if p is not None and p < 0.001 else proportion(p)


def interval(low: float | None, high: float | None, *, missing: str = "no interval") -> str:
    """Write an interval as "0.812–0.903", with "to" in between where a bound is negative."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return missing
    between = " to " if low < 0 else "\N{EN DASH}"
    return f"{proportion(low)}{between}{proportion(high)}"


def reached(bounds: Mapping[str, Any]) -> str:
    """Write the lowest and highest value that are reached: "0.612 and 0.655", and how far that is certain."""
    between = f"{proportion(bounds['low'])} and {proportion(bounds['high'])}"
    if bounds["exact"]:
        return between
    return f"{between} by search, for certain {proportion(bounds['least'])} and {proportion(bounds['most'])}"


def few_note(row: Mapping[str, Any]) -> str:
    """Say where an estimate rests on fewer patients than it needs; else nothing."""
    return in_units("too few patients to tell") if row["too_few"] else ""


def estimate_note(row: Mapping[str, Any]) -> str:
    """Say what limits an estimate from patients drawn at random; nothing where nothing does."""
    if not row["cases"]:
        return in_units("no patient drawn at random has been reviewed whole yet")
    notes = [few_note(row)] if row["too_few"] else []
    if row["value"] < row["low"] or row["value"] > row["high"]:
        notes.append("the value lies outside its interval, since what is known of the ranked part rules it out")
    return in_units("; ".join(notes))


def signed(value: float | None) -> str:
    """Write a difference with its sign and three decimals; an en dash where it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:+z.3f}".replace("-", "\N{MINUS SIGN}")


def count(number: int | None) -> str:
    """Write a whole number, thousands set apart by a thin space that does not break; "suppressed" for None."""
    return "suppressed" if number is None else f"{number:,}".replace(",", THIN)


def few(number: int, noun: str, audience: str) -> str:
    """Write a count with its noun; for others, a small one is suppressed."""
    if audience == "shared" and 0 < number < SMALLEST:
        return f"fewer than {SMALLEST} {noun}s"
    return counted(number, noun)


def counted(number: int | None, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: "1 case", "2 cases", "a suppressed number of cases"."""
    noun = unit() if noun == PATIENT else noun
    if number is None:
        return f"a suppressed number of {plural or noun + 's'}"
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """Write counts by name: "unanimous 34, single reading 79"."""
    return ", ".join(f"{spoken(name)} {count(number)}" for name, number in counts.items())


def support(cases: int | None, patients: int | None) -> str:
    """Write what a number rests on: "9 cases / 4 patients", or "suppressed"."""
    if cases is None:
        return "suppressed"
    return f"{counted(cases, 'case')} / {counted(patients, 'patient')}"


def detection(target: str, detected: int | None, patients: int) -> str:
    """Say in how many patients nothing was missed: "In 31 of 33 patients every malignant lesion was detected"."""
    number = "a suppressed number" if detected is None else count(detected)
    return f"In {number} of {counted(patients, 'patient')} every {spoken(target)} lesion was detected"


def confirmation(required: float, *, confirmed: bool, detected: int | None, patients: int, of_lesions: float) -> str:
    """Say whether so many patients confirm a sensitivity, of patients in whom nothing was missed and of lesions.

    "sensitivity ≥ 0.95 of patients and of lesions confirmed", "too few patients to confirm sensitivity ≥ 0.95 of …".
    """
    bound, both = f"sensitivity \N{GREATER-THAN OR EQUAL TO} {required:g}", "of patients and of lesions"
    if confirmed:
        return in_units(f"{bound} {both} confirmed")
    if detected is None:
        return in_units(f"{bound} {both} not confirmed")
    short = {"patients": detected < required * patients, "lesions": of_lesions < required}
    if missing := " and ".join(f"of {name}" for name, is_short in short.items() if is_short):
        return in_units(f"{bound} {missing} not reached")
    return in_units(f"too few patients to confirm {bound} {both}")


def percent(share: float) -> str:
    """Write a share as a percentage, with as few digits as it has."""
    return f"{100 * share:.6g}%"


def percent_interval(low: float, high: float) -> str:
    """Write an interval of shares in whole percent, as a sentence has it: "69\N{EN DASH}97%"."""
    return f"{100 * low:.0f}\N{EN DASH}{100 * high:.0f}%"


def spoken(name: str) -> str:
    """Write a class, reason or kind as words."""
    return name.replace("_", " ")


def subset(part: str) -> str:
    """Name the subset of a split that the registry calls a part: "test set"."""
    return f"{'training' if part == 'train' else spoken(part)} set"


def used_to_choose(chosen: Sequence[str]) -> str:
    """Say what was chosen on the validation set, where its numbers stand; nothing where nothing was."""
    if not chosen:
        return ""
    names = " and ".join(filter(None, [", ".join(chosen[:-1]), chosen[-1]]))
    return f"The validation set was used to choose the {names}, so its numbers are optimistic."


def field_name(field: str) -> str:
    """Name a metadata field by which cases are grouped."""
    return "Fitzpatrick skin type" if field.lower().startswith("fitzpatrick") else spoken(field)


def group_value(field: str, value: str) -> str:
    """Write the value by which cases are grouped: skin types in Roman numerals, "not recorded" where there is none."""
    numeral = SKIN_TYPES.get(value, value) if field.lower().startswith("fitzpatrick") else value
    return "not recorded" if value == "(none)" else spoken(numeral)


def group_name(field: str, value: str) -> str:
    """Name a group of cases: "sex female", "Fitzpatrick skin type IV"."""
    return f"{field_name(field)} {group_value(field, value)}"


def moment(time: datetime | int | None) -> str:
    """Write a time of the registry to the minute, or the year where no more is known."""
    if isinstance(time, int):
        return str(time)
    return UNDEFINED if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def clean(text: str) -> str:
    """Return a free text without addresses, e-mail addresses, paths and photographs' names: no page may hold them."""
    bare = PATH.sub("[path removed]", ADDRESS.sub("[address removed]", scrub(text)))
    return FILE.sub("[file name removed]", bare)


def model_name(name: str) -> str:
    """Return a model's name without the folders above it, where it was given by a path and not by its name on a hub."""
    is_path = name.startswith(("/", "\\", "~", ".")) or name[1:3] in (":\\", ":/")
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if is_path else clean(name)


SKIN_TYPES = {"1": "I", "2": "II", "3": "III", "4": "IV", "5": "V", "6": "VI"}
METRICS = {
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "npv": "negative predictive value",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "accuracy": "accuracy",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "ece_debiased": "debiased calibration error",
    "calibration_p": "p of the calibration test",
    "calibration_power": "power of the calibration test",
    "log_loss": "log loss",
    "benign_per_found": "false positives per true positive",
}


def short_metric_name(metric: str) -> str:
    """Return a metric's name for a narrow column."""
    bare, _, prevalence = metric.partition("_at_")
    if prevalence:
        return f"{'PPV' if bare == 'precision' else 'NPV'}, prevalence {prevalence}"
    return {"npv": "NPV", "benign_per_found": "FP per TP"}.get(metric, metric_name(metric).partition(" (")[0])


def metric_name(metric: str) -> str:
    """Return a metric as a reader knows it."""
    if "_at_" in metric:
        name, _, prevalence = metric.partition("_at_")
        return f"{'positive' if name == 'precision' else 'negative'} predictive value at a prevalence of {prevalence}"
    kind, _, bare = metric.partition("_")
    if kind in ("macro", "micro", "weighted"):
        return f"{kind} {METRICS.get(bare, spoken(bare))}"
    return METRICS.get(metric, spoken(metric))
