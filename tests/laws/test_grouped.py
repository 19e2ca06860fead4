import numpy as np
import pytest
from scipy.optimize import approx_fprime

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_points, grouped

SIZES = np.geomspace(100, 1e5, 10)
X = np.stack([np.tile(SIZES, 2), np.repeat([1.0, 2.0], 10)])
LEVELS = ("label", "cot")


def curves(slopes: tuple[float, float], noise: float = 0, seed: int = 0) -> np.ndarray:
    y = np.concatenate([0.05 + 6 * SIZES ** -slopes[0], 0.05 + 3 * SIZES ** -slopes[1]])
    return y * np.exp(noise * np.random.default_rng(seed).normal(size=y.shape))


def test_separate_exponents_and_a_shared_floor_are_recovered() -> None:
    form = grouped(FORMS["data"], LEVELS, ("B", "beta"))
    fit = fit_points(form, X, curves((0.5, 0.35)))
    wanted = {"e_inf": 0.05, "B[label]": 6, "B[cot]": 3, "beta[label]": 0.5, "beta[cot]": 0.35}
    assert fit.estimate == pytest.approx(wanted, rel=1e-3)
    assert fit.certificate.doubts == ()
    assert not fit.unidentified


def test_a_shared_floor_is_known_better_than_two_of_their_own() -> None:
    y = curves((0.5, 0.35), noise=0.03)
    shared = fit_points(grouped(FORMS["data"], LEVELS, ("B", "beta")), X, y)
    alone = fit_points("data", SIZES, y[:10])
    widths = [p.high - p.low for p in (shared.profiles["e_inf"], alone.profiles["e_inf"])]
    assert widths[0] < widths[1]


def test_everything_separate_is_one_fit_a_level() -> None:
    y = curves((0.5, 0.35), noise=0.02)
    both = fit_points(grouped(FORMS["data"], LEVELS, ("e_inf", "B", "beta")), X, y)
    for place, level in enumerate(LEVELS):
        alone = fit_points("data", SIZES, y[10 * place : 10 * (place + 1)])
        for name, value in alone.estimate.items():
            assert both.estimate[f"{name}[{level}]"] == pytest.approx(value, rel=1e-3)


def test_a_joint_law_can_be_grouped() -> None:
    rng = np.random.default_rng(0)
    size, data = np.exp(rng.uniform(10, 16, (2, 40)))
    level = np.repeat([1.0, 2.0], 20)
    y = np.where(level == 1, 0.2, 0.3) + 20 * size**-0.4 + 30 * data**-0.5
    fit = fit_points(grouped(FORMS["additive"], LEVELS, ("E",)), [size, data, level], y)
    assert fit.estimate["E[label]"] == pytest.approx(0.2, rel=1e-3)
    assert fit.estimate["E[cot]"] == pytest.approx(0.3, rel=1e-3)
    assert fit.estimate["beta"] == pytest.approx(0.5, rel=1e-3)


def test_gradient_of_a_grouped_form_is_the_derivative_of_its_curve() -> None:
    form = grouped(FORMS["data"], LEVELS, ("B", "beta"))
    values = np.array([0.05, 0.3, 0.4, 0.5, 0.35])
    gradient = form.gradient(values, X)
    for i in range(X.shape[1]):
        reference = approx_fprime(values, lambda p, at=X[:, [i]]: form.curve(p, at)[0], 1e-7)
        assert gradient[:, i] == pytest.approx(reference, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("law", "separate", "message"),
    [
        ("data", ("beta",), "`B` cannot be shared by levels whose exponents are separate"),
        ("multiplicative", ("beta",), "`A` cannot be shared"),
        ("data", ("gamma",), "no parameter `gamma`"),
    ],
)
def test_groupings_without_a_meaning_are_refused(law: str, separate, message: str) -> None:
    with pytest.raises(InputError, match=message):
        grouped(FORMS[law], LEVELS, separate)
