"""How many wrong labels are among the first that an audit lists: on samples, on real photographs, on simulated cohorts.

    python tests/benchmarks/suspects.py --seeds 11 12 13 14 15 --kept build/suspects
    python tests/benchmarks/suspects.py --fit --seeds 1 2 3 4 5 --kept build/suspects
    python tests/benchmarks/suspects.py --folds 3 --real --cohorts --kept build/suspects

`make bench` runs the first. The second prints how evidence is best weighed; never run it on other seeds than 1 to
5. The third trains the sample's own model in folds, and adds what it says of cases that it was not trained on to the
evidence of queues: some minutes a seed.
Beside the audit's order: cases at random (its expectation), and three orders by the same probabilities alone: those of
cleanlab (C. Northcutt et al., 2021) by default, which is self-confidence, and by normalised margin of adjusted
probabilities, and the plain margin; with the size of the list that cleanlab gives by default.
"""

import argparse
import csv
import itertools
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from toolkit.manifest import Study, load_study
from toolkit.models import plain
from toolkit.privacy import PseudonymKey
from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.queue import queue
from toolkit.stages.queue.evidence import evidence as queue_evidence
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.stats.label_errors import Evidence, Weights, label_errors
from toolkit.synthetic import sample
from toolkit.workspace.labelled_cases import evidence_of, labelled_cases
from toolkit.workspace.registry import Workspace

FIRST = 50
REAL = Path(__file__).parents[3] / "shared" / "data" / "pad_ufes_20"
KEY = PseudonymKey(b"for benchmarks", published=True)
LOOK_ALIKE = {
    "Actinic keratosis": ("Squamous cell carcinoma", "Basal cell carcinoma"),
    "Basal cell carcinoma": ("Squamous cell carcinoma", "Actinic keratosis"),
    "Malignant melanoma": ("Nevus", "Seborrheic keratosis"),
    "Nevus": ("Malignant melanoma", "Seborrheic keratosis"),
    "Seborrheic keratosis": ("Nevus", "Malignant melanoma"),
    "Squamous cell carcinoma": ("Basal cell carcinoma", "Actinic keratosis"),
}
"""Answers of PAD-UFES-20 that are taken for each other."""
CASES = """
    select case_id, global_key, class_name
    from cases inner join truth using (case_id) inner join images using (image_id)
"""
GRID = {
    "error": (0.02, 0.05, 0.1),
    "readings": (5.0, 20.0, 100.0),
    "lesion": (0.5, 1.0),
    "patient": (0.0, 0.5, 1.0),
    "confusions": (5.0, 20.0, 1e6),
}


def orders(probabilities: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores by the same probabilities alone, high = look first; without any, cases come last.

    Both of cleanlab are its own: its default order, and the best of those that it offers here.
    """
    known = ~np.isnan(probabilities).any(axis=1)
    chances, said = probabilities[known], given[known]
    own = chances[np.arange(len(said)), said]
    other = np.where(np.eye(chances.shape[1], dtype=bool)[said], 0, chances).max(axis=1)
    adjusted = get_label_quality_scores(said, chances, method="normalized_margin", adjust_pred_probs=True)
    scores = {
        "cleanlab's default": 1 - get_label_quality_scores(said, chances),
        "margin": other - own,
        "cleanlab, adjusted margin": 1 - adjusted,
    }
    every = {name: np.full(len(given), -np.inf) for name in scores}
    for name, some in scores.items():
        every[name][known] = some
    return every


def flagged(probabilities: np.ndarray, given: np.ndarray) -> int:
    """Return how many labels cleanlab's list holds, by its default rule."""
    known = ~np.isnan(probabilities).any(axis=1)
    return int(find_label_issues(given[known], probabilities[known]).sum())


def among_first(scores: np.ndarray, wrong: np.ndarray, *, first: int = FIRST) -> int:
    """Return how many wrong labels are among the first by score; ties by the order of case IDs."""
    return int(wrong[np.argsort(-scores, kind="stable")[:first]].sum())


def parsed(folder: Path, study: Study, export: Path, images: Path) -> Workspace:
    """Return a workspace after parse and audit; one that is there is taken as it is."""
    workspace = Workspace(folder)
    if not workspace.is_parsed():
        parse(workspace, study, KEY, [export], images=images)
    audit(workspace, study)
    return workspace


def evidence(workspace: Workspace, study: Study) -> tuple[Evidence, list[str], np.ndarray]:
    """Return the evidence of an audit, the IDs of its cases, and their scores."""
    labelled = labelled_cases(workspace, study)
    rows = {row["case_id"]: row for row in workspace.rows("select * from label_evidence")}
    own = [rows[row["case_id"]] for row in labelled.rows]
    blank = [float("nan")] * len(labelled.classes)
    chances = [
        [dict(row["probabilities"])[name] for name in labelled.classes] if row["probabilities"] else blank
        for row in own
    ]
    return (
        evidence_of(labelled, np.array(chances)),
        [row["case_id"] for row in own],
        np.array([row["score"] for row in own]),
    )


def on_sample(seed: int, folder: Path) -> tuple[Evidence, np.ndarray, np.ndarray, int]:
    """Return evidence, scores, which cases are labelled wrongly, and how many wrong labels are planted in a sample."""
    if not (folder / "sample").exists():
        sample(folder / "sample", seed=seed)
    study = load_study(folder / "sample" / "study.toml")
    workspace = parsed(folder / "workspace", study, folder / "sample" / "export.ndjson", folder / "sample" / "images")
    with (folder / "sample" / "truth" / "planted.csv").open(encoding="utf-8", newline="") as file:
        planted = [row for row in csv.DictReader(file) if row["kind"] == "wrong_label"]
    said = {(row["global_key"], re.search(r"said to be (\S+), is", row["detail"])[1]) for row in planted}
    cases: dict[tuple[str, str], list[str]] = {}
    for row in workspace.rows(CASES):
        cases.setdefault((row["global_key"], row["class_name"]), []).append(row["case_id"])
    wrong = {cases[key][0] for key in said if len(cases.get(key, ())) == 1}
    known, ids, scores = evidence(workspace, study)
    return known, scores, np.array([case in wrong for case in ids]), len(planted)


def in_folds(workspace: Workspace, study: Study, folder: Path, folds: int) -> Study:
    """Train and predict every fold of a cross-validation; return the study with it. What is there is taken as it is."""
    study = study.model_copy(update={"split": study.split.model_copy(update={"pinned": None, "folds": folds})})
    for fold in split(workspace, study, study_folder=folder).folds:
        trained = train(workspace, study, study_folder=folder, split_id=fold, resume=True)
        predict(workspace, study, run=trained.run_id)
    return study


def queued(seeds: list[int], kept: Path, folds: int) -> None:
    """Print what is among the first cases by the evidence of a queue, and in the queue; without runs, and with."""
    print("| seed | planted | evidence | first 50 | share | in the queue | its cases | drawn at random | expected |")
    print("| --- " * 9 + "|")
    for seed in seeds:
        folder = kept / f"sample-{seed}"
        _, _, wrong, planted = on_sample(seed, folder)
        study = load_study(folder / "sample" / "study.toml")
        for runs in (0, folds) if folds else (0,):
            workspace = Workspace(folder / "workspace")
            if runs:
                copied = Workspace(folder / "with-runs")
                if not copied.is_parsed():
                    copy(workspace.folder, copied.folder)
                workspace, study = copied, in_folds(copied, study, folder / "sample", runs)
            found = queue_evidence(workspace, study)
            labelled = labelled_cases(workspace, study)
            ids = [row["case_id"] for row in labelled.rows]
            first = among_first(np.array([found.of_case[case].score for case in ids]), wrong)
            made = queue(workspace, study)
            by_case = dict(zip(ids, wrong.tolist(), strict=True))
            yielded = sum(by_case[row["case_id"]] for row in made.rows)
            numbers = [seed, planted, f"{runs} folds" if runs else "audit alone", first, f"{first / planted:.0%}"]
            numbers += [yielded, made.cases, made.random_cases, f"{made.expected_wrong:.1f}"]
            print("| " + " | ".join(map(str, numbers)) + " |", flush=True)


def samples(seeds: list[int], kept: Path) -> None:
    """Print what is found on samples."""
    print(
        "| seed | planted | random | cleanlab's default (self-confidence) | margin "
        "| cleanlab, adjusted margin | its list | audit | share |"
    )
    print("| --- " * 9 + "|")
    shares = []
    for seed in seeds:
        known, scores, wrong, planted = on_sample(seed, kept / f"sample-{seed}")
        beside = [among_first(each, wrong) for each in orders(known.models[0], known.given).values()]
        random = FIRST * planted / len(wrong)
        found = among_first(scores, wrong)
        shares.append(found / planted)
        numbers = [seed, planted, f"{random:.1f}", *beside, flagged(known.models[0], known.given), found]
        print("| " + " | ".join(map(str, numbers)) + f" | {shares[-1]:.0%} |", flush=True)
    print(f"\nthe audit's first {FIRST}: {min(shares):.0%} at least, {np.mean(shares):.1%} on average", flush=True)


def fit(seeds: list[int], kept: Path) -> None:
    """Print how well scores by different weights foretell which labels are wrong: log loss over all cases."""
    known = [on_sample(seed, kept / f"sample-{seed}") for seed in seeds]
    rows = []
    for values in itertools.product(*GRID.values()):
        weights = Weights(*values)
        loss = found = 0.0
        for evidence_, _, wrong, _ in known:
            scores = label_errors(evidence_, weights).wrong(evidence_.given).clip(1e-4, 1 - 1e-4)
            loss -= float(np.log(np.where(wrong, scores, 1 - scores)).sum())
            found += among_first(scores, wrong)
        rows.append((loss, found, weights))
    print("| log loss | found | weights |\n| --- | --- | --- |")
    for loss, found, weights in sorted(rows, key=lambda row: row[0])[:12]:
        print(f"| {loss:.1f} | {found:.0f} | {weights} |", flush=True)


def changed(rows: list[dict], seed: int, *, confusable: bool) -> tuple[list[dict], set[str]]:
    """Return the rows of PAD-UFES-20's export with 29 answers changed, and the photographs they are of."""
    rng = np.random.default_rng([seed, int(confusable)])
    rows = json.loads(json.dumps(rows))
    keys = set()
    for n in rng.choice(len(rows), 29, replace=False):
        answer = next(answers(rows[n]))
        others = LOOK_ALIKE[answer["name"]] if confusable else [name for name in LOOK_ALIKE if name != answer["name"]]
        answer["name"] = others[int(rng.integers(len(others)))]
        answer["value"] = answer["name"].lower().replace(" ", "_")
        keys.add(rows[n]["data_row"]["global_key"])
    return rows, keys


def answers(row: dict) -> Iterator[dict]:
    """Yield the diagnoses of a row."""
    for project in row["projects"].values():
        for label in project["labels"]:
            yield from (each["radio_answer"] for each in label["annotations"]["classifications"])


def real(seeds: list[int], kept: Path) -> None:
    """Print what is found on PAD-UFES-20 with 29 labels changed."""
    if not REAL.exists():
        print(f"no photographs at {REAL}: nothing to measure")
        return
    study = load_study(Path(__file__).parents[2] / "manifests" / "pad_ufes_20.toml")
    rows = [json.loads(line) for line in (REAL / "export.ndjson").read_text(encoding="utf-8").splitlines()]
    print(
        "| changes | seed | cleanlab's default (self-confidence) | margin "
        "| cleanlab, adjusted margin | its list | audit |\n" + "| --- " * 7 + "|"
    )
    for confusable in (False, True):
        found = []
        for seed in seeds:
            made, keys = changed(rows, seed, confusable=confusable)
            name = f"{'confusable' if confusable else 'random'}-{seed}"
            folder = kept / name
            folder.mkdir(parents=True, exist_ok=True)
            export = folder / "export.ndjson"
            export.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
            workspace = Workspace(folder / "workspace")
            measured = kept / "features"
            if measured.exists() and not workspace.features.exists():
                workspace.folder.mkdir(mode=0o700, exist_ok=True)
                copy(measured, workspace.features)
            workspace = parsed(folder / "workspace", study, export, REAL / "images")
            copy(workspace.features, measured)
            known, ids, scores = evidence(workspace, study)
            wrong_cases = {row["case_id"] for row in workspace.rows(CASES) if row["global_key"] in keys}
            wrong = np.array([case in wrong_cases for case in ids])
            beside = [among_first(each, wrong) for each in orders(known.models[0], known.given).values()]
            found.append(among_first(scores, wrong))
            numbers = [name.partition("-")[0], seed, *beside, flagged(known.models[0], known.given), found[-1]]
            print("| " + " | ".join(map(str, numbers)) + " |", flush=True)
        print(f"mean of the audit: {np.mean(found)} of 29", flush=True)


def copy(source: Path, target: Path) -> None:
    """Copy a folder's files."""
    for path in source.rglob("*"):
        if path.is_file():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            to.write_bytes(path.read_bytes())


def simulated(
    seed: int, *, patients: int = 60, classes: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels, patients and which labels are wrong: 5 to 20 photographs of one lesion per patient.

    A patient's photographs are much alike, as skin, lesion and camera are; a twelfth of the lesions is labelled
    wrongly, on all photographs.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 21, patients)
    patient = np.repeat(np.arange(patients), sizes)
    truth = rng.integers(classes, size=patients)
    looks, own = rng.normal(0, 1.0, (classes, 12)), rng.normal(0, 1.2, (patients, 12))
    features = looks[truth[patient]] + own[patient] + rng.normal(0, 0.5, (len(patient), 12))
    is_wrong = np.zeros(patients, dtype=bool)
    is_wrong[rng.choice(patients, patients // 12, replace=False)] = True
    said = np.where(is_wrong, (truth + rng.integers(1, classes, patients)) % classes, truth)
    return features, said[patient], patient, is_wrong[patient]


def by_group_and_by_case(seed: int, **size: int) -> tuple[int, int, int]:
    """Return how many labels are wrong in a simulated cohort, and how many of them come first by group and by case."""
    features, said, patient, wrong = simulated(seed, **size)
    found = []
    for groups in (patient, np.arange(len(said))):
        chances = plain.out_of_fold(features, said, groups, classes=int(said.max()) + 1, seed=seed)
        found.append(among_first(orders(chances, said)["cleanlab's default"], wrong, first=int(wrong.sum())))
    return int(wrong.sum()), found[0], found[1]


def cohorts(seeds: list[int]) -> None:
    """Print what is found out of fold by group and by case."""
    print("| seed | wrong labels | found among as many, out of fold by group | by case |\n| --- | --- | --- | --- |")
    for seed in seeds:
        print("| " + " | ".join(map(str, (seed, *by_group_and_by_case(seed)))) + " |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13, 14, 15])
    reader.add_argument("--fit", action="store_true")
    reader.add_argument("--folds", type=int, default=0)
    reader.add_argument("--real", type=int, nargs="*", default=[11, 12, 13, 14])
    reader.add_argument("--cohorts", type=int, nargs="*", default=[11, 12, 13, 14, 15])
    reader.add_argument(
        "--kept", type=Path, help="where samples and workspaces are kept; a temporary folder without it"
    )
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as name:
        kept = asked.kept or Path(name)
        if asked.fit:
            fit(asked.seeds, kept)
            return
        cohorts(asked.cohorts)
        if asked.seeds:
            samples(asked.seeds, kept)
            queued(asked.seeds, kept, asked.folds)
        if asked.real:
            real(asked.real, kept / "pad_ufes_20")


if __name__ == "__main__":
    main()
