"""The key of a release, from which come the IDs of everything in it and the shifts of dates."""

import secrets
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import StudyError
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey, load_key
from toolkit.workspace.registry import Workspace

FIRST_SHIFT = 36_525
"""Days: a released date lies a hundred to two hundred years after the true one, so that nobody takes it for true."""
SHIFTS = 36_524


class ReleaseKey(NamedTuple):
    """The key; `fingerprint` is that of its file, None of a random one that nobody keeps."""

    key: PseudonymKey
    fingerprint: str | None

    def patient(self, pseudonym: str) -> str:
        """Return a patient's ID within the release."""
        return self.key.pseudonym("p", pseudonym)

    def lesion(self, patient: str, pseudonym: str) -> str:
        """Return a lesion's ID; one that two patients share becomes two."""
        return self.key.pseudonym("l", patient, pseudonym)

    def photograph(self, image_id: str) -> str:
        """Return a photograph's ID."""
        return self.key.pseudonym("i", image_id)

    def case(self, case_id: str) -> str:
        """Return a case's ID."""
        return self.key.pseudonym("c", case_id)

    def annotator(self, pseudonym: str) -> str:
        """Return an annotator's ID."""
        return self.key.pseudonym("a", pseudonym)

    def shifted(self, day: date, patient: str) -> date:
        """Return a patient's date, moved by as many days as all dates of the patient."""
        drawn = int(self.key.pseudonym("d", patient).removeprefix("d-"), 16) % SHIFTS
        return day + timedelta(days=FIRST_SHIFT + drawn)


def release_key(workspace: Workspace, study: Study, *, study_folder: Path, create: bool) -> ReleaseKey:
    """Return the key in the study's key_file, or a random one: also where the file is not there and none is to be made.

    Raises StudyError for a file inside the workspace, or one that cannot be read.
    """
    section = study.release
    file = study_folder / section.key_file if section and section.key_file else None
    if file is None or not (create or file.exists()):
        return ReleaseKey(PseudonymKey(secrets.token_bytes(32), published=False), None)
    if file.resolve().is_relative_to(workspace.folder.resolve()):
        problem = "the key of the release would stand inside the workspace, and be given away with it"
        raise StudyError(problem, place=str(file), remedy="name a [release] key_file outside the workspace")
    given = load_key(None, str(file.resolve()), study_folder=study_folder, workspace=workspace.folder)
    # The same file may be named under [privacy]: the secrets are two.
    own = given.of_group(f"release\0{study.study.name}")
    return ReleaseKey(replace(own, join_group=None), own.fingerprint)
