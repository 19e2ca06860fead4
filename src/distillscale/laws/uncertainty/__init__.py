"""Uncertainty of fitted laws: what varies, intervals by six methods, and how often they hold.

A run is the unit. `runs` says which points share one, `noise` how much runs vary, `intervals` gives
intervals by a named method, `coverage` measures on one's own design how often each method's
intervals hold the truth, and `design` does so before anything is measured.
"""

from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import METHODS, Intervals, intervals
from distillscale.laws.uncertainty.noise import Noise, estimate_noise
from distillscale.laws.uncertainty.runs import Runs, runs_of
from distillscale.laws.uncertainty.targets import Target, targets_of

__all__ = [
    "METHODS",
    "Fitted",
    "Intervals",
    "Noise",
    "Runs",
    "Target",
    "estimate_noise",
    "intervals",
    "runs_of",
    "targets_of",
]
