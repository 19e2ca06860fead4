import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from distillscale.laws.forms import FORMS
from distillscale.laws.solve import HUBER_DELTA, Batch, gradient_of, losses_of, solve

X = np.array([0.2, 0.4, 0.7, 1.2, 2.0, 4.0])


def batch(form_name: str, y: np.ndarray, fixed: dict[str, float]) -> Batch:
    form = FORMS[form_name]
    bounds = np.stack([form.bounds(X, row, fixed) for row in y])
    return Batch(form, X, y, np.ones_like(y), bounds[..., 0], bounds[..., 1])


def scipy_loss(problem: Batch, row: int) -> float:
    """The same Huber problem, solved one at a time by SciPy from every start."""
    form, y = problem.form, problem.y[row]
    free = problem.low[row] < problem.high[row]

    def whole(parameters: np.ndarray) -> np.ndarray:
        full = problem.low[row].copy()
        full[free] = parameters
        return full

    def residuals(parameters: np.ndarray) -> np.ndarray:
        predicted = form.curve(whole(parameters), X)
        return np.log(predicted) - np.log(y) if form.scale == "log error" else predicted - y

    low, high = problem.low[row][free], problem.high[row][free]
    starts = np.clip(form.starts(X, y[None])[0][:, free], low + 1e-6, high - 1e-6)[::5]
    delta = HUBER_DELTA[form.scale]
    return min(
        least_squares(residuals, s, bounds=(low, high), loss="huber", f_scale=delta).cost
        for s in starts
    )


@pytest.mark.parametrize("form_name", ["data", "collapse"])
def test_agrees_with_scipy_on_noisy_curves_with_outliers(form_name: str) -> None:
    rng = np.random.default_rng(0)
    truth = {"data": [0.1, 0.2, 0.7], "collapse": [0.9, 0.8, 3.0, 0.25]}[form_name]
    clean = FORMS[form_name].curve(np.array(truth), X)
    y = clean * np.exp(0.05 * rng.normal(size=(8, len(X))))
    y[:, 2] *= 1.3
    problem = batch(form_name, y.clip(0.01, 0.99), {"chance": 0.25})
    _, losses = solve(problem)
    for row in range(len(y)):
        assert losses[row] <= scipy_loss(problem, row) * (1 + 1e-3) + 1e-9


def test_rows_of_a_batch_do_not_influence_each_other() -> None:
    rng = np.random.default_rng(1)
    y = 0.1 + 0.2 * X**-0.5 + 0.01 * rng.random((5, len(X)))
    together, _ = solve(batch("data", y, {}))
    problem = batch("data", y, {})
    for row in range(5):
        alone, _ = solve(problem.rows(np.array([row])))
        assert alone[0] == pytest.approx(together[row], rel=1e-6, abs=1e-9)


def test_an_outlier_moves_the_huber_fit_less_than_least_squares() -> None:
    clean = 0.1 + 0.2 * X**-0.7
    spoiled = clean.copy()
    spoiled[3] *= 3
    robust, _ = solve(batch("data", spoiled[None], {}))
    plain = least_squares(
        lambda p: np.log(p[0] + p[1] * X ** -p[2]) - np.log(spoiled), [0.1, 0.2, 0.7],
        bounds=([0, 0, 0], [1, 9, 5]),
    ).x  # fmt: skip
    form = FORMS["data"]
    away = [abs(np.log(form.curve(p, X) / clean)).max() for p in (robust[0], plain)]
    assert away[0] < away[1]


def test_bounds_hold_when_the_data_push_against_them() -> None:
    rising = 0.1 * X**0.5
    parameters, _ = solve(batch("data", rising[None], {}))
    assert (parameters >= 0).all()
    assert np.ptp(FORMS["data"].curve(parameters[0], X)) < 0.02


def test_zero_weight_removes_a_point() -> None:
    y = 0.1 + 0.2 * X**-0.7
    y[3] = 5.0
    problem = batch("data", y[None], {})
    problem.weights[0, 3] = 0
    parameters, losses = solve(problem)
    assert losses[0] < 1e-10
    assert parameters[0] == pytest.approx([0.1, 0.2, 0.7], rel=1e-3)


def noisy(count: int = 1) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (0.1 + 0.2 * X**-0.7) * np.exp(0.05 * rng.normal(size=(count, len(X))))


@pytest.mark.parametrize("delta", [1e-4, 1e-3, 1e-2])
def test_a_delta_far_below_the_noise_is_still_solved_to_the_end(delta: float) -> None:
    problem = batch("data", noisy(), {}).with_delta(delta)
    parameters, losses = solve(problem, refined=10)
    assert np.abs(gradient_of(problem, parameters) * parameters).max() < 1e-5 * losses[0]
    for start in parameters * np.array([[0.9, 1.1, 1], [1, 1, 1], [1.05, 0.9, 1.2]]):
        peer = minimize(
            lambda p: losses_of(problem, p[None])[0] / losses[0], start, method="Nelder-Mead",
            bounds=[(0, 1), (0, 9), (0, 5)], options={"maxiter": 4000, "xatol": 1e-9},
        )  # fmt: skip
        assert peer.fun >= 1 - 1e-6


def test_resampled_points_fit_like_the_points_repeated() -> None:
    """Rows that differ in weights only share their starts: none may suffer by it."""
    y = noisy()[0]
    counts = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), size=20).astype(float)
    problem = batch("data", np.tile(y, (20, 1)), {})
    together = Batch(problem.form, X, problem.y, counts, problem.low, problem.high)
    losses = solve(together)[1]
    for row in range(20):
        alone = together.rows(np.array([row]))
        assert losses[row] == pytest.approx(solve(alone, refined=20)[1][0], rel=1e-3, abs=1e-8)
