"""Scaling laws: fitted to a results table, stored, compared, and read for a recommendation.

Nothing here imports torch, so results can be worked on without a GPU stack.
"""

from distillscale.laws.certificate import Certificate
from distillscale.laws.constraints import Constraint
from distillscale.laws.fit import Diagnostics, LawFit, Prediction, fit_law
from distillscale.laws.form import Form, Parameter
from distillscale.laws.forms import FORMS
from distillscale.laws.grouped import grouped
from distillscale.laws.plan import LawPlan, fit_laws, plan_laws
from distillscale.laws.points_fit import PointsFit, fit_points, fit_rows
from distillscale.laws.profile import Profile
from distillscale.laws.recommend import Recommendation, recommend
from distillscale.laws.recovery import Recovery, recover
from distillscale.laws.store import certificate_table, laws_table, load_laws, save_laws

__all__ = [
    "FORMS",
    "Certificate",
    "Constraint",
    "Diagnostics",
    "Form",
    "LawFit",
    "LawPlan",
    "Parameter",
    "PointsFit",
    "Prediction",
    "Profile",
    "Recommendation",
    "Recovery",
    "certificate_table",
    "fit_law",
    "fit_laws",
    "fit_points",
    "fit_rows",
    "grouped",
    "laws_table",
    "load_laws",
    "plan_laws",
    "recommend",
    "recover",
    "save_laws",
]
