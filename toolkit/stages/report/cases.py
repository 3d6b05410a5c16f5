"""The scored cases of a run with what a page shows of each, and the harm of an error."""

from typing import NamedTuple

from toolkit.cases import Box
from toolkit.manifest.evaluation import Costs
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import SIDES


class ReportCase(NamedTuple):
    """A scored case; where two runs are compared, the prediction is that of the second one."""

    part: str
    case_id: str
    image_id: str
    patient_id: str
    truth: str
    predicted: str
    confidence: float
    label_mass: float
    probabilities: dict[str, float]
    resolved_by: str
    agreeing: int
    readings: int
    findings: list[str]
    path: str | None
    sha256: str | None
    """Of the photograph that was parsed."""
    roi: Box | None
    """In pixels of the photograph; None where the whole photograph is the case."""
    groups: list[tuple[str, str]]
    """Metadata field and group."""
    before: str | None = None
    """What the first of two runs predicted."""
    confidence_before: float | None = None

    @property
    def outcome(self) -> str:
        """Whether the prediction is right, or what became of it from the first run to the second."""
        right = self.predicted == self.truth
        if self.before is None:
            return "right" if right else "wrong"
        if right == (self.before == self.truth):
            return "both_right" if right else "both_wrong"
        return "fixed" if right else "broken"


def read_cases(workspace: Workspace, run_id: str) -> list[ReportCase]:
    """Read every scored case of a run: wrong ones first, test set first, the most confident first."""
    cases = []
    for row in workspace.rows(sql.statement("report/cases"), {"run_id": run_id}):
        sides = [row.pop(side) for side in SIDES]
        row["probabilities"] = dict(row["probabilities"])
        cases.append(ReportCase(**row, roi=None if None in sides else Box(*sides), groups=[]))
    return cases


def cost(truth: str, predicted: str, malignant: set[str], costs: Costs) -> float:
    """Return what it costs to take one class for another; nothing where it is right."""
    if truth == predicted:
        return 0.0
    if (truth in malignant) == (predicted in malignant):
        return costs.other
    return costs.malignant_called_benign if truth in malignant else costs.benign_called_malignant
