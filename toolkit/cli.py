"""The commands: flags in, one call, the result shown, the exit code.

Refuses to import anything heavy before a command runs, so that help answers at once. Exit codes: 0 done, 1 something
the user can put right, 2 usage, 130 interrupted.
"""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from toolkit.errors import ToolkitError
from toolkit.files import FULL

if TYPE_CHECKING:
    from toolkit.pipeline import StudyFile
    from toolkit.progress import Progress
    from toolkit.workspace.registry import Workspace

FREE_SPACE = "free some space and run the same command again: what is complete is not done twice"

app = App(
    name="toolkit",
    help="From a Labelbox export to a report in which every number leads to its photographs and its query.",
    help_epilogue="Try it: `toolkit sample DIR`, then the command it names. Research use only.",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
)


@dataclass(frozen=True)
class Settings:
    """What every command needs: the study file, the workspace, and how to talk."""

    study: Path | None
    workspace: Path
    as_json: bool
    quiet: bool

    @property
    def speaks(self) -> bool:
        """Whether this process shows anything: of several that were started together only the first does."""
        from toolkit.models.processes import this_process

        return this_process().is_first

    @property
    def space(self) -> "Workspace":
        """The workspace."""
        from toolkit.workspace.registry import Workspace

        return Workspace(self.workspace)

    def study_file(self) -> "StudyFile":
        """Return the study: the file given, else study.toml here, else the one the workspace was made with."""
        from toolkit.pipeline import open_study

        return open_study(self.space, self.study)

    def show(self, result: Any) -> None:
        """Show a result on stdout."""
        from toolkit import console

        if self.speaks:
            console.show(result, as_json=self.as_json)

    def tell(self, result: Any) -> None:
        """Show what a stage of the line has done; the report comes at the end, below the scores."""
        if not self.as_json and type(result).__name__ != "Report":
            self.show(result)

    @contextmanager
    def progress(self) -> "Generator[Progress]":
        """Draw progress on stderr."""
        from toolkit import console

        with console.drawn_progress(quiet=self.quiet or not self.speaks) as progress:
            yield progress


Given = Annotated[Settings, Parameter(parse=False)]
Device = Annotated[Literal["cuda", "mps", "cpu"] | None, Parameter(name="--device")]
Run = Annotated[str, Parameter(name="--run")]
Images = Annotated[Path | None, Parameter(name="--images")]


@app.command(sort_key=1)
def sample(
    folder: Path,
    /,
    *,
    cases: int = 980,
    seed: int = 7,
    stage: Literal[1, 2, 3] = 1,
    photographs: bool = True,
    settings: Given,
) -> None:
    """Draw a synthetic study: photographs, a Labelbox export, a study file, and the list of what is planted in them.

    Example: toolkit sample demo

    Parameters
    ----------
    folder
        Folder to make; it must be new or empty.
    cases
        Labelled lesions of the first stage, in the class proportions of the published study.
    seed
        Seed of everything random.
    stage
        1 the first round of labels, 2 after a round of review, 3 after a quarter more patients.
    photographs
        Draw the photographs too; without them a million rows take some minutes.
    """
    from toolkit.synthetic import sample

    with settings.progress() as progress:
        result = sample(folder, cases=cases, seed=seed, stage=stage, photographs=photographs, progress=progress)
    settings.show(result)


@app.command(sort_key=1.5)
def init(export: Path, /, *, to: Path = Path("study.toml"), settings: Given) -> None:
    """Write a study file from the projects, questions, classes and metadata fields that an export holds.

    Example: toolkit init export.ndjson --to study.toml

    Parameters
    ----------
    export
        NDJSON file as Labelbox wrote it.
    to
        Study file to write; it must not be there yet.
    """
    from toolkit.stages.init import init

    with settings.progress() as progress:
        result = init(export, to=to, progress=progress)
    settings.show(result)


@app.command(sort_key=2)
def parse(*exports: Path, images: Images = None, settings: Given) -> None:
    """Read Labelbox exports into the case registry; nothing is lost, what is bad is quarantined.

    Example: toolkit parse export.ndjson --images photographs/

    Parameters
    ----------
    exports
        Files as Labelbox wrote them: NDJSON or JSON, also of the legacy version 1, .gz too.
    images
        Folder of the photographs, named by external ID, global key or the URL's last part.
    """
    from toolkit import pipeline
    from toolkit.stages.parse import parse

    study = settings.study_file()
    key = study.key(settings.space)
    with settings.progress() as progress:
        result = parse(settings.space, study.study, key, list(exports), images=images, progress=progress)
    pipeline.remember_study(settings.space, study.path)
    settings.show(result)


@app.command(sort_key=11)
def status(*, settings: Given) -> None:
    """Say what the workspace holds, what no longer fits its labels, and what to do next.

    Example: toolkit status
    """
    from toolkit.pipeline import status

    settings.show(status(settings.space))


@app.command(sort_key=3)
def audit(*, settings: Given) -> None:
    """Find photographs that are there twice, also turned, cut or saved anew, and labels that contradict another.

    Example: toolkit audit
    """
    from toolkit import console, pipeline

    with settings.progress() as progress:
        results = pipeline.audit_and_show(settings.space, settings.study_file(), progress=progress)
    if settings.as_json:
        console.print_results(results)
    else:
        for result in results:
            settings.show(result)


@app.command(sort_key=4)
def split(*, frozen: str | None = None, settings: Given) -> None:
    """Put patients into train, validation and test, as near the study's wish as whole cases permit, with a certificate.

    Example: toolkit split --frozen 1a2b3c4d

    Parameters
    ----------
    frozen
        ID of an earlier split, or pinned: its patients stay where they are, only new ones are placed.
    """
    from toolkit.stages.split import split

    study = settings.study_file()
    with settings.progress() as progress:
        result = split(settings.space, study.study, study_folder=study.folder, frozen=frozen, progress=progress)
    settings.show(result)


@app.command(sort_key=5)
def verify(
    split_dir: Path,
    /,
    *,
    images: Images = None,
    registered: Annotated[bool, Parameter(negative="")] = False,
    settings: Given,
) -> None:
    """Check a split's certificate from its files alone; exit 1 on a leak or a changed byte.

    Example: toolkit verify workspace/splits/1a2b3c4d --images photographs/

    Parameters
    ----------
    split_dir
        Folder with cases.csv, certificate.json and verify.sql.
    images
        Folder of the photographs, under any names: their digests are computed again.
    registered
        Compute the digests of photographs and crops again from what the workspace holds.
    """
    from toolkit.workspace.verification import verify, verify_photographs

    with settings.progress() as progress:
        if registered:
            result = verify_photographs(settings.space, split_dir, progress=progress)
        else:
            result = verify(split_dir, images=images, progress=progress)
    settings.show(result)


@app.command(sort_key=6)
def train(
    *,
    split: Annotated[str, Parameter(name="--split")] = "latest",
    resume: Annotated[bool, Parameter(negative="")] = False,
    plan: Annotated[bool, Parameter(negative="")] = False,
    device: Device = None,
    settings: Given,
) -> None:
    """Fine-tune the study's model on the training part of a split.

    Example: toolkit train --resume

    Parameters
    ----------
    split
        Split ID, or latest: each fold of a cross-validation is a split.
    resume
        Go on from where an interrupted training was saved: after Ctrl-C its last step, else its last whole epoch.
    plan
        Train nothing: show what each mode of training takes, and what of it this device can hold.
    device
        Device to train on; else TOOLKIT_DEVICE, else the best there is.
    """
    from toolkit.stages.train import plan_training, train

    study = settings.study_file()
    if plan:
        settings.show(
            plan_training(settings.space, study.study, study_folder=study.folder, split_id=split, device=device)
        )
        return
    with settings.progress() as progress:
        result = train(
            settings.space,
            study.study,
            study_folder=study.folder,
            split_id=split,
            device=device,
            resume=resume,
            progress=progress,
        )
    settings.show(result)


@app.command(sort_key=6.5)
def prompts(
    file: Path,
    /,
    *,
    part: Literal["train", "validation", "test", "external"] = "train",
    split: Annotated[str, Parameter(name="--split")] = "latest",
    check: Annotated[bool, Parameter(negative="")] = False,
    settings: Given,
) -> None:
    """Write a part as the published study's JSON (image, user, assistant), or hold such a file against the part.

    Example: toolkit prompts train.json --part train

    The paths of photographs may hold patients' identifiers: the file gets mode 0600, and should not be passed on.

    Parameters
    ----------
    file
        JSON file to write, or to check.
    part
        Part of the split.
    split
        Split ID, or latest.
    check
        Read the file instead, and count the entries of which photograph, prompt or class are not today's.
    """
    from toolkit.prompts.chat_json import compare_chat, write_chat

    study = settings.study_file().study
    if check:
        settings.show(compare_chat(settings.space, study, file, part=part, split_id=split))
        return
    with settings.progress() as progress:
        settings.show(write_chat(settings.space, study, file, part=part, split_id=split, progress=progress))


@app.command(sort_key=7)
def predict(
    *,
    run: Run = "latest",
    part: Literal["validation", "test", "external"] | None = None,
    control: Literal["blank", "shuffled", "border", "metadata"] | None = None,
    device: Device = None,
    settings: Given,
) -> None:
    """Give every case of validation and test its exact class probabilities; a rerun does what is missing.

    Example: toolkit predict --run 1a2b3c4d --control blank

    Parameters
    ----------
    run
        Run ID, or latest; or the folder of another workspace's run, to try it on this workspace's part external.
    part
        Part to predict; else validation and test, or external for a run of another workspace.
    control
        Replace the photographs, to see whether the model looks at the lesion: blank shows a grey square, shuffled
        the photograph of another patient, border only what is around the lesion's box, metadata a grey square with
        the prompt's metadata. It is stored as a run of its own, to be evaluated and compared with the run.
    device
        Device to run on; else TOOLKIT_DEVICE, else the best there is.
    """
    from toolkit.stages.predict import predict

    study = settings.study_file().study
    parts = (part,) if part else None
    with settings.progress() as progress:
        result = predict(settings.space, study, run=run, parts=parts, control=control, device=device, progress=progress)
    settings.show(result)


@app.command(sort_key=8)
def evaluate(*, run: Run = "latest", settings: Given) -> None:
    """Score a run's predictions, with patient-clustered intervals; each scoring is recorded.

    Example: toolkit evaluate --run latest

    Parameters
    ----------
    run
        Run ID, or latest.
    """
    from toolkit import console
    from toolkit.stages.evaluate import evaluate

    study = settings.study_file().study
    with settings.progress() as progress:
        result = evaluate(settings.space, study, run=run, progress=progress)
    settings.show(result)
    if not settings.as_json:
        console.show_scores(settings.space, result.run_id)


@app.command(sort_key=8.5)
def compare(run: str, other: str = "latest", /, *, since: str = "", settings: Given) -> None:
    """Compare a run with another on the same cases: paired differences, fixed and broken cases, and a page of them.

    Example: toolkit compare 1a2b3c4d latest

    Parameters
    ----------
    run
        Run ID that is compared.
    other
        Run ID it is compared with, or latest.
    since
        ID of an export: also how much of the run's change since then comes from new labels alone.
    """
    from toolkit import console
    from toolkit.pipeline import compare_and_show

    study = settings.study_file().study
    with settings.progress() as progress:
        results = compare_and_show(settings.space, study, run, other, since=since, progress=progress)
    if settings.as_json:
        console.print_results(results)
    else:
        for result in results:
            settings.show(result)


@app.command(sort_key=9)
def report(*, run: Run = "latest", audience: Literal["internal", "shared"] = "internal", settings: Given) -> None:
    """Write the HTML page, CSV files and figures of a run, and show the same tables here.

    Example: toolkit report --run latest --audience shared

    Parameters
    ----------
    run
        Run ID, or latest.
    audience
        internal holds everything; shared holds nothing that leads to a patient, and may leave the study.
    """
    from toolkit import console
    from toolkit.stages.report import report

    study = settings.study_file().study
    with settings.progress() as progress:
        result = report(settings.space, study, run=run, audience=audience, progress=progress)
    if settings.as_json:
        settings.show(result)
    else:
        console.show_report(settings.space, result)


@app.command(sort_key=9.5)
def claims(
    file: Path,
    /,
    *,
    seconds: Annotated[float, Parameter(name="--seconds")] = 20.0,
    format_: Annotated[Literal["table", "csv", "json"], Parameter(name="--format")] = "table",
    settings: Given,
) -> None:
    """Hold printed figures against the cases they rest on: feasible, not reproducible from the stated n, undecided.

    Example: toolkit claims manifests/claims/pigmented8.toml

    Parameters
    ----------
    file
        File of claims, or the folder of a report: its figures must be feasible, else exit 1.
    seconds
        Time for one search; what it does not settle is undecided.
    format_
        Form of the answer.
    """
    from toolkit import console
    from toolkit.stages.claims import claims

    with settings.progress() as progress:
        result = claims(file, seconds=seconds, progress=progress)
    if format_ == "csv":
        console.write_text(result.csv())
    else:
        console.show(result, as_json=settings.as_json or format_ == "json")


@app.command(sort_key=10)
def query(
    name: str | None = None,
    /,
    *,
    sql: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    format_: Annotated[Literal["table", "csv", "json", "parquet"], Parameter(name="--format")] = "table",
    settings: Given,
) -> None:
    """Answer a named question, or any read-only SQL; without either, list the questions.

    Example: toolkit query confusions --set part=validation --format csv

    Parameters
    ----------
    name
        Question; your own .sql files in the workspace's queries/ folder count too.
    sql
        One read-only SQL statement.
    set_
        A parameter of the question, as name=value; repeatable.
    format_
        Form of the answer; csv, json and parquet are never rounded.
    """
    from toolkit import console

    if sql is not None and name is not None:
        raise ToolkitError("give a question or --sql, not both", remedy="toolkit query --sql TEXT")
    form = "json" if settings.as_json and format_ == "table" else format_
    if sql is not None:
        console.write_rows(settings.space.sql(sql), form)
    elif name is not None:
        console.write_rows(settings.space.ask(name, **_assignments(set_ or [])), form)
    else:
        console.show_questions(settings.space.questions(), as_json=settings.as_json)


@app.command(sort_key=11.5)
def withdraw(
    patient: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    apply: Annotated[bool, Parameter(negative="")] = False,
    settings: Given,
) -> None:
    """Say what the workspace holds of a patient and, with --apply, remove it for good.

    Example: toolkit withdraw - --apply

    Parameters
    ----------
    patient
        Identifier as the hospital knows it; - reads it from standard input, so that no shell remembers it.
    apply
        Remove it; without this nothing is changed.
    """
    from toolkit import pipeline

    identifier = sys.stdin.readline() if patient == "-" else patient
    with settings.progress() as progress:
        result = pipeline.withdraw_and_parse(
            settings.space, settings.study_file(), identifier, apply=apply, progress=progress
        )
    settings.show(result)


@app.command(sort_key=12)
def run(*exports: Path, images: Images = None, device: Device = None, settings: Given) -> None:
    """Run the whole line: parse, audit, split, train, predict, evaluate, report.

    Example: toolkit --study study.toml run export.ndjson --images photographs/

    Parameters
    ----------
    exports
        Files as Labelbox wrote them: NDJSON or JSON, also of the legacy version 1, .gz too.
    images
        Folder of the photographs, named by external ID, global key or the URL's last part.
    device
        Device for the model; else TOOLKIT_DEVICE, else the best there is.
    """
    from toolkit import console, pipeline

    with settings.progress() as progress:
        results = pipeline.run(
            settings.space,
            settings.study_file(),
            list(exports),
            images=images,
            device=device,
            tell=settings.tell,
            progress=progress,
        )
    if settings.as_json:
        console.print_results(results)
    else:
        console.show_ending(settings.space, results[-1])


@app.command(sort_key=1.5)
def pull(  # noqa: PLR0913 - one flag for each kind of source
    *,
    project: str | None = None,
    dataset: str | None = None,
    slice_: Annotated[str | None, Parameter(name="--slice")] = None,
    model_run: str | None = None,
    since: str | None = None,
    photographs: bool = True,
    settings: Given,
) -> None:
    """Land an export straight from Labelbox, with its photographs, and parse it; an interrupted pull goes on.

    Example: toolkit pull --since last

    The API key comes from LABELBOX_API_KEY or the system's keyring.

    Parameters
    ----------
    project
        Name or ID of a project, instead of the study's.
    dataset
        ID of a dataset: every project's labels on it.
    slice_
        ID of a slice of the catalog.
    model_run
        ID of a model run.
    since
        Only what has changed since this time (UTC), or since the last pull: last.
    photographs
        Fetch photographs and masks too.
    """
    from toolkit import console, pipeline
    from toolkit.stages.pull import PullRequest

    sources = {"project": project, "dataset": dataset, "slice": slice_, "model_run": model_run}
    given = [(kind, text) for kind, text in sources.items() if text is not None]
    if len(given) > 1:
        raise ToolkitError("give one source, not several", remedy="pull them one after the other")
    wish = PullRequest(*(given[0] if given else ()), since=since, photographs=photographs)
    with settings.progress() as progress:
        results = pipeline.pull_and_parse(
            settings.space, settings.study_file(), wish, tell=settings.tell, progress=progress
        )
    if settings.as_json:
        console.print_results(results)


def _assignments(texts: list[str]) -> dict[str, str]:
    """Return name=value texts as a dictionary."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ToolkitError(f"--set takes name=value, not {wrong[0]}")
    return {name: value for name, _, value in pairs}


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    study: Path | None = None,
    workspace: Path = Path("workspace"),
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Read the options every command shares, then the command.

    Parameters
    ----------
    study
        Study file; else study.toml here, else the one the workspace was made with.
    workspace
        Folder of the registry, splits, runs and reports.
    json
        Answer as JSON on stdout.
    quiet
        No progress on stderr.
    """
    settings = Settings(study, workspace, json, quiet)
    command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and command not in (train, predict):
        raise ToolkitError(
            "this command works in one process", place="WORLD_SIZE", remedy="start only train and predict with torchrun"
        )
    command(*bound.args, **bound.kwargs, **dict.fromkeys(ignored, settings))


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
        print("interrupted: the same command goes on where it can", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not any(os.strerror(code) in str(error) for code in FULL):
            raise  # our own bug: its traceback is what we need
        print(f"error: the disk is full: {error}\n  next:  {FREE_SPACE}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    main()
