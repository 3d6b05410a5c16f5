"""A registry that is read again while its file is the same is opened once: opening any takes DuckDB 20 ms of CPU.

Many commands read a registry twenty times, and the suite did so half of its time. Here DuckDB keeps the one that was
read last open until the test ends, or until the file is another, so that it is at hand for whoever opens it next. What
is opened, read and closed is as ever. `afresh` is for tests of opening, locks and damage, which soak has more of.
"""

from pathlib import Path
from typing import Any

import duckdb


class OpenedOnce:
    """Stands before `duckdb.connect`, and has a further connection to the database that was opened last for reading."""

    def __init__(self) -> None:
        self.connect, self.kept, self.identity, self.afresh = duckdb.connect, None, None, False

    def __call__(self, database: Any = ":memory:", *, read_only: bool = False, **more: Any) -> Any:
        identity = None if self.afresh or not read_only else _identity(database, more)
        if identity is None and database == (self.identity or [None])[0]:
            self.release()
        if identity is None or identity == self.identity:
            return self.connect(database, read_only=read_only, **more)
        self.release()
        opened = self.connect(database, read_only=read_only, **more)
        self.kept, self.identity = self.connect(database, read_only=read_only, **more), identity
        return opened

    def release(self) -> None:
        """Let go of the database: the next reader opens it."""
        kept, self.kept, self.identity = self.kept, None, None
        if kept is not None:
            kept.close()


def _identity(database: Any, more: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what is another as soon as the file was replaced or written to; None where there is none."""
    try:
        known = Path(database).stat()
    except OSError:
        return None
    return database, known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns, repr(more)


duckdb.connect = opened_once = OpenedOnce()
