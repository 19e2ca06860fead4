import numpy as np
import pytest
from laws_tables import at_ratio, table
from planned_laws import cells, chains, measured

from distillscale.laws.forms import FORMS
from distillscale.laws.points import read_points
from distillscale.laws.uncertainty.noise import draw_errors
from distillscale.laws.uncertainty.runs import TEACHER, runs_of


def chain(cell: str, values: list[float], **changes) -> list[dict]:
    return [
        at_ratio(stage, 0.7**stage, cell=cell, value=value, metric="gold_nll", **changes)
        for stage, value in enumerate(values)
    ]


def read(rows: list[dict]):
    return runs_of(read_points(table(rows), FORMS["size"], "params"), FORMS["size"], logarithm=True)


def test_chains_are_runs_and_the_teacher_is_measured_once() -> None:
    runs = read(chain("a", [0.1, 0.2, 0.3]) + chain("b", [0.1, 0.25, 0.31], seed=1))
    assert runs.run.tolist() == [TEACHER, 0, 0, TEACHER, 1, 1]
    assert runs.count == 2
    assert runs.chained
    assert not runs.tested


def test_chains_without_chance_repeat_themselves_and_are_one_run() -> None:
    same = [0.1, 0.2, 0.3]
    runs = read(chain("s0", same) + chain("s1", same, seed=1) + chain("s2", same, seed=2))
    assert runs.count == 1
    own = runs.components()[0]
    assert own[1, 4] == own[1, 7] == 1  # one measurement, listed three times
    assert own[1, 2] == 0


def test_children_share_the_steps_of_their_parents() -> None:
    inherited = chains().components()[1]
    assert inherited[1, 5] == 1
    assert inherited[3, 5] == 3
    assert inherited[5, 5] == 5
    assert inherited[3, 9] == 0  # another chain
    assert inherited[0].sum() == 0  # the teacher inherits nothing


def test_drawn_errors_have_the_covariance_that_the_components_say() -> None:
    runs, variances = chains(), np.array([0.05**2, 0.06**2])
    errors = draw_errors(runs, np.tile(variances, (20000, 1)), np.random.default_rng(0))
    wanted = np.einsum("k,kij->ij", variances, runs.components()) + runs.test
    assert np.cov(errors, rowvar=False) == pytest.approx(wanted, abs=0.0012)
    assert errors[:, 0] == pytest.approx(errors[:, 6], abs=1e-6)  # the teacher, listed twice


def test_cells_of_one_stage_have_one_component() -> None:
    assert cells().components() == pytest.approx(np.eye(15)[None])
    assert measured("data", 2).runs.count == 15


def test_test_sampling_is_read_off_the_replicates() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=4000)
    rows = []
    for cell in ("a", "b"):
        noise = 0.1 * (np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=4000))
        rows += [at_ratio(1, 0.5, cell=cell, metric="gold_nll", value=1.0,
                          replicates=np.exp(noise).tolist())]  # fmt: skip
    runs = read(rows)
    assert runs.tested
    assert runs.test == pytest.approx(0.01 * np.array([[1, 0.5], [0.5, 1]]), abs=0.0008)
