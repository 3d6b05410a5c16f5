"""How often the expected macro recall of more patients holds what comes, by hiding patients of sample studies.

Of each sample a share of the training patients is hidden, at random. The curve of the others, measured on the
validation set, says what all training patients will give; then the model is trained on all of them and predicts that
validation set, and the test set, whose patients the curve has not seen. The second number has its own chance: the test
patients'. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from toolkit.manifest import Study, load_study
from toolkit.models import plain
from toolkit.pipeline import parse_study
from toolkit.stages.learning_curve import FRACTIONS, PlainCohort, curve_of_cohort
from toolkit.stages.split import split
from toolkit.stats.learning_curve import macro_recall, patient_order
from toolkit.study_file import StudyFile
from toolkit.synthetic import sample
from toolkit.workspace import sql
from toolkit.workspace.measured_cases import measure
from toolkit.workspace.registry import Workspace

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- learning curve: begin -->", "<!-- learning curve: end -->"
HIDDEN = (0.5, 0.75)
LINE = (
    "| {hidden:.0%} | {trials} | {expected:.3f} | {came:.3f} | {width:.3f} | {same:.0%} | {others:.0%} | {flat:.3f} | "
    "{curved:.3f} |"
)
HEAD = (
    "| hidden | trials | expected, mean | came, mean | width, median | held, same patients | held, test patients | "
    "error of no growth | error of the curve |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def measured(cases: int, seed: int, folder: Path) -> tuple[Study, PlainCohort, list[int]]:
    """Return a sample's cases with plain features, the training and validation ones named, and the test set's."""
    drawn = sample(folder, cases=cases, seed=seed)
    study = load_study(drawn.study)
    section = study.split.model_copy(update={"pinned": None, "uneven": True, "binds": ["patient"]})
    study = study.model_copy(update={"split": section})
    workspace = Workspace(folder / "workspace")
    parse_study(workspace, StudyFile(study, drawn.study), [drawn.export], images=drawn.images)
    split_id = split(workspace, study).split_id
    rows = workspace.rows(sql.statement("predict/plain_cases"), {"split_id": split_id})
    rows = [row for row in rows if row["class_name"]]
    features = measure(workspace, rows, lambda *_: None).features
    opened = ~np.isnan(features).any(axis=1)
    rows, features = [row for row, there in zip(rows, opened, strict=True) if there], features[opened]
    truth = np.array([study.class_names.index(row["class_name"]) for row in rows])
    places = {
        part: [n for n, row in enumerate(rows) if row["part"] == part] for part in ("train", "validation", "test")
    }
    names = [(row["patient_id"], row["case_id"]) for row in rows]
    return study, PlainCohort(features, truth, names, places["train"], places["validation"]), places["test"]


def tried(study: Study, whole: PlainCohort, test: list[int], *, hidden: float, trial: int) -> dict[str, float]:
    """Hide patients, expect, and see what comes."""
    order = patient_order((whole.names[n] for n in whole.training), seed=10_000 + trial)
    kept = set(order[: round((1 - hidden) * len(order))])
    visible = whole._replace(training=[n for n in whole.training if whole.names[n][0] in kept])
    sizes = [round(fraction * len(kept)) for fraction in FRACTIONS]
    described = {"model": "plain", "run_id": None, "split_id": "", "part": "validation"}
    curve = curve_of_cohort(study, visible, sizes, described, more=[len(order) - len(kept)])
    model = plain.fit(whole.features[whole.training], whole.truth[whole.training], seed=study.study.seed)
    classes, came = len(study.class_names), {}
    for name, cases in (("same", whole.evaluated), ("others", test)):
        predicted = model.probabilities(whole.features[cases], classes=classes).argmax(axis=1)
        came[name] = float(macro_recall(whole.truth[cases], predicted, classes, np.ones((1, len(cases))))[0])
    [expected] = curve.expected
    return {
        "expected": expected.value,
        "came": came["same"],
        "width": expected.high - expected.low,
        "same": float(expected.low <= came["same"] <= expected.high),
        "others": float(expected.low <= came["others"] <= expected.high),
        "flat": abs(curve.points[-1].value - came["same"]),
        "curved": abs(expected.value - came["same"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--cases", type=int, default=700)
    parser.add_argument("--trials", type=int, default=8, help="by sample and share")
    parser.add_argument("--write", action="store_true")
    asked, started = parser.parse_args(), time.process_time()
    warnings.simplefilter("ignore")
    rows: dict[float, list[dict[str, float]]] = {hidden: [] for hidden in HIDDEN}
    for seed in range(asked.samples):
        with tempfile.TemporaryDirectory() as folder:
            study, whole, test = measured(asked.cases, 100 + seed, Path(folder) / "sample")
        for hidden in HIDDEN:
            for trial in range(asked.trials):
                rows[hidden].append(tried(study, whole, test, hidden=hidden, trial=trial))
            print(seed, hidden, rows[hidden][-1], flush=True)
    lines = [HEAD]
    for hidden, own in rows.items():
        mean = {name: float(np.mean([row[name] for row in own])) for name in own[0]}
        mean["width"] = float(np.median([row["width"] for row in own]))
        lines.append(LINE.format(hidden=hidden, trials=len(own), **mean))
    options = f"`--samples {asked.samples} --cases {asked.cases} --trials {asked.trials}`"
    lines += ["", f"{options}, {time.process_time() - started:.0f} s of CPU."]
    print(table := "\n".join(lines))
    if asked.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
