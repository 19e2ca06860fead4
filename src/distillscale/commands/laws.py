"""`laws fit` and `recommend`: from a stored results table, without torch."""

from pathlib import Path

import pandas as pd

from distillscale.commands.output import check_writable
from distillscale.errors import InputError
from distillscale.laws import fit_laws, laws_table, save_laws
from distillscale.laws import recommend as recommended
from distillscale.laws.settings import configuration_label
from distillscale.results import read_results


def fit_results(results: Path, out: Path | None) -> None:
    """Fit all laws that a results table allows, save them (by default beside it) and print them."""
    measured = read_results(results)
    out = out or results.with_name("laws.json")
    check_writable(out.parent, "--out")
    fits = fit_laws(measured)
    save_laws(fits, out)
    for group, rows in laws_table(fits).groupby(["task", "configuration", "thinking"], sort=False):
        task, configuration, thinking = map(str, group)
        print(f"{task}, {configuration_label(configuration, thinking)}")
        print(_as_text(rows))
    print(f"laws: {out}")


def _as_text(rows: pd.DataFrame) -> str:
    """The laws of one configuration; what several parameters have in common is a footnote."""
    notes = {note: number for number, note in enumerate(rows["note"].unique(), start=1)}
    lines = []
    for (law, metric, x), own in rows.groupby(["law", "metric", "x"], sort=False):
        lines.append(f"  {law} law of {metric} over {x}")
        for row in own.to_dict("records"):
            interval = "" if pd.isna(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}"
            estimate = "" if pd.isna(row["estimate"]) else f"{row['estimate']:.4g}"
            note = notes[row["note"]]
            lines.append(f"    {row['parameter']:8} {estimate:>10}  {interval:24}  [{note}]")
    footnotes = [f"  [{number}] {note}" for note, number in notes.items()]
    return "\n".join([*lines, *footnotes, ""])


def print_recommendation(
    results: Path, minimum: list[str], maximum: list[str], task: str | None
) -> None:
    """Print the smallest configuration that satisfies all constraints."""
    table = read_results(results)
    minima, maxima = _constraints("--min", minimum), _constraints("--max", maximum)
    print(recommended(table, fit_laws(table), minima, maxima, task=task).as_text())


def _constraints(option: str, texts: list[str]) -> dict[str, float]:
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
