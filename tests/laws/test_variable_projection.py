import numpy as np
import pytest
from scipy.optimize import nnls

from distillscale.laws.forms import FORMS
from distillscale.laws.projection import project


def test_linear_parameters_are_those_of_nonnegative_least_squares() -> None:
    rng = np.random.default_rng(0)
    form = FORMS["additive"]
    x = np.exp(rng.normal(size=(2, 30)))
    y = 0.5 + rng.random((4, 30))
    y[0] += x[0] ** -0.4
    shapes = np.array([[0.4, 0.3], [1.5, 0.1], [0.1, 2.0]])
    found = project(form.curve, form.gradient, 3, shapes, x, y)
    assert found.shape == (4, 3, 5)
    for i, target in enumerate(y):
        for j, (alpha, beta) in enumerate(shapes):
            terms = np.stack([np.ones(30), x[0] ** -alpha, x[1] ** -beta], axis=1)
            _, wanted = nnls(terms / target[:, None], np.ones(30))
            residual = np.linalg.norm(terms @ found[i, j, :3] / target - 1)
            assert (found[i, j, :3] >= 0).all()
            assert residual <= wanted * 1.02
            assert found[i, j, 3:] == pytest.approx([alpha, beta])


def test_a_known_offset_is_taken_off_before_projecting() -> None:
    rng = np.random.default_rng(1)
    form = FORMS["pruned"]
    x = np.exp(0.3 * rng.normal(size=(4, 25)))
    truth = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 1.0, 0.2])
    y = form.curve(truth, x)[None]
    found = project(form.curve, form.gradient, 3, truth[None, 3:], x, y)
    assert found[0, 0] == pytest.approx(truth)
