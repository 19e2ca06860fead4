"""Scaling laws: fitted to a results table, stored, compared, and read for a recommendation.

Nothing here imports torch, so results can be worked on without a GPU stack.
"""

from distillscale.laws.advice import Constraint, Recommendation, recommend
from distillscale.laws.certificate import Certificate
from distillscale.laws.collapse.gap import Collapses, collapse_gaps
from distillscale.laws.collapse.point import CollapsePoint, locate_collapse
from distillscale.laws.comparison.compare import Comparison, compare
from distillscale.laws.comparison.recovery import Recovery, recover
from distillscale.laws.covariates import with_covariates
from distillscale.laws.fit import fit_law
from distillscale.laws.form import Form, Parameter
from distillscale.laws.forms import FORMS
from distillscale.laws.grouped import grouped
from distillscale.laws.joint_fit import JointFit, fit_joint_law
from distillscale.laws.joint_plan import JointPlan, fit_joint_laws, plan_joint_laws
from distillscale.laws.law_fit import Diagnostics, LawFit, Prediction
from distillscale.laws.plan import LawPlan, fit_laws, plan_laws
from distillscale.laws.points_fit import PointsFit, fit_points, fit_rows
from distillscale.laws.pooling import PooledFit, fit_pooled
from distillscale.laws.profile import Profile
from distillscale.laws.selection.choice import Selection, select_form
from distillscale.laws.selection.leaderboard import backtest_laws
from distillscale.laws.selection.series import Series, series_of, series_of_points
from distillscale.laws.store import (
    certificate_table,
    delta_table,
    joint_table,
    laws_table,
    load_joint_laws,
    load_laws,
    save_laws,
)

__all__ = [
    "FORMS",
    "Certificate",
    "CollapsePoint",
    "Collapses",
    "Comparison",
    "Constraint",
    "Diagnostics",
    "Form",
    "JointFit",
    "JointPlan",
    "LawFit",
    "LawPlan",
    "Parameter",
    "PointsFit",
    "PooledFit",
    "Prediction",
    "Profile",
    "Recommendation",
    "Recovery",
    "Selection",
    "Series",
    "backtest_laws",
    "certificate_table",
    "collapse_gaps",
    "compare",
    "delta_table",
    "fit_joint_law",
    "fit_joint_laws",
    "fit_law",
    "fit_laws",
    "fit_points",
    "fit_pooled",
    "fit_rows",
    "grouped",
    "joint_table",
    "laws_table",
    "load_joint_laws",
    "load_laws",
    "locate_collapse",
    "plan_joint_laws",
    "plan_laws",
    "recommend",
    "recover",
    "save_laws",
    "select_form",
    "series_of",
    "series_of_points",
    "with_covariates",
]
