"""The study file that a command works with, and the key of its pseudonyms."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import DamagedError, StudyError
from toolkit.manifest import Study, load_study
from toolkit.privacy import PseudonymKey, default_key_file, load_key
from toolkit.workspace.landed import landed_exports
from toolkit.workspace.note import known_key, known_study
from toolkit.workspace.registry import Workspace


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


def open_study(workspace: Workspace, given: Path | None) -> StudyFile:
    """Return the study: the file given, else study.toml here, else the one the workspace was made with."""
    if given is not None:
        return StudyFile(load_study(given), given.resolve())
    here = Path("study.toml")
    if here.is_file():
        return StudyFile(load_study(here), here.resolve())
    known = known_study(workspace)
    if known is None:
        raise StudyError(
            "no study file was given",
            place=str(Path.cwd()),
            remedy="give --study FILE.toml, or work where study.toml is",
        )
    return StudyFile(load_study(known), known)


def _key_of_splits(workspace: Workspace, study: Study, keys: list[PseudonymKey]) -> PseudonymKey | None:
    """Return under which of the keys a patient of the exports stands in a split, where everything else is lost."""
    from toolkit.labelbox_json.withdrawn_filter import rows_with_identity  # noqa: PLC0415 - half a second, hardly ever needed
    from toolkit.workspace.certificate import read_rows, split_folders  # noqa: PLC0415 - as above, with SciPy

    patients = {row.patient_id for folder in split_folders(workspace) for row in read_rows(folder)}
    for export in landed_exports(workspace) if patients else []:
        for _, identity in rows_with_identity(export.path, study):
            written = identity.patients if identity else ()
            for key in keys:
                if any(key.pseudonym("p", patient) in patients for patient in written):
                    return key
    return None
