import numpy as np
import pytest
from planned_laws import RATIOS, SIZES, TEST, TRUTH, VARIANCES

from distillscale.laws.forms import FORMS
from distillscale.laws.uncertainty.coverage import simulate_coverage
from distillscale.laws.uncertainty.design import (
    Design,
    Expectation,
    PlannedPoints,
    assumed,
    findings,
    planned_law,
)
from distillscale.laws.uncertainty.intervals import widths


def points(kind: str, seeds: int = 3, x: np.ndarray | None = None) -> PlannedPoints:
    if kind == "data":
        sizes = np.unique(SIZES) if x is None else x
        cells = tuple(f"n{size:g}_s{seed}" for size in sizes for seed in range(seeds))
        return PlannedPoints(np.repeat(sizes, seeds), cells, (1,) * len(cells))
    cells = tuple(f"s{seed}" for seed in range(seeds) for _ in range(6))
    return PlannedPoints(np.tile(RATIOS[:6], seeds), cells, tuple(range(6)) * seeds)


def expectation(kind: str) -> Expectation:
    own, inherited = np.sqrt([*VARIANCES[kind], 0.0][:2])
    return Expectation(TRUTH[kind], own, inherited, TEST[kind], 0.6, "the tests")


def design(kind: str, laws: int = 4, **planned) -> Design:
    fits = [planned_law(kind, points(kind, **planned), expectation(kind)) for _ in range(laws)]
    return Design(tuple(fits), expectation(kind))


@pytest.mark.parametrize("kind", ["data", "collapse"])
def test_expected_widths_are_those_of_simulated_studies(kind: str) -> None:
    planned = design(kind)
    found = planned.intervals(0.95)[0]
    wanted = widths(found, findings(planned.laws[0]))[0]
    simulation = simulate_coverage(
        planned.laws, planned.noise(), studies=200, methods=["components_t"], seed=1
    )
    simulated = {entry.target: entry.width for entry in simulation.table}
    for name, expected, target in zip(found.names, wanted, findings(planned.laws[0]), strict=True):
        scale = np.log if target.logarithm else np.asarray
        assert scale(simulated[name]) == pytest.approx(scale(expected), rel=0.25), name


def test_more_seeds_narrow_the_interval_by_about_the_root_of_their_number() -> None:
    few, many = (design("data", seeds=seeds).reaches(0.95)[0] for seeds in (3, 12))
    # Shared test sampling does not shrink with seeds, so the gain is somewhat less than half.
    assert ((many / few > 0.45) & (many / few < 0.8)).all()


def test_a_wider_range_of_sizes_tells_more_of_the_exponent_than_a_denser_one() -> None:
    sizes = np.unique(SIZES)
    wider = design("data", x=np.append(sizes, 7776.0)).reaches(0.95)[0]
    denser = design("data", x=np.append(sizes, 166.0)).reaches(0.95)[0]
    before = design("data").reaches(0.95)[0]
    names = [target.name for target in findings(design("data").laws[0])]
    beta = names.index("beta")
    assert wider[beta] < denser[beta] < before[beta]


def test_the_expected_curve_and_test_set_are_those_that_were_stated() -> None:
    law = planned_law("collapse", points("collapse"), expectation("collapse"))
    found = law.problem.form.rescale(law.estimate, law.reference)[0]
    assert found == pytest.approx(list(TRUTH["collapse"].values()))
    assert np.sqrt(np.diag(law.runs.test)) == pytest.approx(TEST["collapse"])
    assert law.runs.test[1, 2] == pytest.approx(0.6 * TEST["collapse"] ** 2)
    assert law.runs.test[0, 6] == pytest.approx(TEST["collapse"] ** 2)  # the one teacher
    assert law.runs.count == 3


@pytest.mark.parametrize("kind", ["data", "size", "collapse"])
def test_assumptions_are_printed_and_give_intervals(kind: str) -> None:
    own = points(kind)
    expected = assumed(FORMS[kind], own.x, 600, 0.175 if kind == "collapse" else None)
    assert expected.source.startswith("assumed: ")
    assert "600 test examples" in expected.source
    planned = Design((planned_law(kind, own, expected),) * 3, expected)
    assert (planned.reaches(0.95) > 0).all()
