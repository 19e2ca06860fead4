"""`laws fit` and `recommend`: from a stored results table, without torch."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from distillscale.errors import InputError
from distillscale.laws import fit_laws, laws_table, save_laws
from distillscale.laws import recommend as recommended
from distillscale.results import read_results

_SHOWN = ("law", "task", "configuration", "metric", "x", "parameter")


def fit_results(results: Path, out: Path) -> None:
    """Fit all laws that a results table allows, save them and print them."""
    fits = fit_laws(read_results(results))
    save_laws(fits, out)
    table = Table(*_SHOWN, "estimate", "90 % interval", "note", title=str(results))
    for row in laws_table(fits).to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}"
        estimate = "" if pd.isna(row["estimate"]) else f"{row['estimate']:.4g}"
        table.add_row(*(str(row[name]) for name in _SHOWN), estimate, interval, str(row["note"]))
    Console().print(table)
    print(f"laws: {out}")


def print_recommendation(
    results: Path, minimum: list[str], maximum: list[str], task: str | None
) -> None:
    """Print the smallest configuration that satisfies all constraints."""
    table = read_results(results)
    minima, maxima = _constraints("--min", minimum), _constraints("--max", maximum)
    print(recommended(table, fit_laws(table), minima, maxima, task=task).as_text())


def _constraints(option: str, texts: list[str]) -> dict[str, float]:
    constraints = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            constraints[name] = float(value)
        except ValueError as error:
            raise InputError(
                f"{option} `{text}`: it must be NAME=NUMBER, for example macro_f1=0.85."
            ) from error
    return constraints
