"""`study plan`, `study run`, `study results`: from a study file to its report."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from distillscale import __version__
from distillscale.commands.output import check_writable
from distillscale.commands.report_inputs import report_inputs
from distillscale.errors import DistillscaleError, InputError
from distillscale.laws import LawFit, fit_joint_laws, fit_laws, save_laws
from distillscale.models.endpoint import EndpointSettings
from distillscale.report import render_report
from distillscale.results import write_baselines, write_results
from distillscale.studies.engine import run_plan
from distillscale.studies.graph import DEFAULT_SECONDS, StudyGraph, study_graph
from distillscale.studies.plan import Plan, make_plan
from distillscale.studies.progress import shown
from distillscale.studies.sources import Sources
from distillscale.studies.steps import run_step
from distillscale.studies.store import Store
from distillscale.studies.study_file import Study, read_study
from distillscale.studies.tables import baselines_table, results_table
from distillscale.studies.why import why

_STAMP = ".made-from"


def plan_study(path: Path, store_folder: Path, *, workers: int, step: str | None) -> None:
    """Print how many steps a study has, how many are cached, and how long the rest will take.

    Args:
        step: name or key of a step; then it is said instead why that step is not cached.
    """
    study = read_study(path)
    graph = study_graph(study)
    store = Store(store_folder)
    plan = make_plan(graph.targets, store, DEFAULT_SECONDS)
    if step is not None:
        print(why(plan.find(step), store))
        return
    width = max(len(kind) for kind in plan.by_kind)
    for kind, (count, missing) in plan.by_kind.items():
        print(f"{kind:{width}} {count:5} steps {count - missing:5} cached {missing:5} to compute")
    if graph.baselines:
        names = ", ".join(dict.fromkeys(baseline.name for baseline in graph.baselines))
        waiting = sum(step in plan.missing for step in graph.baselines.values())
        print(f"baselines ({names}): {len(graph.baselines)} among these, {waiting} to evaluate")
    total, left = len(plan.steps), len(plan.missing)
    print(f"{study.name}: {total} steps, {total - left} cached, {left} to compute", end=", ")
    if study.teacher.model == "lab" or left < total:
        print(f"about {plan.minutes(workers):.1f} minutes with {workers} workers.")
    else:
        print("minutes unknown before steps of this teacher were measured.")


def run_study(
    path: Path,
    store_folder: Path,
    output: Path | None,
    *,
    workers: int,
    endpoint: str | None = None,
    api_key_variable: str | None = None,
) -> None:
    """Compute what is missing of a study; write its results, laws and report.

    Args:
        endpoint: where `annotation.served_model` is served, up to `/v1`.
        api_key_variable: the environment variable that holds the endpoint's key.

    Raises:
        InputError: an endpoint without a model that it serves, or the other way round.
        DistillscaleError: a step failed; what does not need it is computed and written.
    """
    study = read_study(path)
    served = _served(study, endpoint, api_key_variable)
    graph = study_graph(study)
    folder = output or Path("outputs") / study.name
    check_writable(folder, "--output")
    store = Store(store_folder)
    console = Console(stderr=True)
    plan = make_plan(graph.targets, store, DEFAULT_SECONDS)
    cached = len(plan.steps) - len(plan.missing)
    console.print(f"{study.name}: {len(plan.steps)} steps, {cached} cached")
    sources = replace(graph.sources, endpoint=served)
    failure = run_missing(plan, sources, store, workers=workers, console=console)
    table = results_table(graph, store)
    if failure is not None and table.empty:
        raise failure
    command = f"distillscale study run {path}"
    report = write_outputs(study, graph, store, table, folder, command=command)
    print(f"results: {folder / 'results.parquet'}\nlaws:    {folder / 'laws.json'}")
    print(f"report:  {report}")
    if failure is not None:
        raise failure


def run_missing(
    plan: Plan, sources: Sources, store: Store, *, workers: int, console: Console
) -> DistillscaleError | None:
    """Compute the missing steps; a failure is returned, so that what succeeded can be shown."""
    try:
        with shown(plan, console) as progress:
            execute = partial(run_step, sources=sources)
            run_plan(plan, store, execute, workers=workers, progress=progress)
    except DistillscaleError as error:
        return error
    return None


def _served(
    study: Study, endpoint: str | None, api_key_variable: str | None
) -> EndpointSettings | None:
    """The endpoint that serves the study's teacher; None where the study asks none."""
    model = study.annotation.served_model
    if endpoint is None and model is None:
        return None
    if endpoint is not None and model is not None:
        return EndpointSettings(endpoint, model, api_key_variable)
    if endpoint is None:
        raise InputError(
            f"annotation.served_model is `{model}`, so the study needs --endpoint URL: where it is "
            "served."
        )
    raise InputError(
        "--endpoint is given, but the study has no annotation.served_model; name the model that "
        "it serves there, or leave --endpoint out."
    )


def write_results_of(path: Path, store_folder: Path, output: Path | None) -> None:
    """Rebuild a study's results table from the artifacts that are there.

    Raises:
        InputError: there are none; a table that was written before is left as it is.
    """
    study = read_study(path)
    folder = output or Path("outputs") / study.name
    check_writable(folder, "--output")
    graph, store = study_graph(study), Store(store_folder)
    table = results_table(graph, store)
    if table.empty:
        raise InputError(
            f"{store_folder}: holds no results of study {study.name}; `distillscale study run` "
            "computes them."
        )
    target = folder / "results.parquet"
    write_results(table, target)
    print(f"{target}: {len(table)} rows of {table['cell'].nunique()} cells")
    for written in _write_baselines(graph, store, folder):
        print(f"{written}: what the students are compared with")


def write_outputs(
    study: Study,
    graph: StudyGraph,
    store: Store,
    table: pd.DataFrame,
    folder: Path,
    *,
    command: str,
) -> Path:
    """Write results, laws and report into a folder; unchanged results are not drawn again.

    Returns:
        The report's path.
    """
    results, laws_file = folder / "results.parquet", folder / "laws.json"
    write_results(table, results)
    baselines = _write_baselines(graph, store, folder)
    stamp = _stamp([results, *baselines], study)
    report, made_from = folder / "report.html", folder / _STAMP
    made = all(path.is_file() for path in (report, laws_file, made_from))
    if made and made_from.read_text() == stamp:
        return report
    laws: Sequence[LawFit] = fit_laws(table)
    joint = fit_joint_laws(table)
    save_laws(laws, laws_file, joint)
    inputs = report_inputs(study, graph, store, table, laws, command, joint)
    report = render_report(inputs, folder)
    made_from.write_text(stamp)
    return report


def _write_baselines(graph: StudyGraph, store: Store, folder: Path) -> list[Path]:
    """Write the table of baselines beside the results; nothing where the study has none."""
    table, path = baselines_table(graph, store), folder / "baselines.parquet"
    if table.empty:
        path.unlink(missing_ok=True)  # of baselines that the study has no more
        return []
    write_baselines(table, path)
    return [path]


def _stamp(tables: Sequence[Path], study: Study) -> str:
    content = (
        b"".join(path.read_bytes() for path in tables)
        + study.model_dump_json().encode()
        + __version__.encode()
    )
    return hashlib.sha256(content).hexdigest()
