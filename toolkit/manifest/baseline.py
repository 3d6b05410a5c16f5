"""The section of a study file about the baseline that is given metadata and no photograph."""

from typing import Annotated

from pydantic import Field

from toolkit.manifest.base import Name, Section


class BaselineSection(Section):
    """What `toolkit baseline` may look at: metadata fields, never a photograph."""

    fields: list[Name] = []
    """Metadata fields; without any, those in the prompt, so that it knows what the model is told."""
    penalty: Annotated[float, Field(gt=0)] = 1.0
    """Strength of the ridge penalty on the coefficients of standardised fields."""
