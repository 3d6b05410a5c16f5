"""Which case each row of a file of predictions is about: its key is a case ID or a photograph's name of some kind.

The kind that finds most rows is taken for the whole file; another only for keys that it does not know.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from toolkit.csv_files import cell_text
from toolkit.errors import PredictionsError
from toolkit.photographs.names import composed
from toolkit.prediction_files.faults import Faults, names, plain_name
from toolkit.prediction_files.tables import PredictionTable
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

ENDING = re.compile(r"\.(?:jpe?g|png|webp|tiff?|bmp|gif|hei[cf]|avif|jp2|dcm)$", re.IGNORECASE)
LOOKED_AT = 5_000
"""Rows, evenly spread, by which the column and the kind of key are told."""
UNKNOWN = "the key names nothing here"


class Kind(NamedTuple):
    """A kind of key: how it is called, the photograph's columns it stands in, and how a text is compared."""

    name: str
    columns: tuple[str, ...]
    compared: Callable[[str], str]


def _exact(text: str) -> str:
    return composed(text.strip())


def _file(text: str) -> str:
    return re.split(r"[/\\]", _exact(text))[-1]


def _stem(text: str) -> str:
    return ENDING.sub("", _file(text))


NAMES = ("external_id", "global_key", "path")
KINDS = (
    Kind("case ID", ("case_id",), _exact),
    Kind("global key", ("global_key",), _exact),
    Kind("external ID", ("external_id",), _exact),
    Kind("data row ID", ("image_id",), _exact),
    Kind("file name", NAMES, _file),
    Kind("file name without its ending", NAMES, _stem),
    Kind("file name, upper and lower case alike", NAMES, lambda text: _stem(text).casefold()),
)
"""In the order in which they are believed."""


class Found(NamedTuple):
    """The case of each row, None where there is none, and how they were found."""

    cases: list[str | None]
    column: str
    kinds: dict[str, int]
    """Rows by the kind of their key."""
    unknown: int
    without_case: int
    """Rows that name a photograph of which there is no case: it was kept out."""


class KeyIndex:
    """The registry's photographs by each kind of key."""

    def __init__(self, workspace: Workspace) -> None:
        rows = workspace.rows(sql.statement("predict/keys"))
        self.cases: dict[str, list[str]] = {}
        self.of: dict[str, dict[str, set[str]]] = {kind.name: {} for kind in KINDS}
        self.image_of = {row["case_id"]: row["image_id"] for row in rows if row["case_id"]}
        for row in rows:
            own = self.cases.setdefault(row["image_id"], [])
            own += [row["case_id"]] if row["case_id"] else []
            for kind in KINDS:
                for column in kind.columns:
                    if row[column]:
                        self.of[kind.name].setdefault(kind.compared(row[column]), set()).add(row["image_id"])

    def named(self, kind: Kind, key: str) -> set[str]:
        """Return the photographs that a key names."""
        return self.of[kind.name].get(kind.compared(key), set()) if key else set()

    def hits(self, kind: Kind, keys: list[str]) -> int:
        """Return how many keys name one photograph."""
        return sum(len(self.named(kind, key)) == 1 for key in keys)


def find(workspace: Workspace, table: PredictionTable, read: set[int], faults: Faults, *, skip_unknown: bool) -> Found:
    """Return the case of every row; note keys that name nothing, several photographs, or one with several cases."""
    photographs = KeyIndex(workspace)
    place, first = _column(table, photographs, read)
    order = [first, *(kind for kind in KINDS if kind != first)]
    kinds: Counter[str] = Counter()
    cases: list[str | None] = []
    unknown = without_case = 0
    for number, text in zip(table.numbers, _keys(table, place), strict=True):
        kind, images = next(_naming(photographs, order, text), (None, set()))
        case, fault = _case(photographs, kind, images, text)
        cases.append(case)
        if kind is None and skip_unknown:
            unknown += 1
        elif fault:
            faults.add(fault, number)
        elif kind:
            kinds[kind.name] += 1
            without_case += case is None
    return Found(cases, table.columns[place], dict(kinds), unknown, without_case)


def _keys(table: PredictionTable, place: int) -> list[str]:
    return [cell_text(text) for text in table.texts(place)]


def _column(table: PredictionTable, photographs: KeyIndex, read: set[int]) -> tuple[int, Kind]:
    """Return the column and the kind of key by which most rows name one photograph."""
    left = [place for place in range(len(table.columns)) if place not in read]
    step = max(1, len(table.rows) // LOOKED_AT)
    some = {place: _keys(table, place)[::step] for place in left}
    tried = [(photographs.hits(kind, keys), place, kind) for place, keys in some.items() for kind in KINDS]
    best = max(tried, key=lambda one: (one[0], -KINDS.index(one[2]), -one[1]), default=None)
    if best is None or not best[0]:
        columns = f": {names(table.columns[place] for place in left)}" if left else ""
        raise PredictionsError(
            f"no column names a case or a photograph of this workspace{columns}",
            place=str(table.path),
            remedy="give a column of case IDs (case_id of the table cases), global keys, external IDs or file names",
        )
    return best[1], best[2]


def _naming(photographs: KeyIndex, order: list[Kind], key: str) -> Iterator[tuple[Kind, set[str]]]:
    for kind in order:
        if images := photographs.named(kind, key):
            yield kind, images


def _case(photographs: KeyIndex, kind: Kind | None, images: set[str], key: str) -> tuple[str | None, str]:
    """Return the case that a key names, or what is wrong with it."""
    if kind is None:
        return None, UNKNOWN if key else "there is no key"
    if kind.name == "case ID":
        return kind.compared(key), ""
    if len(images) > 1:
        return None, f"the key names several photographs (as {kind.name})"
    cases = photographs.cases[next(iter(images))]
    if len(cases) > 1:
        return None, "the photograph has several cases: their IDs are needed as keys"
    return (cases[0] if cases else None), ""


def described(found: Found) -> str:
    """Say by what the rows were found."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.items())
    return f"column {plain_name(found.column)} ({kinds})"
