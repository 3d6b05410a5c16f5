"""Replicates: the same training with several seeds, and what their scores differ by."""

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from toolkit.console.runs import rendered
from toolkit.errors import ModelError
from toolkit.formatting import proportion, signed
from toolkit.pipeline import rebuild, run
from toolkit.privacy import normalise
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.report.compare_page import compare_page
from toolkit.stages.report.facts import gather
from toolkit.stages.report.sharing import shared
from toolkit.stages.status import status
from toolkit.stages.train import train
from toolkit.stages.withdraw import withdraw
from toolkit.study_file import StudyFile
from toolkit.workspace.registry import Workspace, table_names
from toolkit.workspace.runs import find_run, read_run


def with_training(study, **settings: object):
    return study.model_copy(update={"train": study.train.model_copy(update=settings)})


@pytest.fixture(scope="module")
def study(finished):
    return with_training(finished.study_file.study, seeds=2)


@pytest.fixture(scope="module")
def results(finished, study, tmp_path_factory):
    """The finished workspace, trained with a further seed by the same command."""
    workspace = Workspace(tmp_path_factory.mktemp("seeds") / "workspace")
    shutil.copytree(finished.workspace.folder, workspace.folder)
    shutil.rmtree(workspace.reports)
    study_file = StudyFile(study, finished.study_file.path)
    return workspace, list(run(workspace, study_file, [finished.export], images=finished.images))


@pytest.fixture
def seeded(results, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(results[0].folder, tmp_path / "seeded")))


def terminal(result: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(rendered(result))
    return " ".join(console.file.getvalue().split())


OWN = "run_id in (select run_id from runs where control is null)"


def runs_of(workspace: Workspace) -> list[dict]:
    return workspace.rows("select * from runs where control is null order by seed")


def test_each_seed_is_a_run_of_its_own_and_the_first_is_the_one_without_replicates(finished, results):
    workspace, told = results
    trained = next(result for result in told if type(result).__name__ == "Trained")
    first = finished.study_file.study.study.seed

    assert finished.run_id == trained.run_id
    assert trained.already_there
    assert [first, first + 1] == [each.seed for each in (trained, *trained.replicates)]
    assert 2 == len({each.run_id for each in (trained, *trained.replicates)})
    for each in trained.replicates:
        record = read_run(workspace, each.run_id)
        assert (each.seed, finished.run_id) == (record.seed, record.replicate_of)
        assert record.checkpoint_files != read_run(workspace, finished.run_id).checkpoint_files
    assert [None, finished.run_id] == [row["replicate_of"] for row in runs_of(workspace)]


def of_kind(results, name):
    return next(result for result in results if type(result).__name__ == name)


def test_the_first_run_is_the_latest_and_the_one_that_is_reported(finished, results):
    workspace, told = results

    assert finished.run_id == find_run(workspace, "latest")
    assert [finished.run_id] == [
        row["run_id"] for row in workspace.rows("select run_id from run_names where name = 'latest'")
    ]
    assert finished.run_id == of_kind(told, "Report").run_id
    assert "toolkit query" == status(workspace).next


def test_what_seeds_change_is_the_mean_and_the_deviation_of_the_runs_scores(finished, results):
    workspace, _ = results
    scores: dict[tuple, dict[str, float]] = {}
    for row in workspace.rows(f"select * from scores where part = 'test' and {OWN}"):
        scores.setdefault((row["metric"], row["class_name"]), {})[row["run_id"]] = row["value"]
    rows = workspace.shipped_rows("seeds")

    assert scores.keys() == {(row["metric"], row["class_name"]) for row in rows}
    for row in rows:
        own = scores[row["metric"], row["class_name"]]
        values = np.array([value for value in own.values() if math.isfinite(value)])
        assert len(values) == row["seeds"]
        assert row["value"] == pytest.approx(own[finished.run_id], nan_ok=True)
        if len(values) > 1:
            expected = (values.mean(), values.std(ddof=1), values.min(), values.max())
            assert expected == pytest.approx((row["mean"], row["sd"], row["lowest"], row["highest"]), abs=1e-12)
    assert 2 == next(row["seeds"] for row in rows if row["metric"] == "macro_recall")
    replicate = runs_of(workspace)[1]["run_id"]
    assert repr(rows) == repr(workspace.shipped_rows("seeds", run=replicate))


def test_a_control_of_a_replicate_is_no_replicate(seeded, study):
    before = seeded.shipped_rows("seeds")
    predict(seeded, study, run=runs_of(seeded)[1]["run_id"], control="blank")

    assert repr(before) == repr(seeded.shipped_rows("seeds"))


@pytest.mark.soak
def test_replicates_come_back_with_rebuild(finished, seeded, study):
    before = {name: sorted(seeded.rows(f"from {name}"), key=repr) for name in table_names()}
    rebuild(seeded, StudyFile(study, finished.study_file.path))

    for name, rows in before.items():
        assert repr(rows) == repr(sorted(seeded.rows(f"from {name}"), key=repr)), name


@pytest.mark.soak
def test_a_replicate_that_was_interrupted_goes_on_where_it_was(finished, copied, study, results):
    study = with_training(study, seeds=2)

    def interrupt(activity: str, done: int, total: int | None) -> None:
        if activity == "training" and done > (total or 0) // 2:
            raise KeyboardInterrupt

    place = {"study_folder": finished.study_file.folder}
    with pytest.raises(KeyboardInterrupt):
        train(copied, study, progress=interrupt, **place)
    with pytest.raises(ModelError, match="--resume"):
        train(copied, study, **place)
    trained = train(copied, study, resume=True, **place)

    for each in (trained, *trained.replicates):
        one, other = read_run(results[0], each.run_id), read_run(copied, each.run_id)
        assert one.checkpoint_files == other.checkpoint_files
    assert "toolkit predict" in status(copied).next


def test_a_replicate_that_was_not_scored_yet_is_what_comes_next(seeded):
    replicate = runs_of(seeded)[1]["run_id"]
    with seeded.writing() as connection:
        connection.execute("delete from evaluations where run_id = ?", [replicate])

    assert f"toolkit evaluate --run {replicate}" == status(seeded).next


def test_page_table_and_terminal_say_what_seeds_change(finished, results):
    workspace, told = results
    page = (workspace.reports / finished.run_id / "index.html").read_text(encoding="utf-8")
    text = (workspace.reports / finished.run_id / "seeds.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    recall = next(row for row in workspace.shipped_rows("seeds") if row["metric"] == "macro_recall")

    assert "The training was done with 2 seeds on the same split" in page
    section = page.partition('<section id="seeds"')[2].partition("</section>")[0]
    for name in ("value", "mean", "sd", "lowest", "highest"):
        assert f"{recall[name]:.3f}" in section, name
    written = next(row for row in rows if row["metric"] == "macro_recall")
    assert (recall["sd"], "2") == (pytest.approx(float(written["sd"]), abs=1e-12), written["seeds"])
    line = f"2 seeds: macro recall {recall['mean']:.3f} on average, SD {recall['sd']:.3f}"
    assert line in terminal(of_kind(told, "Report"))
    assert f"run {told[3].replicates[0].run_id}, seed {told[3].replicates[0].seed}" in terminal(told[3])


def test_a_run_without_replicates_has_no_such_section(finished):
    page = (finished.workspace.reports / finished.run_id / "index.html").read_text(encoding="utf-8")

    assert 'id="seeds"' not in page
    assert {1} == {row["seeds"] for row in finished.workspace.shipped_rows("seeds") if math.isfinite(row["value"])}


def test_a_page_for_others_shows_seeds_only_where_nothing_is_suppressed(finished, seeded, study):
    facts = gather(seeded, study, finished.run_id)
    small = shared(facts)

    assert facts.seeds
    assert [] == (small.seeds if small.rounded else [row for row in small.seeds if row["class_name"]])


@pytest.mark.soak
def test_a_comparison_of_two_trainings_with_seeds_says_what_the_difference_owes_to_them(finished, seeded, study):
    other = with_training(study, epochs=1, seeds=2)
    trained = train(seeded, other, study_folder=finished.study_file.folder)
    for each in (trained, *trained.replicates):
        predict(seeded, other, run=each.run_id)
        evaluate(seeded, other, run=each.run_id)

    compared = compare(seeded, other, finished.run_id, trained.run_id)

    firsts = [row["run_id"] for row in runs_of(seeded) if finished.run_id in (row["run_id"], row["replicate_of"])]
    seconds = [trained.run_id, trained.replicates[0].run_id]
    found = {
        run_id: seeded.rows(
            "select value from scores where metric = 'accuracy' and part = 'test' and run_id = $run_id",
            {"run_id": run_id},
        )[0]["value"]
        for run_id in (*firsts, *seconds)
    }
    differences = np.array([found[b] - found[a] for a, b in zip(firsts, seconds, strict=False)])
    expected = (2, differences.mean(), differences.std(ddof=1), differences.min(), differences.max())
    assert expected == pytest.approx(compared.seeds["test"]["accuracy"], abs=1e-12)
    assert f"accuracy over 2 pairs of trainings: mean {signed(differences.mean())}" in terminal(compared)

    page = Path(compare_page(seeded, other, finished.run_id, trained.run_id).page)
    shown = page.read_text(encoding="utf-8").partition('<section id="seeds"')[2].partition("</section>")[0]
    assert "test set" in shown
    assert f'<td class="n">2</td><td class="n">{proportion(differences.mean())}</td>' in shown
    assert "seeds.csv" in {path.name for path in page.parent.iterdir()}
    index = (seeded.reports / "index.html").read_text(encoding="utf-8")
    own = [row["seed"] for row in runs_of(seeded) if row["replicate_of"] == finished.run_id]
    assert all(f"; run {finished.run_id} with seed {seed}" in index for seed in own)


@pytest.mark.soak
def test_withdrawing_a_patient_takes_their_cases_out_of_every_replicate(finished, seeded, study):
    key = finished.study_file.key(seeded)
    test = seeded.rows("select distinct patient_id from cases inner join splits using (case_id) where part = 'test'")
    rows = [json.loads(line) for line in finished.export.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
    values = [f["value"] for row in rows for f in row.get("metadata_fields", ()) if f["schema_name"] == "patient_id"]
    tested = {row["patient_id"] for row in test}
    patient = next(value for value in values if key.pseudonym("p", normalise(value)) in tested)

    said = withdraw(seeded, study, key, patient, apply=True, reparse=lambda: parse(seeded, study, key, [], anew=True))

    assert {row["run_id"] for row in seeded.rows("from runs")} == set(said.predictions)
    assert 1 == len(set(said.predictions.values()))
    assert [] == seeded.shipped_rows("seeds")
    assert [None, finished.run_id] == [row["replicate_of"] for row in runs_of(seeded)]
