"""A law with the points behind it, seen from one place: which point pulls the prediction how much.

Near its fit a law is linear in its parameters, so its prediction at x is a weighted sum of the
measured values (on the metric's scale, see `scale`): w = j(x) (J'WJ)^+ J'W, with J the derivatives
at the points, j(x) those at x, W how much the fit counts each point. From the weights follow both
errors of the prediction: how runs scatter (`leverage`, times the variance of a run) and how test
examples do (`sampling`, paired between laws and models because all were measured on the same
resamples).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.advice.scale import Scale
from distillscale.laws.arrays import Array
from distillscale.laws.fit import measured_points
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.likelihoods import likelihood_of
from distillscale.laws.metrics import value_of
from distillscale.laws.plan import LawPlan
from distillscale.laws.points import Points, read_points
from distillscale.laws.problem import own_parameters, problem_of, redrawn
from distillscale.laws.solve import Batch, solve

BEYOND_SHARE = 0.5
UNTRAINED = " (pruned only)"  # ends the kind of a law of models that are never trained
SMALLEST_DIRECTION = 1e-6  # of the derivatives' matrix, relative; below it nothing is known


@dataclass(frozen=True)
class LawPoints:
    """One law's points: x and measured values [n], their cell and seed, and how tests scatter them.

    `name`: of its configuration. `kind`: laws of one kind miss their points alike; the form's name,
    and whether models are only pruned, which holds no training. `deviations` [draws, n] are on the
    metric's scale; [0, n] where there are no replicates. `problem`: what is solved for all points
    (b = 1, at x / reference); `errors`: the standard errors that it counts points by, [n], None
    where it does not.
    """

    form: Form
    name: str
    kind: str
    task: str
    metric: str
    x_name: str
    scale: Scale
    points: Points
    fixed: dict[str, float]
    cells: Array
    deviations: Array
    problem: Batch
    errors: Array | None

    def only(self, chosen: Array) -> "LawPoints":
        """The law with some of its points (a mask)."""
        p = self.points
        places = np.flatnonzero(chosen)
        points = replace(
            p,
            x=p.x[places],
            value=p.value[places],
            smallest=p.smallest[places],
            examples=p.examples[places],
            replicates=tuple(p.replicates[i] for i in places),
            seeds=tuple(p.seeds[i] for i in places),
            cells=tuple(p.cells[i] for i in places),
            stages=tuple(p.stages[i] for i in places),
        )
        return replace(
            self,
            points=points,
            cells=self.cells[places],
            deviations=self.deviations[:, places],
            errors=None if self.errors is None else self.errors[places],
        )

    def value(self, parameters: Array, x: Array) -> Array:
        """The metric at x, [..., n]."""
        predicted = self.form.curve(parameters, x)
        return predicted if self.form.scale == "score" else value_of(self.metric, predicted)

    def fits(self, weights: Array) -> Array:
        """The parameters fitted to the points, each counted as often as weights say, [b, p].

        The same problem as `fit_law` solves (the noise that all points tell kept), without its
        evidence.
        """
        y = np.tile(self.problem.y, (len(weights), 1))
        found, _ = solve(redrawn(self.problem, y, weights))
        reference = self.form.reference(self.points.x)
        return self.form.rescale(own_parameters(self.problem, found), reference)

    def residuals(self, parameters: Array) -> Array:
        """Measured minus predicted, on the metric's scale, [n]."""
        predicted = self.value(parameters, self.points.x)
        return np.asarray(self.scale.there(self.points.value) - self.scale.there(predicted))

    def degrees(self, parameters: Array) -> Array:
        """The share of a run's variance that each point's residual keeps, [n].

        A parameter that the fit left at its bound was not free to follow the points.
        """
        free = [not parameter.fixed for parameter in self.form.parameters]
        moving = np.logical_not(self._at_bounds(parameters)[free])
        everything = np.ones(len(self.points))
        pulls = self._pulls(parameters, self.points.x, everything, moving)
        return np.asarray(((np.eye(len(everything)) - pulls) ** 2).sum(axis=1))

    @property
    def at_places(self) -> Array:
        """Which points lie at which place, that is x but for 1 %, [n, places]."""
        places = np.unique(np.log(self.points.x).round(2), return_inverse=True)[1]
        return np.asarray(places[:, None] == np.arange(places.max() + 1), dtype=float)

    def _at_bounds(self, parameters: Array) -> Array:
        """Which parameters lie at a bound of the search, [p]."""
        reference = self.form.reference(self.points.x)
        y = self.points.on_scale(self.form, self.points.value)
        low, high = self.form.bounds(self.points.x / reference, y, self.fixed).T
        there = self.form.rescale(parameters[None], 1 / reference)[0]
        near = 1e-6 * np.maximum(np.abs(there), 1e-3)
        return np.asarray((there <= low + near) | (there >= high - near))

    def pulls(self, parameters: Array, x: Array, kept: Array) -> Array:
        """How much each point that was kept pulls the prediction at each x, [m, n]."""
        everything = np.ones(len(self.form.free), dtype=bool)
        return self._pulls(parameters, x, kept, everything)

    def _pulls(self, parameters: Array, x: Array, kept: Array, moving: NDArray[np.bool_]) -> Array:
        """Weighted least squares in the parameters that move: j (J'WJ)^+ J'W."""
        root = np.sqrt(self._precisions(parameters)) * kept
        slopes = self._slopes(parameters, self.points.x)[:, moving] * root[:, None]
        size = np.linalg.norm(slopes, axis=0)
        size[size == 0] = 1
        inverse = np.linalg.pinv(slopes / size, rcond=SMALLEST_DIRECTION)
        return np.asarray((self._slopes(parameters, x)[:, moving] / size @ inverse) * root)

    def _precisions(self, parameters: Array) -> Array:
        """How much the fit counts each point, on the metric's scale, [n].

        Counts and log errors are about equally precise there already; for the others the fit's
        standard errors (or that of a score, the same for all) are turned to that scale.
        """
        if self.problem.likelihood is not None or self.scale.name != "angle":
            return np.ones(len(self.points))
        predicted = np.clip(self.value(parameters, self.points.x), 1e-3, 1 - 1e-3)
        turned = predicted * (1 - predicted)  # of a variance as an angle
        found: Array = turned if self.errors is None else turned / self.errors**2
        return found / found.mean()

    def leverage(self, pulls: Array) -> Array:
        """Variance of predictions in units of a run's, [m].

        The larger of two answers: every point errs for itself, or all of a chain err together
        (children inherit their parent's error).
        """
        alone = (pulls**2).sum(axis=1)
        chains = np.unique(self.cells, return_inverse=True)[1]
        sums = pulls @ (chains[:, None] == np.arange(chains.max() + 1))
        return np.asarray(np.maximum(alone, (sums**2).sum(axis=1)))

    def place_leverage(self, pulls: Array) -> Array:
        """Variance of predictions in units of the misfit's, shared by all runs at a place, [m]."""
        return np.asarray(((pulls @ self.at_places) ** 2).sum(axis=1))

    def sampling(self, pulls: Array) -> Array:
        """How predictions vary over the common resamples of test examples, [m, draws]."""
        return np.asarray(pulls @ self.deviations.T)

    def _slopes(self, parameters: Array, x: Array) -> Array:
        """Derivatives of the prediction on the metric's scale by each free parameter, [m, p]."""
        free = [not parameter.fixed for parameter in self.form.parameters]
        value = self.value(parameters, x)
        curve = self.form.curve(parameters, x)
        step = 1e-4 * np.maximum(np.abs(curve), 1e-6)
        turned = 1.0 if self.form.scale == "score" else self._turned(curve, step)
        middle = self.scale.there(value + step) - self.scale.there(value - step)
        outer = middle / (2 * step) * turned
        gradient: Array = self.form.gradient(parameters, x)[free] * outer
        return gradient.T

    def _turned(self, curve: Array, step: Array) -> Array:
        """The sign of the step from an error to the metric's value."""
        up, down = value_of(self.metric, curve + step), value_of(self.metric, curve - step)
        return np.asarray((up - down) / (2 * step))


def law_points(plan: LawPlan, scale: Scale) -> LawPoints:
    """The points of a planned law."""
    form = FORMS[plan.law]
    points = read_points(plan.rows, form, plan.x)
    names = [parameter.name for parameter in form.parameters if parameter.fixed]
    fixed = {name: float(plan.rows[name].dropna().median()) for name in names}
    problem = _problem(form, points, fixed)
    return LawPoints(
        form=form,
        name="/".join(str(value) for _, value in sorted(plan.group.items())),
        kind=form.name if plan.group["method"] != "none" else form.name + UNTRAINED,
        task=str(plan.group["task"]),
        metric=plan.metric,
        x_name=plan.x,
        scale=scale,
        points=points,
        fixed=fixed,
        cells=np.array(points.cells),
        deviations=deviations(points.value, points.replicates, scale),
        problem=problem,
        errors=problem.errors,
    )


def _problem(form: Form, points: Points, fixed: dict[str, float]) -> Batch:
    """As `fit_law` poses it by default."""
    likelihood = likelihood_of(points.metric, form, counted=bool((points.examples > 0).all()))
    measured = measured_points(form, points, form.reference(points.x), likelihood)
    return problem_of(form, measured, fixed)[0]


def deviations(values: Array, replicates: Sequence[Array], scale: Scale) -> Array:
    """How each measured value varies over the resamples, on the metric's scale, [draws, n].

    The replicates' own mean is taken off: those of some metrics are biased as a whole (a resample
    misses rare classes, which moves macro F1).
    """
    draws = min((len(row) for row in replicates), default=0)
    if draws == 0:
        return np.zeros((0, len(values)))
    stacked = np.stack([np.asarray(row, dtype=float)[:draws] for row in replicates], axis=1)
    moved = scale.there(stacked - stacked.mean(axis=0) + values)
    return np.asarray(moved - scale.there(values))


def beyond_variance(
    law: LawPoints, parameters: Array, x: float, known: tuple[float, float]
) -> float:
    """The variance that is added outside the fitted range, 0 inside it (see `new_run`)."""
    edge = min(max(x, known[0]), known[1])
    here, there = law.scale.there(law.value(parameters, np.array([x, edge])))
    return float((BEYOND_SHARE * (here - there)) ** 2)
