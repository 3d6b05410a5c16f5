"""What certificate.json states: the type of every key, so that a stranger's file cannot hold anything else."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
"""How cases, patients, lesions and groups are named in cases.csv."""
Count = Annotated[int, Field(ge=0, le=10**9)]
Number = Annotated[float, Field(ge=0, le=1e9)]
ShortID = Annotated[str, Field(pattern=r"^[0-9a-f]{8}\z")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
Plain = Annotated[str, Field(max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+ -]*\z")]
Binding = Literal["patient", "photograph", "lesion", "identical_bytes", "identical_pixels", "near_duplicate"]


class Keys(BaseModel):
    """Keys of the certificate; others, which this version does not know, may be there and are never shown."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class StatedFiles(Keys, extra="forbid"):
    """SHA-256 of the two other files."""

    cases: Sha256 = Field(alias="cases.csv")
    verify: Sha256 = Field(alias="verify.sql")


class StatedStratum(Keys):
    """The cases of a stratum's value by part, beside the wish."""

    stratum: str
    value: str
    counts: dict[str, Count]
    wished: dict[str, Number]
    bound: Number | None
    """None where no whole numbers of cases meet the minimum."""
    distance: Number


class StatedLink(Keys, extra="forbid"):
    """Two patients who share something."""

    relation: Binding
    patient_id: str
    other_patient_id: str


class StatedIncident(Keys):
    """A group that an earlier split divided."""

    group_id: str
    patients: list[str]
    parts: list[str]
    cases: Count
    done: str


class StatedFrozen(Keys):
    """What was kept of an earlier split."""

    split_id: str
    kept: Count
    placed: Count
    gone: list[str]
    incidents: list[StatedIncident]


class StatedWithdrawal(Keys):
    """Cases that a withdrawal took out of the split."""

    cases: Count
    date: str


class StatedPoint(Keys):
    """A threshold rule of the analysis plan."""

    name: str


class StatedPlan(Keys):
    """The analysis plan that was locked with the split."""

    metric: Plain
    class_name: str | None
    part: Literal["test", "validation", "external"]
    comparison: str | None
    operating_points: list[StatedPoint]
    subgroups: dict[str, list[Any]]


class Stated(Keys):
    """Every key that any version of the toolkit has read from a certificate."""

    split_id: ShortID
    files: StatedFiles
    seal: Sha256
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{16}\z")]
    study: Plain
    toolkit: Plain
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    truth_id: Plain
    exports: list[Sha256]
    minimum: Count
    counts: Annotated[dict[str, dict[str, Count]], Field(min_length=1)]
    strata: list[StatedStratum]
    patients: dict[str, Count]
    groups: Count
    linked_patients: Count
    largest_deviation: Number
    largest_bound: Number | None
    nothing_is_nearer: bool
    photographs_not_opened: Count
    targets: dict[str, Any] = Field(alias="wish")
    binds: Annotated[list[Binding], Field(min_length=1)]
    links: list[StatedLink]
    reasons: dict[str, Count]
    proved_by_verify_sql: str
    needs_photographs: str
    attested_by_the_data_manager: str
    plan: StatedPlan | None = None
    plan_sha256: Sha256 | None = None
    frozen: StatedFrozen | None = None
    withdrawn: list[StatedWithdrawal] = []
    fold: dict[str, Count] | None = None
