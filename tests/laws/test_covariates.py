import numpy as np
import pytest
from laws_tables import row, table
from scipy.optimize import approx_fprime

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_points, fit_rows, grouped
from distillscale.laws.covariates import LEAST_KEPT, with_covariates, with_least_kept

SIZES = np.tile(np.geomspace(100, 1e5, 7), 4)
STAGES = np.repeat([1.0, 2.0, 5.0, 1.0], 7)
KEPT = np.repeat([0.4, 0.6, 0.8, 0.16], 7)
X = np.stack([SIZES, STAGES, KEPT])


def test_the_effect_of_the_schedules_numbers_is_recovered() -> None:
    form = with_covariates(FORMS["data"], "B", ("stages", "kept"))
    y = 0.05 + 6 * STAGES**-0.2 * KEPT**-0.5 * SIZES**-0.5
    fit = fit_points(form, X, y)
    wanted = {"e_inf": 0.05, "B": 6, "beta": 0.5, "gamma[stages]": -0.2, "gamma[kept]": -0.5}
    assert fit.estimate == pytest.approx(wanted, rel=1e-3)
    assert fit.certificate.doubts == ()
    assert not fit.unidentified


def test_a_collapse_ratio_may_change_with_the_stages() -> None:
    ratios = np.tile(np.geomspace(0.1, 1, 8), 3)
    stages = np.repeat([1.0, 3.0, 9.0], 8)
    place = 0.5 * stages**-0.15
    y = 0.25 + 0.7 / (1 + (place / ratios) ** 4)
    form = with_covariates(FORMS["collapse"], "r_star", ("stages",))
    fit = fit_points(form, np.stack([ratios, stages]), y, fixed={"chance": 0.25},
                     likelihood="beta-binomial", trials=np.full(24, 1e6))  # fmt: skip
    assert fit.estimate["r_star"] == pytest.approx(0.5, rel=1e-2)
    assert fit.estimate["gamma[stages]"] == pytest.approx(-0.15, rel=2e-2)


@pytest.mark.parametrize(
    ("law", "parameter", "values"),
    [
        ("data", "B", [0.05, 0.3, 0.5, -0.2, 0.4]),
        ("collapse", "r_star", [0.9, 0.4, 4.0, 0.25, -0.2, 0.4]),
        ("additive", "A", [0.5, 0.3, 0.2, 0.4, 0.6, -0.2, 0.4]),
    ],
)
def test_gradient_and_rescaling(law: str, parameter: str, values: list[float]) -> None:
    form = with_covariates(FORMS[law], parameter, ("stages", "kept"))
    own = np.stack([np.array([0.3, 0.8, 1.5])] * (len(form.inputs) - 2))
    x = np.concatenate([own, [[1.0, 2.0, 5.0], [0.4, 0.6, 0.8]]])
    there = np.array(values)
    gradient = form.gradient(there, x)
    for i in range(3):
        reference = approx_fprime(there, lambda p, at=x[:, [i]]: form.curve(p, at)[0], 1e-7)
        assert gradient[:, i] == pytest.approx(reference, rel=1e-4, abs=1e-5)
    factor = np.linspace(2, 5, len(x))
    moved = form.curve(form.rescale(there, factor), x * factor[:, None])
    assert moved == pytest.approx(form.curve(there, x))
    assert form.curve(np.stack([there, there]), x).shape == (2, 3)


def test_covariates_and_groups_go_together() -> None:
    level = np.tile([1.0, 2.0], 14)
    y = 0.05 + np.where(level == 1, 6, 4) * STAGES**-0.2 * SIZES**-0.5
    form = grouped(with_covariates(FORMS["data"], "B", ("stages",)), ("label", "cot"), ("B",))
    fit = fit_points(form, np.stack([SIZES, STAGES, level]), y)
    assert fit.estimate["B[label]"] == pytest.approx(6, rel=1e-3)
    assert fit.estimate["gamma[stages]"] == pytest.approx(-0.2, rel=1e-3)


def test_a_tables_largest_cut_becomes_what_is_kept() -> None:
    rows = with_least_kept(table([
        row(metric="gold_nll", dataset_size=d, stages=s, largest_cut=1 - k,
            value=0.05 + 6 * k**-0.5 * d**-0.5)
        for d in (100, 1000, 10_000) for s, k in ((1, 0.4), (5, 0.8), (2, 0.6))
    ]))  # fmt: skip
    form = with_covariates(FORMS["data"], "B", (LEAST_KEPT,))
    fit = fit_rows(rows, form, ["dataset_size", LEAST_KEPT])
    assert fit.estimate["gamma[least_kept]"] == pytest.approx(-0.5, rel=1e-2)


@pytest.mark.parametrize(
    ("law", "parameter", "message"),
    [
        ("data", "beta", "`beta` cannot change with covariates"),
        ("data", "gamma", "has no `gamma` to change; it fits e_inf, B, beta"),
        ("collapse", "chance", "has no `chance` to change"),
    ],
)
def test_parameters_that_cannot_change_are_refused(law, parameter, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_covariates(FORMS[law], parameter, ("stages",))


def test_a_covariate_that_does_not_vary_is_refused() -> None:
    form = with_covariates(FORMS["data"], "B", ("stages",))
    with pytest.raises(InputError, match="input stages has one value only"):
        fit_points(form, np.stack([SIZES, np.ones(28)]), 0.1 + SIZES**-0.5)
