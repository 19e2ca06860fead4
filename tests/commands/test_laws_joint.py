"""`laws joint`: parameters of a factor shared, separate or pooled; schedules by their numbers."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distillscale.results import COLUMNS, write_results

SIZES = (50, 100, 200, 400, 800, 1600)
EXPONENTS = {"label": 0.6, "cot": 0.4, "blended": 0.5}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Losses of three formats that differ in their exponent, in one and in four stages."""
    rng = np.random.default_rng(0)
    rows = []
    for (name, beta), size, stages, seed in product(EXPONENTS.items(), SIZES, (1, 4), range(2)):
        loss = 0.2 + 9 * stages**-0.25 * size**-beta
        rows.append({
            "study": "s", "cell": f"{name}{size}-{stages}-{seed}", "task": "t",
            "supervision": name, "thinking": "none", "method": "logit", "schedule": "uniform",
            "stages": stages, "dataset_size": size, "seed": seed, "stage": stages,
            "prune_ratio": 0.4, "largest_cut": 1 - 0.4 ** (1 / stages), "params": 4e5,
            "params_with_embeddings": 5e5, "metric": "gold_nll",
            "value": loss * np.exp(0.01 * rng.normal()), "chance": np.nan, "examples": 500,
            "replicates": [],
        })  # fmt: skip
    path = tmp_path / "x.parquet"
    write_results(pd.DataFrame(rows, columns=list(COLUMNS)), path)
    return path


def values(out: str) -> dict[str, float]:
    pairs = [line.split(" = ") for line in out.splitlines() if " = " in line]
    return {name.strip(): float(said.split()[0]) for name, said in pairs}


ALONE = ["--metric", "gold_nll", "--where", "stages=1"]
BY = ["--by", "supervision"]


def test_parameters_of_levels_are_shared_separate_or_pooled(call, stored: Path) -> None:
    apart = call("laws", "joint", stored, *ALONE, *BY, "--separate", "B", "--separate", "beta")
    assert apart.code == 0, apart.err
    found = values(apart.out)
    for name, truth in EXPONENTS.items():
        assert found[f"beta[{name}]"] == pytest.approx(truth, abs=0.05)
    assert found["e_inf"] == pytest.approx(0.2, abs=0.05)
    pooled = call("laws", "joint", stored, *ALONE, *BY, "--separate", "B", "--pool", "beta")
    assert "beta is pooled: its levels differ by a standard deviation of" in pooled.out
    between = [values(pooled.out)[f"beta[{name}]"] for name in EXPONENTS]
    assert np.ptp(between) == pytest.approx(0.2, abs=0.08)
    shared = call("laws", "joint", stored, *ALONE, *BY, "--separate", "e_inf")
    assert {"B", "beta", "e_inf[label]"} <= set(values(shared.out))


def test_a_schedule_enters_by_its_number_of_stages(call, stored: Path) -> None:
    ended = call("laws", "joint", stored, "--metric", "gold_nll", "--where", "supervision=cot",
                 "--covariate", "stages", "--changes", "B")  # fmt: skip
    assert ended.code == 0, ended.err
    assert values(ended.out)["gamma[stages]"] == pytest.approx(-0.25, abs=0.03)


def test_an_interval_of_a_floor_above_another_level_s_values_holds_its_estimate(
    call, stored: Path
) -> None:
    rows = pd.read_parquet(stored)
    higher = rows["supervision"] == "cot"
    rows["value"] = rows["value"] + 5 * higher
    rows.to_parquet(stored)
    ended = call("laws", "joint", stored, *ALONE, *BY, "--separate", "e_inf", "--separate", "B",
                 "--separate", "beta")  # fmt: skip
    (line,) = [line for line in ended.out.splitlines() if "e_inf[cot]" in line]
    estimate, low, high = map(float, re.findall(r"[\d.]+", line.split("=")[1]))
    assert 4 < low <= estimate <= high < 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], r"`supervision` varies too (blended, cot, label): hold it with --where"),
        (["--by", "supervision"], "`stages` varies too (1, 4): hold it"),
        (["--law", "pruned"], "--law `pruned`: it must be one of data, rectified"),
        (["--by", "seed"], "--by `seed`: no such factor; there are format, supervision"),
        (["--where", "colour=red"], "colour: "),
        (["--where", "method"], "--where `method`: it must be COLUMN=VALUE"),
        (["--where", "method=none"], "no row of `gold_nll` is left for this law"),
        (["--covariate", "stages"], "--covariate and --changes go together"),
        (["--covariate", "seed", "--changes", "B"], "it must be stages or least_kept"),
        (["--covariate", "stages", "--changes", "beta"], "cannot change with covariates"),
        (["--x", "params,dataset_size"], "law `data` takes 1"),
        ([*BY, "--where", "stages=1", "--where", "supervision=cot"], "these rows have 1"),
        ([*BY, "--where", "stages=1", "--separate", "gamma"], "has no parameter `gamma`"),
        ([*BY, "--where", "stages=1", "--pool", "gamma"], "has no parameter `gamma`"),
        ([*BY, "--where", "stages=1", "--separate", "beta"], "`B` cannot be shared by levels"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(complaint, stored: Path, options, said: str) -> None:
    complained = complaint("laws", "joint", stored, "--metric", "gold_nll", *options)
    assert said in complained
    assert len(complained.splitlines()) == 1


def test_numbers_are_held_by_their_value_and_what_is_none_is_refused(
    call, complaint, stored: Path
) -> None:
    held = call("laws", "joint", stored, *ALONE, *BY, "--where", "params=400000")
    assert held.code == 0, held.err
    same = call("laws", "joint", stored, "--metric", "gold_nll", "--where", "stages=1.0", *BY)
    assert values(same.out) == values(held.out)
    assert "stages is a number" in complaint(
        "laws", "joint", stored, "--metric", "gold_nll", "--where", "stages=few"
    )
    assert "--x supervision: its values" in complaint(
        "laws", "joint", stored, *ALONE, "--x", "supervision"
    )
    twice = ["--pool", "beta", "--pool", "beta"]
    assert "`beta` can be pooled once" in complaint("laws", "joint", stored, *ALONE, *BY, *twice)
