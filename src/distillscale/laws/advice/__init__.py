"""Advice read off measured models and their laws: which model to make, and how sure that is.

`recommend` answers; `check_coverage` tests its intervals by leaving measured cells out.
"""

from distillscale.laws.advice.as_data import as_data
from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.check import Coverage, check_coverage
from distillscale.laws.advice.constraints import Constraint, Objective
from distillscale.laws.advice.recommend import (
    Recommendation,
    metrics_that_matter,
    of_task,
    recommend,
)

__all__ = [
    "Candidate",
    "Constraint",
    "Coverage",
    "Objective",
    "Recommendation",
    "as_data",
    "check_coverage",
    "metrics_that_matter",
    "of_task",
    "recommend",
]
