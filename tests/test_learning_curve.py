"""What more training patients would bring: nested subsets, the fitted curve, and what is expected of more."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score

from toolkit.cli import main
from toolkit.errors import ModelError, StudyError, WorkspaceError
from toolkit.models.metadata import encode, learn_fields
from toolkit.robustness import learning_curve
from toolkit.stages.baseline import baseline
from toolkit.stages.learning_curve import metadata_curve, plain_curve, subset_sizes
from toolkit.stages.report.facts import gather
from toolkit.stages.report.origin import trained
from toolkit.stages.train import train
from toolkit.stages.withdraw.results import runs_on
from toolkit.stats.learning_curve import (
    MeasuredCurve,
    extrapolate,
    fit_curves,
    macro_recall,
    patient_order,
    patients_variance,
)
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, read_run

SIZES = np.array([30, 60, 120, 180, 240])


def by_curve(patients, floor=0.08, scale=1.6, power=0.7):
    return 1 - floor - scale * np.asarray(patients, float) ** -power


def test_the_fit_is_scipy_s_where_the_power_is_one_of_those_tried():
    noisy = by_curve(SIZES) + np.array([0.004, -0.006, 0.003, -0.002, 0.001])
    sigma = 1 / np.sqrt(SIZES)
    found = fit_curves(SIZES, noisy[None])
    power = float(found.power[0])
    (floor, scale), _ = curve_fit(lambda n, a, b: a + b * n**-power, SIZES, 1 - noisy, sigma=sigma)

    assert floor == pytest.approx(float(found.floor[0]), rel=1e-4)
    assert scale == pytest.approx(float(found.scale[0]), rel=1e-4)
    assert by_curve(480) == pytest.approx(float(fit_curves(SIZES, by_curve(SIZES)[None]).score(480)[0]), abs=1e-9)


def test_a_curve_never_falls_and_no_error_is_below_0():
    falling = fit_curves(SIZES, np.linspace(0.9, 0.8, 5)[None])
    perfect = fit_curves(SIZES, (1 - 3 / SIZES)[None] * np.ones((2, 1)))

    assert falling.score(30)[0] == pytest.approx(falling.score(1000)[0])
    assert (perfect.floor >= 0).all()
    assert perfect.score(10_000)[0] <= 1


def test_subsets_are_nested_and_depend_on_no_pseudonym():
    cases = [(f"p{n % 7}", f"c{n:02}") for n in range(20)]
    renamed = [(f"x{(n % 7) * 3}", f"c{n:02}") for n in range(20)]
    first, other = patient_order(cases, seed=1), patient_order(renamed, seed=1)

    assert set(first[:3]) < set(first[:5])
    assert [int(name[1:]) for name in first] == [int(name[1:]) // 3 for name in other]
    assert first != patient_order(cases, seed=2)


def test_what_patients_owe_to_chance_is_told_from_the_orders_of_a_finite_pool():
    """A score that is the mean of a value per patient has the variance of that value, times one over their number."""
    rng, values = np.random.default_rng(4), np.random.default_rng(3).normal(0.5, 0.2, 240)
    orders = [rng.permutation(240) for _ in range(400)]
    scores = np.array([[values[order[:n]].mean() for n in SIZES] for order in orders])

    assert values.var(ddof=1) == pytest.approx(patients_variance(MeasuredCurve(SIZES, scores, scores[None])), rel=0.1)


def test_the_interval_holds_what_comes_as_often_as_it_says():
    """Test patients and training patients drawn anew each time; what comes is by the curve, plus the new patients'."""
    held, rng, variance, more = 0, np.random.default_rng(8), 0.09, 480
    for _ in range(150):
        pool = rng.normal(0, np.sqrt(variance / 240))
        test_error, orders = rng.normal(0, 0.02), 6
        within = rng.normal(0, 1, (orders, 5)) * np.sqrt(variance * (1 / SIZES - 1 / 240))
        scores = by_curve(SIZES) + pool + test_error + within
        resampled = scores[None] + rng.normal(0, 0.02, (200, 1, 1))
        [found] = extrapolate(MeasuredCurve(SIZES, scores, resampled), [more], confidence=0.95, rng=rng)
        came = by_curve(more) + pool * 240 / more + rng.normal(0, np.sqrt(variance * 240)) / more
        held += found.low <= came <= found.high

    assert 0.90 <= held / 150 <= 1.0


def test_macro_recall_leaves_out_a_class_without_weight():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    weights = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [2, 0, 0, 1]], float)

    assert [0.5, 0.75, 0.5] == macro_recall(truth, predicted, 3, weights).tolist()


def test_the_last_point_is_what_the_plain_control_scores(finished):
    study = finished.study_file.study
    curve = plain_curve(finished.workspace, study, more=[50], orders=2)
    [row] = finished.workspace.rows(
        "select value, cases from scores inner join runs using (run_id) where control = 'plain' "
        "and part = 'validation' and metric = 'macro_recall' and class_name is null"
    )
    points = curve.points

    assert row["value"] == pytest.approx(points[-1].value)
    assert row["cases"] == curve.cases
    assert points[-1].lowest == points[-1].highest
    assert [p.patients for p in points] == sorted(p.patients for p in points)
    assert [points[-1].patients + 50] == [each.patients for each in curve.expected]
    assert curve.expected[0].low <= curve.expected[0].value <= curve.expected[0].high
    assert curve == plain_curve(finished.workspace, study, more=[50], orders=2)


@pytest.fixture(scope="module")
def own(textured, tmp_path_factory):
    """A copy of the small workspace with the learning curve of its own model."""
    copy = Workspace(tmp_path_factory.mktemp("curve") / "workspace")
    shutil.copytree(textured.workspace.folder, copy.folder)
    curve, page = learning_curve(copy, textured.study, study_folder=textured.folder, model="study", more=[10, 30])
    return copy, curve, page


@pytest.mark.soak
def test_the_study_s_model_is_trained_on_nested_subsets_each_a_run_beside_the_run(own, textured):
    workspace, curve, page = own
    rows = workspace.rows("select * from runs where starts_with(control, 'patients:') order by train_patients")
    kept = [
        set(json.loads((workspace.run(r["run_id"]) / "photographs.json").read_text())["photographs"]["train"])
        for r in rows
    ]

    assert [p.patients for p in curve.points[:-1]] == [r["train_patients"] for r in rows]
    assert all(small < large for small, large in pairwise(kept))
    assert {textured.run_id} == {r["control_of"] for r in rows}
    assert textured.run_id == find_run(workspace, "latest") == curve.run_id
    assert {r["run_id"] for r in rows} < set(runs_on(workspace, {rows[0]["split_id"]}))
    text = Path(page.page).read_text(encoding="utf-8")
    assert "With 10 patients more to train on" in text
    assert "validation" in text


@pytest.mark.soak
def test_a_run_on_fewer_patients_predicts_with_its_own_checkpoint_and_says_what_it_is(own, textured):
    workspace, curve, _ = own
    [row] = workspace.rows(
        "select run_id from runs where control = $name", {"name": f"patients:{curve.points[0].patients}"}
    )
    record = read_run(workspace, row["run_id"])
    facts = gather(workspace, textured.study, row["run_id"])

    assert curve.points[0].patients == record.train_patients
    assert record.checkpoint_files != read_run(workspace, textured.run_id).checkpoint_files
    assert trained(facts).startswith(f"This is run {textured.run_id} trained on fewer patients")
    assert [] == gather(workspace, textured.study, textured.run_id).image_quality.rows


@pytest.mark.soak
def test_what_is_complete_is_not_trained_again(own, textured):
    workspace, curve, _ = own
    before = {path: path.stat().st_mtime_ns for path in workspace.folder.glob("runs/*/run.json")}
    again, _ = learning_curve(workspace, textured.study, study_folder=textured.folder, model="study", more=[10, 30])

    assert curve == again
    assert before == {path: path.stat().st_mtime_ns for path in workspace.folder.glob("runs/*/run.json")}


@pytest.mark.soak
def test_fewer_patients_are_a_subset_of_a_run_that_is_there(own, textured):
    workspace, _, _ = own
    other = textured.study.model_copy(update={"study": textured.study.study.model_copy(update={"seed": 99})})

    with pytest.raises(ModelError, match="the run on all training patients"):
        train(workspace, other, study_folder=textured.folder, patients=5)


def test_too_few_patients_have_no_curve():
    with pytest.raises(WorkspaceError, match="23 patients in the training set give no learning curve"):
        subset_sizes(23, place="split x")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--more", "0"], 2, "Must be > 0"),
        (["--model", "resnet"], 2, "resnet"),
        (["--split", "ffffffff"], 1, "no such split"),
    ],
)
def test_bad_input_is_refused_without_a_traceback(finished, capsys, arguments, code, message):
    command = ["--study", str(finished.study_file.path), "--workspace", str(finished.workspace.folder)]
    with pytest.raises(SystemExit) as ended:
        main([*command, "learning-curve", *arguments])

    assert code == ended.value.code
    assert message in " ".join(capsys.readouterr().err.split())


# The metadata baseline


@pytest.fixture
def told(finished):
    """The finished study, whose baseline may look at some metadata."""
    fields = finished.study_file.study.baseline.model_copy(update={"fields": ["age", "sex", "anatomical_site"]})
    return finished.study_file.study.model_copy(update={"baseline": fields})


def test_the_curve_of_the_metadata_baseline_ends_at_the_baseline_itself(copied, finished, told):
    curve, page = learning_curve(copied, told, study_folder=finished.study_file.folder, model="metadata", more=[40])
    whole = baseline(copied, told)
    patients = (
        "select count(distinct patient_id) as n from splits inner join cases using (case_id) where part = 'train'"
    )

    assert whole.validation["macro_recall"] == pytest.approx(curve.points[-1].value)
    assert curve.points[-1].lowest == curve.points[-1].highest
    assert whole.train_patients == curve.points[-1].patients <= copied.rows(patients)[0]["n"]
    assert [point.patients for point in curve.points] == sorted(point.patients for point in curve.points)
    assert all(small.cases < large.cases for small, large in pairwise(curve.points))
    text = Path(page.page).read_text(encoding="utf-8")
    assert "The metadata baseline (logistic regression, no photograph) was trained on fewer patients" in text
    assert "learning curve of the metadata baseline" in text


def test_a_point_of_the_metadata_curve_is_that_of_scikit_learn_on_the_same_patients(copied, told):
    curve = metadata_curve(copied, told, orders=1)
    rows = copied.rows(
        "select case_id, part, patient_id, truth.class_name from splits inner join cases using (case_id) "
        "inner join truth using (case_id) where truth.class_name is not null order by case_id"
    )
    asked = "select case_id, name, value from metadata inner join cases using (image_id)"
    values = {(row["case_id"], row["name"]): row["value"] for row in copied.rows(asked)}
    training = [row for row in rows if row["part"] == "train"]
    order = patient_order(((r["patient_id"], r["case_id"]) for r in training), seed=told.study.seed)
    kept = [row for row in training if row["patient_id"] in set(order[: curve.points[2].patients])]
    held_out = [row for row in rows if row["part"] == "validation"]

    def columns(cases):
        return [{name: values.get((row["case_id"], name)) for name in told.baseline.fields} for row in cases]

    fields = learn_fields(told.baseline.fields, [{k: v for k, v in c.items() if v} for c in columns(kept)])
    encoded = [encode(fields, [{k: v for k, v in c.items() if v} for c in columns(part)]) for part in (kept, held_out)]
    model = LogisticRegression(max_iter=2_000).fit(encoded[0], [row["class_name"] for row in kept])
    truth = [row["class_name"] for row in held_out]
    expected = recall_score(truth, model.predict(encoded[1]), labels=sorted(set(truth)), average="macro")

    assert len(kept) == curve.points[2].cases
    assert expected == pytest.approx(curve.points[2].value)


def test_a_study_without_metadata_fields_has_no_metadata_curve(copied, finished):
    with pytest.raises(StudyError, match="no metadata field is named"):
        metadata_curve(copied, finished.study_file.study)
