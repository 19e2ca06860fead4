import numpy as np
import pytest
from scipy.optimize import minimize

from distillscale.errors import InputError
from distillscale.laws.selection.stacking import stacking_weights


def squares(weights, predicted, measured, counts=1.0):
    return float((counts * (predicted @ weights - measured) ** 2).sum())


def problem(seed: int, members: int = 4, points: int = 15):
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=points)
    return measured[:, None] + rng.normal(size=(points, members)) * rng.uniform(0.2, 2, members) + (
        rng.normal(size=members) * 0.3
    ), measured


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_the_best_point_of_the_simplex(seed: int) -> None:
    predicted, measured = problem(seed)
    weights = stacking_weights(predicted, measured)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    reference = minimize(
        squares, np.full(4, 0.25), (predicted, measured), method="SLSQP", bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14},
    )  # fmt: skip
    assert squares(weights, predicted, measured) == pytest.approx(reference.fun, rel=1e-6)


def test_the_stack_is_at_least_as_good_as_its_best_member() -> None:
    for seed in range(20):
        predicted, measured = problem(seed)
        mixed = squares(stacking_weights(predicted, measured), predicted, measured)
        assert mixed <= min(squares(w, predicted, measured) for w in np.eye(4)) * (1 + 1e-12)


def test_counts_are_repeated_points() -> None:
    predicted, measured = problem(3)
    counts = np.arange(1, 16)
    again = np.repeat(np.arange(15), counts)
    np.testing.assert_allclose(
        stacking_weights(predicted, measured, counts),
        stacking_weights(predicted[again], measured[again]),
        atol=1e-9,
    )


def test_a_perfect_member_takes_all() -> None:
    predicted, measured = problem(1)
    predicted[:, 2] = measured
    np.testing.assert_allclose(stacking_weights(predicted, measured), [0, 0, 1, 0], atol=1e-9)


def test_no_points_are_refused() -> None:
    with pytest.raises(InputError, match="at least one point"):
        stacking_weights(np.zeros((0, 3)), np.zeros(0))
