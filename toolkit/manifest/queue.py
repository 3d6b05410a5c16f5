"""The section of a study file about review queues: which labels people look at again."""

from typing import Annotated

from pydantic import Field

from toolkit.manifest.base import Fraction, Section


class QueueSection(Section):
    """Review queues of `toolkit queue`; what an error costs stands in `[report.costs]`."""

    random_share: Fraction = 0.2
    """Share of the review's time for patients drawn at random: only from them can the share of wrong labels be told
    without bias. 0 draws none."""
    seconds_per_case: Annotated[float, Field(gt=0, le=3600)] = 40
    """How long a reviewer takes for a case."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """From which patients are drawn at random."""
