"""Rows of an evaluation as the page arranges them, and the sentences under its charts, against plain pandas."""

import re

import numpy as np
import pandas as pd
import pytest

from toolkit.stages.report import captions, pivots
from toolkit.stages.report.facts import gather


@pytest.fixture(scope="module")
def facts(finished):
    return gather(finished.workspace, finished.study_file.study, finished.results["Report"].run_id)


def test_an_operating_point_finds_misses_and_flags_what_its_predictions_say(finished, facts):
    rows = pd.DataFrame(facts.evaluation.operating_points)
    own = "select * from scored where run_id = $run_id and part = 'test'"
    cases = finished.workspace.rows(own, {"run_id": facts.run["run_id"]})
    points = pivots.operating_points(facts.evaluation.operating_points)

    assert points
    for point in points:
        named = rows[rows["target"] == point.target]["classes"].iloc[0]
        classes = named if isinstance(named, list) else [name.strip() for name in str(named).split(",")]
        positive = np.array([case["truth"] in classes for case in cases])
        flagged = np.array(
            [sum(dict(case["probabilities"])[name] for name in classes) >= point.threshold for case in cases]
        )

        assert (positive & flagged).sum() == point.found
        assert (positive & ~flagged).sum() == point.missed
        assert point.flagged_per_100 == pytest.approx(100 * flagged.mean())


def test_every_measure_of_an_operating_point_is_in_its_row(facts):
    points = pivots.operating_points(facts.evaluation.operating_points)

    assert len(facts.evaluation.operating_points) == sum(len(point.rows) for point in points)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["60 and over", "under 40", "40 to under 60"], ["under 40", "40 to under 60", "60 and over"]),
        (["10", "9", "(none)", "1"], ["1", "9", "10", "(none)"]),
        (["female", "(none)", "male"], ["female", "male", "(none)"]),
        (["under 2.5", "10 and over", "2.5 to under 10"], ["under 2.5", "2.5 to under 10", "10 and over"]),
        (["clinic 10", "clinic 9"], ["clinic 9", "clinic 10"]),
    ],
)
def test_groups_stand_in_their_natural_order(values, expected):
    assert expected == sorted(values, key=pivots.natural_order)


def test_a_group_holds_its_rows_by_measure(facts):
    rows = pd.DataFrame(facts.evaluation.groups)
    arranged = pivots.groups(facts.evaluation.groups)
    scored = rows[rows["refused"].isna()]

    assert set(rows["group_name"]) == set(arranged)
    assert len(scored) == sum(len(group.rows) for own in arranged.values() for group in own)
    for field, own in arranged.items():
        values = rows[rows["group_name"] == field]["group_value"]

        assert set(values) == {group.value for group in own}


def test_calibration_holds_each_score_once(facts):
    rows = pivots.calibration(facts)
    named = [score.metric for row in rows for score in row.scores.values()]

    assert len(named) == len(set(named))
    assert {"brier", "log_loss", "ece", "scaled_brier", "scaled_ece", "calibration_slope"} <= set(named)


def test_sentences_under_charts_say_what_the_scores_say(finished, facts):
    said = captions.sentences(facts)
    areas = pd.DataFrame(
        finished.workspace.rows(
            "select class_name, value from scores where metric = 'roc_auc' and class_name is not null "
            "and part = 'test' and run_id = $run_id and isfinite(value)",
            {"run_id": facts.run["run_id"]},
        )
    ).set_index("class_name")["value"]
    low, high = (float(number) for number in re.findall(r"\d\.\d{3}", said["roc"]))
    losses = pd.DataFrame(facts.epochs["validation_loss"], columns=["epoch", "loss"]).set_index("epoch")["loss"]
    bins = pd.DataFrame(facts.evaluation.calibration)
    largest = bins[bins["probabilities"] == "as predicted"].sort_values("cases").iloc[-1]

    assert (low, high) == (round(areas.min(), 3), round(areas.max(), 3))
    assert f"{losses.min():.3f}, after epoch {losses.idxmin()}" in said["losses"]
    assert f"Of the {largest['cases']} case" in said["reliability"]
    assert f"observed frequency {largest['came']:.3f}" in said["reliability"]


def test_the_decision_curve_is_said_to_help_where_it_is_above_both_extremes(facts):
    rows = pd.DataFrame(facts.evaluation.decision_curve)
    said = captions.sentences(facts)["decision"]
    for target, own in rows.groupby("target"):
        better = own[own["net_benefit"] > own["everyone"].clip(lower=0)]["threshold"]
        words = f"{better.min():.3f} to {better.max():.3f}" if len(better) else "at no threshold drawn"

        assert f"{target}: " in said
        assert words in said


def test_no_group_is_called_worse_without_proof(facts):
    arranged = pivots.groups(facts.evaluation.groups)
    said = captions.groups_sentence(arranged)
    worst = [row for row in facts.evaluation.groups if row["worst"]]

    assert said.startswith("Worse than the others beyond chance" if worst else "Of ")
    assert "No group has enough" in captions.groups_sentence({})


def test_every_note_leads_to_a_term_of_the_glossary():
    from toolkit.shipped import shipped

    terms = (shipped("reports/template") / "terms.html.j2").read_text(encoding="utf-8")

    assert [] == [note.term for note in captions.NOTES.values() if f'<dt id="{note.term}">' not in terms]
    assert '<dt id="q-value">' in terms
