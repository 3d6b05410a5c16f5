"""The process in which a person's SQL runs: a private copy of the registry, limits of the system, and nothing else.

It is started by `user_sql`, reads its task from standard input and writes the answer to standard output as an Arrow
stream. It is a process because DuckDB's own limit and interrupt do not stop `repeat('x', 3000000000)`: a kill does.
"""

import json
import os
import re
import resource
import signal
import sys
from typing import Any

import duckdb
import pyarrow as pa

from toolkit.errors import QuestionError
from toolkit.workspace.answer_values import distinct_names
from toolkit.workspace.sql_rules import judge

FAULT = 3
"""Exit code that says: standard error holds what to tell, as JSON; where it is empty, memory was short."""
GIGABYTE = 1_000_000_000
SLACK = 150_000_000
"""Address space beyond what DuckDB may take: stacks of its threads, and batches of rows on their way."""
OUT_OF_MEMORY = ("Out of Memory Error", "bad_alloc", "llocation failure")
OPEN_FILES = 64
SENT = {"UHUGEINT": "BIGNUM", "BIT": "VARCHAR", "TIME WITH TIME ZONE": "VARCHAR"}
"""Types that Arrow would cut, by what is sent instead."""
TYPE = re.compile(rf"""("(?:[^"]|"")*"|'(?:[^']|'')*')|\b({"|".join(SENT)}|JSON)\b""")
"""Within the name of a type, a quoted name or value, or a type that is sent as another."""
OF_JSON = ("#{}::JSON", "to_json(#{})")
JSON = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
THREADS = 4
BATCH = 10_000
"""Rows of the answer that are converted at once."""
MOST_MESSAGE = 2_000
GRACE = 1.0
"""Seconds after which the system ends a process whose parent is gone and could not end it."""
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
    "max_temp_directory_size": "0B",
}
"""Nothing is loaded, no Python variable is a table, and what does not fit into memory goes nowhere."""


def main() -> int:
    """Answer the one question on standard input; without one there is nothing to do."""
    if not (asked := sys.stdin.buffer.read()):
        return 0
    task = json.loads(asked)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, min(task["seconds"] + GRACE, 1e9))
    try:
        connection = connected(task["registry"], task["memory"])
        limit(task["memory"])
        if task["judged"]:
            judge(task["text"], own=_own_functions(connection))
        _write(connection, task["text"], task["parameters"])
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
        return FAULT
    except QuestionError as error:
        return _fault(error.problem, error.remedy)
    except (duckdb.Error, RuntimeError, ValueError, OverflowError, OSError, pa.ArrowException) as error:
        # Arrow passes on DuckDB's errors as words only, and so does C++ its own.
        if any(words in str(error) for words in OUT_OF_MEMORY):
            return FAULT
        return _fault(str(error).strip() or type(error).__name__)
    return 0


def connected(registry: int, memory: float) -> duckdb.DuckDBPyConnection:
    """Return a connection that knows the tables of an open file, and no way to any file, not even to this one.

    The file must have no name. DuckDB goes on allowing the path of a database that it has attached, and finds out the
    name of a file that was opened by its number; without a name that path leads to nothing afterwards.
    """
    settings = {**SETTINGS, "memory_limit": f"{int(memory * GIGABYTE)}B", "threads": min(THREADS, os.cpu_count() or 1)}
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute(f"attach '/dev/fd/{registry:d}' as registry (read_only)")
    connection.execute("use registry")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, registry)
    os.close(nothing)
    return connection


def limit(memory: float) -> None:
    """Let the system refuse this process files to write, more memory, and a record of its memory when it dies."""
    for kind, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_AS, _address_space() + int(memory * GIGABYTE) + SLACK),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _address_space() -> int:
    """Return the bytes of address space that this process has now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - not a file
        return int(file.read().split()[0]) * resource.getpagesize()


def _own_functions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the registry's own functions that stand as tables."""
    return {
        name
        for (name,) in connection.execute(
            "select function_name from duckdb_functions() where database_name = 'registry' and not internal"
        ).fetchall()
    }


def _write(connection: duckdb.DuckDBPyConnection, text: str, parameters: dict[str, Any]) -> None:
    """Write the answer's rows to standard output as they come, each column under a name of its own."""
    connection.execute(text, parameters or None)
    types = [str(column[1]) for column in connection.description or ()]
    columns = [sent(each) for each in types]
    if columns != ["#{}"] * len(columns):
        connection.abort()  # what was begun is asked again
        relation = connection.sql(text, params=parameters or None)
        selected = (f'{column.format(place)} as "c{place}"' for place, column in enumerate(columns, start=1))
        names, reader = relation.columns, relation.project(", ".join(selected)).to_arrow_reader(BATCH)
    else:
        reader = connection.to_arrow_reader(BATCH)
        names = reader.schema.names if reader else []
    if reader is None:
        raise QuestionError("the statement gives no rows", remedy="ask with a SELECT")
    schema = pa.schema(
        field.with_name(name).with_metadata(JSON if column in OF_JSON else None)
        for name, field, column in zip(distinct_names(names), reader.schema, columns, strict=True)
    )
    with os.fdopen(1, "wb", closefd=False) as output, pa.ipc.new_stream(output, schema) as stream:
        for batch in reader:
            stream.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def sent(declared: str) -> str:
    """Return the expression by which a column of a type is sent: Arrow has no place for all that some types hold.

    >>> sent("INTEGER"), sent('STRUCT("BIT" BIT, b UHUGEINT[])'), sent("JSON[]")
    ('#{}', '#{}::STRUCT("BIT" VARCHAR, b BIGNUM[])', 'to_json(#{})')
    """
    kinds = {found[2] for found in TYPE.finditer(declared)}
    if "JSON" in kinds:
        return OF_JSON[declared != "JSON"]
    if kinds & set(SENT):
        return "#{}::" + TYPE.sub(lambda found: found[1] or SENT[found[2]], declared).replace("{", "{{").replace(
            "}", "}}"
        )
    return "#{}"


def _fault(problem: str, remedy: str | None = None) -> int:
    sys.stderr.write(json.dumps({"problem": problem[:MOST_MESSAGE], "remedy": remedy}))
    return FAULT


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # what DuckDB still holds need not be put in order
