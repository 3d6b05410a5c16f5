"""The folder of a page, written as a whole, so that no file of an older report stays beside a new one."""

import hashlib
import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError
from toolkit.files import (
    PRIVATE,
    SUMS,
    check_sums,
    digests_of,
    read_json,
    remove,
    sha256_of_file,
    sums_text,
    write_atomically,
    write_json,
)
from toolkit.manifest import Study
from toolkit.shipped import shipped
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
    made_from: str | None = None,
) -> list[str]:
    """Write a page's folder anew, and the index of all pages; return the paths of its files, the page first.

    `render` returns index.html and the files beside it; thumbnails it may write into the folder that it is given.
    `tables` are the CSV files, to which their dictionary is added, and the glossary that the page links to. The digests
    of all files stand in SHA256SUMS.
    `mode` is that of the files; `made_from` is the digest by which `kept_page` finds the page again.
    """
    folder = workspace.reports / name
    remove(_stamp(workspace, name))
    with _renewed(folder) as new:
        contents = render(new) | with_dictionary(tables, classes)
        contents["glossary.html"] = layout.render("glossary.html.j2", study=study.study)
        for file, content in contents.items():
            write_atomically(new / file, content, mode=mode)
        contents[SUMS] = sums_text(digests_of(new)).encode()
        write_atomically(new / SUMS, contents[SUMS], mode=mode)
    write_index(workspace, study)
    if made_from is not None:
        write_json(_stamp(workspace, name), {"made_from": made_from, "files": list(contents)})
    return [str(folder / file) for file in contents]


def kept_page(workspace: Workspace, study: Study, name: str, made_from: str) -> list[str] | None:
    """Return the files of a page that was made from the same and is whole, the page first; None for any other.

    The index of all pages is written anew: it counts what other commands have made.
    """
    folder = workspace.reports / name
    try:
        stamp = read_json(_stamp(workspace, name))
        check_sums(folder, remedy="")
        files = [folder / file for file in stamp["files"]]
    except (DamagedError, KeyError, TypeError):
        return None
    whole = stamp.get("made_from") == made_from and all(file.is_file() for file in (*files, folder / SUMS))
    if not whole:
        return None
    write_index(workspace, study)
    return list(map(str, files))


def digest_of_page(study: Study, facts: dict[str, Any]) -> str:
    """Return the digest of all that a page is made from: facts, study, photographs, templates and this package."""
    own = sorted([*Path(__file__).parent.glob("*.py"), *shipped("reports/template").glob("*")])
    rows = [row for each in facts.values() if isinstance(each, list) for row in each if isinstance(row, dict)]
    paths = {str(row[name]) for row in rows for name in ("path", "other_path") if row.get(name)}
    photographs = [(path, _state(Path(path))) for path in sorted(paths)]
    sources = [sha256_of_file(path) for path in own]
    stated = json.dumps([facts, study.model_dump(), photographs, sources], default=str)
    return hashlib.sha256(stated.encode()).hexdigest()


def _state(photograph: Path) -> tuple[int, int] | None:
    try:
        found = photograph.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _stamp(workspace: Workspace, name: str) -> Path:
    """Return the file that says what a page was made from; not in its folder, which may be passed on."""
    return workspace.reports / "made_from" / f"{name}.json"


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
