from dataclasses import replace

import numpy as np
import pytest

from distillscale.laws.certificate import Certificate, certify
from distillscale.laws.forms import FORMS
from distillscale.laws.solve import Batch, solve

X = np.geomspace(0.1, 10, 12)


def problem(form_name: str, y: np.ndarray, delta: float | None = None) -> Batch:
    form = FORMS[form_name]
    limits = form.bounds(X, y, {"chance": 0.25})[None]
    return Batch(form, X, y[None], np.ones((1, len(X))), limits[..., 0], limits[..., 1], delta)


def noisy(seed: int = 0) -> np.ndarray:
    return (0.1 + 0.2 * X**-0.7) * np.exp(0.05 * np.random.default_rng(seed).normal(size=len(X)))


@pytest.mark.parametrize("delta", [1e-3, 0.05, np.inf])
def test_a_well_posed_fit_is_beyond_doubt(delta: float) -> None:
    best, certificate = certify(problem("data", noisy(), delta))
    assert certificate.doubts == ()
    assert certificate.reached > 0.5
    assert abs(certificate.other_solver) < 1e-4
    parameters, losses = solve(problem("data", noisy(), delta))
    assert certificate.loss == pytest.approx(losses[0], rel=1e-6)
    assert best == pytest.approx(parameters[0], rel=1e-3)


def test_two_valleys_show_as_a_second_basin() -> None:
    steps = 0.25 + 0.35 / (1 + (0.4 / X) ** 12) + 0.35 / (1 + (5 / X) ** 12)
    _, certificate = certify(problem("collapse", steps, 1e-3))
    assert certificate.second_basin is not None
    assert certificate.second_basin > 1e-6
    assert certificate.reached < 1


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"gradient": 0.1}, "not flat"),
        ({"reached": 1 / 32}, "only one of 32 starts"),
        ({"other_solver": -0.01}, "L-BFGS-B ends 1.0e-02 lower"),
    ],
)
def test_each_kind_of_evidence_against_a_fit_is_a_doubt(change, doubt: str) -> None:
    sound = Certificate(1e-3, 0.1, 1e-9, 32, 1.0, None, 1e-9)
    assert sound.doubts == ()
    (found,) = replace(sound, **change).doubts
    assert doubt in found
