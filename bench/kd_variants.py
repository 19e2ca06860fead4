"""The variants of a distillation step that `kd_step.py` compares, on one batch of one student."""

import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from distillscale.distillation.divergences import DIVERGENCES
from distillscale.distillation.objectives import OBJECTIVES, LossWeights, SegmentTotals
from distillscale.distillation.projection import supervised_loss
from distillscale.distillation.segments import Batch, collate, training_row
from distillscale.models.forward import head_of, hidden_states
from distillscale.models.teacher_logits import FullLogits, TopLogProbs
from distillscale.models.top_log_probs import Truncation, top_log_probs
from distillscale.tasks import Trace

VOCABULARY, HIDDEN, TOP_K = 151_936, 128, 64
IGNORED = -100


class Bench:
    """Teacher, student, optimizer and one batch, the same from every start (seed 0)."""

    def __init__(self, length: int, batch: int, supervised: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.teacher, self.student = (tiny_model().to(device) for _ in range(2))
        self.teacher.eval().requires_grad_(False)
        # Sharper than at random start, as a trained teacher is, so that the top k hold the mass.
        self.teacher.get_decoder().norm.weight.mul_(18)
        rows = [training_row(trace(length, supervised)) for _ in range(batch)]
        self.batch = collate(rows, list(range(batch)), pad_id=0).to(device)
        self.supervised = supervised
        self.labels = torch.full_like(self.batch.input_ids, IGNORED)
        self.labels[:, -supervised:] = self.batch.input_ids[:, -supervised:]
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-5, fused=True)
        self.full = FullLogits(self.teacher_states().clone(), head_of(self.teacher))
        self.top = top_log_probs(self.full, self.batch.targets, Truncation(TOP_K, 1.0))
        absent = missing_peers(device)
        self.variants = {
            name: make for name, make in {**PEERS, **OURS}.items() if name not in absent
        }

    @torch.no_grad()
    def teacher_states(self) -> Tensor:
        """The teacher's final hidden states at supervised positions, [P, H]."""
        return gathered(self.teacher, self.batch)

    def step(self, name: str) -> Tensor:
        """One optimizer step; the loss before it."""
        loss = self.variants[name](self)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def loss_and_gradients(self, name: str) -> tuple[float, dict[str, Tensor]]:
        """Loss and gradients of a variant; the student stays as it is."""
        loss = self.variants[name](self)
        loss.backward()
        gradients = {n: p.grad for n, p in self.student.named_parameters() if p.grad is not None}
        self.optimizer.zero_grad()
        return loss.item(), gradients


def plain(bench: Bench) -> Tensor:
    """The textbook formula: logits at all positions, masked afterwards."""
    own, wanted = all_logits(bench)
    mask = bench.labels[:, 1:] != IGNORED
    divergence = F.kl_div(
        own[:, :-1].log_softmax(-1),
        wanted[:, :-1].log_softmax(-1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    return (divergence * mask).sum() / mask.sum()


def trl_gkd(bench: Bench) -> Tensor:
    """`GKDTrainer.compute_loss`, beta 0."""
    from trl.experimental.gkd import GKDTrainer

    own, wanted = all_logits(bench)
    labels = bench.labels[:, 1:]
    return GKDTrainer.generalized_jsd_loss(
        student_logits=own[:, :-1, :],
        teacher_logits=wanted[:, :-1, :],
        labels=labels,
        beta=0.0,
        num_items_in_batch=(labels != IGNORED).sum(),
    )


def trl_distillation(bench: Bench) -> Tensor:
    """`DistillationTrainer._compute_loss`, beta 0: chunked, completion positions only."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    kept = bench.supervised
    own = states(bench.student, bench.batch)[:, :-1][:, -kept:]
    with torch.no_grad():
        wanted = states(bench.teacher, bench.batch)[:, :-1][:, -kept:]
    loss, _entropy, _count = _chunked_divergence_loss(
        own,
        wanted,
        bench.student.get_output_embeddings().weight,
        bench.teacher.get_output_embeddings().weight,
        torch.ones(own.shape[:2], dtype=torch.long, device=own.device),
        beta=0.0,
    )
    return loss


def trl_async_top_k(bench: Bench) -> Tensor:
    """`AsyncDistillationTrainer`'s chunked loss of k stored teacher tokens and a tail bucket."""
    from trl.experimental.async_distillation.async_distillation_trainer import (
        _CHUNKED_LM_HEAD_CHUNK_SIZE,
        _chunked_jsd_loss,
    )

    top, head = bench.top, bench.student.get_output_embeddings()
    loss, *_record = _chunked_jsd_loss(
        gathered(bench.student, bench.batch),
        head.weight,
        head.bias,
        1.0,
        None,
        top.tokens,
        top.log_probs,
        torch.ones_like(top.tokens, dtype=torch.bool),
        beta=0.0,
        temperature=1.0,
        add_tail_bucket=True,
        teacher_id_idx=None,
        num_teachers=1,
        chunk_size=_CHUNKED_LM_HEAD_CHUNK_SIZE,
    )
    return loss / len(top.tokens)


def liger(bench: Bench, *, compiled: bool) -> Tensor:
    """`LigerFusedLinearJSDLoss` on all positions, others ignored, with its own chunk size."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    own = states(bench.student, bench.batch)[:, :-1].reshape(-1, HIDDEN)
    with torch.no_grad():
        wanted = states(bench.teacher, bench.batch)[:, :-1].reshape(-1, HIDDEN)
    return _liger_loss(LigerFusedLinearJSDLoss, compiled)(
        own,
        bench.student.get_output_embeddings().weight,
        wanted,
        bench.teacher.get_output_embeddings().weight,
        bench.labels[:, 1:].reshape(-1),
    )


def liger_gathered(bench: Bench) -> Tensor:
    """The same by a user who gathers the supervised positions first."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    return _liger_loss(LigerFusedLinearJSDLoss, compiled=True)(
        gathered(bench.student, bench.batch),
        bench.student.get_output_embeddings().weight,
        bench.teacher_states(),
        bench.teacher.get_output_embeddings().weight,
        bench.batch.targets,
    )


def _liger_loss(kind: type[torch.nn.Module], compiled: bool) -> torch.nn.Module:
    return kind(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, compiled=compiled)


def liger_triton(bench: Bench) -> Tensor:
    """`LigerFusedLinearJSD`, Triton kernels; its beta 0 is the forward KL too."""
    from liger_kernel.transformers import LigerFusedLinearJSD

    own = states(bench.student, bench.batch)[:, :-1].reshape(-1, HIDDEN)
    with torch.no_grad():
        wanted = states(bench.teacher, bench.batch)[:, :-1].reshape(-1, HIDDEN)
    return LigerFusedLinearJSD(jsd_beta=0.0)(
        own,
        bench.student.get_output_embeddings().weight,
        wanted,
        bench.teacher.get_output_embeddings().weight,
        bench.labels[:, 1:].reshape(-1),
    )


def ours(bench: Bench, teacher: FullLogits | TopLogProbs | None, objective: str) -> Tensor:
    """The trainer's loss of a batch that is a whole optimizer step."""
    batch = bench.batch
    weights = OBJECTIVES[objective](batch.segments, SegmentTotals.of(batch.segments), LossWeights())
    return supervised_loss(
        gathered(bench.student, batch),
        head_of(bench.student),
        teacher,
        batch.targets,
        weights,
        divergence=DIVERGENCES["forward_kl"](0.5),
    ).value


def ours_online(bench: Bench) -> Tensor:
    """The teacher's body runs in the step."""
    return ours(bench, FullLogits(bench.teacher_states(), head_of(bench.teacher)), "cot")


PEERS: dict[str, Callable[[Bench], Tensor]] = {
    "plain": plain,
    "trl_gkd": trl_gkd,
    "trl_distillation": trl_distillation,
    "trl_async_top_k": trl_async_top_k,
    "liger": lambda bench: liger(bench, compiled=True),
    "liger_eager": lambda bench: liger(bench, compiled=False),
    "liger_gathered": liger_gathered,
    "liger_triton": liger_triton,
}

OURS: dict[str, Callable[[Bench], Tensor]] = {
    "ours_online": ours_online,
    "ours_exact_cache": lambda bench: ours(bench, bench.full, "cot"),
    "ours_top_k_cache": lambda bench: ours(bench, bench.top, "cot"),
    "no_teacher": lambda bench: ours(bench, None, "cross_entropy"),
}


def missing_peers(device: torch.device) -> dict[str, str]:
    """Peers that cannot run here, and why."""
    absent = {}
    for package, names in {"trl": "trl_", "liger_kernel": "liger"}.items():
        if importlib.util.find_spec(package) is None:
            absent |= {n: f"{package} is not installed" for n in PEERS if n.startswith(names)}
    if device.type != "cuda":
        absent.setdefault("liger_triton", "its Triton kernels need a GPU")
    return absent


def all_logits(bench: Bench) -> tuple[Tensor, Tensor]:
    """Student's and teacher's logits at all positions, [B, L, V]."""
    inputs = {"input_ids": bench.batch.input_ids, "attention_mask": bench.batch.attention_mask}
    own = bench.student(**inputs, use_cache=False).logits
    with torch.no_grad():
        return own, bench.teacher(**inputs, use_cache=False).logits


def states(model: PreTrainedModel, batch: Batch) -> Tensor:
    return hidden_states(model, batch.input_ids, batch.attention_mask)


def gathered(model: PreTrainedModel, batch: Batch) -> Tensor:
    return states(model, batch)[batch.rows, batch.positions]


def tiny_model() -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config)


def trace(length: int, supervised: int) -> Trace:
    """A trace of random tokens whose last `supervised` ones are the completion."""
    ids = torch.randint(0, VOCABULARY, (length,)).tolist()
    cut = length - supervised
    answer_start = 0 if supervised < 16 else supervised - 4
    return Trace("0", tuple(ids[:cut]), tuple(ids[cut:]), answer_start, "", "a", "a")
