"""The workspace's folders and its DuckDB registry: queries, and transactions that replace its tables.

The registry's file is never changed in place: a transaction works on a copy, which then takes its place.
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from toolkit.errors import DamagedError, QuestionError, ToolkitError, WorkspaceError
from toolkit.files import FULL, PRIVATE, copy_file, move_into_place, ordinary_file, private, remove, writing_to
from toolkit.workspace import known_values, sql, user_sql
from toolkit.workspace.described import describe, make_views
from toolkit.workspace.locks import POLL, WAIT, held
from toolkit.workspace.names import nearest
from toolkit.workspace.sql import Question
from toolkit.workspace.sql_start import REGISTRY
from toolkit.workspace.user_sql import USUAL, Limits

if TYPE_CHECKING:
    import pandas as pd

SAFE: dict[str, str | bool | int | float | list[str]] = {
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,
}
READING = {**SAFE, "enable_external_access": False, "lock_configuration": True}
"""For a database that is only read: SQL can reach nothing else."""
WORKING = {**SAFE, "memory_limit": "1GB"}
"""For a database that is worked in: what it may take before it spills to disk (256 MB fail at a million rows)."""
CONFLICT = "Conflicting lock"
"""What DuckDB says when another process has a database open."""
BROKEN = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
"""What DuckDB raises for a damaged file or a disk that fails."""
CORRUPT = "Corrupt database file"
"""What it says, in an error of no kind, of a block whose checksum is another."""
OPENED: ContextVar[dict[Path, duckdb.DuckDBPyConnection]] = ContextVar("OPENED", default={})  # noqa: B039 - never changed
"""The registries that a block of `reading` around has open."""
EMPTY: list[bytes] = []
"""The file of a registry without rows, once this process has made one."""
REBUILD = "toolkit rebuild makes the registry anew from the files of the workspace"


@dataclass(frozen=True)
class Workspace:
    """A folder that holds one study: landed exports, splits, runs, reports, and the registry made from them."""

    folder: Path

    @property
    def registry(self) -> Path:
        """The DuckDB file: a cache of what the folders hold."""
        return self.folder / REGISTRY

    @property
    def exports(self) -> Path:
        """Landed raw exports, mode 0600."""
        return self.folder / "exports"

    @property
    def photographs(self) -> Path:
        """Photographs that were fetched."""
        return self.folder / "photographs"

    @property
    def masks(self) -> Path:
        """Masks that were fetched."""
        return self.folder / "masks"

    @property
    def reports(self) -> Path:
        """Rendered pages and their CSV."""
        return self.folder / "reports"

    @property
    def queries(self) -> Path:
        """Questions of this workspace's own."""
        return self.folder / "queries"

    def split(self, split_id: str) -> Path:
        """Return the folder of a split's certificate."""
        return self.folder / "splits" / split_id

    @property
    def features(self) -> Path:
        """Cached outputs of vision models."""
        return self.folder / "features"

    @property
    def staged(self) -> Path:
        """Landed exports once read, as Parquet."""
        return self.folder / "staged"

    def run(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / run_id

    def is_parsed(self) -> bool:
        """Tell whether there is a registry with tables."""
        if self.registry in OPENED.get():
            return True
        if not self.registry.exists():
            return False
        with _connected(self.registry, read_only=True) as connection:
            return _has_schema(connection)

    def has_table(self, name: str) -> bool:
        """Tell whether the registry has a table: one of an earlier version gets it when a command first writes."""
        return self.is_parsed() and bool(self.rows("from duckdb_tables() where table_name = $name", {"name": name}))

    @contextmanager
    def reading(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Open the registry read-only; SQL can reach nothing but its own tables.

        Writers replace the file as a whole, so that a reader keeps what it has opened, and neither waits for the other.
        All that is read within the block comes from this one state, and costs no further opening (40 ms).
        """
        if self.registry in OPENED.get():
            with OPENED.get()[self.registry].cursor() as connection:
                yield connection
            return
        if not self.registry.exists():
            raise self._unparsed()
        with _connected(self.registry, read_only=True) as connection:
            if not _has_schema(connection):
                raise self._unparsed()
            token = OPENED.set({**OPENED.get(), self.registry: connection})
            try:
                yield connection
            finally:
                OPENED.reset(token)

    def _unparsed(self) -> WorkspaceError:
        has_exports = any(self.exports.glob("[!.]*"))
        return WorkspaceError(
            "there is no registry here" if has_exports else "nothing has been parsed into this workspace yet",
            place=str(self.folder),
            remedy="toolkit rebuild makes it anew from the files"
            if has_exports
            else "toolkit --workspace DIR parse EXPORT --images DIR",
        )

    def copy_registry(self, new: Path) -> None:
        """Copy the registry as it is now to a new file that only its owner reads."""
        with self.reading():
            _copy(self.registry, new)

    @contextmanager
    def writing(self, *, anew: bool = False) -> Generator[duckdb.DuckDBPyConnection]:
        """Open a copy of the registry, or with `anew` an empty one, that takes its place when the block ends well.

        All of the block happens, or nothing; one process writes at a time.
        """
        if self.registry in OPENED.get():
            raise RuntimeError("what is read in this block would not be what is written")
        with held(self.folder, "registry", "writing the registry"):
            new = self.folder / f".registry-{secrets.token_hex(4)}.duckdb"
            try:
                with writing_to(self.registry):
                    if self.registry.exists() and not anew:
                        _copy(self.registry, new)
                    else:
                        _make_empty(new)
                    with _connected(new, read_only=False) as connection:
                        new.chmod(PRIVATE)
                        connection.execute("begin")
                        _migrate(connection)
                        yield connection
                        describe(connection)
                        connection.execute("commit")
                        connection.execute("checkpoint")
                    move_into_place(new, self.registry)
                    _wal(self.registry).unlink(missing_ok=True)
            finally:
                for left in (new, _wal(new), new.with_name(f"{new.name}.tmp")):
                    remove(left)

    def sql(self, text: str, parameters: Mapping[str, Any] | None = None, *, limits: Limits = USUAL) -> pa.Table:
        """Return the rows that one read-only statement of a person's gives; parameters stand in it as `$name`.

        It is asked of a copy of the registry, in a process of its own that can reach nothing else and is ended at
        `limits`: see `sql_rules` and `user_sql`. Raises QuestionError, with DuckDB's own words where it has any.
        """
        return self._answer(text, parameters or {}, limits)

    def ask(self, name: str, /, **parameters: str) -> pa.Table:
        """Answer a named question, the toolkit's or the workspace's own."""
        return self.answer(name, parameters)

    def answer(self, name: str, parameters: Mapping[str, str], *, limits: Limits = USUAL) -> pa.Table:
        """Answer a named question within limits, as `sql` does."""
        return self._answer_question(self._question(name), parameters, limits)

    def answer_file(self, path: Path, parameters: Mapping[str, str], *, limits: Limits = USUAL) -> pa.Table:
        """Answer the statement in a file, with the parameters that its lines describe, as `sql` does."""
        return self._answer_question(sql.read_statement(path), parameters, limits)

    def _answer_question(self, question: Question, parameters: Mapping[str, str], limits: Limits) -> pa.Table:
        with self.reading():  # what is known is one state
            values = known_values.resolved(self, question, sql.bind(question, parameters))
        try:
            return self._answer(question.text, values, limits, place=str(question.path))
        except QuestionError as error:
            if "does not exist" in error.problem and self.is_older():
                error.remedy = "an earlier version wrote this registry: toolkit parse brings it up to date"
            raise

    def is_older(self) -> bool:
        """Tell whether the registry lacks tables that this version has: it gets them when a command first writes."""
        applied = {row["file"] for row in self.rows("select file from schema_history")}
        return any(path.name not in applied for path in sql.folder("schema"))

    def _answer(
        self, text: str, parameters: Mapping[str, Any], limits: Limits, *, place: str | None = None
    ) -> pa.Table:
        with self.reading():  # says what is wrong with the registry, and that nobody is changing the file
            copy = user_sql.snapshot(self.registry)
        with copy:
            return user_sql.answer(copy, text, parameters, limits, place=place)

    def _question(self, name: str) -> Question:
        """Return a question that can be asked; raise what stands against it."""
        questions = sql.questions(self.queries)
        if name not in questions:
            usable = sorted(question.name for question in questions.values() if not question.fault)
            near = nearest(name, usable)
            remedy = f"did you mean {' or '.join(near)}? " if near else ""
            raise QuestionError(
                f"no such question: {name}",
                place=str(self.queries),
                remedy=f"{remedy}`toolkit query` lists them: {', '.join(usable)}",
            )
        if fault := questions[name].fault:
            raise fault
        return questions[name]

    def questions(self) -> list[Question]:
        """Return every question by name; those that cannot be asked come with their fault."""
        return list(sql.questions(self.queries).values())

    def table(self, name: str) -> "pd.DataFrame":
        """Return a whole table or view as a DataFrame."""
        quoted = '"' + name.replace('"', '""') + '"'
        return self.read(f"select * from {quoted}").to_pandas()  # noqa: S608 - the name is quoted

    def read(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Return the rows of one of the toolkit's own statements, asked in this process."""
        try:
            with self.reading() as connection:
                return connection.sql(text, params=parameters or {}).to_arrow_table()
        except duckdb.Error as error:
            raise QuestionError(
                str(error).strip(),
                place=shorten(text, 200, placeholder=" …"),
                remedy="docs/tables.md lists tables and columns",
            ) from None

    def rows(self, text: str, parameters: Mapping[str, Any] | None = None) -> list[dict]:
        """Return the rows of one of the toolkit's own statements as dictionaries."""
        return self.read(text, parameters).to_pylist()

    def shipped_rows(self, question: str, /, **parameters: str) -> list[dict]:
        """Return what a shipped question answers as dictionaries; files of the workspace have no part in it."""
        asked = sql.questions()[question]
        return self.rows(asked.text, sql.bind(asked, parameters))


def scratch(folder: Path, *, on_disk: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a database of one's own that may read and write files: where a stage does its work.

    It spills into `folder`; `on_disk` keeps its tables there too, for work that need not fit into memory.
    """
    connection = duckdb.connect(str(folder / "scratch.duckdb") if on_disk else ":memory:", config=WORKING)
    connection.execute("set temp_directory = ?", [str(folder)])
    connection.execute("set preserve_insertion_order = false")
    return connection


def table_names() -> list[str]:
    """Return the names of the registry's tables, in the order of `sql/schema`: a table refers to earlier ones only."""
    return list(_table_schemas())


def table_schema(name: str) -> pa.Schema:
    """Return the Arrow schema of a table of the registry: its columns in the order and the types of `sql/schema`."""
    return _table_schemas()[name]


@cache
def _table_schemas() -> dict[str, pa.Schema]:
    with duckdb.connect(":memory:", config=SAFE) as connection:
        connection.execute("begin")  # each table is looked up four times as fast within it
        for path in sql.folder("schema"):
            connection.execute(path.read_text(encoding="utf-8"))
        connection.execute("select table_name from duckdb_tables() order by table_oid")
        names = [name for (name,) in connection.fetchall()]
        return {name: connection.table(name).limit(0).to_arrow_table().schema for name in names}


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Insert rows by column name."""
    connection.register("new_rows", rows)
    connection.execute(f"insert into {table} by name select * from new_rows")  # noqa: S608 - a name of our own schema
    connection.unregister("new_rows")


def _copy(registry: Path, new: Path) -> None:
    """Copy a registry that nobody changes; opening it tells whether it is one, and whether somebody does."""
    with _connected(registry, read_only=True):
        os.close(os.open(new, os.O_CREAT | os.O_EXCL, PRIVATE))
        copy_file(registry, new)


def _make_empty(new: Path) -> None:
    """Make a registry without rows; its tables, views and comments take DuckDB 0.3 s, so that the file is made once."""
    if EMPTY:
        with open(new, "xb", opener=private) as file:
            file.write(EMPTY[0])
        return
    with _connected(new, read_only=False) as connection:
        new.chmod(PRIVATE)
        connection.execute("begin")
        _migrate(connection)
        describe(connection)
        connection.execute("commit")
        connection.execute("checkpoint")
    EMPTY.append(new.read_bytes())


def _wal(path: Path) -> Path:
    """Return where DuckDB keeps what it has not yet put into a database."""
    return path.with_name(f"{path.name}.wal")


@contextmanager
def _connected(path: Path, *, read_only: bool) -> Generator[duckdb.DuckDBPyConnection]:
    if read_only and _wal(path).exists():
        # No version since this one leaves any, and whoever can write it can say anything with it.
        problem = "a file of changes lies beside the registry, which no finished command has left there"
        raise DamagedError(problem, place=str(_wal(path)), remedy=REBUILD)
    if read_only:
        with ordinary_file(path, remedy=REBUILD):  # DuckDB would wait at a pipe for ever
            pass
    connection = _opened(path, read_only=read_only)
    try:
        yield connection
    except duckdb.Error as error:
        if isinstance(error, BROKEN) or str(error).startswith(CORRUPT):
            raise _damaged(path, error) from None
        raise
    finally:
        connection.close()


def _opened(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connect to a database; wait for another program that has it open for writing, which none of the toolkit does."""
    started = time.monotonic()
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=READING if read_only else WORKING)
        except duckdb.Error as error:
            if CONFLICT not in str(error):
                raise _damaged(path, error) from None
            if time.monotonic() - started > WAIT:
                raise WorkspaceError(
                    f"another program has had the registry open for writing for {WAIT:.0f} s: {_holder(error)}",
                    place=str(path),
                    remedy="close it there (a SQL shell can open it read-only), then run the same command again",
                ) from None
        time.sleep(POLL)


def _holder(error: duckdb.Error) -> str:
    found = re.search(r"held in (.+?)\. ", str(error))
    return found[1] if found else "it does not say which"


def _damaged(path: Path, error: duckdb.Error) -> ToolkitError:
    reason = str(error).splitlines()[0][:300]
    if any(os.strerror(code) in reason for code in FULL):
        return WorkspaceError(
            f"could not write: {reason}", place=str(path), remedy="free some disk space, then try again"
        )
    return DamagedError(f"the registry cannot be read: {reason}", place=str(path), remedy=REBUILD)


def _has_schema(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("from schema_history limit 0")
    except duckdb.CatalogException:
        return False
    return True


def _migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Apply schema files that are new, refuse one that was changed after it was applied, and replace the views."""
    connection.execute("create table if not exists schema_history (file text primary key, sha256 text not null)")
    applied = dict(connection.execute("select file, sha256 from schema_history").fetchall())
    for path in sql.folder("schema"):
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        if applied.get(path.name, digest) != digest:
            raise WorkspaceError(
                "this workspace was made with another version of the schema",
                place=path.name,
                remedy="parse into a new workspace: landed exports, splits and runs are files and can be kept",
            )
        if path.name not in applied:
            connection.execute(text)
            connection.execute("insert into schema_history values (?, ?)", [path.name, digest])
    make_views(connection)
