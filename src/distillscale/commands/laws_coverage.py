"""`laws coverage`: how often each method's intervals would hold the truth, on one's own design."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from distillscale.commands.output import check_file
from distillscale.errors import InputError
from distillscale.laws.plan import plan_laws
from distillscale.laws.uncertainty.choices import save_choices
from distillscale.laws.uncertainty.coverage import (
    WANTED,
    Coverage,
    Simulation,
    simulate_coverage,
)
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import Noise, estimate_noise
from distillscale.laws.uncertainty.tables import fitted_pool, pools
from distillscale.results import read_results

METRICS = {"data": "macro_f1", "size": "macro_f1", "collapse": "general"}
WITH_EMBEDDINGS = "params_with_embeddings"

Pools = dict[str, tuple[list[Fitted], Noise | None]]


def coverage_of_results(
    results: Path, law: str, metric: str | None, study: Path | None, studies: int, seed: int,
    out: Path | None = None,
) -> None:  # fmt: skip
    """Simulate studies like this one and print how often each method's intervals hold the truth.

    Args:
        results: a results table, whose fitted curves are the truth and whose residuals the noise.
        law: data, size or collapse.
        metric: which metric; None: `METRICS`.
        study: a study file whose design is simulated instead of the table's own.
        studies: how many to simulate.
        seed: of the chance.
        out: where to write what was chosen, for `laws fit --methods`.

    Raises:
        InputError: unknown law, or the table has no such law with enough points.
    """
    if law not in METRICS:
        raise InputError(f"--law `{law}`: it must be one of {', '.join(METRICS)}.")
    if studies < 1:
        raise InputError(f"--studies {studies}: it must be at least 1.")
    if out is not None:
        check_file(out, "--out")
    table = read_results(results)
    wanted = metric or METRICS[law]
    found = _planned(table, study, str(results)) if study else measured_laws(table, law, wanted)
    chosen = {
        name: (laws, noise or estimate_noise(laws))
        for name, (laws, noise) in found.items()
        if name.startswith(f"{law} law of {wanted} ")
    }
    if not chosen:
        raise InputError(
            f"{results}: no {law} law of {wanted} has more different sizes than parameters."
        )
    for name, (laws, noise) in chosen.items():
        if not noise.variances.any() and not any(law.runs.test.any() for law in laws):
            raise InputError(
                f"{results}: {name}: no run misses its law and test examples say nothing, so there "
                "is no noise to simulate."
            )
    simulations: dict[str, Simulation] = {}
    for name, (laws, noise) in chosen.items():
        simulations[name] = simulate_coverage(laws, noise, studies=studies, seed=seed)
        lines = [*_head(name, laws, simulations[name]), *coverage_lines(simulations[name]), ""]
        print("\n".join(lines))
    if out is not None:
        save_choices(simulations, out)
        table_of = f"{study}'s results table" if study else str(results)
        print(f"methods: {out}; `distillscale laws fit --methods {out}` uses them on {table_of}")


def measured_laws(table: pd.DataFrame, law: str, metric: str) -> Pools:
    """The laws of a table in pools that share their noise (None: what their residuals show)."""
    wanted = [
        plan
        for plan in plan_laws(table)
        if (plan.law, plan.metric) == (law, metric) and plan.x != WITH_EMBEDDINGS
    ]
    found: Pools = {}
    for pool in pools(wanted):
        laws = fitted_pool(pool)
        if laws:
            found[pool.name] = (laws, None)
    return found


def _planned(table: pd.DataFrame, study: Path, source: str) -> Pools:
    from distillscale.commands.laws_design import designs_of
    from distillscale.studies.study_file import read_study

    planned = designs_of(read_study(study), table, source)
    return {name: (list(design.laws), design.noise()) for name, (_, design) in planned.items()}


def _head(name: str, laws: Sequence[Fitted], simulation: Simulation) -> Iterator[str]:
    shown = ", ".join(f"{value:.3g}" for value in simulation.noise.variances[0] ** 0.5)
    kinds = "a run" if simulation.noise.variances.shape[1] == 1 else "a run and of a further stage"
    scale = "ln error" if laws[0].logarithm else "score or error"
    yield (
        f"{name}: {len(laws)} laws of {len(laws[0].runs)} points from {laws[0].runs.count} runs "
        f"each; noise of {kinds} {shown} ({scale})"
    )


def coverage_lines(simulation: Simulation) -> Iterator[str]:
    """The table of a simulation and its choice, as text."""
    yield f"  {'method':18} {'of':18} {'covers':>7} {'+-':>6} {'width':>9} {'open':>6}"
    for entry in simulation.table:
        if entry.stretch == 1 or entry in simulation.of_chosen:
            yield f"  {_row(entry)}"
    low, high = WANTED
    for reason in simulation.refusals:
        yield f"  {reason}"
    if simulation.within:
        yield f"  chosen: {simulation.chosen}; narrowest that covers {low:.0%} to {high:.0%}"
    else:
        missed = [entry.target for entry in simulation.of_chosen if not entry.holds]
        yield (
            f"  chosen: {simulation.chosen}; no method covers {low:.0%} to {high:.0%} of "
            f"{', '.join(missed)}"
        )


def _row(entry: Coverage) -> str:
    width = f"x{entry.width:.3g}" if entry.ratio else f"{entry.width:.3g}"
    mark = "" if entry.holds else "  misses"
    name = entry.method if entry.stretch == 1 else f"{entry.method} x{entry.stretch:g}"
    return (
        f"{name:18} {entry.target:18} {entry.coverage:7.1%} {entry.error:6.1%} "
        f"{width:>9} {entry.open:6.0%}{mark}"
    )
