"""The commands of `toolkit`: each reads its flags, calls one function and shows the result.

Exit codes: 0 done, 1 something the user can put right, 2 wrong usage, 130 interrupted. Commands import their stage when
they run, so that help answers at once.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from toolkit import completion
from toolkit.errors import ToolkitError
from toolkit.files import FULL
from toolkit.formatting import TYPED

if TYPE_CHECKING:
    from toolkit.progress import Progress
    from toolkit.study_file import StudyFile
    from toolkit.workspace.registry import Workspace

DISK = dict.fromkeys(FULL, "free some disk space") | {errno.EIO: "look at the health of the disk"}
"""What to do about a disk, by the code of its error; what is complete is not done twice."""

app = App(
    name="toolkit",
    version=lambda: version("lesion-toolkit"),
    help_epilogue="Try it: `toolkit sample DIR`, then the command that it prints. For research use only.",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
)


@dataclass(frozen=True)
class Settings:
    """The options that every command shares."""

    study: Path | None
    folder: Path
    as_json: bool
    quiet: bool

    @property
    def is_first(self) -> bool:
        """Whether this process shows anything: of several that were started together only the first does."""
        from toolkit.models.processes import this_process

        return this_process().is_first

    @property
    def workspace(self) -> "Workspace":
        """The workspace."""
        from toolkit.workspace.registry import Workspace

        return Workspace(self.folder)

    def study_file(self) -> "StudyFile":
        """Return the study: the file given, else study.toml here, else the one the workspace was made with."""
        from toolkit.formatting import count_by
        from toolkit.study_file import open_study

        opened = open_study(self.workspace, self.study)
        count_by(patients_known=opened.study.labelbox.patient_from != "none")
        return opened

    def show(self, result: Any) -> None:
        """Show a result on stdout."""
        from toolkit import console

        if self.is_first:
            console.show(result, as_json=self.as_json)

    def run(self, stage: "Callable[[Progress], Any]") -> Any:
        """Call a stage while its progress is drawn; show and return its result."""
        with self.progress() as progress:
            result = stage(progress)
        self.show(result)
        return result

    def run_each(self, stages: "Callable[[Progress], Iterable[Any]]") -> list[Any]:
        """Show and return the result of each stage as soon as it is done; as JSON, all in one object at the end."""
        from toolkit import console
        from toolkit.console.bars import hide_progress

        with self.progress() as progress:
            results = []
            for result in stages(progress):
                results.append(result)
                if not self.as_json:
                    hide_progress(progress)
                    console.show_stage(self.workspace, result)
            if self.as_json:
                console.print_results(results)
        return results

    @contextmanager
    def progress(self) -> "Generator[Progress]":
        """Draw progress on stderr."""
        from toolkit.console.bars import drawn_progress

        with drawn_progress(quiet=self.quiet or not self.is_first) as progress:
            yield progress


Shared = Annotated[Settings, Parameter(parse=False)]
Flag = Annotated[bool, Parameter(negative="")]
Exports = Annotated[
    Path, Parameter(help="Files as Labelbox wrote them: NDJSON or JSON, also of the legacy version 1, also gzipped.")
]
Images = Annotated[
    Path | None,
    Parameter(help="Folder of the photographs, named by global key, external ID or the last part of their URL."),
]
Device = Annotated[
    Literal["cuda", "mps", "cpu"] | None,
    Parameter(help="Device for the model; else TOOLKIT_DEVICE, else the fastest one that is present."),
]
Run = Annotated[str, Parameter(help="Run ID or its beginning, or latest.", completer=completion.runs)]
RunID = Annotated[str, Parameter(completer=completion.runs)]
QueueID = Annotated[str, Parameter(completer=completion.queues)]
SplitID = Annotated[
    str,
    Parameter(
        help="Split ID or its beginning, or latest. Each fold of a cross-validation is a split.",
        completer=completion.splits,
    ),
]


@app.command(sort_key=1)
def sample(
    folder: Path,
    /,
    *,
    cases: int = 980,
    seed: int = 7,
    stage: Literal[1, 2, 3] = 1,
    photographs: bool = True,
    settings: Shared,
) -> None:
    """Generate a synthetic study: photographs, a Labelbox export, a study file, and the list of planted faults.

    Example: toolkit sample demo

    Args:
        folder: Folder to create; it must be new or empty.
        cases: Labelled lesions of the first stage, in the class proportions of the published study.
        seed: Seed of everything random.
        stage: 1 the first round of labels, 2 after a round of review, 3 after a quarter more patients.
        photographs: Generate the photographs too; without them a million rows take a few minutes.
    """
    from toolkit.synthetic import sample

    settings.run(
        lambda progress: sample(folder, cases=cases, seed=seed, stage=stage, photographs=photographs, progress=progress)
    )


@app.command(sort_key=1.5)
def init(export: Path, /, *, to: Path = Path("study.toml"), settings: Shared) -> None:
    """Write a study file from the projects, questions, classes and metadata fields of an export.

    Example: toolkit init export.ndjson --to study.toml

    Args:
        export: NDJSON file as Labelbox wrote it.
        to: Study file to write; it must not exist yet.
    """
    from toolkit.stages.init import init

    settings.run(lambda progress: init(export, to=to, progress=progress))


@app.command(sort_key=2)
def parse(*exports: Exports, images: Images = None, settings: Shared) -> None:
    """Read Labelbox exports into the case registry; nothing is lost, and bad rows are quarantined.

    Example: toolkit parse export.ndjson --images photographs/
    """
    from toolkit.pipeline import parse_study

    workspace, study = settings.workspace, settings.study_file()
    settings.run(lambda progress: parse_study(workspace, study, list(exports), images=images, progress=progress))


@app.command(sort_key=2.5)
def attach(
    file: Path,
    /,
    *,
    patient: str,
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    settings: Shared,
) -> None:
    """Take in a study's own data about its patients (age, dates, smoking), under their pseudonyms.

    Each column can then be named like a metadata field: in `[evaluate] groups`, in the prompt, in SQL. Identifiers are
    not kept. A file of the same name takes the place of the earlier one.

    Example: toolkit attach clinical.xlsx --patient "Patient ID"

    Args:
        file: A row for each patient, with a header: xlsx, CSV, Parquet or JSON Lines.
        patient: Column with the identifiers that the exports have, too.
        column: A column to take; may be repeated. Without it all are taken.
    """
    from toolkit.pipeline import attach_and_parse

    study, columns = settings.study_file(), column or []
    settings.run_each(
        lambda progress: attach_and_parse(
            settings.workspace, study, file, patient=patient, columns=columns, progress=progress
        )
    )


@app.command(sort_key=11)
def status(*, settings: Shared) -> None:
    """Show what the workspace holds, what no longer fits its labels, and the command to type next.

    Example: toolkit status
    """
    from toolkit import console
    from toolkit.stages.status import status

    console.show_status(status(settings.workspace, settings.study), as_json=settings.as_json)


@app.command(sort_key=3)
def audit(*, settings: Shared) -> None:
    """Find duplicate and near-duplicate photographs (rotated, cropped, re-saved), contradicting and suspect labels.

    Suspect labels are listed in the order in which to look at them: `toolkit query findings --set kind=suspect_label`.

    Example: toolkit audit
    """
    from toolkit.pipeline import audit_with_page

    study = settings.study_file()
    settings.run_each(lambda progress: audit_with_page(settings.workspace, study, progress=progress))


@app.command(sort_key=4)
def split(*, frozen: Annotated[str | None, Parameter(completer=completion.splits)] = None, settings: Shared) -> None:
    """Assign patients to train, validation and test, as close to the study's target as possible, with a certificate.

    Example: toolkit split --frozen 1a2b3c4d

    Args:
        frozen: ID of an earlier split, or pinned: its patients stay in their subset, only new patients are assigned.
    """
    from toolkit.stages.split import split

    study = settings.study_file()
    settings.run(
        lambda progress: split(
            settings.workspace, study.study, study_folder=study.folder, frozen=frozen, progress=progress
        )
    )


@app.command(sort_key=5)
def verify(
    split_dir: Path,
    /,
    *,
    images: Path | None = None,
    registered: Flag = False,
    settings: Shared,
) -> None:
    """Check a split's certificate from its files alone; exit 1 on a leak or a changed byte.

    The toolkit's own verify.sql is run, never the folder's. What is called proved was checked; no text of the
    certificate is shown. A stranger's verify.sql is a program: read it before you give it to duckdb yourself.

    Example: toolkit verify workspace/splits/1a2b3c4d --images photographs/

    Args:
        split_dir: Folder with cases.csv, certificate.json and verify.sql.
        images: Folder of the photographs, under any names: their digests are recomputed.
        registered: Recompute the digests of photographs and crops from the workspace.
    """
    from toolkit.workspace.verification import verify, verify_photographs

    if registered:
        settings.run(lambda progress: verify_photographs(settings.workspace, split_dir, progress=progress))
    else:
        settings.run(lambda progress: verify(split_dir, images=images, progress=progress))


@app.command(sort_key=6)
def train(
    *,
    split: SplitID = "latest",
    resume: Flag = False,
    plan: Flag = False,
    device: Device = None,
    settings: Shared,
) -> None:
    """Fine-tune the study's model on the training set of a split.

    Example: toolkit train --resume

    Args:
        resume: Continue an interrupted training where it was saved: after Ctrl-C at its last step, else at its last
            full epoch.
        plan: Train nothing: show how much memory each training mode needs, and whether this device has it.
    """
    from toolkit.stages.train import plan_training, train

    study = settings.study_file()
    if plan:
        settings.show(
            plan_training(settings.workspace, study.study, study_folder=study.folder, split_id=split, device=device)
        )
        return
    settings.run(
        lambda progress: train(
            settings.workspace,
            study.study,
            study_folder=study.folder,
            split_id=split,
            device=device,
            resume=resume,
            progress=progress,
        )
    )


@app.command(sort_key=6.5)
def prompts(
    file: Path,
    /,
    *,
    part: Literal["train", "validation", "test", "external"] = "train",
    split: SplitID = "latest",
    check: Flag = False,
    settings: Shared,
) -> None:
    """Write a subset of a split as the published study's chat JSON (image, user, assistant), or check such a file.

    Example: toolkit prompts train.json --part train

    The paths of photographs may contain patient identifiers: the file gets mode 0600 and should not be passed on.

    Args:
        file: JSON file to write, or to check.
        part: Subset of the split.
        check: Read the file instead, and count the entries whose photograph, prompt or class differs from the subset's
            today.
    """
    from toolkit.prompts.chat_json import compare_chat, write_chat

    study = settings.study_file().study
    if check:
        settings.show(compare_chat(settings.workspace, study, file, part=part, split_id=split))
        return
    settings.run(
        lambda progress: write_chat(settings.workspace, study, file, part=part, split_id=split, progress=progress)
    )


@app.command(sort_key=7)
def predict(  # noqa: PLR0913 - two ways to predictions
    *,
    run: RunID = "latest",
    part: Literal["validation", "test", "external", "unlabelled"] | None = None,
    control: Literal["blank", "shuffled", "border", "metadata", "plain"] | None = None,
    degrade: Annotated[list[str] | None, Parameter(negative="")] = None,
    device: Device = None,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    model_name: str | None = None,
    numbers: Literal["probabilities", "percentages", "logits", "scores"] | None = None,
    skip_unknown: Flag = False,
    settings: Shared,
) -> None:
    """Compute exact class probabilities of every validation and test case, or read another model's from a file.

    A rerun adds what is missing.

    Example: toolkit predict --run 1a2b3c4d --control blank

    Example: toolkit predict --degrade blur:1 --degrade blur:2 --degrade exposure:-1

    Example: toolkit predict --from predictions.csv --model-name ResNet-50 --part test

    Args:
        run: Run ID, or latest; or the folder of a run in another workspace, to test its model on this workspace's
            cases.
        part: Subset to predict; else validation and test, or of a run of another workspace external, or test where
            there is no part external. Of a file, all of these that it covers. unlabelled are the photographs that
            nobody has labelled: `toolkit next-batch` says which of them to label first.
        control: Input ablation, to test whether the model looks at the lesion: blank shows a grey square, shuffled the
            photograph of another patient, border only what surrounds the lesion's box, metadata a grey square with the
            prompt's metadata. plain is a control without a neural network, logistic regression and extra trees on plain
            colour, texture and shape of the training set: what any run must beat. A control is stored as a run of its
            own, to be evaluated and compared with the run.
        degrade: KIND:LEVEL, may be repeated: predict a scored run's test set (or --part) again on degraded photographs,
            score it, and compare it with the run on the same cases. Kinds: blur 0 to 25 (standard deviation in % of the
            crop's longer side), jpeg 0 to 99 (100 minus quality), white-balance -90 to 90 (% red up, blue down),
            exposure -5 to 5 (stops), resolution 0 to 98 (% of each side's pixels given up), noise 0 to 128 (grey
            levels), roi-shift 0 to 100 and roi-scale -90 to 400 (% of the box). At level 0 nothing changes, and that
            is checked. Each is a run of its own, as a control is.
        source: CSV, Parquet or JSON Lines file of another model's predictions: a run of its own. Rows are named by case
            ID, global key, external ID or file name; a column for each class, or a predicted class and its probability.
        model_name: What the other model is called; where a file holds several models' columns, the one to read.
        numbers: What the numbers of the file are, where that cannot be told from them; scores judge each class by
            itself and need not add up to 1.
        skip_unknown: Leave out and count rows of the file whose key names nothing here, instead of refusing the file.
    """
    if source is not None:
        _predict_from(
            source, model_name, {"run": run != "latest", "control": control, "degrade": degrade, "device": device},
            settings, part=part, numbers=numbers, skip_unknown=skip_unknown,
        )  # fmt: skip
        return
    if model_name is not None or numbers is not None or skip_unknown:
        raise CycloptsError(msg="--model-name, --numbers and --skip-unknown belong to --from FILE")
    if degrade and control:
        raise CycloptsError(msg="--degrade and --control are two kinds of controls: give one of them")
    from toolkit.robustness import compare_with_degraded
    from toolkit.stages.predict import predict

    study = settings.study_file().study
    if degrade:
        settings.run(
            lambda progress: compare_with_degraded(
                settings.workspace, study, degrade, run=run, part=part, device=device, progress=progress
            )
        )
        return
    parts = (part,) if part else None
    settings.run(
        lambda progress: predict(
            settings.workspace, study, run=run, parts=parts, control=control, device=device, progress=progress
        )
    )


def _predict_from(
    source: Path, model_name: str | None, others: dict[str, object], settings: Settings, **options: Any
) -> None:
    """Read predictions from a file; refuse options that belong to a model of one's own."""
    if given := [name for name, value in others.items() if value]:
        raise CycloptsError(msg=f"--{given[0]} does not belong to --from FILE: its predictions are made already")
    if model_name is None:
        raise CycloptsError(msg="--from FILE takes --model-name NAME: what the other model is called")
    from toolkit.stages.predict.imported import predict_from

    study = settings.study_file().study
    settings.run(
        lambda progress: predict_from(
            settings.workspace, study, source, model_name=model_name, progress=progress, **options
        )
    )


@app.command(sort_key=7.5)
def baseline(*, split: SplitID = "latest", settings: Shared) -> None:
    """Train a logistic regression on metadata alone and predict with it: how far one gets without the photograph.

    It is a run like any other: evaluate and report it, and compare it with the model's.

    Example: toolkit baseline
    """
    from toolkit.stages.baseline import baseline

    study = settings.study_file().study
    settings.run(lambda progress: baseline(settings.workspace, study, split_id=split, progress=progress))


@app.command(sort_key=8)
def evaluate(*, run: Run = "latest", as_of: str | None = None, settings: Shared) -> None:
    """Score a run's predictions, with patient-clustered intervals; every scoring is recorded.

    Scores are kept for each revision of the labels: `toolkit query scores_by_revision` shows them side by side.

    Example: toolkit evaluate --run latest

    Args:
        as_of: ID of an export, or a time (UTC): score against the reference diagnoses as they stood then, beside
            today's scores.
    """
    from toolkit.console.scores import show_scores
    from toolkit.stages.evaluate import evaluate
    from toolkit.stages.evaluate.as_of import evaluate_as_of

    study = settings.study_file().study
    if as_of is not None:
        settings.run(lambda progress: evaluate_as_of(settings.workspace, study, as_of, run=run, progress=progress))
        return
    result = settings.run(lambda progress: evaluate(settings.workspace, study, run=run, progress=progress))
    if not settings.as_json:
        show_scores(settings.workspace, result.run_id)


@app.command(sort_key=8.5)
def compare(run: RunID, other: RunID = "latest", /, *, since: str = "", settings: Shared) -> None:
    """Compare two runs on the same cases: paired differences, fixed and broken cases, and a page that shows them.

    A run compared with itself since an export shows what new labels alone have changed.

    Example: toolkit compare 1a2b3c4d latest

    Args:
        run: ID of the run before.
        other: ID of the run after, or latest.
        since: ID of an export, or a time (UTC): also show how much of the change since then comes from new labels
            alone.
    """
    from toolkit.pipeline import compare_with_page

    study_file = settings.study_file()
    settings.run_each(
        lambda progress: compare_with_page(settings.workspace, study_file, run, other, since=since, progress=progress)
    )


@app.command(sort_key=3.5)
def plan_size(  # noqa: PLR0913 - what is asked, and what is stated instead of estimated
    *,
    run: Run = "latest",
    part: Literal["train", "validation", "test", "external"] = "test",
    size: Annotated[int | None, Parameter(validator=Number(gte=2))] = None,
    width: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.1,
    difference: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.05,
    power: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.8,
    recall: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    icc: Annotated[float | None, Parameter(validator=Number(gte=0, lt=1))] = None,
    disagreement: Annotated[float | None, Parameter(validator=Number(gt=0, lte=1))] = None,
    settings: Shared,
) -> None:
    """Show how wide intervals will be with the present patients, which difference they can show, and how many it takes.

    Studies of patients like these are simulated. How often cases are right, and right together, comes from a run's
    scored predictions, else from the annotators' readings, else from --recall and --icc.

    Example: toolkit plan-size --width 0.1 --difference 0.05 --power 0.8

    Args:
        part: Subset whose patients are looked at; without a split, all patients.
        size: Plan for so many patients like these, instead of for those there are.
        width: Width of intervals (upper minus lower bound) to be reached.
        difference: Difference between two runs to be found.
        power: Chance to find it.
        recall: Stated recall of every class, instead of an estimate.
        icc: Stated intraclass correlation: 0 = cases of a patient are independent, 1 = all right or all wrong.
        disagreement: Share of cases that exactly one of two runs has right; else as if their errors were independent.
    """
    from toolkit.stages.plan_size import Wanted, plan_size

    study = settings.study_file().study
    wanted = Wanted(width, difference, power, size, recall, icc, disagreement)
    settings.run(lambda progress: plan_size(settings.workspace, study, wanted, run=run, part=part, progress=progress))


@app.command(sort_key=8.2)
def pool_folds(*runs: RunID, settings: Shared) -> None:
    """Pool the runs on the folds of a cross-validation: mean and SD over folds, and all held-out cases with intervals.

    Each run has been evaluated on the validation set of its fold; no patient may be in two of them.

    Example: toolkit pool-folds 1a2b3c4d 2b3c4d5e 3c4d5e6f 4d5e6f7a 5e6f7a8b

    Args:
        runs: The run of each fold.
    """
    from toolkit.stages.evaluate.folds import pool_folds

    study = settings.study_file().study
    settings.run(lambda progress: pool_folds(settings.workspace, study, runs, progress=progress))


@app.command(sort_key=8.65)
def learning_curve(
    *,
    model: Literal["plain", "metadata", "study"] = "plain",
    more: Annotated[list[int] | None, Parameter(validator=Number(gt=0, lte=1_000_000), negative="")] = None,
    split: SplitID = "latest",
    device: Device = None,
    settings: Shared,
) -> None:
    """Say what more patients to train on would bring: macro recall by their number, and what is expected of more.

    A model is trained on nested subsets of the training patients and predicts the validation set: the test set is kept
    for the final evaluation. Writes a page. What more patients to test on would
    bring, `toolkit plan-size` says.

    Example: toolkit learning-curve --more 100 --more 400

    Args:
        model: plain is colour, texture and shape without a neural network, in a minute; metadata is the baseline that
            is given no photograph, in seconds; study trains the study's own model five times, each a run on the same
            split with fewer training patients (resumable).
        more: Number of patients more, may be repeated; else as many again.
    """
    from toolkit.robustness import learning_curve

    study = settings.study_file()
    settings.run_each(
        lambda progress: learning_curve(
            settings.workspace, study.study, study_folder=study.folder, model=model, split_id=split,
            more=more or (), device=device, progress=progress,
        )
    )  # fmt: skip


@app.command(sort_key=8.7)
def readers(*, settings: Shared) -> None:
    """Compare annotators who read the same cases without the model and with it: a multi-reader multi-case study.

    The study file's [readers] says where the readings stand.

    Example: toolkit readers
    """
    from toolkit.stages.readers import readers

    study = settings.study_file().study
    settings.run(lambda progress: readers(settings.workspace, study, progress=progress))


@app.command(sort_key=9)
def report(*, run: Run = "latest", audience: Literal["internal", "shared"] = "internal", settings: Shared) -> None:
    """Write the HTML page, CSV files and figures of a run, and show the same tables here.

    Example: toolkit report --run latest --audience shared

    Args:
        audience: internal shows everything; shared shows nothing that leads to a patient, and may leave the study.
    """
    from toolkit import console
    from toolkit.stages.report import report

    study_file, workspace = settings.study_file(), settings.workspace
    key = study_file.key_at_hand(workspace)
    with settings.progress() as progress:
        result = report(workspace, study_file.study, run=run, audience=audience, key=key, progress=progress)
    if settings.as_json:
        settings.show(result)
    else:
        console.show_report(result)


@app.command(sort_key=9.3)
def queue(
    queue_id: QueueID | None = None,
    /,
    *,
    minutes: Annotated[float, Parameter(validator=Number(gt=0, lte=100_000))] = 60.0,
    cases: Path | None = None,
    settings: Shared,
) -> None:
    """List the cases whose labels to look at again first, patient by patient; with an ID, tell what became of them.

    Writes a page and a workbook with a column for verdicts, which `toolkit review` takes in.

    Example: toolkit queue --minutes 90

    Example: toolkit queue --cases 201b45be-ticked.csv

    Args:
        queue_id: ID of an earlier queue, or latest: what became of its cases.
        minutes: Time that the review may take.
        cases: CSV file of cases that you chose, as a page's gallery saves the ticked ones: a queue of these, and of as
            many drawn at random for those of the test set that a model alone speaks against.
    """
    from toolkit import console
    from toolkit.pipeline import chosen_queue_with_page, queue_with_page
    from toolkit.stages.queue.outcome import outcome

    if queue_id is not None and cases is not None:
        raise CycloptsError(msg="--cases makes a queue of its own: give no ID of an earlier one")
    study = settings.study_file()
    if queue_id is not None:
        settings.show(outcome(settings.workspace, study.study, queue_id))
        return
    make = partial(chosen_queue_with_page, file=cases) if cases else partial(queue_with_page, minutes=minutes)
    made, _ = settings.run_each(lambda progress: make(settings.workspace, study, progress=progress))
    if not settings.as_json:
        console.show_queue_items(made.rows)


@app.command(sort_key=9.35)
def next_batch(
    *,
    run: Run = "latest",
    cases: Annotated[int, Parameter(validator=Number(gt=0, lte=1_000_000))] = 50,
    settings: Shared,
) -> None:
    """List the unlabelled photographs that a run is least sure of, spread over patients: what to label next.

    They are predicted by `toolkit predict --part unlabelled`. Writes a page and a CSV file. On the sample study such a
    batch taught no more than a random one (docs/benchmarks.md).

    Example: toolkit next-batch --cases 100

    Args:
        cases: How many to list.
    """
    from toolkit.robustness import next_batch_with_page

    study = settings.study_file().study
    settings.run_each(
        lambda progress: next_batch_with_page(settings.workspace, study, run=run, cases=cases, progress=progress)
    )


@app.command(sort_key=9.4)
def review(file: Path, /, *, reviewer: str | None = None, settings: Shared) -> None:
    """Take in a reviewer's verdicts from a workbook, CSV, Parquet or JSON Lines: each becomes a label revision.

    A verdict decides the reference diagnosis from its day on; what was labelled stays.

    Example: toolkit review workspace/reports/queue/queue.xlsx --reviewer "Dr. Roe"

    Args:
        file: Columns case_id and verdict (a class, confirm, or cannot tell), and comment, reviewer, reviewed_at,
            queue_id if there are any.
        reviewer: Name of the reviewer, where no column says it; only its pseudonym is kept.
    """
    from toolkit.pipeline import review_and_parse

    study = settings.study_file()
    settings.run_each(
        lambda progress: review_and_parse(settings.workspace, study, file, reviewer=reviewer, progress=progress)
    )


@app.command(sort_key=9.45)
def impact(
    queue_id: QueueID = "latest",
    /,
    *,
    run: Run = "latest",
    part: Literal["train", "validation", "test", "external"] | None = None,
    settings: Shared,
) -> None:
    """Show what a review found and changes in a run's scores, estimate the error rate of all labels; writes a page.

    Scores are computed again with what reviewers say, and with the suggestions where nobody has reviewed yet. How many
    of all labels are wrong is told only by the patients that the queue drew at random.

    Example: toolkit impact

    Args:
        queue_id: ID of a queue, or latest.
        part: Subset whose scores are looked at; else the test set where it was scored.
    """
    from toolkit.pipeline import impact_with_page

    study = settings.study_file().study
    settings.run_each(
        lambda progress: impact_with_page(
            settings.workspace, study, queue_id, run=run, part=part or "", progress=progress
        )
    )


@app.command(sort_key=9.5)
def claims(
    file: Path,
    /,
    *,
    effort: float = 1.0,
    format_: Annotated[Literal["table", "csv", "json"], Parameter(name="--format")] = "table",
    settings: Shared,
) -> None:
    """Check printed figures against the case counts they rest on: feasible, not reproducible, or undecided.

    Example: toolkit claims manifests/claims/pigmented8.toml

    Args:
        file: File of claims, or the folder of a report: its figures must be feasible, else exit 1.
        effort: Work that one search may take, 1 as usual; a claim that it does not settle is undecided.
        format_: Form of the answer.
    """
    from toolkit import console
    from toolkit.console.rows import write_text
    from toolkit.stages.claims import claims

    with settings.progress() as progress:
        result = claims(file, effort=effort, progress=progress)
    if format_ == "csv":
        write_text(result.csv())
    else:
        console.show(result, as_json=settings.as_json or format_ == "json")


@app.command(sort_key=10)
def query(  # noqa: PLR0913 - one flag for each limit
    name: Annotated[str | None, Parameter(completer=completion.questions)] = None,
    /,
    *,
    sql: str | None = None,
    file: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="", completer=completion.parameters)] = None,
    format_: Annotated[Literal["table", "csv", "json", "parquet"], Parameter(name="--format")] = "table",
    output: Path | None = None,
    watch: Annotated[float | None, Parameter(validator=Number(gte=1, lte=86_400))] = None,
    memory: float = 2.0,
    seconds: float = 60.0,
    settings: Shared,
) -> None:
    """Answer a named question, or any read-only SQL; without either, list the questions.

    Example: toolkit query confusions --set part=validation --format csv

    Example: toolkit query --file mine.sql --output answer.xlsx

    Args:
        name: Name of a question; your own .sql files in the workspace's queries/ folder are questions too.
        sql: One read-only SQL statement.
        file: File with one; its lines `-- $name = default: meaning` are parameters.
        set_: A parameter of the question, as name=value; may be repeated. The beginning of an ID is enough.
        format_: Form of the answer; csv, json and parquet are never rounded.
        output: New file for the answer: .csv or .xlsx for spreadsheets, .json or .parquet, or what --format says.
        watch: Ask again every so many seconds, of the newest state, until Ctrl-C.
        memory: Gigabytes that the question may take, and its answer.
        seconds: Time after which it is ended.
    """
    if name is None and sql is None and file is None:
        from toolkit import console

        if output is not None or watch is not None:
            raise ToolkitError("no question was given", remedy="toolkit query NAME --output FILE.csv")
        console.show_questions(settings.workspace.questions(), as_json=settings.as_json)
        return
    from toolkit.workspace.sql_start import started_ahead

    with started_ahead(settings.folder):
        with _interrupts_wait():
            from toolkit.console.asking import Inquiry, ask
            from toolkit.workspace.user_sql import Limits

        asked = Inquiry(name, sql, file, tuple(set_ or ()), Limits(memory, seconds)).checked()
        form = "json" if settings.as_json and format_ == "table" and output is None else format_
        ask(settings.workspace, asked, form, output=output, watch=watch)


@app.command(sort_key=10.5)
def export(
    kind: Annotated[Literal["parquet", "coco", "imagefolder", "fiftyone", "isic", "chat"], Parameter(name="format")],
    folder: Path,
    /,
    *,
    split: SplitID = "latest",
    run: Run = "latest",
    images: Flag = False,
    settings: Shared,
) -> None:
    """Write cases, labels and predictions for other tools into a new folder: pseudonyms and IDs, no name of a file.

    parquet is the whole registry: a folder for each table, and load.sql, over which every question can be asked.
    coco has the cases as boxes, with their reference diagnosis as category. imagefolder is for Hugging Face datasets: a
    folder of pictures for each subset of a split. fiftyone has a sample for each case, with a run's prediction.
    isic is a run's probabilities as CSV. chat is what `toolkit prompts` writes, with pictures named by case.

    Example: toolkit export parquet for-duckdb

    Example: toolkit export coco for-detectors --images

    Example: toolkit export imagefolder for-training --split 1a2b3c4d

    Example: toolkit export fiftyone for-looking --run 1a2b3c4d

    Args:
        kind: What the other tool reads.
        folder: Folder to make, outside the workspace. It is complete, with manifest.json, or not there.
        images: Of coco: write the photographs too, encoded anew without EXIF.
    """
    from toolkit.stages.export import export

    if images and kind != "coco":
        raise CycloptsError(msg="--images belongs to coco")
    make = partial(export, settings.workspace, settings.study_file().study, kind, folder)
    settings.run(lambda progress: make(split=split, run=run, images=images, progress=progress))


@app.command(sort_key=10.6)
def release(
    folder: Path,
    /,
    *,
    split: SplitID = "latest",
    photographs_checked_by: str | None = None,
    apply: Flag = False,
    settings: Shared,
) -> None:
    """Show what a de-identified data set for others would hold and, with --apply, write it into a new folder.

    Photographs are encoded anew, IDs are new, dates are shifted, and only metadata fields that the study file names
    under [release.fields] are in it, with a certificate, data sheet, licence and digests. docs/release.md says more.

    Example: toolkit release for-others

    Example: toolkit release for-others --photographs-checked-by "Dr A. Example" --apply

    Args:
        folder: Folder to make, outside the workspace. It is complete or not there.
        photographs_checked_by: Who has looked through all photographs for faces, tattoos and labels with names; kept as
            a pseudonym.
        apply: Write it; without this option nothing is written.
    """
    from toolkit.pipeline import release

    study_file = settings.study_file()
    make = partial(release, settings.workspace, study_file, folder, split=split, checked_by=photographs_checked_by)
    settings.run(lambda progress: make(apply=apply, progress=progress))


@app.command(sort_key=11.5)
def withdraw(
    patient: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    apply: Flag = False,
    settings: Shared,
) -> None:
    """Show what the workspace holds of a patient and, with --apply, remove it permanently.

    Example: toolkit withdraw - --apply

    Args:
        patient: Identifier used by the hospital; - reads it from standard input, so that it is not in the shell's
            history.
        apply: Remove it; without this option nothing is changed.
    """
    from toolkit.pipeline import withdraw_and_parse

    identifier = sys.stdin.readline() if patient == "-" else patient
    study = settings.study_file()
    settings.run(
        lambda progress: withdraw_and_parse(settings.workspace, study, identifier, apply=apply, progress=progress)
    )


@app.command(sort_key=11.4)
def translate(
    *identifiers: Annotated[str, Parameter(allow_leading_hyphen=True)],
    pseudonym: Annotated[list[str] | None, Parameter(negative="")] = None,
    output: Path | None = None,
    settings: Shared,
) -> None:
    """Show the pseudonyms of patients, or the identifiers of pseudonyms, where key and exports are.

    The ledger notes when, by whom and how many; it holds no identifier.

    Example: toolkit translate - < identifiers.txt

    Example: toolkit translate --pseudonym p-0123456789abcdef --output identifiers.csv

    Args:
        identifiers: Identifiers used by the hospital; - reads them from standard input, one a line, so that they are
            not in the shell's history.
        pseudonym: Pseudonym of a patient, whose identifier is looked for in the landed exports; may be repeated.
        output: New CSV file for the answer, outside the workspace and for your eyes only (mode 0600).
    """
    from toolkit.pipeline import translate

    given = sys.stdin.read().splitlines() if identifiers == ("-",) else identifiers
    own, study = [each for each in given if each.strip()], settings.study_file()
    settings.run(
        lambda progress: translate(settings.workspace, study, own, pseudonym or [], output=output, progress=progress)
    )


@app.command(sort_key=11.2)
def rebuild(*, settings: Shared) -> None:
    """Make the registry anew from landed exports, splits, runs, predictions, scores and the ledger; nothing is lost.

    Example: toolkit rebuild
    """
    from toolkit.pipeline import rebuild

    study = settings.study_file()
    settings.run(lambda progress: rebuild(settings.workspace, study, progress=progress))


@app.command(sort_key=12)
def run(*exports: Exports, images: Images = None, device: Device = None, settings: Shared) -> None:
    """Run the whole pipeline: parse, audit, split, train, predict, evaluate, report, queue.

    Example: toolkit --study study.toml run export.ndjson --images photographs/
    """
    from toolkit import pipeline

    study = settings.study_file()
    settings.run_each(
        lambda progress: pipeline.run(
            settings.workspace, study, list(exports), images=images, device=device, progress=progress
        )
    )


@app.command(sort_key=1.5)
def pull(  # noqa: PLR0913 - one flag for each kind of source
    *,
    project: str | None = None,
    dataset: str | None = None,
    slice_: Annotated[str | None, Parameter(name="--slice")] = None,
    model_run: str | None = None,
    since: str | None = None,
    photographs: bool = True,
    settings: Shared,
) -> None:
    """Download an export and its photographs from Labelbox, and parse it; an interrupted pull continues.

    Example: toolkit pull --since last

    The API key comes from LABELBOX_API_KEY or the system's keyring.

    Args:
        project: Name or ID of a project, instead of the study's.
        dataset: ID of a dataset: every project's labels on it.
        slice_: ID of a slice of the catalog.
        model_run: ID of a model run.
        since: Only what has changed since this time (UTC); last means since the last pull.
        photographs: Download photographs and masks too.
    """
    from toolkit.pipeline import pull_and_parse
    from toolkit.stages.pull import PullRequest

    options = {"project": project, "dataset": dataset, "slice": slice_, "model_run": model_run}
    sources = [(kind, text) for kind, text in options.items() if text is not None]
    if len(sources) > 1:
        raise ToolkitError("only one source can be pulled at a time", remedy="pull one after the other")
    request = PullRequest(*(sources[0] if sources else ()), since=since, photographs=photographs)
    study = settings.study_file()
    settings.run_each(lambda progress: pull_and_parse(settings.workspace, study, request, progress=progress))


push = App(
    name="push",
    help="""Send a queue, predictions or metadata to Labelbox: a dry run, unless --apply is given.

    Example: toolkit push queue --apply

    A dry run needs no API key and no network, and prints exactly what would be sent. With --apply the key comes from
    LABELBOX_API_KEY or the system's keyring; what was sent is noted with its answer (toolkit query pushes), and after
    an interruption the same command continues without sending anything twice.
    """,
    help_flags=["--help", "-h"],
    sort_key=9.8,
)
app.command(push)
Apply = Annotated[bool, Parameter(negative="", help="Send it; without this option nothing leaves this machine.")]


@push.command(name="queue")
def push_queue(queue: str = "latest", /, *, apply: Apply = False, settings: Shared) -> None:
    """Send a queue: priorities by patient, the reasons as issues, and rework where the study names a task queue.

    Example: toolkit push queue --apply

    Args:
        queue: ID of the queue; else the newest.
    """
    from toolkit.stages.push import push_queue

    study = settings.study_file().study
    settings.run(lambda progress: push_queue(settings.workspace, study, queue, apply=apply, progress=progress))


@push.command(name="predictions")
def push_predictions(run: Run, /, *, apply: Apply = False, settings: Shared) -> None:
    """Send a run's predictions to a model run at Labelbox, with the probability of every class and the splits.

    Example: toolkit push predictions latest --apply
    """
    from toolkit.stages.push import push_predictions

    study = settings.study_file().study
    settings.run(lambda progress: push_predictions(settings.workspace, study, run, apply=apply, progress=progress))


@push.command(name="metadata")
def push_metadata(*, apply: Apply = False, settings: Shared) -> None:
    """Write subsets of the newest split and pseudonyms as metadata fields, as far as the study allows.

    Example: toolkit push metadata --apply
    """
    from toolkit.stages.push import push_metadata

    study = settings.study_file().study
    settings.run(lambda progress: push_metadata(settings.workspace, study, apply=apply, progress=progress))


app.meta.usage = "Usage: toolkit COMMAND [OPTIONS]"


@app.command(sort_key=13)
def shell(*, settings: Shared) -> None:
    """Open a private copy of the registry in harlequin or DuckDB's own shell, whichever is installed.

    Example: toolkit shell

    The copy holds the registry as it is now; commands go on beside it, and it is removed when the shell ends.
    """
    from toolkit.console.shell import open_shell

    open_shell(settings.workspace)


@app.command(name="completion", sort_key=14)
def show_completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that makes a shell complete commands, options, runs, splits, queues, questions and parameters.

    Example: toolkit completion bash > ~/.lesion-toolkit.bash; then `source ~/.lesion-toolkit.bash` in ~/.bashrc

    Args:
        shell: The shell that it is for.
    """
    print(app.generate_completion(shell=shell))  # noqa: T201 - a script, not a message


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    study: Path | None = None,
    workspace: Path | None = None,
    json: Flag = False,
    quiet: Flag = False,
) -> None:
    """From a Labelbox export to a report in which every number leads to its photographs and its query.

    Args:
        study: Study file; else study.toml here, else the one the workspace was made with.
        workspace: Folder of the registry, splits, runs and reports; else the one that the environment variable
            TOOLKIT_WORKSPACE names, else ./workspace.
        json: Print the result as JSON on stdout.
        quiet: Show no progress on stderr.
    """
    folder = workspace or Path(os.environ.get("TOOLKIT_WORKSPACE") or "workspace")
    settings = Settings(study, folder, json, quiet)
    TYPED.set({name: str(path) for name, path in (("--study", study), ("--workspace", workspace)) if path})
    command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and command not in (train, predict):
        raise ToolkitError(
            "this command works in one process", place="WORLD_SIZE", remedy="use torchrun only for train and predict"
        )
    command(*bound.args, **bound.kwargs, **dict.fromkeys(ignored, settings))


@contextmanager
def _interrupts_wait() -> Generator[None]:
    """Let Ctrl-C wait for the end of the block: DuckDB and Arrow end the process where it comes while they load."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    tokens = sys.argv[1:] if arguments is None else arguments
    sys.exit(_exit_code(lambda: app.meta(tokens or ["--help"], exit_on_error=False, print_error=False)))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        command()
    except CycloptsError as error:
        print(f"usage: {error}\n  next:  toolkit --help", file=sys.stderr)  # noqa: T201 - the console is heavy
        return 2
    except ToolkitError as error:
        from toolkit import console

        console.show_error(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Libraries that write, such as safetensors, have errors of their own.
        told = next((code for code in DISK if os.strerror(code) in str(error)), None)
        if told is None and not (isinstance(error, OSError) and error.filename):
            raise  # our own fault: its traceback is needed
        remedy = DISK.get(told or 0, "see that this file is there and may be read and written")
        print(f"error: {error}\n  next:  {remedy}, then run the same command again", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    main()
