"""The folder of a page, written as a whole, so that no file of an older report stays beside a new one."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from toolkit.files import PRIVATE, SUMS, digests_of, sums_text, write_atomically
from toolkit.manifest import Study
from toolkit.stages.report import layout
from toolkit.stages.report.dictionary import with_dictionary
from toolkit.stages.report.index_page import write_index
from toolkit.workspace.registry import Workspace


def write_page(  # noqa: PLR0913 - what a page consists of
    workspace: Workspace,
    study: Study,
    name: str,
    tables: dict[str, str],
    render: Callable[[Path], dict[str, bytes]],
    *,
    classes: list[str],
    mode: int = PRIVATE,
) -> list[str]:
    """Write a page's folder anew, and the index of all pages; return the paths of its files, the page first.

    `render` returns index.html and the files beside it; thumbnails it may write into the folder that it is given.
    `tables` are the CSV files, to which their dictionary is added, and the glossary that the page links to. The digests
    of all files stand in SHA256SUMS.
    `mode` is that of the files.
    """
    folder = workspace.reports / name
    with _renewed(folder) as new:
        contents = render(new) | with_dictionary(tables, classes)
        contents["glossary.html"] = layout.render("glossary.html.j2", study=study.study)
        for file, content in contents.items():
            write_atomically(new / file, content, mode=mode)
        contents[SUMS] = sums_text(digests_of(new)).encode()
        write_atomically(new / SUMS, contents[SUMS], mode=mode)
    write_index(workspace, study)
    return [str(folder / file) for file in contents]


@contextmanager
def _renewed(folder: Path) -> Generator[Path]:
    """Give an empty folder to write into; when the block ends well it takes the place of `folder`."""
    new, old = (folder.with_name(f".{folder.name}.{ending}") for ending in ("new", "old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
