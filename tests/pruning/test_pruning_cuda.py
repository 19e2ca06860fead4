"""Pruning and scoring on a GPU give what they give on a CPU; skipped where there is no GPU."""

from dataclasses import replace

import pytest
import torch

from distillscale.evaluation.closed_set import closed_set_scores
from distillscale.pruning import (
    apply_plan,
    measure_importance,
    params_of,
    plan_pruning,
    shape_of,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LABELS = ((20, 21, 0), (20, 22, 0), (23, 0))


def test_a_model_is_pruned_and_scored_as_on_a_cpu(tiny_model, sequences):
    importances, scores = [], []
    for device in ("cpu", "cuda"):
        model = tiny_model().to(device)
        importances.append(measure_importance(model, sequences, 0, 4, axes=["depth", "mlp"]))
        shape = replace(shape_of(model.config), layers=2, mlp=16)
        target = params_of(model.config, shape)
        plan = plan_pruning(
            model.config, importances[0], target_params=target, axes=("depth", "mlp"), multiple=4
        )
        pruned = apply_plan(model, plan).eval()
        assert pruned.device.type == device
        scores.append(closed_set_scores(pruned, sequences[:4], [LABELS] * 4))
    cpu, cuda = importances
    assert cuda.layers == pytest.approx(cpu.layers, rel=1e-4)
    for ours, theirs in zip(cuda.channels, cpu.channels, strict=True):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    for ours, theirs in zip(*scores, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
