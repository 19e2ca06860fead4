"""Which laws of several inputs or groups a results table allows, and fitting them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.checked_points import check_design
from distillscale.laws.forms import FORMS
from distillscale.laws.grouped import grouped
from distillscale.laws.joint_fit import JointFit, fit_joint_law, joint_points
from distillscale.laws.plan import (
    CONFIGURATION,
    IN_DOMAIN_METRICS,
    SIZE_COLUMNS,
    Group,
    group_of,
)
from distillscale.laws.settings import configuration_label, with_settings

LOSS = "gold_nll"
FORMAT, TEACHER_PARAMS, TEACHER_LOSS = "format", "teacher_params", "teacher_loss"
SAME_FORMATS = ["task", "method", "schedule", "stages", "final_ratio"]


@dataclass(frozen=True)
class JointPlan:
    """One law to be fitted: its form, metric, columns, groups, and the rows of its points."""

    law: str
    metric: str
    columns: tuple[str, ...]
    group: Group
    by: str | None
    separate: tuple[str, ...]
    rows: pd.DataFrame = field(compare=False, repr=False)

    def allowed(self) -> bool:
        """Whether the points, wherever they lie, can determine the parameters."""
        form = FORMS[self.law]
        levels = sorted(self.rows[self.by].unique()) if self.by else []
        try:
            x, _ = joint_points(self.rows, form, self.columns, self.by, levels)
            check_design(grouped(form, levels, self.separate) if levels else form, x)
        except InputError:
            return False
        return True


def plan_joint_laws(table: pd.DataFrame) -> list[JointPlan]:
    """Decide which laws of several inputs or groups to fit.

    - data law of all supervision formats that share method, schedule and ratio, with an exponent
      and a factor apiece and one floor, so that exponents can be compared;
    - additive law of size and data, of each configuration, the size with and without embeddings;
    - P2 law of the loss after pruning and training, of each configuration: over share kept and
      data, and over the teacher's size (with and without embeddings) too where there are several;
      size and share stay apart.

    The last two take every trained model of a configuration, whatever its schedule. A law is
    planned where inputs vary enough to determine its parameters.
    """
    table = with_settings(table)
    trained = table[(table["method"] != "none") & (table["stage"] > 0)]
    plans = [*_formats(trained), *_additive(trained), *_pruned(table, trained)]
    return [plan for plan in plans if plan.allowed()]


def fit_joint_laws(
    table: pd.DataFrame, *, level: float = LEVEL, seed: int = 0
) -> list[JointFit]:  # fmt: skip
    """Fit every law of several inputs or groups that a results table allows."""
    return [
        fit_joint_law(
            plan.rows, plan.law, plan.columns, by=plan.by, separate=plan.separate,
            group=plan.group, level=level, seed=seed,
        )
        for plan in plan_joint_laws(table)
    ]  # fmt: skip


def _formats(trained: pd.DataFrame) -> Iterator[JointPlan]:
    """A format is a supervision with its thinking; only formats with two sizes take part."""
    ends = trained[trained["stage"] == trained["stages"]]
    pairs = zip(ends["supervision"], ends["thinking"], strict=True)
    ends = ends.assign(**{FORMAT: [configuration_label(*pair) for pair in pairs]})
    for _, rows in ends.groupby(SAME_FORMATS):
        for metric in IN_DOMAIN_METRICS:
            own = rows[rows["metric"] == metric]
            sizes = own.groupby(FORMAT)["dataset_size"].transform("nunique")
            several = own[sizes >= 2]
            if several[FORMAT].nunique() >= 2:
                group = group_of(rows, SAME_FORMATS) | {
                    "configuration": f"{_method(rows)}, formats"
                }
                yield JointPlan(
                    "data", metric, ("dataset_size",), group, FORMAT, ("B", "beta"), several
                )


def _method(rows: pd.DataFrame) -> str:
    return str(rows["method"].iloc[0])


def _additive(trained: pd.DataFrame) -> Iterator[JointPlan]:
    for _, rows in trained.groupby(CONFIGURATION):
        group = group_of(rows, CONFIGURATION)
        for metric in IN_DOMAIN_METRICS:
            own = rows[rows["metric"] == metric]
            for size in SIZE_COLUMNS:
                yield JointPlan("additive", metric, (size, "dataset_size"), group, None, (), own)


def _pruned(table: pd.DataFrame, trained: pd.DataFrame) -> Iterator[JointPlan]:
    teachers = table[(table["stage"] == 0) & (table["metric"] == LOSS)]
    teachers = teachers.drop_duplicates(["study", "cell"])
    sizes = {name: f"teacher_{name}" for name in SIZE_COLUMNS}
    known = teachers[["study", "cell", *sizes, "value"]].rename(
        columns=sizes | {"value": TEACHER_LOSS}
    )
    losses = trained[trained["metric"] == LOSS].merge(known, on=["study", "cell"])
    kept = ("dataset_size", "prune_ratio", TEACHER_LOSS)
    for _, rows in losses.groupby(CONFIGURATION):
        group = group_of(rows, CONFIGURATION)
        if rows[TEACHER_PARAMS].nunique() > 1:
            for size in sizes.values():
                yield JointPlan("pruned", LOSS, (size, *kept), group, None, (), rows)
        else:
            yield JointPlan("pruned_one_teacher", LOSS, kept, group, None, (), rows)
