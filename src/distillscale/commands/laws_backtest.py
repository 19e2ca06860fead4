"""`laws backtest` and `laws select`: which law predicts what it was not fitted to."""

from pathlib import Path

from distillscale.commands.table_file import check_table, write_table
from distillscale.errors import InputError
from distillscale.laws.plan import NO_LAW
from distillscale.laws.selection.backtest import DRAWS, SeriesBacktest, predictions
from distillscale.laws.selection.choice import Selection, selection_of, selections_table
from distillscale.laws.selection.leaderboard import backtest_laws, leaderboard, leaderboard_text
from distillscale.laws.settings import configuration_label
from distillscale.results import read_results


def backtest_results(results: Path, out: Path | None, seed: int) -> None:
    """Print the leaderboard of all laws of a table; write the single predictions to `out`."""
    check_table(out)
    tests = _tests(results, seed=seed)
    print(leaderboard_text(leaderboard(tests), tests))
    if out:
        write_table(predictions(tests), out)
        print(f"predictions: {out}")


def select_results(results: Path, out: Path | None, seed: int) -> None:
    """Print which form is chosen for each configuration and metric; write all scores to `out`."""
    check_table(out)
    tests = _tests(results, seed=seed, draws=0)
    selections = [selection_of(test, seed=seed) for test in tests]
    for heading, own in _by_configuration(selections).items():
        print(heading)
        print("\n".join(f"  {s.law} law of {s.metric} over {s.x}: {s.verdict}" for s in own))
        print()
    print("\n".join(f"{line}." for line in dict.fromkeys(s.covers for s in selections if s.covers)))
    if out:
        write_table(selections_table(selections), out)
        print(f"scores: {out}")


def _tests(results: Path, *, seed: int, draws: int = DRAWS) -> list[SeriesBacktest]:
    """The back-tests of all laws of a table.

    Raises:
        InputError: the table cannot be read, or no law can be planned for it.
    """
    tests = backtest_laws(read_results(results), draws=draws, seed=seed)
    if not tests:
        raise InputError(f"{results}: {NO_LAW}")
    return tests


def _by_configuration(selections: list[Selection]) -> dict[str, list[Selection]]:
    found: dict[str, list[Selection]] = {}
    for selection in selections:
        group = selection.group
        label = configuration_label(str(group["configuration"]), str(group["thinking"]))
        found.setdefault(f"{group['task']}, {label}", []).append(selection)
    return found
