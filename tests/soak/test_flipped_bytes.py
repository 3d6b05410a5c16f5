"""One byte flipped in every file of a finished workspace, at 20 places: noticed and named on next use, or no effect.

`python -m pytest tests/soak/test_flipped_bytes.py --capture=no` prints the table of docs/reliability.md.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from flips import ADDRESS, KINDS, Flips

from toolkit.files import sha256_of_file
from toolkit.manifest import load_study
from toolkit.pipeline import compare_with_page, run
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.pull.photographs import Store, _unsigned
from toolkit.stages.report import report
from toolkit.stages.train import train
from toolkit.study_file import StudyFile
from toolkit.synthetic import sample
from toolkit.workspace.landed import landed_exports, note_issues
from toolkit.workspace.note import remember_study
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run
from toolkit.workspace.withdrawn import record_withdrawal

TIMES = 20
TIMES_IN_REGISTRY = 400


def fetched(drawn, workspace: Workspace, study_file: StudyFile) -> None:
    """Put the photographs of a sample where pull puts them, with their index."""
    parse(workspace, study_file.study, study_file.key(workspace), [drawn.export], images=drawn.images)
    store = Store(workspace.photographs)
    rows = workspace.rows("select image_id, path from images where path is not null order by all")
    for row in rows:
        shutil.copy(row["path"], workspace.photographs / row["image_id"])
    store.add(
        [
            {
                "name": row["image_id"],
                "address": _unsigned(f"{ADDRESS}/{row['image_id']}"),
                "bytes": Path(row["path"]).stat().st_size,
                "sha256": sha256_of_file(workspace.photographs / row["image_id"]),
            }
            for row in rows
        ]
    )


@pytest.fixture(scope="module")
def flips(tmp_path_factory):
    """A workspace with fetched photographs, two runs (one with cached features), a control, a comparison and pages."""
    folder = tmp_path_factory.mktemp("flips")
    drawn = sample(folder / "sample", cases=120, seed=3)
    text = drawn.study.read_text(encoding="utf-8")
    drawn.study.write_text(text.replace("epochs = 20", "epochs = 2").replace("replicates = 2000", "replicates = 100"))
    study_file = StudyFile(load_study(drawn.study), drawn.study)
    study, workspace = study_file.study, Workspace(folder / "workspace")
    fetched(drawn, workspace, study_file)
    (landed,) = landed_exports(workspace)
    note_issues(landed, [{"level": "warning", "reason": "url_not_found", "detail": "a", "image_id": None}])
    record_withdrawal(workspace, "p-0123456789abcdef", set(), key=study_file.key(workspace), date="2026-11-28")
    list(run(workspace, study_file, [drawn.export], images=workspace.photographs))
    first = find_run(workspace, "latest")
    control = predict(workspace, study, control="blank")
    evaluate(workspace, study, run=control.run_id)
    frozen = study.model_copy(update={"train": study.train.model_copy(update={"mode": "qformer", "epochs": 1})})
    second = train(workspace, frozen, study_folder=study_file.folder)
    predict(workspace, study, run=second.run_id)
    evaluate(workspace, study, run=second.run_id)
    list(compare_with_page(workspace, study, first, second.run_id))
    report(workspace, study, run=first, audience="shared")
    remember_study(workspace, study_file.path)
    made = Flips(workspace, study_file, {second.run_id: frozen})
    assert workspace.photographs.resolve() == next(iter(made.photographs)).parent
    yield made
    print("\n" + made.table())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_flip_is_noticed_and_named_or_without_effect(flips, kind):
    times = TIMES_IN_REGISTRY if kind.name == "registry.duckdb" else TIMES
    paths = flips.files(kind)
    wrong = [fault for path in paths for fault in flips.flip(kind, path, times=times)]

    assert paths
    assert [] == wrong


def test_every_file_is_of_a_kind(flips):
    known = {path for kind in KINDS for path in flips.files(kind)}

    assert set() == {path for path in flips.workspace.folder.rglob("*") if path.is_file()} - known
