"""The stage `translate`: from a hospital's own identifiers to pseudonyms and back, for who has key and exports.

Every use is noted in the ledger before anything is shown: when, by whom as a pseudonym, how many; never an identifier.
"""

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from toolkit.csv_files import sheet_text
from toolkit.errors import StudyError, WorkspaceError
from toolkit.files import write_atomically
from toolkit.labelbox_json.similar_ids import nobody
from toolkit.labelbox_json.withdrawn_filter import rows_with_identity
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey, normalise
from toolkit.progress import Progress, silent
from toolkit.workspace import ledger
from toolkit.workspace.landed import check_bytes, landed_exports
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

PSEUDONYM = re.compile(r"p-[0-9a-f]{16}")
COLUMNS = ("identifier", "pseudonym", "in_study")


@dataclass(frozen=True)
class Translated:
    """Identifiers beside their pseudonyms; without `pairs` where they were written to `output`."""

    direction: Literal["to pseudonyms", "to identifiers"]
    asked: int
    found: int
    """Of those asked for, to pseudonyms: patients of the study; to identifiers: those that stand in a landed export."""
    pairs: list[dict[str, str | bool]] = field(default_factory=list)
    """identifier, pseudonym, and whether the registry has the patient."""
    output: str | None = None


@one_at_a_time("translate")
def translate_identifiers(
    workspace: Workspace, study: Study, key: PseudonymKey, identifiers: Sequence[str], *, output: Path | None = None
) -> Translated:
    """Return the pseudonym of each identifier, as the registry has it for the person."""
    _check(workspace, study, output)
    known = _known(workspace)
    pairs = []
    for identifier in (each.strip() for each in identifiers):
        if nobody(normalise(identifier)) is not None:
            raise WorkspaceError("this is no identifier of a patient", remedy="give it as the hospital writes it")
        pseudonym = study.ingest.one_person(key.pseudonym("p", normalise(identifier)))[0]
        pairs.append({"identifier": identifier, "pseudonym": pseudonym, "in_study": pseudonym in known})
    found = sum(bool(pair["in_study"]) for pair in pairs)
    return _noted(workspace, key, Translated("to pseudonyms", len(pairs), found, pairs), output)


@one_at_a_time("translate")
def translate_pseudonyms(
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    pseudonyms: Sequence[str],
    *,
    output: Path | None = None,
    progress: Progress = silent,
) -> Translated:
    """Return the identifiers of pseudonyms, as the landed exports write them: several where a person has several."""
    if bad := [number for number, each in enumerate(pseudonyms, start=1) if not PSEUDONYM.fullmatch(each.strip())]:
        problem = f"pseudonym {bad[0]} of {len(pseudonyms)} is none of a patient"
        raise WorkspaceError(problem, remedy="a patient's pseudonym is p- and 16 digits: p-0123456789abcdef")
    _check(workspace, study, output)
    asked = {study.ingest.one_person(each.strip())[0] for each in pseudonyms}
    written: dict[str, tuple[str, str]] = {}
    for export in landed_exports(workspace):
        check_bytes(export)
        for number, (_, identity) in enumerate(rows_with_identity(export.path, study)):
            if number % 1_000 == 0:
                progress("searching the landed exports", number, None)
            for text in identity.written if identity else ():
                person = study.ingest.one_person(key.pseudonym("p", normalise(text)))[0]
                if person in asked:
                    written.setdefault(normalise(text), (text.strip(), person))
    known = _known(workspace)
    pairs = [{"identifier": text, "pseudonym": own, "in_study": own in known} for text, own in written.values()]
    pairs.sort(key=lambda pair: (pair["pseudonym"], pair["identifier"]))
    found = len({pair["pseudonym"] for pair in pairs})
    return _noted(workspace, key, Translated("to identifiers", len(asked), found, pairs), output)


def _check(workspace: Workspace, study: Study, output: Path | None) -> None:
    if study.labelbox.patient_from == "none":
        raise StudyError("the study has no patient identifiers, so that there is nothing to translate")
    if output is None:
        return
    if output.exists() or output.is_symlink():
        raise WorkspaceError("the file is there already", place=str(output), remedy="name a new file")
    if output.resolve().is_relative_to(workspace.folder.resolve()):
        problem = "identifiers would stand inside the workspace, and be given away with it"
        raise WorkspaceError(problem, place=str(output), remedy="name a file outside the workspace")


def _known(workspace: Workspace) -> set[str]:
    rows = workspace.rows("select patient_id from patients") if workspace.is_parsed() else []
    return {row["patient_id"] for row in rows}


def _noted(workspace: Workspace, key: PseudonymKey, result: Translated, output: Path | None) -> Translated:
    """Note the use in the ledger, then write the file; return what is to be shown."""
    entry = {
        "kind": "translation",
        "translated_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "direction": result.direction,
        "asked": result.asked,
        "found": result.found,
        "user": key.pseudonym("u", normalise(_user())),
        "to_file": output is not None,
    }
    ledger.append(workspace, [entry])
    if output is None:
        return result
    rows = ([pair[name] for name in COLUMNS] for pair in result.pairs)
    write_atomically(output, sheet_text(COLUMNS, rows).encode())
    return Translated(result.direction, result.asked, result.found, output=str(output))


def _user() -> str:
    """Return the name under which the system knows who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "unknown"
