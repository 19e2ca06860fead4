"""How a prune ratio is reached in stages."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from distillscale.errors import InputError

ScheduleKind = Literal["oneshot", "uniform", "decayed", "explicit"]

_FIELDS: dict[str, tuple[str, ...]] = {
    "oneshot": ("final_ratio",),
    "uniform": ("final_ratio", "stages"),
    "decayed": ("final_ratio", "stages", "gamma"),
    "explicit": ("ratios",),
}
"""The fields that each kind needs; all others stay None."""


@dataclass(frozen=True)
class Schedule:
    """A recipe for kept ratios; one that exists is valid.

    Attributes:
        kind: `oneshot` (one stage), `uniform` (every stage keeps the same share), `decayed` (each
            cut is `gamma` times the one before, in logarithms), `explicit` (the ratios given).
        final_ratio: prune ratio after the last stage, in (0, 1).
        stages: number of stages, at least 1.
        gamma: decay of the log-cuts, in (0, 1); towards 1 the schedule becomes uniform.
        ratios: prune ratio after each stage, strictly decreasing, in (0, 1).

    Raises:
        InputError: a field is missing, does not belong to the kind, or is out of range.
    """

    kind: ScheduleKind
    final_ratio: float | None = None
    stages: int | None = None
    gamma: float | None = None
    ratios: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the fields, their ranges and the ratios that follow from them."""
        _check_fields(self)
        _check_ranges(self)
        _check_decreasing(prune_ratios(self))


def prune_ratios(schedule: Schedule) -> tuple[float, ...]:
    """The prune ratio (share of the teacher that is kept) after each stage, strictly decreasing.

    uniform:  r_k = r^(k/n)
    decayed:  ln r_k = ln r (1 - gamma^k) / (1 - gamma^n), so that ln r_k - ln r_(k+1) shrinks by
              gamma a stage. Assumption: arXiv 2606.24747 describes cuts that decay, but the
              material we have does not give its formula.
    """
    if schedule.ratios is not None:
        return tuple(schedule.ratios)
    final_ratio, stages = schedule.final_ratio, schedule.stages or 1
    assert final_ratio is not None
    shares = (_share_of_log_cut(k, stages, schedule.gamma) for k in range(1, stages + 1))
    # The last share is exactly 1, hence the last ratio exactly `final_ratio`.
    return tuple(final_ratio**share for share in shares)


def _share_of_log_cut(k: int, stages: int, gamma: float | None) -> float:
    if gamma is None:
        return k / stages
    # expm1 keeps 1 - gamma^k accurate where gamma is close to 1.
    return math.expm1(k * math.log(gamma)) / math.expm1(stages * math.log(gamma))


def _check_fields(schedule: Schedule) -> None:
    if schedule.kind not in _FIELDS:
        raise InputError(f"schedule: kind {schedule.kind!r} is not one of {', '.join(_FIELDS)}.")
    needed = _FIELDS[schedule.kind]
    for field in ("final_ratio", "stages", "gamma", "ratios"):
        if (getattr(schedule, field) is not None) != (field in needed):
            state = "is missing" if field in needed else "does not belong there"
            raise InputError(
                f"schedule `{schedule.kind}`: field `{field}` {state}; "
                f"this kind takes exactly {', '.join(needed)}."
            )


def _check_ranges(schedule: Schedule) -> None:
    for field, value in (("final_ratio", schedule.final_ratio), ("gamma", schedule.gamma)):
        if value is not None and not 0 < value < 1:
            raise InputError(
                f"schedule `{schedule.kind}`: {field} {value} is not strictly between 0 and 1."
            )
    stages = schedule.stages
    if stages is not None and not (isinstance(stages, int) and stages >= 1):
        raise InputError(
            f"schedule `{schedule.kind}`: stages {stages} is not a whole number of at least 1."
        )


def _check_decreasing(ratios: tuple[float, ...]) -> None:
    if not ratios:
        raise InputError("schedule `explicit`: ratios is empty; give the ratio after each stage.")
    for stage, (before, after) in enumerate(pairwise((1.0, *ratios)), start=1):
        if not 0 < after < before:
            raise InputError(
                f"schedule: the ratio {after} of stage {stage} is not between 0 and the {before} "
                "before it; every stage must remove something."
            )
