"""What a planned study will be able to say: how wide its laws' intervals will be.

Before anything is measured a law's interval follows from its points, the curve and the noise that
are expected: the delta method at the expected curve, with the degrees of freedom that the planned
runs leave for the noise. Curve and noise come from a pilot study, or are assumed and said to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.solve import Batch
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import Intervals, intervals
from distillscale.laws.uncertainty.jacobian import reach_by_components
from distillscale.laws.uncertainty.noise import Noise, estimate_noise, expected_noise
from distillscale.laws.uncertainty.runs import TEACHER, Runs
from distillscale.laws.uncertainty.targets import Target, targets_of

METHOD = "components_t"


@dataclass(frozen=True)
class Expectation:
    """What is expected of a law's points.

    Attributes:
        curve: the form's parameters, at x itself.
        own: standard deviation of a model's own error: of its logarithm, or of the score.
        inherited: of the step that each further stage of a chain adds.
        test: through the test examples.
        shared: correlation of two models' errors through the test examples.
        source: where this comes from, in words.
    """

    curve: Mapping[str, float]
    own: float
    inherited: float
    test: float
    shared: float
    source: str


@dataclass(frozen=True)
class PlannedPoints:
    """Where a law will be measured: x [n], the cell behind each point, its stage."""

    x: Array
    cells: tuple[str, ...]
    stages: tuple[int, ...]


# Assumptions for planning without a pilot, of the size that the lab's studies show: a tenth of the
# removable error is left at e_inf, exponents are those of small models.
ASSUMED_EXPONENT = {"data": 0.4, "size": 0.6}
ASSUMED_FLOOR, ASSUMED_REMOVABLE = 0.05, 0.15
ASSUMED_COLLAPSE = {"s0": 0.95, "r_star": 0.35, "k": 3.0}
ASSUMED_NOISE = {"log error": (0.08, 0.05), "score": (0.02, 0.01)}
ASSUMED_SHARED = 0.5


def assumed(form: Form, x: Array, examples: int, chance: float | None) -> Expectation:
    """What is expected where nothing was measured.

    Args:
        form: the law.
        x: where it will be measured.
        examples: size of the test set.
        chance: the score of guessing; None for laws without it.
    """
    own, inherited = ASSUMED_NOISE[form.scale]
    if form.scale == "score":
        curve = ASSUMED_COLLAPSE | {"chance": chance or 0.0}
        test = float(np.sqrt(0.25 / examples))
    else:
        floor, factor, exponent = form.names
        power = ASSUMED_EXPONENT.get(form.name, 0.5)
        middle = float(form.reference(x))
        curve = {
            floor: ASSUMED_FLOOR,
            factor: ASSUMED_REMOVABLE * middle**power,
            exponent: power,
        }
        error = ASSUMED_FLOOR + ASSUMED_REMOVABLE
        test = float(np.sqrt((1 - error) / (error * examples)))
    shown = ", ".join(f"{name} {value:.3g}" for name, value in curve.items())
    return Expectation(
        curve, own, inherited, test, ASSUMED_SHARED,
        f"assumed: {shown}; noise of a run {own:g}, of a further stage {inherited:g}, of "
        f"{examples} test examples {test:.2g} ({form.scale})",
    )  # fmt: skip


def from_pilot(pilot: Sequence[Fitted], which: int, source: str) -> Expectation:
    """What the laws of a pilot study let expect.

    Args:
        pilot: fitted laws that share their noise, on the logarithm or the score.
        which: the one whose curve is expected.
        source: the pilot's name.

    Raises:
        InputError: the pilot leaves nothing over to estimate noise from.
    """
    law, noise = pilot[which], estimate_noise(pilot)
    form = law.problem.form
    values = form.rescale(law.estimate, law.reference)[0]
    own, inherited = np.sqrt(np.append(noise.variances[0], 0.0)[:2])
    test = float(np.sqrt(np.mean([np.diag(fit.runs.test).mean() for fit in pilot])))
    pairs = [fit.runs.test[~fit.runs.same_point] for fit in pilot]
    shared = float(np.concatenate(pairs).mean() / max(test**2, 1e-300))
    return Expectation(
        dict(zip(form.names, values.tolist(), strict=True)), float(own), float(inherited), test,
        float(np.clip(shared, 0.0, 1.0)),
        f"curve and noise of {source}: noise of a run {own:.3g}, of a further stage "
        f"{inherited:.3g}, of the test examples {test:.3g} ({form.scale}; {noise.runs} runs, "
        f"{noise.degrees()[0]:.0f} degrees of freedom)",
    )  # fmt: skip


def planned_law(law: str, points: PlannedPoints, expected: Expectation) -> Fitted:
    """The law as it would be fitted to planned points if they came out as expected."""
    form = FORMS[law]
    reference = np.asarray(form.reference(points.x))
    natural = np.array([expected.curve[name] for name in form.names])
    parameters = form.rescale(natural, 1 / reference)
    x = points.x / reference
    y = form.curve(parameters, x)
    known = {p.name: expected.curve[p.name] for p in form.parameters if p.fixed}
    low, high = form.bounds(x, y, known).T
    batch = Batch(form, x, y[None], np.ones((1, len(x))), low[None], high[None])
    return Fitted(batch, parameters[None], _planned_runs(points, expected), reference)


def _planned_runs(points: PlannedPoints, expected: Expectation) -> Runs:
    stage = np.array(points.stages, dtype=int)
    _, run = np.unique(points.cells, return_inverse=True)
    run = np.where(stage > 0, run, TEACHER)
    same = (run[:, None] == run) & (stage[:, None] == stage)
    correlation = np.where(same, 1.0, expected.shared)
    return Runs(run, stage, expected.test**2 * correlation)


@dataclass(frozen=True)
class Design:
    """Planned laws of one form and metric, which share their noise.

    Raises:
        InputError: (in its methods) the points leave nothing over to estimate noise from.
    """

    laws: tuple[Fitted, ...]
    expected: Expectation

    def noise(self) -> Noise:
        """The expected components, as well known as the planned runs let them be."""
        variances = [self.expected.own**2, self.expected.inherited**2]
        return expected_noise(self.laws, variances[: len(self.laws[0].runs.components())])

    def intervals(self, level: float) -> list[Intervals]:
        """The expected intervals of each law's `findings`."""
        noise = self.noise()
        return [intervals(law, noise, findings(law), METHOD, level) for law in self.laws]

    def reaches(self, level: float) -> Array:
        """How far each law's intervals reach, where possible values do not cut them, [laws, t]."""
        noise = self.noise()
        return np.stack(
            [reach_by_components(law, noise, findings(law), level)[0] for law in self.laws]
        )


def findings(law: Fitted) -> tuple[Target, ...]:
    """The parameters that mean something by themselves: not a factor at x = 1."""
    form = law.problem.form
    limits = form.bounds(law.problem.x, law.problem.y[0], law.known)
    skipped = {parameter.name for parameter in form.parameters if parameter.rests_on}
    found = targets_of(form, law.reference, limits)
    return tuple(target for target in found if target.name not in skipped)
