import numpy as np
import pytest

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_points, grouped
from distillscale.laws.pooling import fit_pooled

SIZES = np.geomspace(100, 2e4, 5)
DATA = FORMS["data"]


def hierarchy(seed: int, groups: int = 6, spread: float = 1.0):
    """Groups whose floors, factors (at the middle size) and exponents vary around common ones."""
    rng = np.random.default_rng(seed)
    exponents = 0.4 * np.exp(0.15 * spread * rng.normal(size=groups))
    factors = 0.3 * np.exp(0.2 * spread * rng.normal(size=groups))
    floors = 0.08 + 0.01 * spread * rng.normal(size=groups)
    places = SIZES / np.exp(np.log(SIZES).mean())
    y = floors[:, None] + factors[:, None] * places ** -exponents[:, None]
    y = y.ravel() * np.exp(0.06 * rng.normal(size=y.size))
    levels = [f"g{i}" for i in range(groups)]
    x = np.stack([np.tile(SIZES, groups), np.repeat(np.arange(1.0, groups + 1), len(SIZES))])
    return levels, x, y, exponents


def of_levels(estimate: dict[str, float], levels: list[str], name: str = "beta") -> np.ndarray:
    return np.array([estimate[f"{name}[{level}]"] for level in levels])


def test_sharing_and_separation_are_the_limits_of_pooling() -> None:
    levels, x, y, _ = hierarchy(0, groups=3)
    names = ("B", "beta")

    def pooled(width: float) -> np.ndarray:
        fit = fit_pooled(DATA, levels, x, y, pooled=names, widths=dict.fromkeys(names, width))
        return of_levels(fit.fit.estimate, levels)

    shared = fit_points("data", x[0], y).estimate["beta"]
    separate = of_levels(fit_points(grouped(DATA, levels, names), x, y).estimate, levels)
    assert pooled(1e-5) == pytest.approx(np.full(3, shared), rel=1e-3)
    assert pooled(1e4) == pytest.approx(separate, rel=1e-3)
    between = pooled(0.1)
    assert np.ptp(between) < np.ptp(separate)
    assert np.ptp(between) > 1e-3


def test_pooling_recovers_a_hierarchy_better_than_sharing_and_than_separation() -> None:
    """Squared errors of the exponents, summed over studies."""
    names = ("e_inf", "B", "beta")
    errors = np.zeros(3)
    for seed in range(5):
        levels, x, y, truth = hierarchy(seed, groups=5)
        shared = fit_points("data", x[0], y).estimate["beta"]
        separate = [fit_points("data", SIZES, own).estimate["beta"] for own in np.split(y, 5)]
        pooled = of_levels(fit_pooled(DATA, levels, x, y, pooled=names).fit.estimate, levels)
        errors += [((found - truth) ** 2).sum() for found in (shared, separate, pooled)]
    assert errors[2] < 0.6 * errors[:2].min()


def test_widths_follow_how_much_groups_differ() -> None:
    found = [
        fit_pooled(DATA, *hierarchy(1, spread=spread)[:3], pooled=("B",), separate=("beta",))
        for spread in (0.0, 3.0)
    ]
    assert found[0].widths["B"] < 0.1
    assert 0.3 < found[1].widths["B"] < 1.2
    assert found[1].fit.certificate.doubts == ()
    assert found[0].common["B"] == pytest.approx(0.3, rel=0.2)


def test_collapse_ratios_of_counts_can_be_pooled() -> None:
    ratios = np.tile(np.geomspace(0.1, 1, 8), 3)
    level = np.repeat([1.0, 2.0, 3.0], 8)
    place = np.array([0.35, 0.4, 0.45])[level.astype(int) - 1]
    mean = 0.25 + 0.7 / (1 + (place / ratios) ** 4)
    score = np.random.default_rng(0).binomial(400, mean) / 400
    fit = fit_pooled(FORMS["collapse"], ["a", "b", "c"], np.stack([ratios, level]), score,
                     pooled=["r_star"], fixed={"chance": 0.25}, likelihood="beta-binomial",
                     trials=np.full(24, 400))  # fmt: skip
    stars = of_levels(fit.fit.estimate, ["a", "b", "c"], "r_star")
    assert stars == pytest.approx([0.35, 0.4, 0.45], rel=0.05)
    assert 0.03 < fit.widths["r_star"] < 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooled": ()}, "pooling needs two levels and a parameter"),
        ({"pooled": ("beta",)}, "`B` cannot be shared"),
        ({"pooled": ("B",), "widths": {"beta": 1}}, "must be positive and `beta` pooled"),
        ({"pooled": ("B",), "widths": {"B": 0}}, "must be positive"),
    ],
)
def test_requests_without_a_meaning_are_refused(options, message: str) -> None:
    levels, x, y, _ = hierarchy(0, groups=2)
    with pytest.raises(InputError, match=message):
        fit_pooled(DATA, levels, x, y, **options)
