"""What several tests need: a study, a key, a workspace, and one finished run of the whole line."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import exports
import pytest

os.environ["TOOLKIT_DEVICE"] = "cpu"
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data folder does not stand beside this checkout")
    return SHARED / "data"


@pytest.fixture(scope="session")
def study():
    """The demo's study for cohorts of a few patients: no pinned split, and a class may stand with one of them."""
    from toolkit.manifest import load_study, shipped

    demo = load_study(shipped("manifests") / "demo.toml")
    return demo.model_copy(update={"split": demo.split.model_copy(update={"pinned": None, "uneven": True})})


@pytest.fixture(scope="session")
def key():
    from toolkit.privacy import PseudonymKey

    return PseudonymKey(b"a key for tests", published=True)


@pytest.fixture
def workspace(tmp_path):
    from toolkit.workspace.registry import Workspace

    return Workspace(tmp_path / "workspace")


@pytest.fixture
def parsed(workspace, study, key, tmp_path):
    """Parse rows given to it, and return the workspace."""
    from toolkit.stages.parse import parse

    def parse_rows(*rows, name="export.ndjson", images=None):
        parse(workspace, study, key, [exports.write(tmp_path / name, rows)], images=images)
        return workspace

    return parse_rows


@dataclasses.dataclass(frozen=True)
class Finished:
    """A workspace after the whole line on a small sample."""

    workspace: Any
    study_file: Any
    export: Path
    images: Path
    results: dict[str, Any]

    @property
    def run_id(self) -> str:
        return self.results["Trained"].run_id


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """One small sample through the whole line: the tiny model is trained once per session."""
    from toolkit.manifest import load_study
    from toolkit.pipeline import StudyFile, run
    from toolkit.synthetic import sample
    from toolkit.workspace.registry import Workspace

    folder = tmp_path_factory.mktemp("line")
    drawn = sample(folder / "sample", cases=200, seed=3)
    text = drawn.study.read_text(encoding="utf-8")
    small = text.replace("epochs = 20", "epochs = 5").replace("replicates = 2000", "replicates = 200")
    drawn.study.write_text(small, encoding="utf-8")
    study_file = StudyFile(load_study(drawn.study), drawn.study)
    workspace = Workspace(folder / "workspace")
    results = run(workspace, study_file, [drawn.export], images=drawn.images)
    named = {type(result).__name__: result for result in results}
    return Finished(workspace, study_file, drawn.export, drawn.images, named)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workspace, for tests that change it."""
    from toolkit.workspace.registry import Workspace

    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    return copy


@pytest.fixture(scope="module")
def one_thread():
    """One thread of torch: models as small as the tests' are fastest on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
