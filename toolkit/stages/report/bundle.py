"""Writing the folder of a report as a whole, so that no file of an older report stays beside a new one."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from toolkit.files import write_atomically


@contextmanager
def renewed(folder: Path) -> Generator[Path]:
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


def write_all(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files by name."""
    for name, content in contents.items():
        write_atomically(folder / name, content)
