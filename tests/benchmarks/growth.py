"""Seconds, peak memory and disk of each command as a study grows: parse, audit, split, evaluate, report.

    python tests/benchmarks/growth.py --cases 10000 100000 1000000

There are no photographs, so `train` and `predict` cannot run: a run is recorded and its predictions are drawn around
the reference diagnosis, in files and registry as `predict` leaves them. `make bench` measures 10,000 rows; the million
takes an hour of one core.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import logsumexp

from toolkit.files import write_parquet
from toolkit.manifest import Study, load_study
from toolkit.prompts.answers import Answers, answers_of, predicted
from toolkit.stages import predict
from toolkit.workspace.registry import Workspace, table_schema
from toolkit.workspace.runs import RunRecord, find_split, now, record_run

RUN = "0fab1e00"
PARTS = ("validation", "test", "external")
"""Those of them that a split has are predicted."""
CASES = """
    select splits.case_id, truth.class_name
    from splits inner join truth on truth.case_id = splits.case_id
    where splits.split_id = $split_id and splits.part = $part
    order by splits.case_id
"""


class Cost(NamedTuple):
    """Seconds by the clock and of processor, and peak resident memory (MiB), of one process."""

    seconds: float
    busy: float
    mebibytes: float


def cost(*words: object) -> Cost:
    """Run a Python process and return what it took."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status  # it has been waited for
    if status:
        raise SystemExit(f"failed: {words}")
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def simulate(workspace: Workspace, study: Study) -> None:
    """Record a run on the newest split, and predict its validation, test and external sets."""
    split_id, truth_id = find_split(workspace), workspace.rows("select truth_id from label_states")[0]["truth_id"]
    parts = {part: workspace.read(CASES, {"split_id": split_id, "part": part}) for part in PARTS}
    trained = {"train_cases": 0, "train_patients": 0, "epochs": [], "seconds": 0.0, "finished_at": now()}
    model = {"name": study.model.name, "backend": study.model.backend, "device": "none, simulated"}
    sections = study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}})
    key = {"run_id": RUN, "split_id": split_id, "truth_id": truth_id}
    record_run(workspace, RunRecord.model_validate({**key, **trained, "model": model, "study": sections}))
    rng, answers = np.random.default_rng(study.study.seed), answers_of(study)
    shards = []
    for part, cases in parts.items():
        for number, start in enumerate(range(0, len(cases), predict.SHARD)):
            path = workspace.run(RUN) / "predictions" / f"{part}-{number:05}-simulated.parquet"
            write_parquet(path, predictions(cases.slice(start, predict.SHARD), part, answers, rng))
            shards.append(predict.Shard(part, [], [], path))
    predict._mirror(workspace, RUN, shards, {})


def predictions(cases: pa.Table, part: str, answers: Answers, rng: np.random.Generator) -> pa.Table:
    """Return the rows of `predictions` for some cases: log-likelihoods are normal, that of the truth is larger."""
    case_ids, names = (cases[column].to_pylist() for column in ("case_id", "class_name"))
    truth = np.array([answers.classes.index(name) for name in names])
    likelihoods = rng.normal(0, 2, (len(truth), len(answers.texts)))
    likelihoods[np.arange(len(truth)), truth] += rng.normal(5, 2, len(truth))
    likelihoods -= logsumexp(likelihoods, axis=1, keepdims=True) - np.log(rng.uniform(0.8, 1, (len(truth), 1)))
    columns = predicted(likelihoods[None], answers, [1] * len(answers.texts))
    rows = [
        {"run_id": RUN, "part": part, "case_id": case_id, **row} for case_id, row in zip(case_ids, columns, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=table_schema("predictions"))


def size(folder: Path) -> float:
    """Return the megabytes of all files below a folder, or of one file."""
    paths = [folder] if folder.is_file() else folder.rglob("*")
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def measure(cases: int, folder: Path, *, external: bool) -> None:
    """Make a study of so many cases, run every command on it, and print a line for each."""
    sample, workspace = folder / "sample", Workspace(folder / "workspace")
    toolkit = ("-m", "toolkit", "--quiet")
    if not sample.exists():
        cost(*toolkit, "sample", sample, "--cases", cases, "--no-photographs")
    export, study = sample / "export.ndjson", sample / "study.toml"
    if external:
        study.write_text(study.read_text().replace("[split]\n", "[split]\nexternal = true\n"))
    with export.open("rb") as lines:
        rows = sum(1 for _ in lines)
    own = (*toolkit, "--study", study, "--workspace", workspace.folder)
    commands = {
        "parse": (*own, "parse", export),
        "audit": (*own, "audit"),
        "split": (*own, "split"),
        "(simulated predictions)": (__file__, "--simulate", workspace.folder, study),
        "evaluate": (*own, "evaluate"),
        "report": (*own, "report"),
    }
    for name, words in commands.items():
        took = cost(*words)
        print(f"| {rows} | {name} | {took.seconds:.0f} | {took.busy:.0f} | {took.mebibytes:.0f} |", flush=True)
    folders = {"export": export, "registry": workspace.registry, "predictions": workspace.run(RUN) / "predictions"}
    folders |= {"splits": workspace.folder / "splits", "reports": workspace.reports}
    print(f"{rows} rows, MB: " + ", ".join(f"{name} {size(path):.0f}" for name, path in folders.items()), flush=True)


def main() -> None:
    """Measure every size in turn."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--cases", type=int, nargs="+", default=[10_000])
    reader.add_argument("--external", action="store_true", help="all cases are external, and all are predicted")
    reader.add_argument("--folder", type=Path, help="keep the studies there, and use a sample that is there already")
    reader.add_argument("--simulate", type=Path, nargs=2, metavar=("WORKSPACE", "STUDY"), help="only the predictions")
    arguments = reader.parse_args()
    if arguments.simulate:
        simulate(Workspace(arguments.simulate[0]), load_study(arguments.simulate[1]))
        return
    print("| rows | command | s | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
    for cases in arguments.cases:
        folder = arguments.folder / str(cases) if arguments.folder else Path(tempfile.mkdtemp())
        shutil.rmtree(folder / "workspace", ignore_errors=True)
        measure(cases, folder, external=arguments.external)
        if not arguments.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
