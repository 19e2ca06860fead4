"""`laws compare` on a stored table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_table import results

from distillscale.results import write_results


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Two tasks and three seeds, so that one factor can be tested."""
    tables = [
        results(task).assign(
            seed=seed,
            cell=lambda rows, seed=seed: rows["cell"] + f"_s{seed}",
            value=lambda rows, shift=shift + seed / 100: rows["value"] + shift,
        )
        for task, shift in (("fin-headlines", 0.0), ("support-tickets", -0.2))
        for seed in range(3)
    ]
    path = tmp_path / "[results]" / "results.parquet"
    write_results(pd.concat(tables), path)
    return path


def test_it_prints_what_varies_contrasts_and_shares(call, stored: Path) -> None:
    ended = call("laws", "compare", stored)
    assert ended.code == 0
    said = ended.out
    assert "not varied:    method, thinking, schedule" in said
    (line,) = [text for text in said.splitlines() if "support-tickets - fin-headlines" in text][:1]
    assert "-0.200" in line
    for part in ("variance shares", "exponents by format", "0 of 24", "run-to-run"):
        assert part in said
    assert max(map(len, said.splitlines())) <= 125


def test_one_factor_alone(call, stored: Path) -> None:
    said = call("laws", "compare", stored, "--factor", "supervision").out
    assert "label - pruned only" in said
    assert "support-tickets - fin-headlines" not in said
    assert "variance shares" not in said


def test_tables_are_written(call, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    assert call("laws", "compare", stored, "--out", out).code == 0
    contrasts = pd.read_csv(out / "contrasts.csv")
    tasks = contrasts[(contrasts["factor"] == "task") & (contrasts["context"] == "all")]
    assert tasks["difference"].round(6).eq(-0.2).all()
    assert {path.stem for path in out.iterdir()} == {
        "pairs", "contrasts", "variance_shares", "exponents",
        "exponent_differences", "stopped_runs", "run_spread",
    }  # fmt: skip


def test_nothing_to_compare_is_one_sentence(complaint, stored: Path, tmp_path: Path) -> None:
    assert "no such factor; there are supervision" in complaint(
        "laws", "compare", stored, "--factor", "size"
    )
    write_results(results()[:0], tmp_path / "empty.parquet")
    assert "it has no rows" in complaint("laws", "compare", tmp_path / "empty.parquet")
    assert "--out" in complaint("laws", "compare", stored, "--out", stored / "tables")
    assert "no such results file" in complaint("laws", "compare", tmp_path / "none.parquet")


def test_factors_that_vary_together_are_named(call, tmp_path: Path) -> None:
    """Each method has its task: what either changes belongs to neither."""
    parts = [
        results(task, study=method).assign(method=method, seed=seed, cell=f"{task}-{seed}")
        for task, method in (("fin-headlines", "logit"), ("support-tickets", "lora"))
        for seed in range(3)
    ]
    rows = pd.concat(parts)
    noise = 0.01 * np.random.default_rng(0).normal(size=len(rows))
    chains = rows[(rows["schedule"] == "uniform") & (rows["supervision"] == "label")]
    write_results(
        chains.assign(value=chains["value"] + noise[: len(chains)]), tmp_path / "x.parquet"
    )
    ended = call("laws", "compare", tmp_path / "x.parquet")
    assert ended.code == 0, ended.err
    assert "method is aliased with task: 0 of its 1 degrees of freedom are its own" in ended.out
    assert "    method or task" in ended.out


def test_a_single_cell_has_nothing_to_compare_with(call, tmp_path: Path) -> None:
    table = results()
    write_results(table[table["cell"] == table["cell"].iloc[0]], tmp_path / "one.parquet")
    ended = call("laws", "compare", tmp_path / "one.parquet")
    assert ended.code == 0
    assert "1 cells" in ended.out
    assert "nothing varies" in ended.out
