"""Coverage of the laws' intervals on the design of studies/lab.yaml.

Curves and noise are those that the quick study showed (`distillscale study run
studies/lab-quick.yaml`, then `distillscale laws design ... --results ...`), rounded and written
down here, so that the benchmark needs no results; `--results` takes those of a table. For each law
500 studies are simulated, every method's intervals are computed, and the simulation chooses one.

    python bench/coverage.py
    python bench/coverage.py --results docs/results/lab.parquet
"""

import argparse
import time
from pathlib import Path
from typing import Any

from distillscale.commands.laws_coverage import coverage_lines
from distillscale.commands.laws_design import designs_of
from distillscale.commands.planned_study import planned_table
from distillscale.laws.plan import LawPlan
from distillscale.laws.uncertainty.coverage import STUDIES, WANTED, Simulation, simulate_coverage
from distillscale.laws.uncertainty.design import Design, Expectation
from distillscale.laws.uncertainty.planning import designs
from distillscale.results import read_results
from distillscale.studies.study_file import read_study
from result import save

STUDY = Path(__file__).parents[1] / "studies" / "lab.yaml"
TASK = "fin-headlines"
TEACHER = 1_575_552
LAWS = {"data": "macro_f1", "size": "macro_f1", "collapse": "general"}
EXPECTED = {
    "data": Expectation({"e_inf": 0.11, "B": 1.6, "beta": 0.5}, 0.07, 0.0, 0.11, 0.5, "quick"),
    "size": Expectation(
        {"e_inf": 0.03, "A": 0.06 * TEACHER**0.6, "alpha": 0.6}, 0.07, 0.07, 0.18, 0.5, "quick"
    ),
    "collapse": Expectation(
        {"s0": 1.0, "r_star": 0.16, "k": 2.6, "chance": 0.175}, 0.0, 0.03, 0.015, 0.5, "quick"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path)
    parser.add_argument("--studies", type=int, default=STUDIES)
    arguments = parser.parse_args()
    laws = {}
    for law, design in lab_designs(arguments.results).items():
        started = time.perf_counter()
        found = simulate_coverage(design.laws, design.noise(), studies=arguments.studies)
        print(law, *coverage_lines(found), sep="\n")
        laws[law] = outcome(found) | {"seconds": round(time.perf_counter() - started, 1)}
    save(
        "coverage", {"wanted": WANTED, "laws": laws, "ok": all(x["within"] for x in laws.values())}
    )


def lab_designs(results: Path | None) -> dict[str, Design]:
    study = read_study(STUDY)
    if results is not None:
        found = designs_of(study, read_results(results), str(results))
    else:
        table = planned_table(study, study.grids, TEACHER)
        found = designs(table[table["task"] == TASK], expected)
    return {
        pool.law: design
        for pool, design in found.values()
        if pool.task == TASK and LAWS[pool.law] == pool.metric and "embed" not in pool.x
    }


def expected(plan: LawPlan) -> Expectation:
    return EXPECTED[plan.law]


def outcome(found: Simulation) -> dict[str, Any]:
    """What the chosen method reached."""
    own = [entry for entry in found.table if entry.method == found.chosen]
    return {
        "chosen": found.chosen,
        "within": found.within,
        "coverage": {entry.target: round(entry.coverage, 4) for entry in own},
        "studies": own[0].studies,
    }


if __name__ == "__main__":
    main()
