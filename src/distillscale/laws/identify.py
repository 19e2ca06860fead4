"""Which parameters the data determine, and in words why the others are not determined."""

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form, Parameter
from distillscale.laws.profile import NEAR_HIGH, NEAR_LOW, Profile, place

Range = tuple[float, float]

ALMOST_ALL = 0.9  # of the room between the limits
EVERYTHING = "spans every value that was possible anyway"


def too_few(form: Form, distinct: int) -> str:
    """The reason if there are too few different x for the form, else an empty text."""
    if distinct > len(form.free):
        return ""
    return f"{distinct} different x for {len(form.free)} parameters"


def unidentified(
    form: Form, limits: Array, intervals: dict[str, Range | None], profiles: dict[str, Profile]
) -> dict[str, str]:
    """The parameters that are not identified, each with the reason in words.

    Limits and intervals are of the problem as it was solved (x / reference), profiles at x.
    """
    reasons: dict[str, str] = {}
    for parameter, (low, high) in zip(form.parameters, limits, strict=True):
        if parameter.fixed or parameter.rests_on:
            continue
        profile = profiles.get(parameter.name)
        reason = _spans(parameter, intervals[parameter.name], low, high)
        if profile and _is_bound(form, parameter, profile):
            reasons[parameter.name] = f"only {profile.bound(parameter.name)} is known"
        elif reason:
            reasons[parameter.name] = f"its interval {reason}"
        elif profile and profile.reaches_low and profile.reaches_high:
            reasons[parameter.name] = f"flat profile: the range that fits as well {EVERYTHING}"
    for parameter in form.parameters:
        if parameter.rests_on in reasons:
            reasons[parameter.name] = f"rests on {parameter.rests_on}, which is not identified"
    return reasons


def statement_of(
    name: str,
    value: float,
    found: Range | None,
    bound: str,
    reason: str,
    prior: tuple[float, float] | None,
) -> str:
    """What may be said of a parameter: a value with its range, a bound, or nothing.

    Args:
        name: of the parameter.
        value: its estimate.
        found: its interval, if it has one.
        bound: in words, where only one side is known; else empty.
        reason: why it is not identified; else empty.
        prior: mean and standard deviation, where one was stated.
    """
    if bound:
        said = bound
    elif reason:
        said = f"{name} not identified: {reason}"
    else:
        said = f"{name} = {value:.4g}" + (f" ({found[0]:.4g} to {found[1]:.4g})" if found else "")
    return f"{said}, with the prior {prior[0]:.4g} +- {prior[1]:.4g}" if prior else said


def bounds(form: Form, profiles: dict[str, Profile]) -> dict[str, str]:
    """The parameters of which one side only is known, as `e_inf <= 0.12`; profiles are at x."""
    return {
        parameter.name: profiles[parameter.name].bound(parameter.name)
        for parameter in form.free
        if parameter.name in profiles and _is_bound(form, parameter, profiles[parameter.name])
    }


def _is_bound(form: Form, parameter: Parameter, profile: Profile) -> bool:
    """Whether an estimate would claim more than its profile shows.

    At zero a floor or an exponent has no effect, so a profile that reaches zero has not shown one.
    A floor that may be as large as the smallest error, or a score that may be perfect, is known.
    """
    if not profile.bound(parameter.name):
        return False
    if profile.reaches_low:
        return parameter.open_low or form.scale == "log error"
    return parameter.open_high


def _spans(parameter: Parameter, found: Range | None, low: float, high: float) -> str:
    """How a range fails to pin a parameter down between its limits; empty if it does."""
    if found is None:
        return ""
    limits = np.array([low, high])
    start, end = place(found[0], limits), place(found[1], limits)
    at_low, at_high = start <= NEAR_LOW, end >= 1 - NEAR_HIGH
    if end - start >= ALMOST_ALL:
        return EVERYTHING
    if at_high and parameter.open_high:
        return "reaches the largest value that was searched"
    if at_low and parameter.open_low:
        return "reaches the smallest value that was searched"
    return ""
