"""Commands on a results table alone: `distillscale laws ...` and `distillscale recommend`."""

from pathlib import Path
from typing import Annotated

import typer

from distillscale.cli.options import LARGEST_SEED

laws = typer.Typer(help="Scaling laws of a results table.", no_args_is_help=True)


@laws.command("fit")
def laws_fit(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write laws.json; default beside the table.")
    ] = None,
    methods: Annotated[
        list[Path] | None,
        typer.Option(help="Make intervals by the methods that `laws coverage --out` chose."),
    ] = None,
) -> None:
    """Fit data, size and collapse laws to a results table, with intervals."""
    from distillscale.commands.laws import fit_results

    fit_results(results, out, methods or [])


@laws.command("joint")
def laws_joint(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    law: Annotated[
        str,
        typer.Option(help="data, rectified, broken, size, collapse, additive or multiplicative."),
    ] = "data",
    metric: Annotated[str, typer.Option(help="Which metric.")] = "macro_f1",
    by: Annotated[
        str | None,
        typer.Option(help="format, supervision, method, thinking, schedule or task: its levels."),
    ] = None,
    separate: Annotated[
        list[str] | None, typer.Option(help="A parameter that each level has apart; repeat it.")
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(help="A parameter that levels have apart, drawn to a common value."),
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(help="stages, or least_kept (1 - largest cut): a number of the schedule."),
    ] = None,
    changes: Annotated[
        str | None, typer.Option(help="The parameter that changes as a power of the covariates.")
    ] = None,
    x: Annotated[
        str | None, typer.Option(help="Columns of the inputs, as params_with_embeddings.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: only rows with it; repeat it.")
    ] = None,
) -> None:
    """One law for all levels of a factor: parameters shared, apart or partially pooled."""
    from distillscale.commands.laws_joint import fit_joint, read_where

    fit_joint(
        results, law, metric, by=by, separate=separate or [], pool=pool or [],
        covariates=covariate or [], changes=changes, x=x.split(",") if x else [],
        where=read_where(where or []),
    )  # fmt: skip


@laws.command("compare")
def laws_compare(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    factor: Annotated[
        str | None, typer.Option(help="Print the contrasts of this factor only.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for the tables behind it, as CSV files.")
    ] = None,
) -> None:
    """What each factor changes with all else equal: paired contrasts, ANOVA, exponents."""
    from distillscale.commands.laws_compare import compare_results

    compare_results(results, factor, out)


@laws.command("backtest")
def laws_backtest(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write every prediction: .parquet or .csv.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the simulated intervals.", min=0, max=LARGEST_SEED)
    ] = 0,
) -> None:
    """Fit each law up to a cut-off, predict what lies beyond: leaderboard with the baselines."""
    from distillscale.commands.laws_backtest import backtest_results

    backtest_results(results, out, seed)


@laws.command("select")
def laws_select(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write all scores: .parquet or .csv.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Choose a form for each configuration and metric, or say that no law beats a baseline."""
    from distillscale.commands.laws_backtest import select_results

    select_results(results, out, seed)


@laws.command("collapse")
def laws_collapse(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    in_domain: Annotated[
        str, typer.Option(help="The task's score: macro_f1 or accuracy.")
    ] = "macro_f1",
    general: Annotated[str, typer.Option(help="The score of general knowledge.")] = "general",
    lost: Annotated[
        float, typer.Option(help="Share of what lies above chance whose loss is a collapse.")
    ] = 0.5,
    out: Annotated[
        Path | None, typer.Option(help="Where to write all points and gaps: .parquet or .csv.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Where the task and general knowledge collapse, per format, and the gap between the two."""
    from distillscale.commands.laws_collapse import print_collapses

    print_collapses(results, in_domain, general, lost, out, seed)


@laws.command("coverage")
def laws_coverage(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    law: Annotated[str, typer.Option(help="data, size or collapse.")] = "data",
    metric: Annotated[
        str | None,
        typer.Option(help="Which metric; default macro_f1, for the collapse law `general`."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="A study file whose design is simulated instead of the table's own."),
    ] = None,
    studies: Annotated[int, typer.Option(help="How many studies to simulate.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0, max=LARGEST_SEED)] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to write what was chosen, for `laws fit --methods`.")
    ] = None,
) -> None:
    """How often would 95 % intervals hold the truth on this design? Measured for each method."""
    from distillscale.commands.laws_coverage import coverage_of_results

    coverage_of_results(results, law, metric, study, studies, seed, out)


@laws.command("design")
def laws_design(
    file: Annotated[Path, typer.Argument(help="A study file (YAML).")],
    results: Annotated[
        Path | None,
        typer.Option(help="A pilot's results table, for curves and noise; without, both assumed."),
    ] = None,
    store: Annotated[
        Path, typer.Option(help="Folder of the artifact store, for how long steps take.")
    ] = Path("outputs/store"),
) -> None:
    """How wide will the intervals of a planned study be, and which cells narrow them most?"""
    from distillscale.commands.laws_design import design_study

    design_study(file, results, store)


@laws.command("check")
def laws_check(
    results: Annotated[Path, typer.Argument(help="A results table (Parquet).")],
    level: Annotated[float, typer.Option(help="Level of the intervals that are tested.")] = 0.9,
) -> None:
    """Do intervals for a new run hold? Leave each cell out, predict it, count."""
    from distillscale.commands.recommend import print_coverage

    print_coverage(results, level)


def recommend(
    results: Annotated[Path, typer.Option(help="A results table (Parquet).")],
    minimum: Annotated[
        list[str] | None, typer.Option("--min", help="NAME=VALUE, for example macro_f1=0.85.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option("--max", help="NAME=VALUE, for example params=500000.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Which task, where there are several.")] = None,
    objective: Annotated[
        str, typer.Option(help="What is to be best: a size or metric; min:NAME or max:NAME.")
    ] = "params",
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Smallest probability with which a new run must meet all constraints; left out, "
            "its expected values must."
        ),
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Also models beyond the fitted range, to 10 x.")
    ] = False,
    hourly_price: Annotated[
        float | None,
        typer.Option(
            help="What an hour of the study's machine costs: `cost_per_million`, money for a "
            "million texts in batches of 32, may then be demanded as any metric."
        ),
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="The results' study file: print a whole file to run.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of text.")] = False,
) -> None:
    """Recommend a model under constraints: how sure, what would change it, how to run it."""
    from distillscale.commands.recommend import print_recommendation

    print_recommendation(
        results, minimum or [], maximum or [], task=task, objective=objective,
        confidence=confidence, extrapolate=extrapolate, hourly_price=hourly_price, study=study,
        as_json=as_json,
    )  # fmt: skip
