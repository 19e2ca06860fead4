"""`laws coverage` and `laws design`."""

import re
from pathlib import Path

import pytest
from small_table import results

from distillscale.commands.laws_design import _longer, _sizes
from distillscale.results import write_results
from distillscale.studies.schedule_section import Uniform
from distillscale.studies.study_file import Grid

QUICK = Path(__file__).parents[2] / "studies" / "lab-quick.yaml"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "results.parquet"
    write_results(results(), path)
    return path


def test_coverage_prints_every_method_and_its_choice(call, stored: Path):
    ended = call("laws", "coverage", stored, "--law", "collapse", "--studies", 20)
    assert ended.code == 0
    trained, pruned_only = ended.out.strip().split("\n\n")
    assert "collapse law of general over prune_ratio, fin-headlines: 1 laws of 6" in trained
    for method in ("parametric", "components_t", "profile"):
        assert len(re.findall(rf"^  {method} ", trained, flags=re.MULTILINE)) == 6
    assert "method `cluster_bootstrap` needs 10 runs and this law has 1" in trained
    assert "chosen: " in trained
    assert pruned_only.startswith("collapse law of general over prune_ratio, fin-headlines, pruned")


def test_coverage_of_a_planned_study_takes_the_tables_curves(call, stored: Path):
    ended = call("laws", "coverage", stored, "--law", "collapse", "--study", QUICK, "--studies", 10)
    assert ended.code == 0
    assert "4 laws of 6 points from 1 runs each" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--law", "magic"], "--law `magic`: it must be one of data, size, collapse"),
        (["--studies", "0"], "--studies 0: it must be at least 1"),
        (["--law", "data"], "no data law of macro_f1 has more different sizes than parameters"),
    ],
)
def test_coverage_refuses_in_one_sentence(complaint, stored: Path, options, words: str):
    assert words in complaint("laws", "coverage", stored, *options)


def test_design_states_its_assumptions_and_what_narrows_most(call, tmp_path: Path):
    ended = call("laws", "design", QUICK, "--store", tmp_path / "store")
    assert ended.code == 0
    assert "data law of macro_f1 over dataset_size, fin-headlines: 4 laws of 4 points" in ended.out
    assert "assumed: e_inf 0.05, B " in ended.out
    assert "logit-cot " in ended.out
    ranked = [float(share) for share in re.findall(r"h, (-?[\d.]+)% narrower", ended.out)]
    assert len(ranked) > 5
    assert ranked == sorted(ranked, reverse=True)
    assert "another dataset size, dataset_sizes: [128]" in ended.out


def test_design_takes_curves_and_noise_of_a_pilot(call, stored: Path, tmp_path: Path):
    ended = call("laws", "design", QUICK, "--results", stored, "--store", tmp_path / "store")
    assert ended.code == 0
    assert f"curve and noise of {stored}" in ended.out
    assert "r_star 0.3" in ended.out


def test_design_refuses_a_study_without_laws(complaint, tmp_path: Path):
    small = re.sub(r"dataset_sizes: \[.*", "dataset_sizes: [64]", QUICK.read_text())
    small = re.sub(r"- \{kind: (uniform|decayed).*", "- {kind: oneshot, prune_ratio: 0.3}", small)
    small = small.replace(
        "[{kind: uniform, stages: 5, prune_ratio: 0.16}]", "[{kind: oneshot, prune_ratio: 0.16}]"
    )
    path = tmp_path / "small.yaml"
    path.write_text(small)
    words = complaint("laws", "design", path, "--store", tmp_path / "store")
    assert "no law has more different sizes than parameters" in words


def test_extra_cells_continue_what_the_grid_does():
    grid = Grid(
        tasks=("fin-headlines",),
        configurations=("logit-label",),
        schedules=(Uniform(kind="uniform", stages=2, prune_ratio=0.25),),
        dataset_sizes=(100, 400, 1600),
    )
    assert _sizes(grid) == [25, 200, 800]
    assert _longer(grid.schedules[0]) == Uniform(kind="uniform", stages=3, prune_ratio=0.125)
