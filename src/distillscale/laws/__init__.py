"""Scaling laws: fitted to a results table, stored, compared, and read for a recommendation.

Nothing here imports torch, so results can be worked on without a GPU stack.
"""

from distillscale.laws.constraints import Constraint
from distillscale.laws.fit import Diagnostics, LawFit, Prediction, fit_law
from distillscale.laws.forms import FORMS, Form, Parameter
from distillscale.laws.plan import LawPlan, fit_laws, plan_laws
from distillscale.laws.recommend import Recommendation, recommend
from distillscale.laws.recovery import Recovery, recover
from distillscale.laws.store import laws_table, load_laws, save_laws

__all__ = [
    "FORMS",
    "Constraint",
    "Diagnostics",
    "Form",
    "LawFit",
    "LawPlan",
    "Parameter",
    "Prediction",
    "Recommendation",
    "Recovery",
    "fit_law",
    "fit_laws",
    "laws_table",
    "load_laws",
    "plan_laws",
    "recommend",
    "recover",
    "save_laws",
]
