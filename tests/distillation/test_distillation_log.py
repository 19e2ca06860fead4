import json
import math
from dataclasses import asdict

import pytest

from distillscale.distillation.log import log_of_history


def record(loss: float, norm: float, kl: float | None = 0.5) -> dict:
    return {"loss": loss, "grad_norm": norm, "divergence_reasoning": None, "divergence_answer": kl}


def test_summaries_by_hand():
    log = log_of_history([record(4.0, 1.0), record(2.0, math.e**2), record(3.0, math.e)])
    assert log.steps == 3
    assert log.mean_loss == pytest.approx(3.0)
    assert log.last_loss == pytest.approx(3.0)
    assert log.gradient_norm_spread == pytest.approx(math.sqrt(2 / 3))


def test_last_loss_is_the_mean_of_the_last_tenth():
    log = log_of_history([record(float(step), 1.0) for step in range(40)])
    assert log.last_loss == pytest.approx((36 + 37 + 38 + 39) / 4)


def test_a_steady_gradient_has_no_spread():
    assert log_of_history([record(1.0, 0.3)] * 5).gradient_norm_spread == pytest.approx(0)


def test_spread_is_missing_where_it_is_not_defined():
    assert log_of_history([record(1.0, 0.3)]).gradient_norm_spread is None
    assert log_of_history([record(1.0, 0.0)] * 3).gradient_norm_spread is None


def test_log_is_json():
    log = log_of_history([record(1.0, 0.3), record(1.0, 0.2, kl=None)])
    assert json.loads(json.dumps(asdict(log), allow_nan=False))["divergence_answer"] == [0.5, None]
