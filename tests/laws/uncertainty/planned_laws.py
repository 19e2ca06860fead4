"""Fitted laws on designs of the lab's kind, with known curves and noise, for the tests."""

import numpy as np

from distillscale.laws.forms import FORMS
from distillscale.laws.solve import Batch, solve
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import draw_errors
from distillscale.laws.uncertainty.runs import TEACHER, Runs

SIZES = np.repeat([32.0, 96, 288, 864, 2592], 3)
RATIOS = np.tile(0.16 ** (np.arange(6) / 5), 3)
TRUTH = {
    "data": {"e_inf": 0.08, "B": 2.0, "beta": 0.45},
    "size": {"e_inf": 0.03, "A": 0.06, "alpha": 0.6},
    "collapse": {"s0": 0.9, "r_star": 0.3, "k": 2.5, "chance": 0.175},
}
VARIANCES = {"data": [0.08**2], "size": [0.05**2, 0.06**2], "collapse": [0.02**2, 0.02**2]}
TEST = {"data": 0.08, "size": 0.08, "collapse": 0.015}


def cells() -> Runs:
    """Fifteen cells of one stage."""
    return Runs(np.arange(15), np.ones(15, dtype=int), covariance(np.arange(15), 0.08))


def chains(test: float = 0.08) -> Runs:
    """Three chains of five stages behind the one teacher."""
    stage = np.tile(np.arange(6), 3)
    run = np.where(stage > 0, np.repeat(np.arange(3), 6), TEACHER)
    return Runs(run, stage, covariance(run * 10 + stage, test))


def covariance(model: np.ndarray, deviation: float, shared: float = 0.6) -> np.ndarray:
    """Through test examples: models share most of it, one model listed twice all of it."""
    same = model[:, None] == model
    return deviation**2 * np.where(same, 1.0, shared)


def law(kind: str, runs: Runs | None = None, x: np.ndarray | None = None) -> Fitted:
    """A law at its truth, on data without noise."""
    form = FORMS[kind]
    x = x if x is not None else SIZES if kind == "data" else RATIOS
    runs = runs or (cells() if kind == "data" else chains(TEST[kind]))
    reference = np.asarray(form.reference(x))
    natural = np.array(list(TRUTH[kind].values()))
    parameters = form.rescale(natural, 1 / reference)
    y = form.curve(parameters, x / reference)
    low, high = form.bounds(x / reference, y, {"chance": 0.175}).T
    batch = Batch(form, x / reference, y[None], np.ones((1, len(x))), low[None], high[None])
    return Fitted(batch, parameters[None], runs, reference)


def measured(kind: str, studies: int, seed: int = 0, variances=None, **design) -> Fitted:
    """The law fitted to simulated studies."""
    from dataclasses import replace

    true = law(kind, **design)
    known = np.tile(VARIANCES[kind] if variances is None else variances, (studies, 1))
    errors = draw_errors(true.runs, known, np.random.default_rng(seed))
    y = true.measured(true.fitted_values + errors)
    form = true.problem.form
    bounds = np.stack([form.bounds(true.problem.x, row, true.known) for row in y])
    rows = true.problem.rows(np.zeros(studies, dtype=int))
    problem = replace(rows, y=y, low=bounds[..., 0], high=bounds[..., 1])
    return Fitted(problem, solve(problem)[0], true.runs, true.reference)
