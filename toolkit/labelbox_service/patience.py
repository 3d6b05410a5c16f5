"""Retries with exponential backoff and jitter after errors that may pass."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class PassingError(Exception):
    """A fault that may be gone in a moment: a busy server, a cut connection. What was asked may have been done."""


class NotTakenError(PassingError):
    """A rate limit: what was asked was not looked at, and can be asked again without asking what became of it."""


@dataclass(frozen=True)
class Patience:
    """Waits between tries double from `first` to `longest` seconds; each is drawn from its upper half (jitter)."""

    tries: int = 7
    first: float = 1.0
    longest: float = 60.0
    poll: float = 2.0
    """Seconds between two looks at a task that is not done; they grow to five times that."""
    settle: float = 30.0
    """Seconds after which what was sent can be seen: until then, that it is not there proves nothing."""
    sleep: Callable[[float], None] = time.sleep

    def keep(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns; try again after a PassingError, and let the last one out."""
        for turn in range(self.tries - 1):
            try:
                return attempt()
            except PassingError:
                self.pause(turn)
        return attempt()

    def pause(self, turn: int) -> None:
        """Wait after a try that failed, the first of which is turn 0."""
        self.sleep(min(self.first * 2**turn, self.longest) * random.uniform(0.5, 1.0))
