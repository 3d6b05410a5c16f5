"""workspace.json: which study file a workspace is made with, and what its pseudonyms are made with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError, StudyError
from toolkit.files import changed, read_sealed, write_sealed
from toolkit.privacy import PseudonymKey
from toolkit.workspace.registry import Workspace
from toolkit.workspace.withdrawn import read_withdrawn

NOTE = "workspace.json"
GIVE_STUDY = "move the file away and give --study FILE.toml: it is then written anew"


@dataclass(frozen=True)
class Pseudonyms:
    """What a workspace's pseudonyms are made with; without a join group where the key is published, or of old."""

    join_group: str | None
    key_fingerprint: str


@dataclass(frozen=True)
class Note:
    """What workspace.json says; earlier versions of the toolkit wrote the study only."""

    study: Path
    pseudonyms: Pseudonyms | None


def read_note(workspace: Workspace) -> Note | None:
    """Return what workspace.json says, or None where there is none; raise DamagedError where it cannot be used."""
    path = workspace.folder / NOTE
    if not path.exists():
        return None
    document = read_sealed(path, remedy=GIVE_STUDY)
    try:
        study, stated = document["study"], document.get("pseudonyms")
        pseudonyms = None if stated is None else Pseudonyms(stated["join_group"], stated["key_fingerprint"])
    except (KeyError, TypeError):
        raise changed(path, remedy=GIVE_STUDY) from None
    texts = (study, *([pseudonyms.join_group or "", pseudonyms.key_fingerprint] if pseudonyms else []))
    if not all(isinstance(text, str) for text in texts):
        raise changed(path, remedy=GIVE_STUDY)
    return Note(Path(study), pseudonyms)


def known_study(workspace: Workspace) -> Path | None:
    """Return the study file that a workspace was made with, whether or not it is still there."""
    note = read_note(workspace)
    return note.study if note else None


def remember_key(workspace: Workspace, study: Path, key: PseudonymKey) -> None:
    """Note what pseudonyms are made with, before the first one is; raise StudyError where another key is noted.

    From then on neither another name of the study nor a registry that is lost gives a patient another pseudonym.
    """
    known_key(workspace, [key])
    note = read_note(workspace)
    if note is None or note.pseudonyms is None:
        _write(workspace, Note(note.study if note else study, Pseudonyms(key.join_group, key.fingerprint)))


def remember_study(workspace: Workspace, study: Path) -> None:
    """Note which study file the workspace is made with."""
    note = read_note(workspace)
    _write(workspace, Note(study, note.pseudonyms if note else None))


def _write(workspace: Workspace, note: Note) -> None:
    document: dict[str, Any] = {"study": str(note.study)}
    if note.pseudonyms:
        document["pseudonyms"] = asdict(note.pseudonyms)
    write_sealed(workspace.folder / NOTE, document)


def known_key(workspace: Workspace, keys: Sequence[PseudonymKey]) -> PseudonymKey | None:
    """Return which of the keys the workspace's pseudonyms are made with; None where nothing tells.

    `keys` are those that a study can mean, the one without a join group last. Raises StudyError where none of them is.
    """
    note = read_note(workspace)
    used = {note.pseudonyms.key_fingerprint} if note and note.pseudonyms else _used(workspace)
    if not used:
        return keys[-1] if note else None  # a note without pseudonyms is of an earlier version, which had no groups
    fitting = next((key for key in keys if key.fingerprint in used), None)
    if fitting is None:
        raise _other_key(workspace, note, keys[0], min(used))
    return fitting


def _used(workspace: Workspace) -> set[str]:
    """Return the fingerprints of the keys that registry and suppression list tell of."""
    try:
        rows = workspace.rows("select key_fingerprint from label_states") if workspace.is_parsed() else []
    except DamagedError:  # `rebuild` is at work
        rows = []
    return {row["key_fingerprint"] for row in [*rows, *read_withdrawn(workspace)]}


def _other_key(workspace: Workspace, note: Note | None, key: PseudonymKey, used: str) -> StudyError:
    """Return what to tell where a study's pseudonyms would be other ones than the workspace's."""
    group = note.pseudonyms.join_group if note and note.pseudonyms else None
    if group is not None and group != key.join_group and not key.published:
        return StudyError(
            f'the pseudonyms of this workspace belong to the join group "{group}", those of the study now to '
            f'"{key.join_group}": the same patients would get other pseudonyms',
            place=str(workspace.folder / NOTE),
            remedy=f'write join_group = "{group}" under [privacy] of the study file, or start a new workspace',
        )
    return StudyError(
        f"this workspace was made with pseudonym key {used}, the study now names key {key.fingerprint}",
        place=str(workspace.folder),
        remedy="use the first key, or start a new workspace",
    )
