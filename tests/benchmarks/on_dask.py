"""Three heavy questions over the Parquet of an export, by Dask on two worker processes, held against DuckDB's answers.

    python -m venv /var/tmp/dask && /var/tmp/dask/bin/pip install "dask[dataframe,distributed]" duckdb
    /var/tmp/dask/bin/python tests/benchmarks/on_dask.py build/questions/parquet

Dask is no dependency of the toolkit: this runs in an environment of its own, and imports nothing of it.
"""

import os
import sys
import time
from pathlib import Path

import dask.dataframe as dd
import duckdb
import pandas as pd
from distributed import Client, LocalCluster

COLUMNS = ["run_id", "part", "case_id", "predicted", "confidence"]


def with_truth() -> dd.DataFrame:
    """Return every prediction beside the reference diagnosis and the patient of its case."""
    predictions = dd.read_parquet("tables/predictions/*.parquet", columns=COLUMNS)
    truth = pd.read_parquet("views/truth/data.parquet", columns=["case_id", "class_name"])
    cases = pd.read_parquet("tables/cases/data.parquet", columns=["case_id", "patient_id"])
    known = truth.dropna().merge(cases, on="case_id").rename(columns={"class_name": "truth"})
    return predictions.merge(known, on="case_id")  # a small table goes to every worker


def confusions(scored: dd.DataFrame) -> pd.DataFrame:
    """Return, for every run and subset, how often which class was taken for which, and how confidently."""
    wrong = scored[scored.truth != scored.predicted]
    grouped = wrong.groupby(["run_id", "part", "truth", "predicted"])
    counted = grouped.agg({"case_id": "count", "confidence": "mean"}, split_out=4)
    return counted.compute().reset_index()


def patients_with_errors(scored: dd.DataFrame) -> pd.DataFrame:
    """Return each patient's predictions and errors over all runs."""
    marked = scored.assign(error=(scored.truth != scored.predicted).astype("int64"))
    counted = marked.groupby("patient_id").agg({"case_id": "count", "error": "sum"}, split_out=4)
    return counted.compute().reset_index()


def fixed_and_broken(scored: dd.DataFrame, run: str, other: str) -> pd.DataFrame:
    """Return the cases that one run got right and another wrong."""
    of = [scored[(scored.run_id == each) & (scored.part == "test")] for each in (run, other)]
    both = of[0].merge(of[1][["case_id", "predicted"]], on="case_id", suffixes=("", "_other"))
    changed = both[(both.predicted == both.truth) != (both.predicted_other == both.truth)]
    return changed[["case_id", "truth", "predicted", "predicted_other"]].compute()


SQL = {
    "confusions": "select run_id, part, truth, predicted, count(*), avg(confidence) from scored "
    "where truth <> predicted group by all",
    "patients_with_errors": "select patient_id, count(*), count(*) filter (where truth <> predicted) from scored "
    "group by all",
    "fixed_and_broken": "select case_id, a.truth, a.predicted, b.predicted from scored as a "
    "inner join (from scored where run_id = $other and part = 'test') as b using (case_id) "
    "where a.run_id = $run and a.part = 'test' and (a.predicted = a.truth) <> (b.predicted = b.truth)",
}


def rows(frame: pd.DataFrame) -> list[tuple]:
    """Return rows that can be compared: sorted, and means to nine digits, since sums come in another order."""
    return sorted(
        tuple(float(f"{x:.9g}") if isinstance(x, float) else x for x in row) for row in frame.itertuples(index=False)
    )


def main() -> None:
    """Ask both, and say how long each took."""
    os.chdir(sys.argv[1])
    with duckdb.connect(config={"memory_limit": "1500MB", "threads": 2}) as connection:
        connection.execute(Path("load.sql").read_text(encoding="utf-8"))
        connection.execute("set enable_progress_bar = false")
        [(run, other)] = connection.execute(
            "select min(run_id), max(run_id) from runs where control is null"
        ).fetchall()
        expected, seconds = {}, {}
        for name, text in SQL.items():
            began = time.monotonic()
            values = {"run": run, "other": other} if "$run" in text else None
            expected[name] = rows(connection.execute(text, values).df())
            seconds[name] = time.monotonic() - began
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="2GB", dashboard_address=None) as cluster,
        Client(cluster),
    ):
        scored = with_truth()
        asked = {
            "confusions": lambda: confusions(scored),
            "patients_with_errors": lambda: patients_with_errors(scored),
            "fixed_and_broken": lambda: fixed_and_broken(scored, run, other),
        }
        for name, answer in asked.items():
            began = time.monotonic()
            given = rows(answer())
            same = "the same" if given == expected[name] else "OTHER"
            took = time.monotonic() - began
            print(f"| {name} | {len(given)} | {same} | {took:.1f} | {seconds[name]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
