"""The stage `release`: a de-identified data set for strangers, with certificate, data sheet, licence and manifest.

Without `apply` it says what would be released. The release stands outside the workspace; the workspace keeps that it
was made, of how much, and digests of its patients, so that `withdraw` can say in which releases somebody
stands.
"""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import StudyError, WorkspaceError
from toolkit.files import (
    SUMS,
    digests_of,
    read_bytes,
    sha256_of_file,
    short_id,
    size_of,
    sums_text,
    write_atomically,
    write_json,
)
from toolkit.manifest import Study
from toolkit.manifest.release import ReleaseSection
from toolkit.photographs.opening import Probe, probe
from toolkit.privacy import PseudonymKey, normalise
from toolkit.progress import Progress, silent
from toolkit.stages.release.certified import write_certificate
from toolkit.stages.release.contents import Contents, read_contents
from toolkit.stages.release.datasheet import Facts, datasheet
from toolkit.stages.release.fields import ReleasedField
from toolkit.stages.release.groups import Anonymity
from toolkit.stages.release.keys import release_key
from toolkit.stages.release.readme import licence_text, readme
from toolkit.stages.release.tables import column_names, file_of, tables_of, write_tables
from toolkit.workspace import releases
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.new_folder import new_folder, refuse_place
from toolkit.workspace.pictures import NO_PHOTOGRAPH, THREADS, write_pictures
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_split
from toolkit.workspace.verification import verify

MANIFEST = "manifest.json"
CHECKED = (
    "look through all photographs (toolkit export coco DIR --images writes them without what leads to a person), then "
    "say who did: --photographs-checked-by NAME"
)


@dataclass(frozen=True)
class Released:
    """What was released, or would be; `release_id` and `released_split` are there once it was."""

    applied: bool
    folder: str
    study: str
    version: str
    licence: str
    split_id: str
    """The split of the workspace whose subsets it has."""
    cases: int
    photographs: int
    patients: int
    readings: int
    parts: dict[str, int]
    """Cases by subset; those in none are left out of this count only."""
    photographs_left_out: dict[str, int]
    """By reason: their cases are released without a photograph."""
    fields: list[ReleasedField]
    fields_left_out: dict[str, str]
    anonymity: Anonymity
    key_file: str | None
    """None: the key is random and thrown away."""
    problems: list[str]
    """Why it cannot be released as it is."""
    release_id: str | None = None
    released_split: str | None = None
    files: int = 0
    megabytes: float = 0.0


class _Order(NamedTuple):
    """What a release is made from."""

    workspace: Workspace
    study: Study
    study_folder: Path
    section: ReleaseSection
    split_id: str
    truth_id: str
    contents: Contents


@one_at_a_time("release")
def release(  # noqa: PLR0913 - what a release is made from
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    folder: Path,
    *,
    study_folder: Path | None = None,
    split: str = "latest",
    checked_by: str | None = None,
    apply: bool = False,
    progress: Progress = silent,
) -> Released:
    """Return what a release of a split holds and, with `apply`, write it into a new folder, whole or not at all.

    `key` is that of the study's pseudonyms: with it values are searched for patients' identifiers. `checked_by` names
    who has looked through the photographs. The same registry and release key give the same bytes.
    """
    section = _section(study)
    study_folder = study_folder or Path()
    licence_text(study, section, study_folder)
    refuse_place(folder, workspace.folder)
    with workspace.reading():
        order = _ordered(workspace, study, section, key, study_folder, split, create=apply)
    planned = _planned(order, folder, checked_by=checked_by)
    if not apply:
        return planned
    if planned.problems:
        remedy = "docs/release.md says what to do; without --apply the command says what would be released"
        raise WorkspaceError(f"nothing was released: {'; '.join(planned.problems)}", remedy=remedy)
    with new_folder(folder, workspace=workspace.folder) as new:
        written, manifest = _write(order, new, planned, progress)
        record = _record(order, new, manifest, key.pseudonym("a", normalise(str(checked_by))))
        releases.record(workspace, record, order.contents.patients)  # before anybody can have the release
    size = round(size_of(folder) / 1e6, 1)
    return replace(written, applied=True, megabytes=size)


def _ordered(  # noqa: PLR0913 - what is read together
    workspace: Workspace,
    study: Study,
    section: ReleaseSection,
    key: PseudonymKey,
    study_folder: Path,
    split: str,
    *,
    create: bool,
) -> _Order:
    """Return what a release is made from, all of one state of the registry; with `create`, make the key's file."""
    split_id = find_split(workspace, split)
    own = release_key(workspace, study, study_folder=study_folder, create=create)
    contents = read_contents(workspace, study, section, key, own, split_id)
    [labels] = workspace.rows("select truth_id from label_states")
    return _Order(workspace, study, study_folder, section, split_id, labels["truth_id"], contents)


def _section(study: Study) -> ReleaseSection:
    if study.release is None:
        raise StudyError(
            "the study file does not say under which licence its data may be released",
            place="[release] licence",
            remedy='add `[release]` with `licence = "…"` and the fields to release: docs/release.md',
        )
    return study.release


def _planned(order: _Order, folder: Path, *, checked_by: str | None) -> Released:
    """Return what would be released, as far as it can be known before photographs are opened."""
    contents, section = order.contents, order.section
    images = {case.image_id: case.path for case in contents.cases}
    without = sum(path is None for path in images.values())
    return Released(
        applied=False,
        folder=str(folder),
        study=order.study.study.name,
        version=section.version,
        licence=section.licence,
        split_id=order.split_id,
        cases=len(contents.cases),
        photographs=len(images) - without,
        patients=len(contents.patients),
        readings=sum(len(case.readings) for case in contents.cases),
        parts=_parts(contents),
        photographs_left_out={NO_PHOTOGRAPH: without} if without else {},
        fields=contents.fields,
        fields_left_out=contents.fields_left_out,
        anonymity=contents.anonymity,
        key_file=section.key_file,
        problems=_problems(order, checked_by),
    )


def _parts(contents: Contents) -> dict[str, int]:
    parts = Counter(case.part for case in contents.cases if case.part and case.class_name)
    return {part: parts[part] for part in ("train", "validation", "test", "external") if parts[part]}


def _problems(order: _Order, checked_by: str | None) -> list[str]:
    """Return what has to be put right before anything is released."""
    hidden, fields = order.contents.anonymity, order.contents.fields
    problems = [f"no photograph has the metadata field {each.name}" for each in fields if not _is_known(each)]
    if hidden.small_groups == "refuse" and hidden.patients_in_small_groups:
        names = ", ".join(hidden.quasi_identifiers)
        problems.append(
            f"{hidden.patients_in_small_groups} of {len(order.contents.patients)} patients are in groups of fewer than "
            f"{hidden.least} who are alike in {names} ([release] small_groups, age_years and fields decide)"
        )
    if not (checked_by or "").strip():
        problems.append(f"nobody has confirmed that photographs show no face, tattoo or label with a name: {CHECKED}")
    return problems


def _is_known(field: ReleasedField) -> bool:
    return bool(field.photographs or field.left_out)


def _write(order: _Order, new: Path, planned: Released, progress: Progress) -> tuple[Released, dict[str, Any]]:
    """Write the files of a release; return what was released, and its manifest."""
    contents, own, section = order.contents, order.contents.key, order.section
    of_image = {case.image_id: case for case in contents.cases}
    paths = {new / file_of(own, case): case for case in sorted(of_image.values(), key=lambda case: file_of(own, case))}
    faults = write_pictures(paths, progress=progress)
    pictures = _probed({case.image_id: path for path, case in paths.items() if path not in faults})
    tables = tables_of(contents, order.study, pictures)
    write_tables(new, tables)
    certified = write_certificate(new / "split", order.workspace, order.study, order.split_id, contents, pictures)
    verify(new / "split")
    left_out = dict(sorted(Counter(faults.values()).items()))
    facts = Facts(column_names(contents.kinds), left_out)
    texts = {
        "README.md": readme(order.study, section, facts.columns, contents.kinds),
        "LICENSE.txt": licence_text(order.study, section, order.study_folder),
        "datasheet.md": datasheet(new, order.study, section, contents, facts),
    }
    for name, text in texts.items():
        write_atomically(new / name, text.encode())
    released = replace(planned, photographs=len(pictures), photographs_left_out=left_out, released_split=certified)
    manifest = _manifest(released, digests_of(new))
    write_json(new / MANIFEST, manifest)
    write_atomically(new / SUMS, sums_text(digests_of(new)).encode())
    return replace(released, release_id=manifest["release_id"], files=len(manifest["files"]) + 2), manifest


def _probed(paths: Mapping[str, Path]) -> dict[str, Probe]:
    """Return the digests and sizes of the pictures that were written, by photograph."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(paths, pool.map(lambda path: probe(read_bytes(path)), paths.values()), strict=True))


def _manifest(released: Released, digests: dict[str, str]) -> dict[str, Any]:
    """Return what a release is; no time stands in it, and nothing of the workspace."""
    hidden = released.anonymity
    return {
        "release_id": short_id(digests),
        "data_set": released.study,
        "version": released.version,
        "licence": released.licence,
        "toolkit": version("lesion-toolkit"),
        "split_id": released.released_split,
        "cases": released.cases,
        "photographs": released.photographs,
        "photographs_left_out": released.photographs_left_out,
        "patients": released.patients,
        "readings": released.readings,
        "parts": released.parts,
        "smallest_group": hidden.smallest_group,
        "quasi_identifiers": hidden.quasi_identifiers,
        "files": digests,
    }


def _record(order: _Order, new: Path, manifest: dict[str, Any], checked_by: str) -> dict[str, Any]:
    """Return what the workspace keeps of a release."""
    names = ("release_id", "version", "licence", "cases", "photographs", "patients", "smallest_group")
    return {
        **{name: manifest[name] for name in names},
        "made_at": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        "split_id": order.split_id,
        "truth_id": order.truth_id,
        "checked_by": checked_by,
        "key_fingerprint": order.contents.key.fingerprint,
        "manifest_sha256": sha256_of_file(new / MANIFEST),
    }
