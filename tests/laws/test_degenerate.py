"""Tables that say little or nothing: a sensible answer, or a refusal in one sentence."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from laws_tables import RATIOS, at_ratio, row, table

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_joint_law, fit_law, fit_laws, fit_points, fit_rows

SIZES = (100, 200, 400, 800, 1600, 3200)
NAN = float("nan")


def data(values, sizes=SIZES, metric="gold_nll", **changes) -> pd.DataFrame:
    pairs = zip(sizes, values, strict=True)
    return table([row(metric=metric, dataset_size=d, value=v, **changes) for d, v in pairs])


def knowledge(values, ratios=RATIOS, **changes) -> pd.DataFrame:
    common = {"metric": "lab_facts", "chance": 0.25, "examples": 240} | changes
    pairs = zip(ratios, values, strict=True)
    return table([at_ratio(i, r, **common, value=v) for i, (r, v) in enumerate(pairs)])


def falling(size: float) -> float:
    return 0.2 + 6 * size**-0.5


LOSSES = [falling(d) for d in SIZES]


@pytest.mark.parametrize(
    ("rows", "law", "x", "status"),
    [
        (data([0.3] * 6), "data", "dataset_size", "no trend"),
        (data([0.8] * 6, metric="macro_f1"), "data", "dataset_size", "no trend"),
        (data([1.0] * 6, metric="accuracy"), "data", "dataset_size", "no trend"),
        (data([0.0] * 6, metric="macro_f1"), "data", "dataset_size", "no trend"),
        (data(LOSSES[::-1]), "data", "dataset_size", "no trend"),
        (data([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], metric="macro_f1"), "data", "dataset_size",
         "no trend"),
        (data([0.3] * 6, sizes=[100] * 6), "data", "dataset_size", "not fitted"),
        (data([NAN] * 6), "data", "dataset_size", "not fitted"),
        (data([0.3, NAN, NAN, NAN, NAN, NAN]), "data", "dataset_size", "not fitted"),
        (data([float("inf")] * 6), "data", "dataset_size", "not fitted"),
        (data([0.9, 0.5], sizes=[100, 400]), "data", "dataset_size", "few points"),
        (data([0.0] * 6), "data", "dataset_size", "not fitted"),
        (knowledge([0.25] * 6), "collapse", "prune_ratio", "no trend"),
        (knowledge([1.0] * 6), "collapse", "prune_ratio", "no trend"),
        (knowledge([0.0] * 6), "collapse", "prune_ratio", "no trend"),
        (knowledge([0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), "collapse", "prune_ratio", "no trend"),
        (knowledge([NAN] * 6), "collapse", "prune_ratio", "not fitted"),
        (knowledge([0.9, 0.5], ratios=(1.0, 0.4)), "collapse", "prune_ratio", "few points"),
        (knowledge([1.0] * 6, chance=1.0), "collapse", "prune_ratio", "no trend"),
    ],
)  # fmt: skip
def test_values_that_say_nothing_identify_nothing(rows, law, x, status: str) -> None:
    fit = fit_law(rows, law, x)
    assert fit.status == status
    assert np.isfinite([*fit.estimate.values()]).all()
    exponents = [name for name in ("beta", "k", "r_star") if name in fit.estimate]
    for name in exponents:
        assert not fit.identified(name)
        assert not fit.statement(name).startswith(f"{name} = ")


def test_zero_variance_between_runs_and_resamples_claims_no_certainty_beyond_a_hundredth() -> None:
    """Equal replicates and equal seeds: standard errors have a floor."""
    values = [1 - falling(d) / 2 for d in SIZES]
    runs = [
        data(values, metric="macro_f1", seed=s, replicates=[0.5] * 20) for s in range(3)
    ]  # fmt: skip
    fit = fit_law(pd.concat(runs), "data", "dataset_size")
    assert fit.status == "ok"
    assert fit.estimate["beta"] == pytest.approx(0.5, rel=0.01)
    assert fit.noise["extra_sd"] == 0


def test_runs_counted_twice_do_not_count_as_seeds() -> None:
    rng = np.random.default_rng(0)
    once = data([v * np.exp(0.03 * rng.normal()) for v in LOSSES])
    twice = pd.concat([once, once])
    plain, doubled = (fit_law(rows, "data", "dataset_size") for rows in (once, twice))
    assert doubled.diagnostics.points == plain.diagnostics.points
    assert doubled.diagnostics.dropped == plain.diagnostics.dropped + 6
    assert doubled.estimate == pytest.approx(plain.estimate)
    assert doubled.bounds == plain.bounds


@pytest.mark.parametrize("seed", range(4))
def test_six_runs_give_a_wide_range_or_a_bound_but_no_bare_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = data([v * np.exp(0.05 * rng.normal()) for v in LOSSES])
    fit = fit_law(rows, "data", "dataset_size")
    for name in ("e_inf", "beta"):
        said = fit.statement(name)
        assert re.search(r"not identified|<=|>=|\(.* to .*\)", said)
    assert fit.covers.startswith("no intervals")


@pytest.mark.parametrize(
    ("law", "x", "y", "message"),
    [
        ("additive", np.stack([np.geomspace(1, 9, 8)] * 2), np.linspace(1, 2, 8), "powers of one"),
        ("additive", np.stack([np.ones(8), np.geomspace(1, 9, 8)]), np.ones(8), "one value only"),
        ("data", np.geomspace(1, 9, 8), np.full(8, NAN), "every y must be a positive number"),
        ("data", np.geomspace(1, 9, 8), -np.ones(8), "every y must be a positive number"),
        ("data", np.ones(8), np.ones(8), "do not determine them"),
        ("data", [], [], "do not determine them"),
        ("data", np.full(8, np.inf), np.ones(8), "every x must be a positive number"),
        ("collapse", np.geomspace(0.1, 1, 8), np.full(8, NAN), "every y must be a number"),
    ],
)
def test_arrays_that_allow_no_fit_are_refused_in_one_sentence(law, x, y, message) -> None:
    with pytest.raises(InputError, match=message) as refused:
        fit_points(law, x, y, fixed={"chance": 0.25})
    assert str(refused.value).count(". ") == 0


@pytest.mark.parametrize("call", [fit_rows, fit_joint_law])
def test_tables_that_allow_no_joint_fit_are_refused_in_one_sentence(call) -> None:
    for rows in (data(LOSSES), data([NAN] * 6), data(LOSSES, params=0)):
        with pytest.raises(InputError) as refused:
            call(rows, "additive", ["params", "dataset_size"])
        assert str(refused.value).count(". ") == 0


def test_a_whole_table_of_nothing_is_fitted_without_a_traceback() -> None:
    parts = [data([NAN] * 6), data([0.3] * 6), knowledge([NAN] * 6), knowledge([0.25] * 6)]
    rows = pd.concat([part.assign(cell=f"c{i}") for i, part in enumerate(parts)])
    for fit in fit_laws(rows.assign(schedule="uniform")):
        assert fit.status != "ok"


def test_a_million_resamples_of_six_runs_are_fitted_in_little_memory() -> None:
    """Runs x replicates, a million rows: few runs have few different resamples."""
    x = np.repeat(SIZES, 6).astype(float)
    run = np.tile(np.arange(6), 6)
    rng = np.random.default_rng(0)
    fit = fit_points("data", x, falling(x) * np.exp(0.03 * rng.normal(size=36)))
    drawn = rng.multinomial(5, np.full(6, 1 / 6), size=1_000_000).astype(np.int8)
    few = fit.resampled(drawn[:50][:, run])
    tracemalloc.start()
    found = fit.resampled(drawn[:, run])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (1_000_000, 3)
    assert np.isfinite(found).all()
    assert found[:50] == pytest.approx(few, rel=1e-6)
    assert peak < 600e6


def test_many_different_resamples_are_fitted_in_portions(monkeypatch) -> None:
    x = np.geomspace(100, 1e5, 12)
    rng = np.random.default_rng(1)
    fit = fit_points("data", x, falling(x) * np.exp(0.03 * rng.normal(size=12)))
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=60)
    whole = fit.resampled(counts)
    monkeypatch.setattr("distillscale.laws.points_fit.REPLICATES_TOGETHER", 7)
    assert fit.resampled(counts) == pytest.approx(whole, rel=1e-9)


def test_every_form_refuses_too_few_points() -> None:
    for form in FORMS.values():
        count = len(form.free)
        x = np.geomspace(1, 2, count) ** np.arange(1, len(form.inputs) + 1)[:, None]
        with pytest.raises(InputError, match="do not determine them"):
            fit_points(form, x[0] if len(x) == 1 else x, np.ones(count), fixed={"chance": 0.25})
