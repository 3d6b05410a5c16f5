"""Three stages of labels, with a control, a comparison and a run of another workspace: rebuilt, all is the same."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from state import tables_of

from toolkit.manifest import load_study
from toolkit.pipeline import rebuild, run
from toolkit.stages.audit import audit
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.study_file import StudyFile
from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace


def study_file(path: Path, *changes: tuple[str, str]) -> StudyFile:
    text = path.read_text(encoding="utf-8")
    for old, new in (("epochs = 20", "epochs = 2"), ("replicates = 2000", "replicates = 100"), *changes):
        text = text.replace(old, new)
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("pinned")), encoding="utf-8")
    return StudyFile(load_study(path), path)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A workspace after three stages of labels, each with a split that keeps the one before, a run and its scores."""
    folder = tmp_path_factory.mktemp("staged")
    drawn = [sample(folder / f"stage{stage}", cases=120, seed=5, stage=stage) for stage in (1, 2, 3)]
    own = study_file(drawn[0].study, ("[split]", "[split]\nuneven = true"))
    workspace, key, runs, frozen = Workspace(folder / "workspace"), own.key(Workspace(folder / "workspace")), [], None
    for each in drawn:
        parse(workspace, own.study, key, [each.export], images=each.images)
        audit(workspace)
        frozen = split(workspace, own.study, study_folder=own.folder, frozen=frozen).split_id
        runs.append(train(workspace, own.study, study_folder=own.folder).run_id)
        predict(workspace, own.study)
        evaluate(workspace, own.study)
    control = predict(workspace, own.study, control="shuffled").run_id
    evaluate(workspace, own.study, run=control)
    exports = [row["export_id"] for row in workspace.rows("select export_id from exports order by moment")]
    compare(workspace, own.study, runs[-1], control, since=exports[0])
    return workspace, own, runs


def test_three_stages_with_a_control_and_a_comparison(staged):
    workspace, own, runs = staged
    same_after_rebuild(workspace, own)

    assert 3 == len(set(runs)) == len(workspace.rows("select distinct split_id from splits"))
    assert 8 == len(workspace.rows("from evaluations"))


def test_a_workspace_with_the_run_of_another_one(staged, tmp_path):
    there, _, runs = staged
    drawn = sample(tmp_path / "sample", cases=120, seed=6)
    own = study_file(drawn.study, ("[split]", "[split]\nexternal = true\nuneven = true"))
    workspace = Workspace(tmp_path / "workspace")
    parse(workspace, own.study, own.key(workspace), [drawn.export], images=drawn.images)
    audit(workspace)
    split(workspace, own.study, study_folder=own.folder)
    external = predict(workspace, own.study, run=str(there.run(runs[0])))
    evaluate(workspace, own.study, run=external.run_id)
    same_after_rebuild(workspace, own)

    assert [runs[0]] == [external.external_of]


def test_the_demo(tmp_path):
    drawn = sample(tmp_path / "sample", cases=120, seed=7)
    own, workspace = study_file(drawn.study, ("[split]", "[split]\nuneven = true")), Workspace(tmp_path / "workspace")
    list(run(workspace, own, [drawn.export], images=drawn.images))
    same_after_rebuild(workspace, own)


def same_after_rebuild(workspace: Workspace, own: StudyFile) -> None:
    """Rebuild with the registry there and without it; every table stays the same."""
    before = tables_of(workspace.registry)
    for is_there in (True, False):
        if not is_there:
            workspace.registry.unlink()
        told = rebuild(workspace, own)
        after = tables_of(workspace.registry)

        assert [] == [name for name in before if repr(before[name]) != repr(after[name])]
        assert told.content_hash == before["label_states"][0][-1]
        assert told.scorings == len(before["evaluations"])
