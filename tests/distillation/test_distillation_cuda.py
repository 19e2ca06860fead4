"""What a GPU computes is what a CPU computes; skipped where there is no GPU."""

import copy
from dataclasses import replace

import pytest
import torch

from distillscale.distillation.divergences import DIVERGENCES
from distillscale.distillation.objectives import PositionWeights
from distillscale.distillation.projection import supervised_loss
from distillscale.distillation.trainer import distill
from distillscale.models.forward import Head
from distillscale.models.teacher_logits import FullLogits

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("budget", [2**28, 2**17], ids=["whole", "tiles"])
def test_loss_and_gradients_are_those_of_the_cpu(divergence, budget):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731
    hidden, weight, taught, head = draw(60, 16), draw(500, 16), draw(60, 16), draw(500, 16)
    targets = torch.randint(500, (60,), generator=generator)
    found = []
    for device in ("cpu", "cuda"):
        leaves = [t.to(device, copy=True).requires_grad_() for t in (hidden, weight)]
        half = torch.full((60,), 0.5, device=device)
        loss = supervised_loss(
            leaves[0],
            Head(leaves[1]),
            FullLogits(taught, Head(head)).to(torch.device(device)),
            targets.to(device),
            PositionWeights(half, half),
            divergence=DIVERGENCES[divergence](0.3),
            temperature=1.5,
            budget=budget,
        )
        gradients = torch.autograd.grad(loss.value, leaves)
        found.append([loss.value.detach().cpu(), *(g.cpu() for g in gradients)])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-4, atol=1e-4 * cpu.abs().max().item())


@pytest.mark.parametrize("bf16", [False, True])
def test_a_student_trains_on_a_gpu(student, traces, online, settings, tmp_path, bf16):
    """In bfloat16 its losses come close to those of a CPU, else they are the same to 1e-4."""
    runs = [
        distill(
            copy.deepcopy(student).to(device),
            traces,
            replace(settings(), bf16=bf16 and device == "cuda"),
            teacher_logits=online(traces),
            pad_id=0,
            work_dir=tmp_path / device,
        ).log.losses
        for device in ("cpu", "cuda")
    ]
    assert runs[1] == pytest.approx(runs[0], rel=0.1 if bf16 else 1e-4)
