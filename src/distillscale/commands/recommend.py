"""`recommend` and `laws check`: advice from a stored results table, and its test; without torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws import fit_laws
from distillscale.laws.advice import (
    Coverage,
    Recommendation,
    as_data,
    check_coverage,
    metrics_that_matter,
    of_task,
)
from distillscale.laws.advice import recommend as recommended
from distillscale.laws.cost import with_cost
from distillscale.results import read_results


def print_recommendation(
    results: Path,
    minimum: Sequence[str],
    maximum: Sequence[str],
    *,
    task: str | None,
    objective: str,
    confidence: float | None,
    extrapolate: bool,
    hourly_price: float | None,
    study: Path | None,
    as_json: bool,
) -> None:
    """Print the model that is best by the objective under all constraints, and how to make it.

    Args:
        hourly_price: of the machine that the study timed; `cost_per_million` is a metric then.
        study: the study file of the results; then a whole study file is printed, else its `grids`.
        as_json: print data instead of text.
    """
    table = of_task(read_results(results), task)
    if hourly_price is not None:
        table = with_cost(table, hourly_price)
    minima, maxima = _constraints("--min", minimum), _constraints("--max", maximum)
    matter = metrics_that_matter(table, minima, maxima, objective)
    answer = recommended(
        table,
        fit_laws(table[table["metric"].isin(matter)]),
        minima,
        maxima,
        objective=objective,
        extrapolate=extrapolate,
        confidence=confidence,
    )
    cell = _cell(answer, table, study)
    if as_json:
        print(json.dumps(as_data(answer) | {"study": cell}, indent=1, allow_nan=False))
        return
    print(answer.as_text())
    if cell is not None:
        from distillscale.commands.study_cell import as_yaml

        what = (
            "a study file" if study else "the grids of a study file; --study FILE prints it whole"
        )
        print(f"To run it ({what}):\n\n{as_yaml(cell)}", end="")


def print_coverage(results: Path, level: float) -> None:
    """Print how often intervals for a new run held, every cell left out and predicted in turn."""
    if not 0 < level < 1:
        raise InputError(f"--level {level:g}: give a probability between 0 and 1.")
    rows = check_coverage(read_results(results), level=level)
    if not rows:
        raise InputError(
            f"{results}: no run can be predicted from the others; repeat settings with other "
            "seeds, or measure four or more sizes."
        )
    print(f"{level:.0%} intervals for a new run, each cell left out and predicted by the others")
    print(f"  {'predicted':9} {'metric':24} {'trials':>6} {'cells':>5} {'covered':>8}")
    for row in rows:
        print(_coverage(row))
    print(
        "covered: with its Monte-Carlo error, cells as units.\n"
        "repeat: one more run of a measured setting. between: a law between its points.\n"
        "stage: a law between the stages of a chain that ran once, which cannot show how a second\n"
        "run would differ. beyond: a law asked beyond its points, as --extrapolate does.\n"
        "Left-out cells were measured on the same test examples, so test sampling is left out here."
    )


def _coverage(row: Coverage) -> str:
    share = f"{row.share:6.3f} +- {row.error:.3f}"
    return f"  {row.kind:9} {row.metric:24} {row.trials:6} {row.cells:5} {share}"


def _cell(answer: Recommendation, table: pd.DataFrame, study: Path | None) -> dict[str, Any] | None:
    """The study cell of the choice: a whole study file with `study`; None for the teacher."""
    if answer.choice is None or answer.choice.stage == 0:
        return None
    from distillscale.commands.study_cell import grid_of, study_of

    seed = int(table["seed"].max()) + 1
    if study is not None:
        from distillscale.studies.study_file import read_study

        return study_of(answer.choice, read_study(study), seed=seed)
    largest = int(table["dataset_size"].max())
    return {"grids": [grid_of(answer.choice, seed=seed, largest=largest)]}


def _constraints(option: str, texts: Sequence[str]) -> dict[str, float]:
    constraints: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name in constraints:
            raise InputError(f"{option} `{text}`: `{name}` is given twice; give it once.")
        try:
            constraints[name] = float(value)
        except ValueError as error:
            raise InputError(
                f"{option} `{text}`: it must be NAME=NUMBER, for example macro_f1=0.85."
            ) from error
    return constraints
