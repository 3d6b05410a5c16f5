"""The list of withdrawn patients, `withdrawn.json`: pseudonyms of them and of their photographs, no identifiers."""

import json
from typing import Any

from toolkit.errors import WorkspaceError
from toolkit.files import changed, read_bytes, read_sealed, write_sealed
from toolkit.privacy import PseudonymKey
from toolkit.workspace.registry import Workspace

WITHDRAWN_FILE = "withdrawn.json"
ENTRY = {"patient", "date", "key_fingerprint", "photographs"}
RESTORE = "restore the file from a backup: without it withdrawn patients would come back with their exports"


def read_withdrawn(workspace: Workspace) -> list[dict[str, Any]]:
    """Return one entry for each withdrawn patient: patient, date, key_fingerprint, photographs."""
    path = workspace.folder / WITHDRAWN_FILE
    if not path.exists():
        return []
    data = read_bytes(path, remedy=RESTORE)
    try:
        is_list = data.lstrip().startswith(b"[")  # as earlier versions wrote it
        entries = json.loads(data) if is_list else read_sealed(path, remedy=RESTORE)["withdrawn"]
        if all(set(entry) >= ENTRY for entry in entries):
            return entries
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise changed(path, remedy=RESTORE)


def withdrawn_pseudonyms(workspace: Workspace, key: PseudonymKey) -> frozenset[str]:
    """Return the pseudonyms of all withdrawn patients and photographs.

    Raises WorkspaceError for another key than theirs: nobody would be recognised under it.
    """
    entries = read_withdrawn(workspace)
    if any(entry["key_fingerprint"] != key.fingerprint for entry in entries):
        raise WorkspaceError(
            "patients were withdrawn from this workspace under another pseudonym key; this key does not recognise them",
            place=str(workspace.folder / WITHDRAWN_FILE),
            remedy="use the first key",
        )
    return frozenset(pseudonym for entry in entries for pseudonym in (entry["patient"], *entry["photographs"]))


def withdrawn_photographs(workspace: Workspace, patient: str) -> set[str]:
    """Return the pseudonyms of a withdrawn patient's photographs."""
    entries = read_withdrawn(workspace)
    return {name for entry in entries if entry["patient"] == patient for name in entry["photographs"]}


def record_withdrawal(
    workspace: Workspace, patient: str, photographs: set[str], *, key: PseudonymKey, date: str
) -> None:
    """Add a patient to the list, or photographs to the patient's entry; the date of the first time stays."""
    entries = {entry["patient"]: entry for entry in read_withdrawn(workspace)}
    known = entries.get(patient, {"date": date, "photographs": []})
    entries[patient] = {
        "patient": patient,
        "date": known["date"],
        "key_fingerprint": key.fingerprint,
        "photographs": sorted({*known["photographs"], *photographs}),
    }
    write_sealed(workspace.folder / WITHDRAWN_FILE, {"withdrawn": [entries[name] for name in sorted(entries)]})


def photograph_pseudonym(image_id: str, key: PseudonymKey) -> str:
    """Return the pseudonym under which the list holds a photograph."""
    return key.pseudonym("i", image_id)
