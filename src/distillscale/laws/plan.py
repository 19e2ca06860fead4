"""Which laws a results table allows: the plan of the fits, and carrying it out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.fit import fit_law
from distillscale.laws.law_fit import LawFit
from distillscale.laws.metrics import knowledge_metrics
from distillscale.laws.settings import SETTING, with_settings
from distillscale.laws.uncertainty.intervals import Choice
from distillscale.laws.uncertainty.tables import pooled_noise

IN_DOMAIN_METRICS = ("macro_f1", "gold_nll")
SIZE_COLUMNS = ("params", "params_with_embeddings")
CONFIGURATION = ["task", "supervision", "thinking", "method"]

NO_LAW = (
    "no law can be planned; it takes two dataset sizes of one setting, or a uniform chain with two "
    "model sizes."
)

Group = dict[str, str | float]


@dataclass(frozen=True)
class LawPlan:
    """One law to be fitted: its form, metric, x column, what its points share, and their rows."""

    law: str
    metric: str
    x: str
    group: Group
    rows: pd.DataFrame = field(compare=False, repr=False)


def plan_laws(table: pd.DataFrame) -> list[LawPlan]:
    """Decide which laws to fit.

    - data law: for settings that differ in dataset size only, at the end of their chains;
    - size law, with and without embeddings: over the stages of each configuration's uniform
      chain (the one with most stages, then with the largest dataset);
    - collapse law of each general-knowledge metric: over the same stages.

    A law is planned where x takes at least two values.
    """
    table = with_settings(table)
    knowledge = knowledge_metrics(table)
    plans = list(_data_laws(table))
    for group, chain in uniform_chains(table):
        plans += _plans(chain, "size", IN_DOMAIN_METRICS, SIZE_COLUMNS, group)
        stated = chain[chain["chance"].notna()]
        plans += _plans(stated, "collapse", knowledge, ("prune_ratio",), group)
    return plans


def fit_laws(
    table: pd.DataFrame,
    *,
    level: float = LEVEL,
    seed: int = 0,
    methods: Mapping[str, Choice] | None = None,
) -> list[LawFit]:
    """Fit every law that a results table allows (see `plan_laws`).

    How much runs vary is estimated over all laws of one form, metric and task together: a law by
    itself has too few runs to know.

    Args:
        table: a results table.
        level: of the intervals.
        seed: of the draws.
        methods: of intervals, by the name of a law's pool (see `load_choices`); others as
            `CHOSEN`.

    Raises:
        InputError: as `fit_plans`.
    """
    return fit_plans(plan_laws(table), level=level, seed=seed, methods=methods)


def fit_plans(
    plans: Sequence[LawPlan],
    *,
    level: float = LEVEL,
    seed: int = 0,
    methods: Mapping[str, Choice] | None = None,
) -> list[LawFit]:
    """Fit planned laws, the noise pooled over those given (see `fit_laws`).

    Raises:
        InputError: a chosen method needs more runs than a law has, or is for laws not among these.
    """
    known = pooled_noise(plans)
    unknown = (methods or {}).keys() - {name for name, _ in known}
    if unknown:
        raise InputError(
            f"methods are named for `{min(unknown)}`, which is no law here; "
            f"there are {', '.join(sorted({name for name, _ in known}))}."
        )
    return [
        fit_law(
            plan.rows, plan.law, plan.x, group=plan.group, level=level, seed=seed,
            pooled=pooled, choice=(methods or {}).get(name),
        )
        for plan, (name, pooled) in zip(plans, known, strict=True)
    ]  # fmt: skip


def _data_laws(table: pd.DataFrame) -> Iterator[LawPlan]:
    """Pruned-only chains learn from no examples, so they have no data law."""
    ends = table[(table["stage"] == table["stages"]) & (table["method"] != "none")]
    shared = [column for column in SETTING if column != "dataset_size"]
    for _, rows in ends.groupby(shared):
        group = group_of(rows, shared)
        yield from _plans(rows, "data", IN_DOMAIN_METRICS, ("dataset_size",), group)


def uniform_chains(table: pd.DataFrame) -> Iterator[tuple[Group, pd.DataFrame]]:
    """Each configuration's uniform chain of most stages and largest dataset; all its metrics.

    The table is one of `with_settings`.
    """
    for _, rows in table[table["schedule"] == "uniform"].groupby(CONFIGURATION):
        longest = rows[rows["stages"] == rows["stages"].max()]
        largest = longest[longest["dataset_size"] == longest["dataset_size"].max()]
        chain = largest[largest["final_ratio"] == largest["final_ratio"].min()]
        yield group_of(chain, SETTING), chain


def _plans(
    rows: pd.DataFrame, law: str, metrics: tuple[str, ...] | list[str], columns: tuple[str, ...],
    group: Group,
) -> list[LawPlan]:  # fmt: skip
    plans = []
    for metric in metrics:
        points = rows[rows["metric"] == metric]
        plans += [
            LawPlan(law, metric, x, group, points) for x in columns if points[x].nunique() >= 2
        ]
    return plans


def group_of(rows: pd.DataFrame, columns: list[str]) -> Group:
    """The shared values of the columns as plain text and numbers, with the configuration's name."""
    first = rows.iloc[0]
    values = {name: first[name] for name in ("configuration", *columns)}
    return {name: v if isinstance(v, str) else _number(v) for name, v in values.items()}


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)
