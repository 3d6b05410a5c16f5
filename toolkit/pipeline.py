"""The stages in a row, and the status of a workspace: what it holds, what is out of date, what to do next."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError, StudyError
from toolkit.files import size_of
from toolkit.labelbox_json.withdrawn_filter import filter_export, rows_with_identity, suppression_list
from toolkit.manifest import Study, load_study
from toolkit.privacy import PseudonymKey, default_key_file, load_key
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
from toolkit.workspace import sql
from toolkit.workspace.certificate import read_rows, split_folders
from toolkit.workspace.landed import landed_exports
from toolkit.workspace.locks import EVERYTHING, LABELS, beside_others, held
from toolkit.workspace.note import known_key, read_note, remember_key, remember_study
from toolkit.workspace.registry import Workspace, table_names
from toolkit.workspace.restore import adopt
from toolkit.workspace.runs import PLAIN_CONTROL


@dataclass(frozen=True)
class StudyFile:
    """A study and the path of its file."""

    study: Study
    path: Path

    @property
    def folder(self) -> Path:
        """The folder that paths in the study file are relative to."""
        return self.path.parent

    def key(self, workspace: Workspace) -> PseudonymKey:
        """Return the key of the study's pseudonyms, that of its join group; it is created where there is none yet.

        A published key has no group, and neither has a workspace that an earlier version made: it keeps its pseudonyms.
        """
        privacy = self.study.privacy
        bare = load_key(privacy.published_key, privacy.key_file, study_folder=self.folder, workspace=workspace.folder)
        keys = [bare] if bare.published else [bare.of_group(privacy.join_group or self.study.study.name), bare]
        key = known_key(workspace, keys) or _key_of_splits(workspace, self.study, keys) or keys[0]
        if privacy.join_group and key.join_group is None:
            raise StudyError(
                "this workspace was made by an earlier version, whose pseudonyms belong to no join group",
                place=str(workspace.folder),
                remedy="take join_group out of the study file, or start a new workspace",
            )
        return key

    def key_at_hand(self, workspace: Workspace) -> PseudonymKey | None:
        """Return the key of the study's pseudonyms where its file is here and fits the workspace; none is created."""
        privacy = self.study.privacy
        file = self.folder / privacy.key_file if privacy.key_file else default_key_file()
        if privacy.published_key is None and not file.is_file():
            return None
        try:
            return self.key(workspace)
        except (StudyError, DamagedError):
            return None


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


@dataclass(frozen=True)
class Status:
    """What a workspace holds; `next` is the command to type next."""

    workspace: str
    study: str | None
    exports: int
    rows: int = 0
    rows_quarantined: int = 0
    photographs: int = 0
    patients: int = 0
    patients_known: bool = True
    """Whether the study has patient identifiers; without them every photograph counts as a patient of its own."""
    cases: int = 0
    resolved: int = 0
    kept_out: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    unknown_keys: dict[str, int] = field(default_factory=dict)
    truth_id: str | None = None
    content_hash: str | None = None
    features_gigabytes: float = 0.0
    splits: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    study_missing: bool = False
    """Whether the study file is no longer where it was when the workspace was made."""
    pushes: list[dict[str, Any]] = field(default_factory=list)
    """What was sent to Labelbox: things by what was pushed and their state."""
    next: str = "toolkit parse EXPORT --images DIR"


def open_study(workspace: Workspace, given: Path | None) -> StudyFile:
    """Return the study: the file given, else study.toml here, else the one the workspace was made with."""
    if given is not None:
        return StudyFile(load_study(given), given.resolve())
    here = Path("study.toml")
    if here.is_file():
        return StudyFile(load_study(here), here.resolve())
    known = _known_study(workspace)
    if known is None:
        raise StudyError(
            "no study file was given",
            place=str(Path.cwd()),
            remedy="give --study FILE.toml, or work where study.toml is",
        )
    return StudyFile(load_study(known), known)


def _known_study(workspace: Workspace) -> Path | None:
    note = read_note(workspace)
    return note.study if note else None


def _key_of_splits(workspace: Workspace, study: Study, keys: list[PseudonymKey]) -> PseudonymKey | None:
    """Return under which of the keys a patient of the exports stands in a split, where everything else is lost."""
    patients = {row.patient_id for folder in split_folders(workspace) for row in read_rows(folder)}
    for export in landed_exports(workspace) if patients else []:
        for _, identity in rows_with_identity(export.path, study):
            written = identity.patients if identity else ()
            for key in keys:
                if any(key.pseudonym("p", patient) in patients for patient in written):
                    return key
    return None


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


def status(workspace: Workspace, given: Path | None = None) -> Status:
    """Return what a workspace holds and what of it no longer fits its labels.

    Raises StudyError for a study file that is given and cannot be read; of one that the workspace was made with and is
    gone, the status says so.
    """
    if given is not None:
        load_study(given)
    study = given or _known_study(workspace)
    empty = Status(
        str(workspace.folder),
        str(study) if study else None,
        len(landed_exports(workspace)),
        study_missing=study is not None and not study.is_file(),
    )
    if not workspace.is_parsed():
        return empty
    with workspace.reading():
        return _of_parsed(workspace, empty)


def _of_parsed(workspace: Workspace, empty: Status) -> Status:
    facts = workspace.rows(sql.statement("parse/parsed"))[0]
    splits = workspace.rows(sql.statement("status/splits"))
    runs = workspace.rows(sql.statement("status/runs"))
    for row in runs:
        row["reported"] = (workspace.reports / row["run_id"] / "index.html").is_file()
    return replace(
        empty,
        **{each.name: facts[each.name] for each in fields(Status) if each.name in facts},
        kept_out=_counts(workspace, sql.statement("parse/kept_out")),
        findings=_counts(workspace, "select kind, count(*) from findings group by kind order by kind"),
        unknown_keys=_counts(
            workspace, "select key_path, sum(rows)::bigint from unknown_keys group by key_path order by key_path"
        ),
        features_gigabytes=size_of(workspace.features) / 1e9,
        splits=splits,
        runs=runs,
        pushes=_pushes(workspace),
        next=_next(splits, runs),
    )


def _pushes(workspace: Workspace) -> list[dict[str, Any]]:
    """Return how many things of each push are in each state; none in a registry of an earlier version."""
    return workspace.rows(sql.statement("status/pushes")) if workspace.has_table("pushes") else []


def _counts(workspace: Workspace, statement: str) -> dict[str, int]:
    """Return the rows of a statement with two columns as names and their counts."""
    return dict(tuple(row.values()) for row in workspace.rows(statement))


def _next(splits: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """Return the command that brings the newest of everything up to date."""
    if not splits or splits[0]["changed_cases"]:
        return "toolkit split"
    whole = [row for row in runs if not (row["control"] or row["replicate_of"])]
    own = [row for row in whole if not row["source_sha256"]] or whole
    current = [row for row in own if row["split_id"] == splits[0]["split_id"] and not row["stale"]]
    if not current:
        return "toolkit predict --run FOLDER --part external" if splits[0]["external"] else "toolkit train"
    newest = current[0]
    if newest["predicted"] == 0:
        return "toolkit predict"
    if newest["scored"] == 0:
        return "toolkit evaluate"
    for row in runs:
        own_seed = row["replicate_of"] == newest["run_id"] and not row["control"]
        if row["scored"] == 0 and (own_seed or (row["source_sha256"] and row["predicted"])):
            return f"toolkit {'evaluate' if row['predicted'] else 'predict'} --run {row['run_id']}"
    return "toolkit query" if newest["reported"] else "toolkit report"
