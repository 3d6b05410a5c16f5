"""Every error that a user can put right.

    ToolkitError            what is wrong, where, what to do next: shown without a traceback, exit code 1
    ├── StudyError          a study file: unknown key, missing key, wrong value
    ├── ExportError         an export that cannot be read at all (single bad rows are quarantined, not raised)
    ├── PhotographError     a photograph that cannot be used; carries a reason code
    ├── WorkspaceError      something the workspace lacks, or holds differently from what was asked
    │   └── DamagedError    a file that was changed or damaged, or that is not what it should be
    ├── QuestionError       SQL or a question that cannot be answered
    ├── SplitError          a split that cannot be made as the study asks for it
    ├── LeakError           a certificate that does not hold
    ├── PredictionsError    a file of predictions that cannot be used
    ├── ReviewError         a file of verdicts that cannot be used
    ├── AttachError         a file of a study's own data about patients that cannot be used
    ├── ClaimsError         a file of claims that cannot be used, or a report that contradicts its own counts
    ├── ModelError          a checkpoint, a device or a training that cannot be used
    └── ServiceError        Labelbox: a key, a project, a network, an export that did not come

Anything else that is raised is our own bug and keeps its traceback.
"""


class ToolkitError(Exception):
    """Something the user can put right: `problem`, the `place` it was found, the `remedy` to try next."""

    def __init__(self, problem: str, *, place: str | None = None, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"\n  where: {self.place}" if self.place else ""
        then = f"\n  next:  {self.remedy}" if self.remedy else ""
        return f"{self.problem}{where}{then}"


class StudyError(ToolkitError):
    """A study file that cannot be used."""


class ExportError(ToolkitError):
    """An export that cannot be read at all."""


class PhotographError(ToolkitError):
    """A photograph that cannot be used; `reason` is the code that stands in `ingest_issues`."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class WorkspaceError(ToolkitError):
    """Something the workspace lacks, or holds differently from what was asked."""


class DamagedError(WorkspaceError):
    """A file that cannot be read, or whose bytes are not those that were written."""


class QuestionError(ToolkitError):
    """SQL or a question that cannot be answered."""


class SplitError(ToolkitError):
    """A split that cannot be made as the study asks for it."""


class LeakError(ToolkitError):
    """A certificate that does not hold, or cases that a run has seen before."""


class PredictionsError(ToolkitError):
    """A file of predictions that cannot be used."""


class ReviewError(ToolkitError):
    """A file of verdicts that cannot be used."""


class AttachError(ToolkitError):
    """A file of a study's own data about patients that cannot be used."""


class ClaimsError(ToolkitError):
    """A file of claims that cannot be used, or a report that contradicts its own counts."""


class ModelError(ToolkitError):
    """A checkpoint, a device or a training that cannot be used."""


class ServiceError(ToolkitError):
    """Something that Labelbox refused, or could not be asked."""
