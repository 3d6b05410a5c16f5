"""What one format has written: the cases, the pictures, what was left out and why, and facts of its own."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Written:
    """What a format has written; `left_out` says for each case that is not in it why."""

    cases: int
    pictures: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
