import numpy as np
import pytest
from scipy.optimize import linprog

from distillscale.laws.delta import EFFICIENT, adaptive_delta, delta_table
from distillscale.laws.forms import FORMS
from distillscale.laws.solve import Batch, residuals_of

X = np.geomspace(0.1, 10, 200)


def problem(noise: float, delta: float | None = None, outliers: int = 0) -> Batch:
    rng = np.random.default_rng(0)
    form = FORMS["data"]
    y = (0.1 + 0.2 * X**-0.7) * np.exp(noise * rng.normal(size=len(X)))
    y[rng.choice(len(X), outliers, replace=False)] *= 3
    limits = form.bounds(X, y, {})[None]
    return Batch(form, X, y[None], np.ones((1, len(X))), limits[..., 0], limits[..., 1], delta)


@pytest.mark.parametrize("start", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_adaptive_delta_finds_the_noise_from_any_start(noise: float, start: float) -> None:
    assert adaptive_delta(problem(noise, start)) == pytest.approx(EFFICIENT * noise, rel=0.2)


def test_outliers_hardly_move_the_adaptive_delta() -> None:
    clean, spoiled = (adaptive_delta(problem(0.05, outliers=n)) for n in (0, 20))
    assert spoiled == pytest.approx(clean, rel=0.25)


def test_sensitivity_goes_from_absolute_deviations_to_squares() -> None:
    batch = problem(0.05, 0.05, outliers=20)
    table = delta_table(batch)
    assert table[0].delta == 0
    assert table[-1].delta == np.inf
    assert table[-1].beyond == 0
    errors = [residuals_of(batch, fit.parameters[None]) for fit in table]
    assert np.abs(errors[0]).sum() == min(np.abs(error).sum() for error in errors)
    squares = [(error**2).sum() for error in errors]
    assert squares[-1] == pytest.approx(min(squares))


def test_least_absolute_deviations_solve_the_linear_programme() -> None:
    """With the exponent at its estimate, small residuals make the rest nearly linear."""
    batch = problem(0.002)
    floor, factor, exponent = delta_table(batch)[0].parameters
    y = batch.y[0]
    terms = np.stack([np.ones_like(X), X**-exponent], axis=1) / y[:, None]
    count = len(X)
    both = np.block([[terms, -np.eye(count)], [-terms, -np.eye(count)]])
    wanted = linprog(
        np.r_[0, 0, np.ones(count)], both, np.r_[np.ones(count), -np.ones(count)],
        bounds=[(0, None)] * (count + 2),
    ).x[:2]  # fmt: skip
    assert [floor, factor] == pytest.approx(wanted, rel=2e-3)
