"""Who may read what the toolkit writes: its user alone, but for what is made to be passed on."""

import os
import stat
from pathlib import Path

import pytest

from toolkit.prompts.chat_json import write_chat
from toolkit.stages.init import init
from toolkit.stages.report import report
from toolkit.synthetic import sample

OTHERS = {"models", "checkpoint", "features", "training"}
"""Folders of a workspace that other libraries write into."""
FOR_OTHERS = "-shared"


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of a folder and of everything in it but what other libraries write."""
    paths = [folder, *(path for path in folder.rglob("*") if not OTHERS & set(path.relative_to(folder).parts))]
    return {str(path.relative_to(folder.parent)): stat.S_IMODE(path.stat().st_mode) for path in paths}


def wrong(folder: Path, *, file: int, umask: int = 0o022) -> dict[str, str]:
    """Return what has another mode than a file of this mode, or a folder that is as open, under a umask."""
    both = {False: file & ~umask, True: (file | 0o100 | (file & 0o044) >> 2) & ~umask}
    found = modes(folder).items()
    return {name: oct(mode) for name, mode in found if mode != both[(folder.parent / name).is_dir()]}


def test_a_workspace_is_its_users_alone_but_for_what_is_shared(finished, copied):
    report(copied, finished.study_file.study, audience="shared")
    for_others = list(copied.reports.glob(f"*{FOR_OTHERS}"))
    own = {name: mode for name, mode in wrong(copied.folder, file=0o600).items() if FOR_OTHERS not in name}

    assert {} == own
    assert {} == wrong(finished.workspace.folder, file=0o600)
    assert [{}] == [wrong(folder, file=0o644) for folder in for_others]


@pytest.mark.soak
def test_a_shared_report_is_as_open_as_the_umask_lets_it_be(finished, copied, umask):
    page = Path(report(copied, finished.study_file.study, audience="shared").page)

    assert {} == wrong(page.parent, file=0o644, umask=umask)


def test_a_sample_and_a_study_file_may_be_opened_by_others(tmp_path, umask):
    drawn = sample(tmp_path / "sample", cases=16)
    init(drawn.export, to=tmp_path / "made" / "study.toml")

    assert {} == wrong(drawn.folder, file=0o644, umask=umask)
    assert {} == wrong(tmp_path / "made", file=0o644, umask=umask)


@pytest.mark.usefixtures("umask")
def test_prompts_with_photographs_are_their_users_alone(finished, tmp_path):
    write_chat(finished.workspace, finished.study_file.study, tmp_path / "chat" / "train.json", part="train")

    assert {} == wrong(tmp_path / "chat", file=0o600)


@pytest.mark.soak
def test_files_of_a_workspace_that_others_could_read_are_closed_when_they_are_written_next(finished, copied):
    for path in (copied.registry, *copied.reports.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    report(copied, finished.study_file.study)
    with copied.writing() as connection:
        connection.execute("select 1")

    assert 0o600 == stat.S_IMODE(copied.registry.stat().st_mode)
    assert {} == wrong(copied.reports / finished.run_id, file=0o600)
