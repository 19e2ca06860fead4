"""The entries of `schedules` in a study file: how much is kept after each stage."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, field_validator

from distillscale.studies.section import Kept, Section


class Oneshot(Section):
    """One stage that cuts to the target at once."""

    kind: Literal["oneshot"]
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")


class Uniform(Section):
    """Every stage keeps the same share of the model before it."""

    kind: Literal["uniform"]
    stages: Annotated[int, Field(ge=2)] = Field(description="Number of stages.")
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")


class Decayed(Section):
    """Every stage cuts gamma times as much as the one before it, in logarithms."""

    kind: Literal["decayed"]
    stages: Annotated[int, Field(ge=2)] = Field(description="Number of stages.")
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")
    gamma: Kept = Field(description="Factor by which the cut shrinks from stage to stage.")


class Explicit(Section):
    """The share kept after each stage, listed."""

    kind: Literal["explicit"]
    prune_ratios: Annotated[tuple[Kept, ...], Field(min_length=1)] = Field(
        description="Share of the teacher's parameters kept after each stage, falling."
    )

    @field_validator("prune_ratios")
    @classmethod
    def _fall(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if any(later >= earlier for earlier, later in itertools.pairwise(ratios)):
            raise ValueError("each ratio must be smaller than the one before it")
        return ratios


Schedule = Annotated[Oneshot | Uniform | Decayed | Explicit, Field(discriminator="kind")]
