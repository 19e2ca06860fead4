"""Commands on a results table alone: `distillscale laws ...` and `distillscale recommend`."""

from pathlib import Path
from typing import Annotated

import typer

laws = typer.Typer(help="Scaling laws of a results table.", no_args_is_help=True)


@laws.command("fit")
def laws_fit(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write laws.json; default beside the table.")
    ] = None,
) -> None:
    """Fit data, size and collapse laws to a results table, with bootstrap intervals."""
    from distillscale.commands.laws import fit_results

    fit_results(results, out)


def recommend(
    results: Annotated[Path, typer.Option(help="A results table (Parquet).")],
    minimum: Annotated[
        list[str] | None, typer.Option("--min", help="METRIC=VALUE, for example macro_f1=0.85.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option("--max", help="NAME=VALUE, for example params=500000.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Which task, where there are several.")] = None,
) -> None:
    """Recommend the smallest configuration that satisfies constraints, and say why others fail."""
    from distillscale.commands.laws import print_recommendation

    print_recommendation(results, minimum or [], maximum or [], task)
