"""The baseline that is given metadata and no photograph."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from toolkit.console import show
from toolkit.errors import ModelError, StudyError
from toolkit.formatting import proportion
from toolkit.manifest.baseline import BaselineSection
from toolkit.models import metadata
from toolkit.pipeline import rebuild
from toolkit.stages.baseline import baseline
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.report import report
from toolkit.stages.report.facts import gather
from toolkit.stages.report.methods import methods
from toolkit.stages.withdraw.results import runs_on
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import METADATA_BASELINE, find_run, find_split, read_run

FIELDS = ["age", "sex", "anatomical_site"]


def with_fields(study, *names, **more):
    return study.model_copy(update={"baseline": BaselineSection(fields=list(names), **more)})


@pytest.fixture(scope="module")
def based(finished, tmp_path_factory):
    """The finished workspace with a baseline, as a copy."""
    copy = Workspace(tmp_path_factory.mktemp("based") / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    study = with_fields(finished.study_file.study, *FIELDS)
    return copy, study, baseline(copy, study)


def table_of(workspace, part):
    """Return the cases of a part in plain pandas: fields as columns, class and patient."""
    wide = workspace.read(
        "pivot (select case_id, name, value from metadata inner join cases using (image_id)) on name using first(value)"
    ).to_pandas()
    rows = workspace.read(
        "select case_id, patient_id, truth.class_name from splits inner join cases using (case_id) inner join truth "
        "using (case_id) where part = $part and truth.class_name is not null order by case_id",
        {"part": part},
    ).to_pandas()
    return rows.merge(wide, on="case_id", how="left")


def test_its_probabilities_are_those_of_a_scikit_learn_pipeline():
    rng = np.random.default_rng(1)
    age, site = rng.integers(20, 90, 300), rng.choice(["face", "trunk", "leg"], 300)
    truth = (rng.normal(size=300) + (age > 60) + (site == "face") > 1).astype(int) + (site == "leg")
    values = [{"age": str(a), "site": s} for a, s in zip(age, site, strict=True)]
    model = metadata.fit(["age", "site"], values, truth, penalty=2.0, balanced=False)

    table = pd.DataFrame({"age": age.astype(float), "site": site})
    columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["site"]))
    theirs = make_pipeline(columns, LogisticRegression(C=0.5, max_iter=2_000)).fit(table, truth)

    assert theirs.predict_proba(table) == pytest.approx(model.probabilities(values, classes=3), abs=1e-3)


def test_two_classes_of_many_are_told_apart_and_the_others_have_no_probability():
    values = [{"sex": "female"}] * 30 + [{"sex": "male"}] * 30
    truth = np.repeat([4, 1], 30)
    found = metadata.fit(["sex"], values, truth, penalty=1.0, balanced=True).probabilities(values, classes=6)

    assert {1, 4} == set(np.nonzero(found.any(axis=0))[0].tolist())
    assert (truth == found.argmax(axis=1)).all()
    assert 1 == pytest.approx(found.sum(axis=1))


def test_missing_rare_and_odd_values_are_columns_of_their_own():
    values = [{"age": str(n), "site": "face" if n % 2 else "leg"} for n in range(20, 60)]
    values += [{"site": "left ear of a single patient"}, {}]
    age, site = metadata.learn_fields(["age", "site", "never"], values)
    encoded = metadata.encode((age, site), [{"age": "39,5"}, {"age": "unknown", "site": "ear"}, {"site": "leg"}])

    assert (None, ("face", "leg")) == (age.categories, site.categories)
    assert ["age: number", "age: (missing)"] == age.columns
    assert [[0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0]] == encoded.round(6).tolist()


def test_out_of_fold_no_case_is_predicted_with_its_patient():
    """Where the field is the patient's own, a model that has seen them is right, and one that has not is not."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(40), 8)
    truth = np.repeat(rng.integers(0, 2, 40), 8)
    values = [{"code": f"c{number}"} for number in patient]
    settings = {"penalty": 0.1, "balanced": False}
    inside = metadata.fit(["code"], values, truth, **settings).probabilities(values, classes=2)
    outside = metadata.out_of_fold(["code"], values, truth, patient, classes=2, seed=7, **settings)

    assert (inside.argmax(axis=1) == truth).all()
    assert not np.isnan(outside).any()
    assert 0.65 > (outside.argmax(axis=1) == truth).mean()


def test_a_single_patient_has_nothing_out_of_fold():
    found = metadata.out_of_fold(
        ["a"], [{}, {}], np.array([0, 1]), np.zeros(2, int), classes=2, penalty=1.0, balanced=False, seed=0
    )

    assert np.isnan(found).all()


def test_one_class_cannot_be_learned():
    with pytest.raises(ModelError, match="all of one class"):
        metadata.fit(["a"], [{}, {}], np.zeros(2, int), penalty=1.0, balanced=False)


def test_it_is_a_run_that_is_scored_compared_and_reported(finished, based, capsys):
    workspace, study, made = based
    show(made, as_json=False)
    words = " ".join(capsys.readouterr().out.split())
    scored = evaluate(workspace, study, run=made.run_id)
    compared = compare(workspace, study, finished.run_id, made.run_id)
    page = report(workspace, study, run=finished.run_id)
    rows = workspace.rows("from runs where run_id = $run", {"run": made.run_id})

    assert f"out of fold by patient, on the training set: accuracy {proportion(made.out_of_fold['accuracy'])}" in words
    assert (METADATA_BASELINE, None) == (rows[0]["model"], rows[0]["control"])
    assert {"validation", "test"} == set(scored.cases) == set(compared.differences) == set(made.cases)
    assert made.run_id in Path(page.page).read_text(encoding="utf-8")


def test_its_scores_are_those_of_its_json_in_plain_pandas(based):
    workspace, study, made = based
    document = json.loads((workspace.run(made.run_id) / "checkpoint" / "model.json").read_text())
    test = table_of(workspace, "test")
    columns = []
    for field in document["fields"]:
        column = test[field["name"]]
        if field["categories"] is None:
            columns += [((column.astype(float) - field["mean"]) / field["deviation"]).fillna(0), column.isna()]
        else:
            columns += [column == name for name in field["categories"]]
            columns += [column.notna() & ~column.isin(field["categories"]), column.isna()]
    logits = np.column_stack(columns).astype(float) @ np.array(document["coefficients"]).T + document["intercepts"]
    said = np.array(document["classes"])[logits.argmax(axis=1)]
    expected = recall_score(test["class_name"], said, average="macro", labels=sorted(set(test["class_name"])))
    evaluate(workspace, study, run=made.run_id)
    [score] = workspace.rows(
        "from scores where run_id = $run and part = 'test' and metric = 'macro_recall'", {"run": made.run_id}
    )

    assert expected == pytest.approx(score["value"])
    assert {"model.json"} == {path.name for path in (workspace.run(made.run_id) / "checkpoint").iterdir()}


def test_nothing_is_learned_from_validation_and_test(based, tmp_path):
    workspace, study, made = based
    other = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, other.folder)
    with other.writing() as connection:
        connection.execute(
            "update metadata set value = '99' where name = 'age' and image_id in "
            "(select image_id from cases inner join splits using (case_id) where part <> 'train')"
        )
    again = baseline(other, study)
    models = [
        json.loads((each.run(run) / "checkpoint" / "model.json").read_text())
        for each, run in ((workspace, made.run_id), (other, again.run_id))
    ]

    assert made.run_id != again.run_id
    assert models[0] == models[1]
    assert made.out_of_fold == again.out_of_fold
    assert made.validation != again.validation


@pytest.mark.soak
def test_a_rerun_is_the_same_run_and_rebuild_reads_it_back(finished, based, tmp_path):
    workspace, study, made = based
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    query = "select * from predictions where run_id = $run order by part, case_id"
    before = copy.rows(query, {"run": made.run_id})
    again = baseline(copy, study)
    after = copy.rows(query, {"run": made.run_id})
    rebuild(copy, finished.study_file)

    assert (made.run_id, True) == (again.run_id, again.already_there)
    assert before == after == copy.rows(query, {"run": made.run_id})
    assert sum(made.cases.values()) == len(before)
    assert made.out_of_fold == read_run(copy, made.run_id).model.model_extra["out_of_fold"]


def test_who_leaves_is_told_that_it_was_trained_on_them(based):
    workspace, _, made = based

    assert made.run_id in runs_on(workspace, {find_split(workspace)})


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((), "no metadata field is named"),
        (("age", "patient_id"), "identifies a patient"),
        (("nothing",), "no training"),
    ],
)
def test_fields_that_cannot_be_used_are_refused(finished, copied, fields, message):
    with pytest.raises(StudyError, match=message):
        baseline(copied, with_fields(finished.study_file.study, *fields))


def test_a_value_that_names_a_class_is_left_out(finished, copied):
    with copied.writing() as connection:
        connection.execute("update metadata set value = 'nevus of the arm' where name = 'anatomical_site'")
    made = baseline(copied, with_fields(finished.study_file.study, *FIELDS))

    assert made.values_left_out > 100
    assert ["age", "sex"] == made.fields


def test_the_latest_run_is_the_one_with_photographs(based, finished):
    """A baseline stands beside a run; what is evaluated and reported without a name is that run."""
    workspace, _, made = based

    assert finished.run_id == find_run(workspace, "latest")
    assert made.run_id == find_run(workspace, made.run_id)
    named = workspace.rows("select run_id from run_names where name = 'latest'")
    assert [finished.run_id] == [row["run_id"] for row in named]


@pytest.mark.soak
def test_methods_of_a_baseline_say_nothing_of_photographs_or_epochs(based):
    workspace, study, made = based
    evaluate(workspace, study, run=made.run_id)
    text = " ".join(paragraph.text for paragraph in methods(gather(workspace, study, made.run_id)))

    assert "multinomial logistic regression (scikit-learn) on metadata alone: " in text
    assert "given no photograph" in text
    assert "ridge penalty 1" in text
    for untrue in ("trained for", "epochs", "learning rate", "AdamW", "cropped", "ROI", "likelihood", "ASSISTANT"):
        assert untrue not in text, untrue
