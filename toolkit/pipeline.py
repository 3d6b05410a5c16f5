"""The stages in a row, and what a command does with several of them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError, StudyError
from toolkit.labelbox_json.withdrawn_filter import filter_export, suppression_list
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.attach import attach
from toolkit.stages.audit import audit
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.impact import impact
from toolkit.stages.parse import Parsed, parse
from toolkit.stages.predict import predict
from toolkit.stages.pull import PullRequest, pull
from toolkit.stages.queue import MINUTES, Queue, queue, queue_of_cases
from toolkit.stages.queue.outcome import outcome
from toolkit.stages.release import Released
from toolkit.stages.release import release as release_stage
from toolkit.stages.report import report
from toolkit.stages.report.audit_page import audit_page
from toolkit.stages.report.compare_page import compare_page
from toolkit.stages.report.impact_page import impact_page
from toolkit.stages.report.progress_page import progress_page
from toolkit.stages.report.queue_page import queue_page
from toolkit.stages.review import review
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.stages.translate import Translated, translate_identifiers, translate_pseudonyms
from toolkit.stages.withdraw import Withdrawn, withdraw
from toolkit.study_file import StudyFile
from toolkit.workspace import sql
from toolkit.workspace.locks import EVERYTHING, LABELS, beside_others, held
from toolkit.workspace.note import remember_key, remember_study
from toolkit.workspace.registry import Workspace, table_names
from toolkit.workspace.restore import adopt
from toolkit.workspace.runs import PLAIN_CONTROL


@dataclass(frozen=True)
class ComparedWithControl:
    """How a run does beside a control; `rows` are those of `report/comparisons`, the test set first."""

    run_id: str
    control: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Rebuilt:
    """What the registry holds after it was made anew from the workspace's files; `rows` by table."""

    content_hash: str
    content_hash_before: str | None
    """None where the registry before could not be read."""
    rows: dict[str, int]
    scorings: int
    missing: list[str]
    """What no file holds, and the command that makes it again."""
    photographs_changed: list[str]
    """IDs of photographs whose files are not those of the registry before."""


def parse_study(
    workspace: Workspace,
    study_file: StudyFile,
    exports: list[Path],
    *,
    images: Path | None = None,
    anew: bool = False,
    progress: Progress = silent,
) -> Parsed:
    """Run parse, and note the study in the workspace: what its pseudonyms are made with before, the file after it."""
    study, key = study_file.study, study_file.key(workspace)
    remember_key(workspace, study_file.path, key)
    parsed = parse(workspace, study, key, exports, images=images, anew=anew, progress=progress)
    remember_study(workspace, study_file.path)
    return parsed


def run(
    workspace: Workspace,
    study_file: StudyFile,
    exports: list[Path],
    *,
    images: Path | None,
    device: str | None = None,
    progress: Progress = silent,
) -> Iterator[Any]:
    """Run the stages from parse to report, and yield the result of each.

    What is complete is not done again: after an interruption the same command continues.
    """
    study, folder = study_file.study, study_file.folder
    yield parse_study(workspace, study_file, exports, images=images, progress=progress)
    yield audit(workspace, study, progress=progress)
    yield split(workspace, study, study_folder=folder, progress=progress)
    trained = train(workspace, study, study_folder=folder, device=device, resume=True, progress=progress)
    yield trained
    for each in (trained, *trained.replicates):
        yield predict(workspace, study, run=each.run_id, device=device, progress=progress)
        yield evaluate(workspace, study, run=each.run_id, progress=progress)
    yield compare_with_plain(workspace, study, trained.run_id, progress=progress)
    # Only now can the page of the audit compare the subsets of the split.
    audit_page(workspace, study, key=study_file.key_at_hand(workspace), progress=progress)
    yield report(workspace, study, run=trained.run_id, key=study_file.key_at_hand(workspace), progress=progress)
    searched = workspace.rows("select cases from label_searches where cases > 0")
    queued = list(queue_with_page(workspace, study_file, progress=progress)) if searched else []
    progress_page(workspace, study, progress=progress)  # only now is there the queue
    yield from queued


def compare_with_plain(
    workspace: Workspace, study: Study, run_id: str, *, progress: Progress = silent
) -> ComparedWithControl:
    """Fit plain features on the run's training set, score their predictions, and compare the run with them."""
    control = predict(workspace, study, run=run_id, control=PLAIN_CONTROL, progress=progress)
    evaluate(workspace, study, run=control.run_id, progress=progress)
    compare(workspace, study, run_id, control.run_id, progress=progress)
    rows = workspace.rows(sql.statement("report/comparisons"), {"run_id": run_id, "others": "controls"})
    own = [row for row in rows if row["other_run_id"] == control.run_id]
    return ComparedWithControl(run_id, PLAIN_CONTROL, own)


def audit_with_page(workspace: Workspace, study_file: StudyFile, *, progress: Progress = silent) -> Iterator[Any]:
    """Run audit, and write its page and that of the study's progress; yield each result."""
    yield audit(workspace, study_file.study, progress=progress)
    yield progress_page(workspace, study_file.study, progress=progress)
    yield audit_page(workspace, study_file.study, key=study_file.key_at_hand(workspace), progress=progress)


def queue_with_page(
    workspace: Workspace, study_file: StudyFile, *, minutes: float = MINUTES, progress: Progress = silent
) -> Iterator[Any]:
    """Make a review queue and write its page and its workbook; yield both results."""
    yield from _with_page(
        workspace, study_file, queue(workspace, study_file.study, minutes=minutes, progress=progress), progress
    )


def chosen_queue_with_page(
    workspace: Workspace, study_file: StudyFile, file: Path, *, progress: Progress = silent
) -> Iterator[Any]:
    """Make a review queue of the cases that a person chose, and write its page and workbook; yield both results."""
    yield from _with_page(
        workspace, study_file, queue_of_cases(workspace, study_file.study, file, progress=progress), progress
    )


def _with_page(workspace: Workspace, study_file: StudyFile, made: Queue, progress: Progress) -> Iterator[Any]:
    yield made
    yield queue_page(workspace, study_file.study, study_file.key(workspace), made.queue_id, progress=progress)


def review_and_parse(
    workspace: Workspace, study_file: StudyFile, file: Path, *, reviewer: str | None, progress: Progress = silent
) -> Iterator[Any]:
    """Take in a file of verdicts and make the tables of labels anew with all there are; yield both results.

    Also where the file holds nothing new: the command that took it in may have been killed before this.
    """
    key = study_file.key(workspace)
    yield review(workspace, study_file.study, key, file, reviewer=reviewer, progress=progress)
    yield parse_study(workspace, study_file, [], progress=progress)


def attach_and_parse(
    workspace: Workspace,
    study_file: StudyFile,
    file: Path,
    *,
    patient: str,
    columns: Sequence[str] = (),
    progress: Progress = silent,
) -> Iterator[Any]:
    """Take in a file of the study's own data about patients, and make the registry anew with it; yield both results."""
    key = study_file.key(workspace)
    yield attach(workspace, study_file.study, key, file, patient=patient, columns=columns, progress=progress)
    yield parse_study(workspace, study_file, [], progress=progress)


def translate(
    workspace: Workspace,
    study_file: StudyFile,
    identifiers: Sequence[str],
    pseudonyms: Sequence[str],
    *,
    output: Path | None = None,
    progress: Progress = silent,
) -> Translated:
    """Translate identifiers or pseudonyms of patients, with the key at hand; none is created."""
    key = _key_here(workspace, study_file)
    if bool(identifiers) == bool(pseudonyms):
        remedy = "toolkit translate ID … gives pseudonyms; toolkit translate --pseudonym p-… gives IDs"
        raise StudyError("give identifiers, or pseudonyms with --pseudonym", remedy=remedy)
    if identifiers:
        return translate_identifiers(workspace, study_file.study, key, identifiers, output=output)
    return translate_pseudonyms(workspace, study_file.study, key, pseudonyms, output=output, progress=progress)


def _key_here(workspace: Workspace, study_file: StudyFile) -> PseudonymKey:
    """Return the key of the study's pseudonyms; raise StudyError where it is not here, since none is created."""
    key = study_file.key_at_hand(workspace)
    if key is None:
        remedy = "work where the key file is; docs/privacy.md says where it stands"
        raise StudyError("the key of this study's pseudonyms is not here, or is another one", remedy=remedy)
    return key


def release(  # noqa: PLR0913 - those of the stage
    workspace: Workspace,
    study_file: StudyFile,
    folder: Path,
    *,
    split: str = "latest",
    checked_by: str | None = None,
    apply: bool = False,
    progress: Progress = silent,
) -> Released:
    """Run release with the key at hand, by which identifiers of patients are recognised; none is created."""
    return release_stage(
        workspace,
        study_file.study,
        _key_here(workspace, study_file),
        folder,
        study_folder=study_file.folder,
        split=split,
        checked_by=checked_by,
        apply=apply,
        progress=progress,
    )


def impact_with_page(
    workspace: Workspace,
    study: Study,
    queue_id: str = "latest",
    *,
    run: str = "latest",
    part: str = "",
    progress: Progress = silent,
) -> Iterator[Any]:
    """Tell what became of a queue and what its labels change, and write the page of both; yield each result.

    All under one lock, so that no patient is withdrawn between the reading and the writing.
    """
    with beside_others(workspace.folder, LABELS, "impact", progress=progress):
        changed = impact(workspace, study, queue_id, run=run, part=part, progress=progress)
        review = outcome(workspace, study, changed.queue_id)
        page = impact_page(workspace, study, asdict(review), asdict(changed), progress=progress)
    yield from (review, changed, page)


def compare_with_page(
    workspace: Workspace,
    study_file: StudyFile,
    run_id: str,
    other: str,
    *,
    since: str = "",
    progress: Progress = silent,
) -> Iterator[Any]:
    """Run compare and, of two runs, write its page; yield both results."""
    study, key = study_file.study, study_file.key_at_hand(workspace)
    compared = compare(workspace, study, run_id, other, since=since, progress=progress)
    yield compared
    if compared.run_id != compared.other_run_id:
        yield compare_page(workspace, study, compared.run_id, compared.other_run_id, key=key, progress=progress)


def pull_and_parse(
    workspace: Workspace, study_file: StudyFile, request: PullRequest, *, progress: Progress = silent
) -> Iterator[Any]:
    """Run pull and, where it has landed a new export, parse; yield both results."""
    study, key = study_file.study, study_file.key(workspace)
    remember_key(workspace, study_file.path, key)
    suppressed = suppression_list(workspace, study, key)
    filter_landed = partial(filter_export, workspace, suppressed=suppressed)
    pulled = pull(
        workspace,
        study,
        request,
        filter_landed=filter_landed,
        is_withdrawn=suppressed.holds_photograph,
        progress=progress,
    )
    yield pulled
    if pulled.landed:
        yield parse_study(workspace, study_file, [], progress=progress)


def withdraw_and_parse(
    workspace: Workspace, study_file: StudyFile, patient: str, *, apply: bool = False, progress: Progress = silent
) -> Withdrawn:
    """Run withdraw, which parses the remaining exports anew."""
    study, key = study_file.study, study_file.key(workspace)
    reparse = partial(parse, workspace, study, key, [], anew=True, progress=progress)
    return withdraw(workspace, study, key, patient, apply=apply, reparse=reparse, progress=progress)


def rebuild(workspace: Workspace, study_file: StudyFile, *, progress: Progress = silent) -> Rebuilt:
    """Make the registry anew from landed exports, splits, runs, predictions, scores, audit and the ledger.

    The registry that is there stays until the new one is whole. What only it holds (earlier versions kept some results
    nowhere else) is taken over, where it can be read.
    """
    with held(workspace.folder, EVERYTHING, "rebuild", progress=progress):
        before = _content_hash(workspace)
        adopt(workspace)
        parsed = parse_study(workspace, study_file, [], anew=True, progress=progress)
    counts = ", ".join(f'(select count(*) from "{name}") as "{name}"' for name in table_names())  # noqa: S608
    [rows] = workspace.rows(f"select {counts}")
    missing = [] if rows["duplicate_searches"] or not parsed.photographs_opened else ["audit: toolkit audit"]
    return Rebuilt(parsed.content_hash, before, rows, rows["evaluations"], missing, parsed.photographs_changed)


def _content_hash(workspace: Workspace) -> str | None:
    try:
        rows = workspace.rows("select content_hash from label_states") if workspace.is_parsed() else []
    except DamagedError:
        return None
    return rows[0]["content_hash"] if rows else None
