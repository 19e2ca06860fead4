"""`laws fit`: from a stored results table, without torch."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale.commands.output import check_file
from distillscale.errors import InputError
from distillscale.laws import (
    FORMS,
    JointFit,
    LawFit,
    certificate_table,
    delta_table,
    fit_joint_laws,
    fit_laws,
    save_laws,
)
from distillscale.laws.bootstrap import at_level
from distillscale.laws.plan import NO_LAW
from distillscale.laws.settings import configuration_label
from distillscale.laws.uncertainty.choices import load_choices
from distillscale.results import read_results

SCALES = {
    "log": "log residuals",
    "error": "residuals in standard errors",
    "beta-binomial": "counts of right answers",
    "score": "residuals of the score",
}


def fit_results(results: Path, out: Path | None, methods: Sequence[Path] = ()) -> None:
    """Fit all laws that a results table allows, save them (by default beside it) and print them.

    Args:
        results: the table.
        out: where to write the laws.
        methods: files that say by which methods intervals are made (`laws coverage --out`).

    Raises:
        InputError: a file cannot be read or written, the table allows no law, or a method needs
            more runs than there are.
    """
    measured = read_results(results)
    out = out or results.with_name("laws.json")
    check_file(out, "--out")
    fits = fit_laws(measured, methods=load_choices(methods))
    joint = fit_joint_laws(measured)
    if not fits and not joint:
        raise InputError(f"{results}: {NO_LAW}")
    save_laws(fits, out, joint)
    everything: list[LawFit | JointFit] = [*fits, *joint]
    for heading, own in _by_configuration(everything).items():
        print("\n".join([heading, *_laws(own), ""]))
    print("\n".join([*_certificates(everything), *_deltas(fits)]))
    print(f"laws: {out}")


def _by_configuration(fits: Sequence[LawFit | JointFit]) -> dict[str, list[LawFit | JointFit]]:
    found: dict[str, list[LawFit | JointFit]] = {}
    for fit in fits:
        names = [str(fit.group.get(name, "")) for name in ("task", "configuration", "thinking")]
        found.setdefault(_heading(*names), []).append(fit)
    return found


def _laws(fits: Sequence[LawFit | JointFit]) -> list[str]:
    """The laws of one configuration; reasons that occur again and again are footnotes."""
    notes: dict[str, int] = {}

    def note(text: str) -> str:
        return f"[{notes.setdefault(text, len(notes) + 1)}]"

    lines = [line for fit in fits for line in _lines(fit, note)]
    return [*lines, *(f"  [{number}] {text}" for text, number in notes.items())]


def _lines(fit: LawFit | JointFit, note: Callable[[str], str]) -> Iterator[str]:
    """A law's heading, what may be said of its parameters, and what to keep in mind."""
    points = fit.points if isinstance(fit, JointFit) else fit.diagnostics.points
    noun = "point" if points == 1 else "points"
    yield f"  {_name(fit)}"
    if not fit.estimate:
        yield f"    not fitted {note(fit.covers)}"
        return
    covers = note(at_level(fit.covers, fit.level))
    yield f"    {points} {noun}, {SCALES[fit.likelihood]} {covers}"
    known = [parameter.name for parameter in FORMS[fit.form].parameters if parameter.fixed]
    for name in fit.estimate:
        reason = fit.unidentified.get(name)
        if name not in known and reason and name not in fit.bounds:
            yield f"    {name} not identified {note(reason)}"
        elif name not in known:
            yield f"    {fit.statement(name)}"
    yield from (f"    {name.replace('_', ' ')} {value:.3g}" for name, value in fit.noise.items())
    if isinstance(fit, LawFit) and fit.status == "no trend":
        yield f"    {fit.metric} shows no trend over {fit.x}"
    dropped = fit.dropped if isinstance(fit, JointFit) else fit.diagnostics.dropped
    if dropped:
        yield f"    {dropped} unusable points left out"


def _name(fit: LawFit | JointFit) -> str:
    x = ", ".join(fit.columns) if isinstance(fit, JointFit) else fit.x
    return f"{fit.form} law: {fit.metric} over {x}"


def _certificates(fits: Sequence[LawFit | JointFit]) -> list[str]:
    """One line a law: is the estimate the best fit?"""
    table = certificate_table(fits)
    if table.empty:
        return []
    lines = [
        "Certificates: relative gradient, starts that reach the estimate, by how much",
        "the second basin and L-BFGS-B end higher (as a share of the loss)",
    ]
    for heading, rows in _by_heading(table):
        lines.append(f"  {heading}")
        for row in rows.to_dict("records"):
            lines.append(
                f"    {_place(row, 42)} {row['gradient']:8.1e} {row['reached']:5.0%} "
                f"{_share(row['second_basin']):>8} {_share(row['other_solver']):>8}"
            )
            lines += [f"      in doubt: {doubt}" for doubt in row["doubts"].split("; ") if doubt]
    doubtful = int((table["doubts"] != "").sum())
    return [*lines, f"  {len(table)} fits, {doubtful} in doubt", ""]


def _deltas(fits: Sequence[LawFit]) -> list[str]:
    """One line a power law: its exponent under other deltas of Huber's loss."""
    table = delta_table(fits)
    exponent = [
        bool(FORMS[law].linear) and name not in FORMS[law].linear
        for law, name in zip(table["law"], table["parameter"], strict=True)
    ]
    if not any(exponent):
        return []
    lines = ["Exponents under Huber's delta x 0.3, x 3, and by least squares"]
    for heading, own in _by_heading(table[exponent]):
        lines.append(f"  {heading}")
        for _, rows in own.groupby(["law", "metric", "x"], sort=False):
            values = " ".join(f"{value:8.4g}" for value in rows["estimate"])
            first = rows.to_dict("records")[0]
            lines.append(f"    {_place(first, 40)} {first['parameter']:6} {values}")
    return [*lines, ""]


def _by_heading(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    columns = ["task", "configuration", "thinking"]
    for _, rows in table.groupby(columns, sort=False):
        first = rows.iloc[0]
        yield _heading(*(str(first[column]) for column in columns)), rows


def _heading(task: str, configuration: str, thinking: str) -> str:
    return f"{task}, {configuration_label(configuration, thinking or 'none')}"


def _place(row: Mapping[Hashable, Any], width: int) -> str:
    return f"{row['law']} {row['metric']} {row['x']}"[:width].ljust(width)


def _share(value: float | None) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.1e}"
