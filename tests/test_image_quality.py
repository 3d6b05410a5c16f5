"""What a run loses on degraded photographs: predicted, scored and compared on the same cases."""

import json
import re
import shutil

import pandas as pd
import pytest
from sklearn.metrics import recall_score

from toolkit.cli import main
from toolkit.errors import ModelError, WorkspaceError
from toolkit.robustness import compare_with_degraded
from toolkit.stages.predict import predict
from toolkit.stages.report.facts import gather
from toolkit.stages.report.image_quality import sentences
from toolkit.stages.report.image_quality_figure import figure
from toolkit.stages.report.layout import page_environment
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.tables import csv_tables
from toolkit.workspace.registry import Workspace

PROBABILITIES = (
    "select case_id, probabilities, predicted from predictions where run_id = $run and part = 'test' order by all"
)


@pytest.fixture(scope="module")
def tried(textured, tmp_path_factory):
    """The run that rests on fine texture, on blurred and on brighter photographs."""
    copy = Workspace(tmp_path_factory.mktemp("tried") / "workspace")
    shutil.copytree(textured.workspace.folder, copy.folder)
    result = compare_with_degraded(copy, textured.study, ["blur:0", "blur:8", "exposure:0.2"])
    return copy, textured.study, textured.run_id, result


def averages(result) -> dict[str, dict]:
    return {f"{row['kind']}:{row['level']:g}": row for row in result.rows if row["metric"] == "macro_recall"}


def test_a_run_that_rests_on_fine_texture_falls_with_blur_and_not_with_light(tried):
    own = averages(tried[3])

    assert 1.0 == own["blur:0"]["value"] == own["blur:0"]["degraded"]
    assert own["blur:0"]["degraded"] > own["blur:8"]["degraded"]
    assert own["blur:8"]["high"] < 0 <= own["exposure:0.2"]["high"]
    assert 0 == own["exposure:0.2"]["became_wrong"]


def test_level_0_gives_the_run_s_own_predictions_again(tried):
    workspace, _, run_id, result = tried
    degraded = {row["degraded_run_id"] for row in result.rows if (row["kind"], row["level"]) == ("blur", 0.0)}
    asked = [workspace.rows(PROBABILITIES, {"run": name}) for name in (run_id, *degraded)]

    assert asked[0] == asked[1]
    assert {0.0} == set(result.unchanged.values())
    assert (0, 0, 0) == tuple(averages(result)["blur:0"][name] for name in ("became_wrong", "became_right", "flipped"))


def test_rows_say_what_scikit_learn_and_pandas_say_of_the_same_predictions(tried):
    workspace, _, run_id, result = tried
    [degraded] = {row["degraded_run_id"] for row in result.rows if (row["kind"], row["level"]) == ("blur", 8.0)}
    asked = "select case_id, truth, predicted from scored where run_id = $run and part = 'test'"
    first, second = (pd.DataFrame(workspace.rows(asked, {"run": name})) for name in (run_id, degraded))
    both = first.merge(second, on=["case_id", "truth"], suffixes=("", "_worse"))
    right, still = both.predicted == both.truth, both.predicted_worse == both.truth
    fine = (both.truth == "nevus").to_numpy()
    own = {
        row["class_name"]: row
        for row in result.rows
        if row["degraded_run_id"] == degraded and row["metric"] != "accuracy"
    }

    assert len(both) == len(first) == own["nevus"]["cases"] + own["melasma"]["cases"]
    assert int((right & ~still)[fine].sum()) == own["nevus"]["became_wrong"] == own["nevus"]["flipped"]
    assert int((~right & still).sum()) == averages(result)["blur:8"]["became_right"]
    expected = recall_score(
        both.truth, both.predicted_worse, average="macro", labels=["melasma", "nevus"], zero_division=0
    )
    assert expected == pytest.approx(averages(result)["blur:8"]["degraded"])
    assert own["nevus"]["degraded"] == pytest.approx(still[fine].mean())


def test_degraded_photographs_are_runs_beside_the_run_and_no_controls(tried):
    workspace, study, run_id, _ = tried
    facts = gather(workspace, study, run_id)

    assert [] == facts.evaluation.controls
    assert ["the run itself"] == [row["shown"] for row in workspace.shipped_rows("controls")]
    assert {"blur", "exposure"} == {row["kind"] for row in facts.image_quality.rows}


def test_a_rerun_predicts_nothing_and_keeps_what_was_checked(tried):
    workspace, study, run_id, result = tried
    degraded = next(row["degraded_run_id"] for row in result.rows if row["level"] == 8.0)
    again = predict(workspace, study, run=degraded, parts=("test",))

    assert (0, 0.0, "blur:8") == (again.scored_now, again.unchanged, again.control)
    assert run_id == again.control_of


def test_page_csv_and_figure_say_the_same_and_others_see_no_single_flip(tried):
    workspace, study, run_id, result = tried
    facts = gather(workspace, study, run_id)
    said = sentences(facts.image_quality)
    drawn = figure(facts.image_quality)["image_quality"]
    text = csv_tables(facts)["image_quality.csv"]
    for_others = shared(facts).image_quality.rows

    assert any(re.match(r"blur .* clearly lower from 8 on, by .0\.\d", sentence) for sentence in said), said
    assert any("not clearly lower at 0.2" in sentence for sentence in said)
    assert len(result.rows) == text.count("\n") - 1
    points = {
        tuple(point[2:]) for line in drawn.readout["lines"] for point in line["points"] if line["label"] == "blur"
    }
    assert (8.0, round(averages(result)["blur:8"]["degraded"], 3)) in points
    assert all(row["class_name"] is None and row["flipped"] is None for row in for_others)


def test_the_section_says_when_nobody_asked(finished):
    facts = gather(finished.workspace, finished.study_file.study, finished.run_id)
    template = page_environment().get_template("image_quality.html.j2")
    text = template.render(facts=facts, part="test", measured_quality=[])

    assert "nobody had asked this run about degraded photographs" in text
    assert "image_quality.csv" not in csv_tables(facts)


@pytest.mark.soak
def test_boxes_are_degraded_where_there_are_any_and_predictions_differ(finished, tmp_path, capsys):
    """Through the command, on the run of the sample: a box far too small is not what the model was trained with."""
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    command = ["--study", str(finished.study_file.path), "--workspace", str(copy.folder), "--json", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "predict", "--degrade", "roi-scale:-80", "--part", "test"])
    result = json.loads(capsys.readouterr().out)

    assert 0 == ended.value.code
    assert {"roi-scale:-80": 0.0} == result["unchanged"]
    assert any(row["flipped"] for row in result["rows"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--degrade", "fog:3"], 1, "'fog:3' is no degradation"),
        (["--degrade", "blur:30"], 1, "out of the range of blur, 0 to 25"),
        (["--degrade", "blur:1", "--control", "blank"], 2, "give one of them"),
        (["--degrade", "blur:1", "--part", "external"], 1, "has no scores on the external set to compare with"),
        (["--degrade", "blur:1", "--run", "ffffffff"], 1, "ffffffff"),
        (
            ["--degrade", "blur:1", "--from", "x.csv", "--model-name", "x"],
            2,
            "--degrade does not belong to --from FILE",
        ),
    ],
)
def test_what_cannot_be_degraded_is_said_without_a_traceback(finished, capsys, arguments, code, message):
    command = ["--study", str(finished.study_file.path), "--workspace", str(finished.workspace.folder)]
    with pytest.raises(SystemExit) as ended:
        main([*command, "predict", *arguments])

    assert code == ended.value.code
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_run_without_predictions_or_scores_has_nothing_to_be_compared_with(tried, tmp_path):
    workspace, study, run_id, _ = tried
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    with copy.writing() as connection:
        connection.execute("delete from predictions where run_id = ?", [run_id])
    with pytest.raises(WorkspaceError, match="has no prediction of"):
        predict(copy, study, run=run_id, parts=("test",), control="blur:3")
    with copy.writing() as connection:
        connection.execute("delete from scores where run_id = ?", [run_id])

    with pytest.raises(WorkspaceError, match="has no scores yet"):
        compare_with_degraded(copy, study, ["blur:3"])


def test_predictions_that_do_not_come_back_at_level_0_are_refused(tried, tmp_path):
    workspace, study, run_id, _ = tried
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    with copy.writing() as connection:
        connection.execute(
            "update predictions set probabilities = map_from_entries("
            "list_transform(map_entries(probabilities), lambda x: {'k': x.key, 'v': 0.125::double})) where run_id = ?",
            [run_id],
        )

    with pytest.raises(ModelError, match="do not give the predictions"):
        predict(copy, study, run=run_id, parts=("test",), control="blur:3")
