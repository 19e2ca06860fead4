import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS

X = np.array([0.16, 0.23, 0.4, 0.7, 1.0])
DATA = np.array([3.0, 0.5, 1.2, 0.2, 0.9])
INPUTS = {
    1: X,
    2: np.stack([X, DATA]),
    3: np.stack([X, DATA, 1 + X]),
    4: np.stack([X, DATA, X[::-1], 1 + 0.3 * DATA]),
}
PARAMETERS = {
    "data": [0.05, 0.3, 0.5],
    "size": [0.0, 2.0, 1.7],
    "collapse": [0.93, 0.4, 4.0, 0.25],
    "rectified": [0.05, 0.3, 0.7, 0.6],
    "broken": [0.05, 0.3, 0.4, 0.9, 0.5, 0.3],
    "additive": [0.5, 0.3, 0.2, 0.4, 0.6],
    "multiplicative": [0.5, 0.3, 0.4, 0.6],
    "pruned": [0.1, 0.3, 0.2, 0.4, 0.6, 1.2, -0.3],
    "pruned_one_teacher": [0.1, 0.3, 0.6, 1.2],
}


def inputs(form: Form) -> np.ndarray:
    return INPUTS[len(form.inputs)]


@pytest.mark.parametrize("name", FORMS)
def test_gradient_is_the_derivative_of_the_curve(name: str) -> None:
    form, parameters = FORMS[name], np.array(PARAMETERS[name])
    x = inputs(form)
    for i in range(len(X)):
        place = x[..., i : i + 1]
        reference = approx_fprime(parameters, lambda p, at=place: form.curve(p, at)[0], 1e-7)
        gradient = form.gradient(parameters, x)[:, i]
        assert gradient == pytest.approx(reference, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", FORMS)
@given(factor=st.floats(1e-3, 1e6))
def test_rescaled_parameters_draw_the_same_curve(name: str, factor: float) -> None:
    form, parameters = FORMS[name], np.array(PARAMETERS[name])
    x = inputs(form)
    factors = factor
    if len(form.inputs) > 1:
        scaled = [name not in form.unscaled for name in form.inputs]
        factors = np.where(scaled, factor ** np.linspace(1, 0.3, len(x)), 1.0)
    there = x * (factors if x.ndim == 1 else factors[:, None])
    rescaled = form.rescale(parameters, factors)
    assert form.curve(rescaled, there) == pytest.approx(form.curve(parameters, x))


@pytest.mark.parametrize("name", FORMS)
def test_starts_and_bounds_have_the_documented_shapes(name: str) -> None:
    form = FORMS[name]
    x = inputs(form)
    y = np.array([[0.3, 0.5, 0.7, 0.9, 0.95], [0.2, 0.4, 0.6, 0.8, 0.9]])
    count = len(form.parameters)
    assert form.starts(x, y).shape[::2] == (2, count)
    assert form.bounds(x, y[0], {"chance": 0.25}).shape == (count, 2)
    assert (np.diff(form.limits(x, y[0], {"chance": 0.25})) >= 0).all()


def test_power_law_by_hand() -> None:
    assert FORMS["data"].curve(np.array([0.1, 2.0, 0.5]), np.array([16.0])) == pytest.approx(0.6)


def test_collapse_is_halfway_at_the_collapse_ratio_and_chance_far_below() -> None:
    curve = FORMS["collapse"].curve(np.array([0.9, 0.4, 8.0, 0.1]), np.array([0.4, 0.001, 1000]))
    assert curve == pytest.approx([0.5, 0.1, 0.9], abs=1e-6)
