"""Every named question on ten million predictions, asked of the registry's file and of its Parquet, within 2 GB.

    python tests/benchmarks/questions.py build/demo/workspace --folder /var/tmp/questions

The finished demo is multiplied: its cases with all that belongs to them, and its run with all of its scores. What is
made stays in the folder, and is used again. Each medium is asked in a process of its own.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from toolkit.manifest import load_study
from toolkit.stages.export import export
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, table_names, table_schema

COPIES, RUNS = 128, 210
"""Times the demo's cases, and runs that predict those of validation and test set: 375 × 128 × 210 predictions."""
MEMORY, THREADS, ROUNDS = "1500MB", 2, 2
"""DuckDB's own limit: its buffers; the process takes some more."""
KEYS = ("case_id", "other_case_id", "image_id", "other_image_id", "patient_id", "label_id")
AS_THEY_ARE = {"queue_items", "verdicts", "pushes", "predictions"}
"""Tables that hold cases and are not multiplied with them."""


def multiply_cases(registry: duckdb.DuckDBPyConnection) -> None:
    """Add copies of every case, photograph, patient and label, under IDs of their own."""
    for table in table_names():
        names = table_schema(table).names
        keys = [name for name in names if name in KEYS]
        if not keys or table in AS_THEY_ARE or "run_id" in names:
            continue
        replaced = ", ".join(f"{key} || '-' || nth as {key}" for key in keys)
        registry.execute(
            f"insert into {table} by name "
            f"select {table}.* replace ({replaced}) from {table} cross join range(1, {COPIES}) as copies(nth)"
        )


def multiply_runs(registry: duckdb.DuckDBPyConnection) -> None:
    """Let new runs predict all cases, each later than the one before, with the scores of the demo's run."""
    [(of,)] = registry.execute("select run_id from run_names where name = 'latest'").fetchall()
    one_more = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    registry.execute(
        "insert into predictions by name select predictions.* replace (case_id || '-' || nth as case_id) "
        f"from predictions cross join range(1, {COPIES}) as copies(nth) where run_id = ?",
        [of],
    )
    tables = [table for table in table_names() if "run_id" in table_schema(table).names]
    for number in range(1, RUNS):
        run = f"{number:04x}{of[:4]}"
        for table in sorted(tables, key="runs".__ne__):
            if table == "predictions":
                registry.execute(one_more, {"run": run, "of": of})
                continue
            later = f", finished_at + interval {number} minute as finished_at" if table == "runs" else ""
            registry.execute(
                f"insert into {table} by name select * replace ('{run}' as run_id{later}) from {table} "
                f"where run_id = '{of}'"
            )


def made(demo: Path, folder: Path) -> tuple[Path, Path]:
    """Return the registry and the Parquet of the multiplied demo; make what is not there yet."""
    workspace, parquet, new = Workspace(folder / "workspace"), folder / "parquet", folder / "new.duckdb"
    if not workspace.registry.exists():
        folder.mkdir(exist_ok=True)
        new.unlink(missing_ok=True)
        shutil.copyfile(demo / "registry.duckdb", new)
        with duckdb.connect(str(new), config={"memory_limit": "8GB", "threads": THREADS}) as registry:
            multiply_cases(registry)
            multiply_runs(registry)
            registry.execute("checkpoint")
        workspace.folder.mkdir(exist_ok=True)
        new.rename(workspace.registry)
        with workspace.writing():  # with the views and comments of this version
            pass
    if not parquet.exists():
        export(workspace, load_study(demo.parent / "sample" / "study.toml"), "parquet", parquet)
    return workspace.registry, parquet


def ask_all(medium: str, path: Path) -> dict[str, Any]:
    """Return of each question the seconds of its first answer and of later ones, and a digest of its rows."""
    config: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "temp_directory": ""}
    if medium == "parquet":
        os.chdir(path)
        connection = duckdb.connect(config=config)
        connection.execute(Path("load.sql").read_text(encoding="utf-8"))
    else:
        connection = duckdb.connect(str(path), read_only=True, config=config)
    connection.execute("set enable_progress_bar = false")
    [(first,)] = connection.execute("select min(run_id) from runs where control is null").fetchall()
    answers = {}
    for name, question in sql.questions().items():
        values = {each.name: first if each.default is None else each.default for each in question.parameters}
        walls, busy = [], []
        for _ in range(1 + ROUNDS):
            began, worked = time.monotonic(), time.process_time()
            rows = connection.sql(question.text, params=values).to_arrow_table()
            walls.append(time.monotonic() - began)
            busy.append(time.process_time() - worked)
        answers[name] = Answer(walls[0], min(walls[1:]), min(busy[1:]), rows.num_rows, digest(rows))._asdict()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"answers": answers, "peak": peak}


def digest(rows: pa.Table) -> str:
    """Return a digest of an answer; floats to nine digits, since their sums come in another order."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shown(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [shown(each) for each in value]
        return f"{value:.9g}" if isinstance(value, float) else str(value)

    return hashlib.sha256(json.dumps(shown(rows.to_pylist())).encode()).hexdigest()


class Answer(NamedTuple):
    """What a question took: seconds by the clock the first time and later, seconds of processor; and what came."""

    cold: float
    warm: float
    busy: float
    rows: int
    digest: str


def main() -> None:
    """Make what is to be asked, and ask it of both media."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("demo", type=Path)
    reader.add_argument("--folder", type=Path, default=Path("build/questions"))
    reader.add_argument("--ask", choices=("registry", "parquet"), help="only this medium, as JSON")
    arguments = reader.parse_args()
    paths = dict(zip(("registry", "parquet"), made(arguments.demo, arguments.folder.resolve()), strict=True))
    if arguments.ask:
        print(json.dumps(ask_all(arguments.ask, paths[arguments.ask])))
        return
    told = {}
    for medium in paths:
        command = [sys.executable, __file__, str(arguments.demo), "--folder", str(arguments.folder), "--ask", medium]
        told[medium] = json.loads(subprocess.check_output(command))
    show(told)


def show(told: dict[str, dict[str, Any]]) -> None:
    """Print a line for each question that takes a fifth of a second of processor, and what the others take at most."""
    registry, parquet = (told[medium]["answers"] for medium in ("registry", "parquet"))
    order = sorted(registry, key=lambda each: -max(registry[each]["busy"], parquet[each]["busy"]))
    slow = [name for name in order if max(registry[name]["busy"], parquet[name]["busy"]) >= 0.2]
    print(
        "| question | rows | registry: first, later, CPU s | Parquet: first, later, CPU s |\n| --- | --- | --- | --- |"
    )
    for name in slow:
        times = (
            " / ".join(f"{each[name][key]:.2f}" for key in ("cold", "warm", "busy")) for each in (registry, parquet)
        )
        print(f"| {name} | {registry[name]['rows']} | {' | '.join(times)} |")
    print(f"\nthe other {len(order) - len(slow)} questions take less; peak MiB:", {m: told[m]["peak"] for m in told})
    print("other answers over Parquet:", [n for n in order if registry[n]["digest"] != parquet[n]["digest"]])


if __name__ == "__main__":
    main()
