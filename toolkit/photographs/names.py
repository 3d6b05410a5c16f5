"""Which file a photograph's names mean: names that only it has, compared in NFC, and what nearly has such a name.

Several photographs of a study may have one file name (a camera counts from IMG_0001 again): a name opens a file only
for the photograph that alone has it as its best name.
"""

import os
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from toolkit.errors import PhotographError

MOST_NEAR = 3
"""Files told of that nearly have a name."""


class PhotographNames(NamedTuple):
    """A photograph, its folder, and what its file may be called there, the best name first."""

    image_id: str
    root: Path
    names: tuple[str | None, ...]


class NearMiss(NamedTuple):
    """A file, by its path in the folder, that nearly has a photograph's name, and in what it differs."""

    file: str
    how: str


class NoFileError(PhotographError):
    """No file has a photograph's name; `near` are files that nearly have it."""

    def __init__(self, near: list[NearMiss]) -> None:
        super().__init__("image_missing", "no file under the photographs' folder has its name")
        self.near = near


class NameOwners:
    """Whose a name is, among all photographs of a study.

    A name belongs to the photograph that has it as a better name than any other has it (a global key goes before an
    external ID, that before a URL); where two have it as equally good a name, it belongs to none.
    """

    def __init__(self, photographs: Iterable[PhotographNames]) -> None:
        self.best: dict[tuple[Path, str], tuple[int, str | None]] = {}
        for image_id, root, names in photographs:
            for rank, name in enumerate(names):
                if name:
                    self._claim((root, composed(name)), rank, image_id)

    def _claim(self, name: tuple[Path, str], rank: int, image_id: str) -> None:
        best, owner = self.best.get(name, (rank + 1, None))
        if rank < best:
            self.best[name] = rank, image_id
        elif rank == best and owner != image_id:
            self.best[name] = rank, None

    def divide(self, photograph: PhotographNames) -> tuple[list[str], list[str]]:
        """Return the names that are a photograph's own, and those that others have as well."""
        own: list[str] = []
        shared: list[str] = []
        for name in dict.fromkeys(name for name in photograph.names if name):
            _, owner = self.best[photograph.root, composed(name)]
            (own if owner == photograph.image_id else shared).append(name)
        return own, shared


class PhotographFolder:
    """A folder of photographs; it is listed when a name is first not there byte for byte."""

    def __init__(self, root: Path) -> None:
        self.base = root.resolve()
        self._listing = threading.Lock()

    def find(self, own: Iterable[str], shared: Iterable[str] = ()) -> Path:
        """Return the first file that has one of a photograph's `own` names.

        Raises PhotographError: `unsafe_path` for a link that leads outside the folder; `ambiguous_name` where a file
        has only a name that other photographs have too, or several files have the name; `image_missing` (NoFileError).
        """
        own, shared = list(own), list(shared)
        there = [file for file in map(self._file, own) if file]
        if there:
            return next((file for file in there if not file.is_dir()), there[0])
        if any(self._file(name) for name in shared):
            problem = "several photographs of the study have the file's name, and no better name tells whose it is"
            raise PhotographError("ambiguous_name", problem)
        raise NoFileError(self._near([*own, *shared]))

    def _file(self, name: str) -> Path | None:
        if "\x00" in name:
            return None
        if self._is_there(name):
            return self._inside(name)
        spellings = self._files.get(composed(name), ())
        if len(spellings) > 1:
            raise PhotographError("ambiguous_name", "several files have its name, in different Unicode spellings")
        return self._inside(spellings[0]) if spellings else None

    def _is_there(self, name: str) -> bool:
        try:
            return os.path.lexists(self.base / name)
        except (OSError, ValueError):  # a name that no file can have
            return False

    def _inside(self, name: str) -> Path:
        path = (self.base / name).resolve()
        if not path.is_relative_to(self.base):
            raise PhotographError("unsafe_path", "the photograph's name leads outside the photographs' folder")
        return path

    @property
    def _files(self) -> dict[str, list[str]]:
        with self._listing:
            return self._by_name

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The paths of all files, by their spelling in NFC."""
        files = defaultdict(list)
        for folder, _, names in os.walk(self.base):
            within = Path(folder).relative_to(self.base)
            for name in names:
                path = (within / name).as_posix()
                files[composed(path)].append(path)
        return {name: sorted(paths) for name, paths in sorted(files.items())}

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The names of all files, by their last part without suffix, in lower case."""
        stems = defaultdict(list)
        for name in self._by_name:
            stems[PurePosixPath(name).stem.casefold()].append(name)
        return stems

    def _near(self, names: list[str]) -> list[NearMiss]:
        """Return files that have one of the names but for case, folder, suffix, or the way it is written."""
        with self._listing:
            near = {file: NearMiss(file, how) for name in names for file, how in self._near_to(name)}
        return list(near.values())[:MOST_NEAR]

    def _near_to(self, name: str) -> Iterable[NearMiss]:
        wanted = composed(unquote(name).replace("\\", "/"))
        last = wanted.rpartition("/")[2].casefold()
        for stem in dict.fromkeys((last, PurePosixPath(last).stem)):
            for file in self._by_stem.get(stem, ()):
                yield NearMiss(file, _difference(composed(name), wanted, file))


def composed(name: str) -> str:
    """Return a name as it is compared: in NFC, since a Mac writes an umlaut as two characters."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _difference(name: str, wanted: str, file: str) -> str:
    """Say in what a file's path differs from a name; `wanted` is the name with its separators and escapes resolved."""
    if file.casefold() == name.casefold():
        return "differs in case only"
    if file == wanted:
        return "is the name with / for \\" if "\\" in name else "is the name without its % escapes"
    if file.rpartition("/")[2].casefold() == wanted.rpartition("/")[2].casefold():
        return "lies in another folder"
    return "differs in its suffix"
