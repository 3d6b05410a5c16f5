"""Expected precision and power: against closed forms where patients have one case, and from what a study knows."""

import json

import numpy as np
import pytest
from exports import label, row
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from toolkit.cli import main
from toolkit.errors import WorkspaceError
from toolkit.manifest.evaluation import PlanSection
from toolkit.shipped import shipped
from toolkit.stages.plan_size import Wanted, plan_size
from toolkit.stats import sample_size
from toolkit.stats.intervals import wilson
from toolkit.stats.sample_size import Assumed, RunPair

ONE_EACH = np.repeat(np.eye(2, dtype=int), [60, 40], axis=0)
"""A hundred patients with one case, of one class or the other."""


def wilson_width(share, cases):
    low, high = wilson(share * cases, cases, confidence=0.95)
    return high - low


def test_the_width_of_independent_cases_is_wilsons():
    assumed = Assumed(np.array([0.8, 0.9]), icc=0.0)
    found = sample_size.widths(ONE_EACH, assumed, patients=400, confidence=0.95, rng=np.random.default_rng(1))

    assert wilson_width(0.84, 400) == pytest.approx(found.accuracy, rel=0.02)
    assert wilson_width(0.8, 240) == pytest.approx(found.recall[0], rel=0.03)
    assert wilson_width(0.9, 160) == pytest.approx(found.recall[1], rel=0.05)


def test_the_patients_for_a_width_are_those_of_wilsons_formula():
    rng, assumed = np.random.default_rng(2), Assumed(np.array([0.8, 0.8]), icc=0.0)
    sizes = [50, 100, 200, 400]
    found = [sample_size.widths(ONE_EACH, assumed, patients=n, confidence=0.95, rng=rng).accuracy for n in sizes]
    expected = brentq(lambda n: wilson_width(0.8, n) - 0.12, 20, 1000)

    assert expected == pytest.approx(sample_size.size_for_width(sizes, found, 0.12), rel=0.05)
    assert np.isinf(sample_size.size_for_width(sizes, found, 0.01))


def test_the_patients_for_a_difference_are_those_of_connors_formula():
    """Connor, Biometrics 1987;43:207, for McNemar's test (Miettinen 1968)."""
    rng, recall, disagreement, difference = np.random.default_rng(3), np.array([0.7, 0.7]), np.full(2, 0.25), 0.1
    sizes = [50, 100, 200, 400]
    runs = RunPair(recall, disagreement, 0.0, difference)
    found = [sample_size.powers(ONE_EACH, runs, patients=n, confidence=0.95, rng=rng).accuracy for n in sizes]
    a, b = norm.ppf(0.975), norm.ppf(0.8)
    expected = (a * np.sqrt(0.25) + b * np.sqrt(0.25 - difference**2)) ** 2 / difference**2

    assert expected == pytest.approx(sample_size.size_for_power(sizes, found, 0.8), rel=0.08)


def test_without_a_difference_hardly_any_is_found():
    runs = RunPair(np.full(2, 0.7), np.full(2, 0.25), 0.3, 0.0)
    counts = np.random.default_rng(0).multinomial(3, [0.6, 0.4], size=50)
    found = sample_size.powers(counts, runs, patients=150, confidence=0.95, rng=np.random.default_rng(4))

    assert found.accuracy < 0.05  # the two-sided level is 0.05, and only one side counts
    assert found.macro_recall < 0.05


@pytest.mark.soak
def test_the_width_of_an_area_is_that_of_its_spread_over_studies():
    assumed = Assumed(np.array([0.8, 0.8]), icc=0.0, auc=0.85, positive=(0,))
    counts = np.repeat(np.eye(2, dtype=int), [50, 50], axis=0)
    rng = np.random.default_rng(5)
    found = sample_size.widths(counts, assumed, patients=400, confidence=0.95, rng=rng)
    positive = np.arange(400) < 200
    areas = [roc_auc_score(positive, rng.normal(size=400) + np.sqrt(2) * norm.ppf(0.85) * positive) for _ in range(400)]

    assert 0.85 == pytest.approx(np.mean(areas), abs=0.005)
    assert 2 * 1.96 * np.std(areas) == pytest.approx(found.roc_auc, rel=0.12)


def test_the_icc_of_a_beta_binomial_is_found_again():
    rng, icc = np.random.default_rng(6), 0.3
    strength = (1 - icc) / icc
    own = rng.beta(0.8 * strength, 0.2 * strength, 4000)
    patient = np.repeat(np.arange(4000), rng.integers(1, 5, 4000))
    right = rng.random(len(patient)) < own[patient]

    assert icc == pytest.approx(sample_size.intraclass_correlation(right - 0.8, patient), abs=0.03)
    assert 0 == pytest.approx(sample_size.intraclass_correlation(rng.normal(size=len(patient)), patient), abs=0.03)
    assert np.isnan(sample_size.intraclass_correlation(np.ones(3), np.arange(3)))


def test_simulated_cases_have_the_icc_that_was_asked_for():
    rng = np.random.default_rng(7)
    shares = sample_size._Shares(np.array([0.8]), 0.4)(rng.random(20_000))
    right = rng.random((20_000, 3)) < shares
    patient = np.repeat(np.arange(20_000), 3)

    assert 0.8 == pytest.approx(right.mean(), abs=0.01)
    assert 0.4 == pytest.approx(sample_size.intraclass_correlation(right.ravel() - 0.8, patient), abs=0.03)


def test_cases_that_go_together_make_intervals_wider():
    counts = np.full((40, 1), 4)
    assumed = Assumed(np.array([0.8]), 0.6)
    wide = sample_size.widths(counts, assumed, patients=40, confidence=0.95, rng=np.random.default_rng(8)).accuracy
    effect = 1 + (4 - 1) * 0.6  # Kish's design effect

    assert wilson_width(0.8, 160 / effect) == pytest.approx(wide, rel=0.08)


@pytest.fixture
def with_readings(parsed, quick):  # noqa: ARG001 - small simulations
    """Twenty-four patients with two cases, each read by three annotators who are right four times in five."""
    rng, rows = np.random.default_rng(9), []
    for patient in range(24):
        for lesion in range(2):
            truth = "melanoma" if patient % 3 == 0 else "nevus"
            other = {"melanoma": "nevus", "nevus": "melanoma"}[truth]
            labels = [
                label(f"L{patient}-{lesion}-{p}", truth if rng.random() < 0.8 else other, by=f"r{p}@example.org")
                for p in range(3)
            ]
            rows.append(row(f"i{patient}-{lesion}", *labels, patient=f"P-{patient}"))
    return parsed(*rows)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sample_size, "CELLS", 40_000)


def test_without_a_run_the_annotators_readings_are_what_is_known(with_readings, study):
    planned = plan_size(with_readings, study, Wanted(width=0.2))
    again = plan_size(with_readings, study, Wanted(width=0.2))
    rows = {(each.metric, each.class_name): each for each in planned.rows}

    assert planned == again
    assert "readings of 3 annotators" in planned.basis
    assert (24, 48, "all") == (planned.patients, planned.cases, planned.part)
    assert 0.6 < rows["accuracy", None].value < 0.95
    assert {"malignant_melanoma", "nevus"} == {name for metric, name in rows if metric == "recall"}
    nevus, melanoma = rows["recall", "nevus"], rows["recall", "malignant_melanoma"]
    assert 0 < nevus.width < melanoma.width < 1
    assert nevus.needed_for_width < melanoma.needed_for_width


@pytest.mark.soak
def test_what_is_stated_is_taken(with_readings, study):
    planned = plan_size(with_readings, study, Wanted(recall=0.9, icc=0.0, patients=400, disagreement=0.15))
    rows = {(each.metric, each.class_name): each for each in planned.rows}

    assert (0.0, 400) == (planned.icc, planned.planned_for)
    assert wilson_width(0.9, 800) == pytest.approx(rows["accuracy", None].width, rel=0.05)
    assert 800 == rows["accuracy", None].cases


def test_a_primary_metric_is_marked(with_readings, study):
    planning = study.model_copy(update={"plan": PlanSection(metric="recall", class_name="nevus")})
    planned = plan_size(with_readings, planning, Wanted(recall=0.9, icc=0.2))

    assert [("recall", "nevus")] == [(each.metric, each.class_name) for each in planned.rows if each.primary]


def test_nothing_is_assumed_silently(parsed, study):
    workspace = parsed(*(row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in range(4)))

    with pytest.raises(WorkspaceError, match="how often cases are right"):
        plan_size(workspace, study, Wanted())
    with pytest.raises(WorkspaceError, match="--icc was not"):
        plan_size(workspace, study, Wanted(recall=0.8))


@pytest.mark.usefixtures("quick")
def test_a_scored_run_is_what_is_known(finished):
    planned = plan_size(finished.workspace, finished.study_file.study, Wanted(), run=finished.run_id)
    scored = finished.workspace.rows("select count(*) as n from scored where run_id = $run", {"run": finished.run_id})[
        0
    ]["n"]
    rows = {(each.metric, each.class_name): each for each in planned.rows}

    assert f"{scored} scored cases" in planned.basis
    assert "test" == planned.part
    assert 0.3 < rows["roc_auc_malignant", None].value <= 1


@pytest.mark.soak
def test_the_command_says_the_same_in_words_and_as_json(with_readings, tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text((shipped("manifests") / "demo.toml").read_text(encoding="utf-8").replace("pinned", "# pinned"))
    options = ["--study", str(file), "--workspace", str(with_readings.folder), "--quiet"]
    asked = ["plan-size", "--recall", "0.8", "--icc", "0.3", "--size", "100", "--width", "0.2"]
    for arguments in ([*options, *asked], ["--json", *options, *asked]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert not left.value.code
    words, _, document = capsys.readouterr().out.partition("{")
    planned = json.loads("{" + document)
    macro = next(each for each in planned["rows"] if each["metric"] == "macro_recall")

    assert f"expected to be {macro['width']:.2f} wide" in " ".join(words.split())
    assert (100, 0.3, 0.2) == (planned["planned_for"], planned["icc"], planned["wanted"]["width"])
