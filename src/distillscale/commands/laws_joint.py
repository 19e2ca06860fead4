"""`laws joint`: one law for several levels of a factor, its parameters shared, apart or pooled."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from distillscale.commands.laws import SCALES
from distillscale.errors import InputError
from distillscale.laws import FORMS, PointsFit, fit_points, fit_pooled, grouped, with_covariates
from distillscale.laws.covariates import LEAST_KEPT, with_least_kept
from distillscale.laws.form import Form
from distillscale.laws.joint_fit import joint_points
from distillscale.laws.likelihoods import likelihood_of
from distillscale.laws.metrics import metric as metric_named
from distillscale.laws.settings import configuration_label, with_settings
from distillscale.results import read_results

FORMAT = "format"
FLOORS = ("e_inf", "E")  # pooled as they are, all other parameters by logarithms (see `pooling`)
FACTORS = (FORMAT, "supervision", "method", "thinking", "schedule", "task")
COVARIATES = ("stages", LEAST_KEPT)
INPUTS = {
    "data": "dataset_size", "rectified": "dataset_size", "broken": "dataset_size",
    "size": "params", "collapse": "prune_ratio", "additive": "params,dataset_size",
    "multiplicative": "params,dataset_size",
}  # fmt: skip
# What else a run was made with: points may differ in it only as far as the law says.
_HELD = (
    "task", "supervision", "thinking", "method", "schedule", "stages", "dataset_size",
    "final_ratio",
)  # fmt: skip
_OF_SCHEDULE = ("schedule", "stages", "final_ratio")


def fit_joint(
    results: Path,
    law: str,
    metric: str,
    *,
    by: str | None,
    separate: Sequence[str],
    pool: Sequence[str],
    covariates: Sequence[str],
    changes: str | None,
    x: Sequence[str],
    where: Mapping[str, str],
) -> None:
    """Print what one law of all levels of a factor says; see the options of `laws joint`.

    Raises:
        InputError: a name that is none, a factor that varies without being part of the law, or
            points that cannot determine it.
    """
    form = _form(law, covariates, changes)
    columns = [*(x or INPUTS[law].split(",")), *covariates]
    if len(columns) != len(form.inputs):
        raise InputError(f"--x {','.join(x)}: law `{law}` takes {len(INPUTS[law].split(','))}.")
    rows = _rows(read_results(results), metric, columns, where, str(results))
    if by is not None and by not in FACTORS:
        raise InputError(f"--by `{by}`: no such factor; there are {', '.join(FACTORS)}.")
    _check_held(rows, columns, by)
    levels = sorted(rows[by].unique()) if by else []
    if (by and len(levels) < 2) or ((separate or pool) and not by):
        raise InputError(
            f"--by {by or 'FACTOR'}: parameters are apart or pooled between two or more levels, of "
            f"which these rows have {len(levels)}."
        )
    fit, widths = _fitted(rows, form, columns, by, levels, separate, pool)
    levels_shown = f", by {by}: {', '.join(levels)}" if by else ""
    print(f"{form.name} law: {metric} over {', '.join(columns)}{levels_shown}")
    print("\n".join(_lines(fit, widths)))


def read_where(texts: Sequence[str]) -> dict[str, str]:
    """`COLUMN=VALUE` texts as what they say.

    Raises:
        InputError: a text without a column or a value.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"--where `{text}`: it must be COLUMN=VALUE, for example method=lora.")
        found[name] = value
    return found


def _form(law: str, covariates: Sequence[str], changes: str | None) -> Form:
    if law not in INPUTS:
        raise InputError(f"--law `{law}`: it must be one of {', '.join(INPUTS)}.")
    for name in covariates:
        if name not in COVARIATES:
            raise InputError(f"--covariate `{name}`: it must be {' or '.join(COVARIATES)}.")
    if bool(covariates) != bool(changes):
        raise InputError("--covariate and --changes go together: which number changes what.")
    form = FORMS[law]
    return with_covariates(form, changes, covariates) if changes else form


def _rows(
    table: pd.DataFrame, metric: str, columns: Sequence[str], where: Mapping[str, str], source: str
) -> pd.DataFrame:
    """The points: of laws over dataset size trained models, over it alone the ends of chains."""
    rows = with_settings(with_least_kept(table))
    labels = zip(rows["supervision"], rows["thinking"], strict=True)
    rows = rows.assign(**{FORMAT: [configuration_label(*pair) for pair in labels]})
    missing = [name for name in [*where, *columns] if name not in rows]
    if missing:
        raise InputError(f"{missing[0]}: {source} has no such column.")
    for name in columns:
        if name != FORMAT and rows[name].dtype.kind not in "if":
            raise InputError(f"--x {name}: its values in {source} are no numbers.")
    for name, value in where.items():
        rows = rows[_equals(rows[name], name, value)]
    rows = rows[rows["metric"] == metric]
    if "dataset_size" in columns:
        rows = rows[(rows["method"] != "none") & (rows["stage"] > 0)]
    if set(columns) <= {"dataset_size", *COVARIATES}:
        rows = rows[rows["stage"] == rows["stages"]]
    if rows.empty:
        raise InputError(f"{source}: no row of `{metric}` is left for this law; see --where.")
    return rows


def _equals(column: pd.Series, name: str, value: str) -> pd.Series:
    """Which rows have a value, numbers to six digits."""
    if column.dtype.kind not in "if":
        return column.map(str) == value
    try:
        return pd.Series(np.isclose(column, float(value), rtol=1e-6, atol=0), index=column.index)
    except ValueError as error:
        raise InputError(f"--where {name}={value}: {name} is a number.") from error


def _check_held(rows: pd.DataFrame, columns: Sequence[str], by: str | None) -> None:
    """Refuse points that differ in what the law does not know of."""
    # As in `plan_joint_laws`, a law of size and data takes every schedule.
    sizes = len([name for name in columns if name not in COVARIATES])
    free = sizes > 1 or len(columns) > sizes
    known = {*columns, by, *(_OF_SCHEDULE if free else ())}
    if "prune_ratio" in columns or "params" in columns:
        known.add("final_ratio")  # a chain's end is one of its sizes
    if by == FORMAT:
        known |= {"supervision", "thinking"}
    for factor in _HELD:
        if factor in known:
            continue
        within = rows.groupby(by)[factor] if by else rows.assign(one=0).groupby("one")[factor]
        if within.nunique().max() > 1:
            found = ", ".join(
                f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(rows[factor].unique())
            )
            raise InputError(
                f"`{factor}` varies too ({found}): hold it with --where {factor}=VALUE, or make "
                "it the factor with --by."
            )


def _fitted(
    rows: pd.DataFrame, form: Form, columns: Sequence[str], by: str | None, levels: list[str],
    separate: Sequence[str], pool: Sequence[str],
) -> tuple[PointsFit, Mapping[str, float]]:  # fmt: skip
    x, points = joint_points(rows, form, columns, by, levels)
    y = points.on_scale(form, points.value)
    counted = bool((points.examples > 0).all())
    likelihood = likelihood_of(points.metric, form, counted=counted)
    errors = points.sampling_errors() if metric_named(points.metric).bounded else None
    known = {p.name: rows[p.name].dropna() for p in form.parameters if p.fixed}
    fixed = {name: float(values.median()) for name, values in known.items() if len(values)}
    if pool:
        found = fit_pooled(
            form, levels, x, y, pooled=pool, separate=separate, fixed=fixed, likelihood=likelihood,
            errors=errors, trials=points.examples,
        )  # fmt: skip
        return found.fit, found.widths
    whole = grouped(form, levels, separate) if levels else form
    fit = fit_points(
        whole, x, y, fixed=fixed, likelihood=likelihood, errors=errors, trials=points.examples
    )
    return fit, {}


def _lines(fit: PointsFit, widths: Mapping[str, float]) -> Iterator[str]:
    points = fit.problem.y.shape[1]
    yield f"  {points} points, {SCALES[fit.likelihood]}; {fit.level:.0%} intervals by profile"
    for name in fit.estimate:
        yield f"  {fit.statement(name)}"
    for name, width in widths.items():
        of = "" if name in FLOORS else " of its logarithm"
        yield f"  {name} is pooled: its levels differ by a standard deviation of {width:.2g}{of}"
    yield from (f"  {name.replace('_', ' ')} {value:.3g}" for name, value in fit.noise.items())
    yield from (f"  in doubt: {doubt}" for doubt in fit.certificate.doubts)
