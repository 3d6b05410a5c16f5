"""What several tests need: a study, a key, a workspace, one finished run of the whole line, and known surroundings."""

import dataclasses
import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import exports
import pytest
from made_once import made_once, read_back
from opened_once import opened_once

from toolkit.formatting import count_by

SHARED = Path(__file__).parents[2] / "shared"
OF_OTHERS = (
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),  # rich
    *("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    "TOOLKIT_WORKSPACE",
    *("LABELBOX_API_KEY", "LABELBOX_ENDPOINT", "LABELBOX_REST_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(name for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())),
)
"""Variables of whoever starts the tests that would change what the toolkit does."""
LONGEST = (
    *("test_replicates.py", "test_push.py", "test_parse.py", "test_decoder.py", "test_rebuild.py"),
    *("test_predict_from.py", "test_queue.py", "test_suspects.py", "test_cli.py", "test_withdraw.py"),
    *("test_baseline.py", "test_external.py", "test_report.py"),
    *("test_review_round.py", "test_train_together.py", "test_without_patients.py", "test_faults.py"),
    *("test_as_of.py", "test_exposures.py", "test_trainable.py", "test_models.py"),
    *("test_planted.py", "test_pull.py"),
    *("test_claims.py", "test_split.py", "test_compare.py", "test_flipped_bytes.py", "test_ledger.py", "test_mrmc.py"),
)
"""Files that take longest, in the order in which they are begun; the first makes `finished`, three more need none."""
AFRESH = {"soak", "reliability", "test_locks.py", "test_registry.py", "test_sql_door.py"}
"""Files and folders whose tests are about opening, locks and damage: there every reader opens the registry anew."""


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
    gc.set_threshold(50_000, 20, 100)  # looking for garbage at every 700 objects takes a twentieth of the time


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # or DuckDB's bindings complain of objects that nobody has freed
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["LESION_TOOLKIT_TESTS"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave further parameters to soak; begin with the longest files, since the last to end decides."""
    seen: Counter[str] = Counter()
    for item in items:
        if mark := item.get_closest_marker("soak_after"):
            test = item.nodeid.partition("[")[0]
            if seen[test] >= mark.args[0]:
                item.add_marker("soak")
            seen[test] += not item.get_closest_marker("soak")
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make only: every training looks for it twice, among all that there is."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with one line that says what was skipped and how to have it."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    )
    skipped = "; ".join(f"{count} tests skipped: {reason}" for reason, count in reasons.most_common())
    terminalreporter.write_line(skipped or "no test was skipped")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    count_by(patients_known=True)  # a command before may have been of a study without patients
    opened_once.afresh = not AFRESH.isdisjoint((item.path.name, item.path.parent.name))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    opened_once.release()


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
    from toolkit.manifest import load_study
    from toolkit.shipped import shipped

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
    """One small sample through the whole line, in a workspace of this worker's own; the tiny model is trained once."""
    folder = made_once("finished", run_the_line)
    copy = tmp_path_factory.mktemp("line") / "workspace"
    shutil.copytree(folder / "workspace", copy)
    return read_back(folder, copy)


def run_the_line(folder: Path) -> Finished:
    from toolkit.manifest import load_study
    from toolkit.pipeline import run
    from toolkit.study_file import StudyFile
    from toolkit.synthetic import sample
    from toolkit.workspace.registry import Workspace

    drawn = sample(folder / "sample", cases=160, seed=3)
    text = drawn.study.read_text(encoding="utf-8")
    small = text.replace("epochs = 20", "epochs = 5").replace("replicates = 2000", "replicates = 200")
    drawn.study.write_text(small, encoding="utf-8")
    study_file = StudyFile(load_study(drawn.study), drawn.study)
    workspace = Workspace(folder / "workspace")
    results = run(workspace, study_file, [drawn.export], images=drawn.images)
    named = {type(result).__name__: result for result in results}
    return Finished(workspace, study_file, drawn.export, drawn.images, named)


@pytest.fixture(scope="session")
def drawn_sample():
    """A sample with photographs in which every kind of fault is planted three times."""
    from toolkit.synthetic import sample

    folder = made_once("drawn", lambda folder: sample(folder / "sample", cases=320, seed=17))
    return read_back(folder, folder / "workspace")


@pytest.fixture(scope="session")
def textured(study, key, tmp_path_factory):
    """A small workspace with a run that rests on fine texture alone: what a model is trained on costs nothing here."""
    from texture_backend import textured_workspace

    return textured_workspace(tmp_path_factory.mktemp("texture"), study, key, unlabelled=24)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workspace, for tests that change it."""
    from toolkit.workspace.registry import Workspace

    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(finished.workspace.folder, copy.folder)
    return copy


@pytest.fixture
def own_photographs(copied, finished, tmp_path):
    """A copy with photographs of its own, for tests that change one: other workers read those of `finished`."""
    own = Path(shutil.copytree(finished.images, tmp_path / "images"))
    with copied.writing() as connection:
        connection.execute("update images set path = replace(path, $1, $2)", [str(finished.images), str(own)])
    return copied


@pytest.fixture(scope="module")
def chromium():
    """A real browser; without one its tests are skipped, or fail where one must be there."""
    import browser
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = browser.launched(playwright)
        if found is None:
            say = pytest.fail if os.environ.get("LESION_TOOLKIT_NEED_BROWSER") else pytest.skip
            say(f"no browser ({browser.HOW_TO_HAVE_ONE})")
        yield found
        found.close()
