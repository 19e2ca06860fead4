from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from laws_tables import exact, row, table

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_points, fit_rows

N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
KEPT = np.random.default_rng(0).choice([0.2, 0.35, 0.5, 0.7, 0.9], len(N))
SIZES = np.geomspace(50, 5e5, 16)
RATIOS = np.geomspace(0.08, 1, 9)
TRUTHS = {
    "data": (SIZES, [0.05, 6, 0.5]),
    "size": (np.geomspace(1e6, 1e9, 8), [0.3, 200, 0.4]),
    "collapse": (RATIOS, [0.95, 0.4, 4, 0.25]),
    "rectified": (SIZES, [0.1, 30, 60, 0.7]),
    "broken": (np.geomspace(50, 5e6, 24), [0.05, 0.9, 0.1, 0.6, 5e3, 0.4]),
    "additive": (np.stack([N, D]), [1.7, 400, 900, 0.34, 0.3]),
    "multiplicative": (np.stack([N, D]), [1.2, 300, 0.15, 0.12]),
    "pruned": (np.stack([N, D, KEPT, 1.5 + 20 * N**-0.2]), [0.02, 3, 30, 0.25, 0.3, 0.9, 0.05]),
    "pruned_one_teacher": (np.stack([D, KEPT, np.full(len(D), 1.5)]), [0.2, 30, 0.3, 0.9]),
}
CHANCE = {"chance": 0.25}
CHINCHILLA = Path(__file__).parents[3] / "shared" / "data" / "chinchilla" / "svg_extracted_data.csv"
NAMES = ("E", "A", "B", "alpha", "beta")


def points(law: str, noise: float = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, truth = TRUTHS[law]
    y = FORMS[law].curve(np.array(truth, float), x)
    return x, y * np.exp(noise * np.random.default_rng(seed).normal(size=y.shape))


@pytest.mark.parametrize("law", FORMS)
def test_every_form_recovers_its_parameters_without_noise(law: str) -> None:
    fit = fit_points(law, *points(law), fixed=CHANCE)
    truth = dict(zip(FORMS[law].names, TRUTHS[law][1], strict=True))
    assert fit.estimate == pytest.approx(truth, rel=1e-3)
    assert fit.certificate.doubts == ()
    assert not fit.unidentified


@pytest.mark.parametrize("law", [law for law in FORMS if not law.startswith("pruned")])
def test_profiles_of_noisy_points_hold_the_truth_and_are_narrow(law: str) -> None:
    fit = fit_points(law, *points(law, noise=0.01), fixed=CHANCE, delta=0.02, level=0.99)
    truth = dict(zip(FORMS[law].names, TRUTHS[law][1], strict=True))
    for name, profile in fit.profiles.items():
        assert profile.low <= truth[name] <= profile.high
        assert profile.high - profile.low < 0.7 * truth[name]


def test_profiles_cover_at_about_their_level() -> None:
    held = np.zeros(3)
    for seed in range(30):
        fit = fit_points("additive", *points("additive", 0.01, seed), delta=0.02, level=0.9)
        shown = [fit.profiles[name] for name in ("E", "alpha", "beta")]
        held += [p.low <= t <= p.high for p, t in zip(shown, (1.7, 0.34, 0.3), strict=True)]
    assert (held >= 30 * 0.75).all()
    assert held.mean() <= 30 * 0.99


def test_a_floor_that_is_not_there_gets_a_bound_instead_of_a_number() -> None:
    y = 6 * SIZES**-0.3 * np.exp(0.02 * np.random.default_rng(0).normal(size=len(SIZES)))
    fit = fit_points("data", SIZES, y, delta=0.05)
    assert fit.unidentified["e_inf"] == f"only {fit.bounds['e_inf']} is known"
    assert fit.statement("e_inf") == fit.bounds["e_inf"]
    assert fit.statement("e_inf").startswith("e_inf <= 0.")
    assert fit.profiles["e_inf"].low == 0
    assert fit.profiles["e_inf"].high < y.min()
    assert fit.statement("beta").startswith("beta = 0.3")


@pytest.mark.parametrize("seed", range(6))
def test_six_noisy_points_give_wide_ranges_or_bounds_but_no_bare_numbers(seed: int) -> None:
    x = np.geomspace(100, 300, 6)
    y = (0.05 + 6 * x**-0.5) * np.exp(0.05 * np.random.default_rng(seed).normal(size=6))
    fit = fit_points("data", x, y)
    assert "e_inf" in fit.unidentified
    assert not fit.statement("e_inf").startswith("e_inf = ")
    exponent = fit.profiles["beta"]
    assert exponent.low <= 0.5 <= exponent.high
    assert exponent.high - exponent.low > 1
    assert fit.statement("beta").endswith(")") or fit.statement("beta").startswith("beta >= ")


def test_units_of_the_inputs_do_not_matter() -> None:
    x, y = points("additive", noise=0.02)
    plain = fit_points("additive", x, y)
    scaled = fit_points("additive", x * np.array([[1e-6], [1e3]]), y)
    for name in ("E", "alpha", "beta"):
        assert scaled.estimate[name] == pytest.approx(plain.estimate[name], rel=1e-5)
        assert scaled.profiles[name].high == pytest.approx(plain.profiles[name].high, rel=1e-2)


def test_resampling_nothing_gives_the_estimate_and_dropping_a_point_its_own_fit() -> None:
    x, y = points("additive", noise=0.02)
    counts = np.ones((2, len(y)))
    counts[1, 3] = 0
    found = fit_points("additive", x, y).resampled(counts)
    kept = np.arange(len(y)) != 3
    without = fit_points("additive", x[:, kept], y[kept])
    for parameters, fit in zip(found, (fit_points("additive", x, y), without), strict=True):
        assert parameters == pytest.approx(np.array([*fit.estimate.values()]), rel=1e-3)


@pytest.mark.parametrize(
    ("law", "x", "y", "message"),
    [
        ("cubic", SIZES, SIZES, "no such law"),
        ("data", SIZES[:3], [0.3, 0.2, 0.1], "3 different points do not determine"),
        ("data", np.full(8, 100.0), np.ones(8), "1 different points"),
        ("data", SIZES, np.full(16, np.nan), "every y must be a positive number"),
        ("data", -SIZES, SIZES, "every x must be a positive number"),
        ("additive", SIZES, SIZES, "should have .2, 16. .N, D."),
        ("additive", np.stack([SIZES, SIZES**2]), SIZES**-0.1, "powers of one another"),
        ("additive", np.stack([SIZES, np.ones(16)]), SIZES**-0.1, "D has one value only"),
        ("collapse", RATIOS, RATIOS, "needs a value for `chance`"),
    ],
)
def test_inputs_that_allow_no_fit_are_refused_in_one_sentence(law, x, y, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_points(law, x, y)


def test_a_constant_loss_identifies_nothing() -> None:
    fit = fit_points("data", SIZES, np.full(16, 0.3))
    assert set(fit.unidentified) == {"e_inf", "B", "beta"}


@pytest.fixture(scope="module")
def chinchilla():
    if not CHINCHILLA.is_file():
        pytest.skip("../shared/data/chinchilla is not on this machine")
    table = pd.read_csv(CHINCHILLA).sort_values("loss").iloc[:-5]
    size = table["Model Size"].to_numpy()
    x = np.stack([size, table["Training FLOP"] / (6 * size)])
    return fit_points("additive", x, table["loss"], delta=1e-3)


def test_chinchilla_points_give_the_numbers_of_besiroglu_et_al(chinchilla) -> None:
    wanted = {"E": 1.8172, "A": 477.8, "B": 2143, "alpha": 0.3473, "beta": 0.3672}
    assert chinchilla.certificate.loss <= 0.00101827402
    assert chinchilla.certificate.doubts == ()
    assert chinchilla.estimate == pytest.approx(wanted, rel=2e-4)


def test_their_published_row_is_that_of_least_absolute_deviations(chinchilla) -> None:
    absolute = chinchilla.sensitivity()[0]
    assert absolute.delta == 0
    assert absolute.parameters == pytest.approx([1.8169, 482, 2085, 0.3478, 0.3658], rel=3e-4)


def test_standard_errors_of_chinchilla_are_those_published(chinchilla) -> None:
    rng = np.random.default_rng(0)
    found = chinchilla.resampled(rng.multinomial(240, np.full(240, 1 / 240), size=400))
    errors = dict(zip(NAMES, found.std(axis=0), strict=True))
    assert errors["E"] == pytest.approx(0.03, abs=0.01)
    assert errors["alpha"] == pytest.approx(0.02, abs=0.01)
    assert errors["beta"] == pytest.approx(0.02, abs=0.01)


def test_weights_make_precise_points_count_for_more() -> None:
    x, y = points("data")
    spoiled = y.copy()
    spoiled[::2] *= np.exp(0.3 * np.random.default_rng(0).normal(size=len(y[::2])))
    weights = np.where(np.arange(len(y)) % 2, 1e4, 1.0)
    weighted = fit_points("data", x, spoiled, weights=weights, delta=np.inf)
    plain = fit_points("data", x, spoiled, delta=np.inf)
    assert weighted.estimate["beta"] == pytest.approx(0.5, abs=0.01)
    assert abs(plain.estimate["beta"] - 0.5) > abs(weighted.estimate["beta"] - 0.5)
    with pytest.raises(InputError, match="weights must be 16 positive numbers"):
        fit_points("data", x, y, weights=-weights)


def test_a_loss_that_rises_identifies_nothing() -> None:
    fit = fit_points("data", SIZES, 0.1 * SIZES**0.1)
    assert set(fit.unidentified) == {"e_inf", "B", "beta"}


def test_rows_of_a_table_are_fitted_by_their_columns() -> None:
    places = [(n, d) for n in (1e5, 3e5, 1e6) for d in (200, 800, 3200)]
    rows = table([
        row(params=n, dataset_size=d, **exact(1 - (0.03 + 20 * n**-0.4 + 2 * d**-0.5)))
        for n, d in places
    ])  # fmt: skip
    rows.loc[len(rows)] = rows.iloc[0].to_dict() | {"value": float("nan")}
    fit = fit_rows(rows, "additive", ["params", "dataset_size"])
    wanted = {"E": 0.03, "A": 20, "B": 2, "alpha": 0.4, "beta": 0.5}
    assert fit.estimate == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(InputError, match="takes N, D: 2 columns, not 1"):
        fit_rows(rows, "additive", ["params"])
