"""Parsing against what a user would write instead: json, dictionaries, pandas. `make bench` runs it.

CPU time and peak memory of child processes, the ways taken in turn; ratios count, seconds depend on the machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REPEATS = 3


class Cost(NamedTuple):
    """CPU seconds and peak resident memory in MiB of one process."""

    seconds: float
    mebibytes: float


def with_pandas(export: Path) -> None:
    """Read an export the usual way: every table as a list of dictionaries, then a data frame."""
    import pandas as pd

    tables: dict[str, list[dict]] = {name: [] for name in ("rows", "metadata", "labels", "objects", "answers")}
    with export.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            _take(row, tables)
    for name, records in tables.items():
        pd.json_normalize(records) if name == "rows" else pd.DataFrame(records)


def _take(row: dict, tables: dict[str, list[dict]]) -> None:
    image = row["data_row"]["id"]
    tables["rows"].append({**row["data_row"], **row["media_attributes"]})
    tables["metadata"] += [{"image": image, **field} for field in row["metadata_fields"]]
    for project in row["projects"].values():
        for label in project["labels"]:
            own = {"image": image, "project": project["name"], "label": label["id"]}
            tables["labels"].append({**own, **label["label_details"], **label["performance_details"]})
            annotations = label["annotations"]
            tables["objects"] += [{**own, "name": o["name"], **o["bounding_box"]} for o in annotations["objects"]]
            asked = [
                *annotations["classifications"],
                *(c for o in annotations["objects"] for c in o["classifications"]),
            ]
            tables["answers"] += [{**own, "question": c["name"], **c.get("radio_answer", {})} for c in asked]


def to_parquet(export: Path) -> None:
    """Read a landed export into staged Parquet, as the toolkit does."""
    from toolkit.manifest import load_study
    from toolkit.privacy import PseudonymKey
    from toolkit.progress import silent
    from toolkit.shipped import shipped
    from toolkit.stages.parse.staged import stage_export
    from toolkit.workspace.landed import land
    from toolkit.workspace.registry import Workspace

    with tempfile.TemporaryDirectory(dir=export.parent) as folder:
        landed = land(Workspace(Path(folder)), export, images=None)
        study = load_study(shipped("manifests") / "demo.toml")
        stage_export(landed, Path(folder), study=study, key=PseudonymKey(b"bench", published=True), progress=silent)


def whole_command(export: Path) -> None:
    """Run `toolkit parse` into a new workspace."""
    with tempfile.TemporaryDirectory(dir=export.parent) as folder:
        study = export.with_name("study.toml")
        cli(["--quiet", "--study", str(study), "--workspace", folder, "parse", str(export)])


WAYS: dict[str, Callable[[Path], None]] = {
    "json + dicts → pandas": with_pandas,
    "landed bytes → Parquet": to_parquet,
    "toolkit parse": whole_command,
}


def cost(way: Callable[[Path], None], export: Path) -> Cost:
    """Run one way in a child process and return what it took."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            way(export)
        except SystemExit as left:
            os._exit(int(left.code or 0))
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{way.__name__} failed")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    """Measure every size in turn and print one line per size and way."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--cases", type=int, nargs="+", default=[20_000])
    reader.add_argument("--adding", type=int, default=2_000, help="rows of a second export, parsed after the first")
    given = reader.parse_args()
    print("| rows | way | CPU s | of pandas' | peak MiB |\n| --- | --- | --- | --- | --- |")
    for cases in given.cases:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "sample"
            command = [sys.executable, "-m", "toolkit", "--quiet", "sample", made, "--cases", str(cases)]
            subprocess.run([*command, "--no-photographs"], check=True, stdout=subprocess.DEVNULL)
            report(made / "export.ndjson")
            report_adding(made / "export.ndjson", given.adding)


def report_adding(export: Path, added: int) -> None:
    """Measure parsing a second export beside parsing both at once, interleaved, and print the medians."""
    lines = export.read_bytes().splitlines(keepends=True)
    first, second = export.with_name("first.ndjson"), export.with_name("second.ndjson")
    first.write_bytes(b"".join(lines[:-added]))
    second.write_bytes(b"".join(lines[-added:]))
    common = ["--quiet", "--study", str(export.with_name("study.toml")), "--workspace"]
    before, folder = export.with_name("before"), export.with_name("workspace")
    cost(lambda _: cli([*common, str(before), "parse", str(first)]), export)
    ways = {
        "both exports, anew": lambda _: cli([*common, str(folder), "parse", str(first), str(second)]),
        f"the second, of {added} rows": lambda _: cli([*common, str(folder), "parse", str(second)]),
    }
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            shutil.rmtree(folder, ignore_errors=True)
            if name.startswith("the second"):
                shutil.copytree(before, folder)
            found[name].append(cost(way, export))
    middle = {name: statistics.median(each.seconds for each in costs) for name, costs in found.items()}
    for name, seconds in middle.items():
        ratio = seconds / middle["both exports, anew"]
        peak = max(each.mebibytes for each in found[name])
        print(f"| {len(lines)} | {name} | {seconds:.2f} | {ratio:.2f} of anew | {peak:.0f} |", flush=True)


def cli(arguments: list[str]) -> None:
    """Run a command of the toolkit."""
    from toolkit.cli import main

    main(arguments)


def report(export: Path) -> None:
    """Measure one export, the ways interleaved, and print the medians."""
    found: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            found[name].append(cost(way, export))
    middle = {name: statistics.median(each.seconds for each in costs) for name, costs in found.items()}
    rows = sum(1 for _ in export.open("rb"))
    for name, seconds in middle.items():
        ratio = seconds / middle["json + dicts → pandas"]
        peak = max(each.mebibytes for each in found[name])
        print(f"| {rows} | {name} | {seconds:.2f} | {ratio:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
