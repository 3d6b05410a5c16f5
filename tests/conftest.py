"""What several tests need: a study, a key, a workspace, one finished run of the whole line, and known surroundings."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import exports
import pytest
from xdist.scheduler import LoadFileScheduling

from toolkit.files import write_atomically

SHARED = Path(__file__).parents[2] / "shared"
OF_OTHERS = (
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),  # rich
    *("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    "TOOLKIT_WORKSPACE",
    *("LABELBOX_API_KEY", "LABELBOX_ENDPOINT", "LABELBOX_REST_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(name for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())),
)
"""Variables of whoever starts the tests that would change what the toolkit does."""
MADE_ONCE = ("finished", "drawn_sample")
"""Session fixtures that take long to make."""


def pytest_configure(config: pytest.Config) -> None:
    """Set what tests rest on, for them and for every process they start, whatever the surroundings say."""
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    os.environ["TOOLKIT_DEVICE"] = "cpu"
    os.environ["OMP_NUM_THREADS"] = "1"  # the fastest for models this small, and xdist has the cores
    if not hasattr(config, "workerinput"):
        os.environ["LESION_TOOLKIT_TESTS"] = tempfile.mkdtemp(prefix="lesion-toolkit-tests-")
    os.environ["XDG_CONFIG_HOME"] = os.environ["LESION_TOOLKIT_TESTS"]  # no test writes a key into the user's folder
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and some CI ignore it, and so would every child
    os.umask(0o022)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["LESION_TOOLKIT_TESTS"], ignore_errors=True)


class TogetherScheduling(LoadFileScheduling):
    """Gives a worker all tests of a file, or all tests that need one of MADE_ONCE: a single worker makes it, once."""

    @functools.cached_property
    def groups(self) -> dict[str, str]:
        return json.loads(groups_file().read_text(encoding="utf-8"))

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid) or super()._split_scope(nodeid)


def groups_file() -> Path:
    """Return where workers, who know each test's fixtures, tell the scheduler which tests need one of MADE_ONCE."""
    return Path(os.environ["LESION_TOOLKIT_TESTS"]) / "groups.json"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherScheduling | None:
    return TogetherScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        needs = {item.nodeid: name for item in items for name in MADE_ONCE if name in item.fixturenames}
        write_atomically(groups_file(), json.dumps(needs).encode())


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with one line that says what was skipped and how to have it."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    )
    skipped = "; ".join(f"{count} tests skipped: {reason}" for reason, count in reasons.most_common())
    terminalreporter.write_line(skipped or "no test was skipped")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip(
            "real exports, photographs and predictions are not here (folder ../shared, which cannot be shipped)"
        )
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


@pytest.fixture(scope="session")
def parsed_before() -> dict[tuple[str, bytes], Path]:
    """Copies of new workspaces by the export that was parsed into them: many tests begin with the same rows."""
    return {}


@pytest.fixture
def parsed(workspace, study, key, tmp_path, tmp_path_factory, parsed_before):
    """Parse rows given to it, and return the workspace."""
    from toolkit.stages.parse import parse

    def parse_rows(*rows, name="export.ndjson", images=None):
        export = exports.write(tmp_path / name, rows)
        content = (name, export.read_bytes())
        is_new = images is None and not workspace.folder.exists()
        if is_new and content in parsed_before:
            shutil.copytree(parsed_before[content], workspace.folder)
            return workspace
        parse(workspace, study, key, [export], images=images)
        if is_new:
            parsed_before[content] = tmp_path_factory.mktemp("parsed") / "workspace"
            shutil.copytree(workspace.folder, parsed_before[content])
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


@pytest.fixture(scope="session")
def drawn_sample(tmp_path_factory):
    """A sample with photographs in which every kind of fault is planted three times."""
    from toolkit.synthetic import sample

    return sample(tmp_path_factory.mktemp("drawn") / "sample", cases=320, seed=17)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workspace, for tests that change it."""
    from toolkit.workspace.registry import Workspace

    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    return copy
