"""`supervised_loss` against the plain formula written out with autograd."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distillscale.distillation.divergences import DIVERGENCES
from distillscale.distillation.objectives import PositionWeights
from distillscale.distillation.projection import BUDGET, Loss, supervised_loss
from distillscale.distillation.sweep import plan
from distillscale.errors import InputError
from distillscale.models.batches import slices
from distillscale.models.forward import Head
from distillscale.models.teacher_logits import FullLogits, TopLogProbs

POSITIONS, VOCABULARY, HIDDEN, TOP = 150, 50, 8, 7
BETA = 0.3
LOGITS_OF_70 = 70 * VOCABULARY * 2 * 8
"""Bytes of 70 positions of student and teacher in float64: chunks of the whole vocabulary."""
BUDGETS = {"one chunk": BUDGET, "chunks": LOGITS_OF_70, "tiles": 17_000}


class Case:
    """Random hidden states, heads, targets and weights, of which a fifth each are zero."""

    def __init__(self, *, softcap: float | None = None, dtype=torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
        self.hidden = draw(POSITIONS, HIDDEN).requires_grad_()
        self.head = Head(
            draw(VOCABULARY, HIDDEN).requires_grad_(), draw(VOCABULARY).requires_grad_(), softcap
        )
        self.full = FullLogits(
            draw(POSITIONS, HIDDEN), Head(draw(VOCABULARY, HIDDEN), None, softcap)
        )
        self.targets = torch.randint(VOCABULARY, (POSITIONS,), generator=generator)
        a, c = (draw(POSITIONS).abs() * (draw(POSITIONS) > -0.84) for _ in range(2))
        self.weights = PositionWeights(a, c)

    def without(self, part: str) -> PositionWeights:
        return replace(self.weights, **{part: torch.zeros(POSITIONS)})

    def double(self) -> "Case":
        twin = Case()
        wide = lambda t: t.detach().double()  # noqa: E731
        own = self.head
        twin.hidden = wide(self.hidden).requires_grad_()
        twin.head = Head(
            wide(own.weight).requires_grad_(), wide(own.bias).requires_grad_(), own.softcap
        )
        twin.full = FullLogits(
            wide(self.full.hidden), replace(self.full.head, weight=wide(self.full.head.weight))
        )
        twin.targets = self.targets
        twin.weights = PositionWeights(
            wide(self.weights.divergence), wide(self.weights.cross_entropy)
        )
        return twin

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.hidden, self.head.weight, self.head.bias

    def top(self, k: int, temperature: float = 1.0) -> TopLogProbs:
        return top_of(self.full, self.targets, k, temperature)

    def loss(self, teacher, weights=None, *, divergence="forward_kl", **options) -> Loss:
        made = DIVERGENCES[divergence](BETA)
        weights = weights or self.weights
        return supervised_loss(
            self.hidden, self.head, teacher, self.targets, weights, divergence=made, **options
        )


def top_of(full: FullLogits, targets: Tensor, k: int, temperature: float) -> TopLogProbs:
    log_p = (full.head.logits(full.hidden) / temperature).log_softmax(-1)
    tokens = log_p.topk(k).indices
    missing = (tokens != targets.unsqueeze(-1)).all(-1)
    tokens[missing, -1] = targets[missing]
    rest = log_p.scatter(-1, tokens, -torch.inf).logsumexp(-1)
    return TopLogProbs(tokens, log_p.gather(-1, tokens), rest, temperature, VOCABULARY)


def in_buckets(log_p: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities [P, k + 1] of the tokens and of all others together."""
    rest = log_p.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([log_p.gather(-1, tokens), rest], -1)


def plain_loss(
    case: Case, teacher, weights, *, divergence="forward_kl", temperature=1.0, gold_mixing=None
) -> Tensor:
    """The formula, with all positions x vocabulary in memory."""
    logits = case.head.logits(case.hidden)
    log_s = (logits / temperature).log_softmax(-1)
    if isinstance(teacher, FullLogits):
        p_t = (teacher.head.logits(teacher.hidden) / temperature).softmax(-1)
        best, gold = p_t.argmax(-1), case.targets
    else:
        log_s = in_buckets(log_s, teacher.tokens)
        p_t = torch.cat([teacher.log_probs, teacher.log_rest.unsqueeze(-1)], -1).exp()
        gold = (teacher.tokens == case.targets.unsqueeze(-1)).long().argmax(-1)
        best = torch.zeros_like(gold)
    one_hot = torch.nn.functional.one_hot(gold, p_t.shape[-1]).to(p_t.dtype)
    share = torch.zeros(1, 1) if gold_mixing is None else gold_mixing.unsqueeze(-1)
    mixed = (1 - share) * p_t + share * one_hot
    p_t = torch.where((best != gold).unsqueeze(-1), mixed, p_t)
    p_s = log_s.exp()
    kl = lambda p, q: (p * (p / q).log()).nan_to_num(0.0).sum(-1)  # noqa: E731
    m = BETA * p_t + (1 - BETA) * p_s
    values = {
        "forward_kl": lambda: kl(p_t, p_s),
        "reverse_kl": lambda: kl(p_s, p_t),
        "jensen_shannon": lambda: BETA * kl(p_t, m) + (1 - BETA) * kl(p_s, m),
    }[divergence]()
    cross_entropy = torch.nn.functional.cross_entropy(logits, case.targets, reduction="none")
    a, c = weights.divergence, weights.cross_entropy
    return (a * temperature**2 * values + c * cross_entropy).sum()


def mixing(share: float) -> Tensor:
    """lambda in two of three positions, 0 in the others."""
    return torch.where(torch.arange(POSITIONS) % 3 > 0, share, 0.0).double()


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected.double()).norm() / expected.double().norm()).item()


def check(case: Case, reference: Case, teacher, weights, budget: int, bound: float, **options):
    """Value and gradients of a case are those of the plain formula on the reference."""
    kind = "full" if teacher is None else teacher
    ours = case.full if kind == "full" else case.top(kind, options.get("temperature", 1.0))
    theirs = (
        reference.full if kind == "full" else reference.top(kind, options.get("temperature", 1.0))
    )
    own_weights, wanted_weights = (
        c.weights if weights is None else c.without(weights) for c in (case, reference)
    )
    got = case.loss(ours, own_weights, budget=budget, **options).value
    expected = plain_loss(reference, theirs, wanted_weights, **options)
    pairs = [
        (got, expected),
        *zip(
            torch.autograd.grad(got, case.leaves),
            torch.autograd.grad(expected, reference.leaves),
            strict=True,
        ),
    ]
    for own, wanted in pairs:
        assert relative_error(own.detach(), wanted.detach()) < bound


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
@pytest.mark.parametrize("softcap", [None, 3.0], ids=["plain", "softcap"])
@pytest.mark.parametrize("top", [None, TOP], ids=["full", "top"])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_values_and_gradients_are_those_of_the_plain_formula(divergence, top, softcap, budget):
    """In float32 to 1e-5 of the same in float64: divergence alone, and blended with CE."""
    single = Case(softcap=softcap, dtype=torch.float32)
    for temperature, gold_mixing, left_out in itertools.product(
        (1.0, 2.5), (None, mixing(0.3)), (None, "cross_entropy")
    ):
        options = {
            "divergence": divergence,
            "temperature": temperature,
            "gold_mixing": gold_mixing,
        }
        check(single, single.double(), top, left_out, budget // 2 + 1, 1e-5, **options)
        exact = Case(softcap=softcap)
        check(exact, exact, top, left_out, budget, 1e-11, **options)


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
@pytest.mark.parametrize("softcap", [None, 3.0], ids=["plain", "softcap"])
def test_cross_entropy_alone_needs_no_teacher(softcap, budget):
    case = Case(softcap=softcap)
    weights = case.without("divergence")
    # Its temperature is 1, whatever that of the divergence would be.
    got = case.loss(None, weights, budget=budget, temperature=2.0).value
    expected = plain_loss(case, case.full, weights)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, case.leaves), torch.autograd.grad(expected, case.leaves)
    )


@pytest.mark.parametrize("budget", [BUDGET, 17_000], ids=["whole", "tiles"])
@pytest.mark.parametrize("top", [None, TOP], ids=["full", "top"])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradients_are_the_slope_of_the_value(divergence, top, budget):
    """By central differences along a random direction in all that is differentiated."""
    case = Case(softcap=3.0)
    teacher = case.full if top is None else case.top(top, 1.7)
    options = {"divergence": divergence, "temperature": 1.7, "budget": budget}
    gradients = torch.autograd.grad(case.loss(teacher, **options).value, case.leaves)
    generator = torch.Generator().manual_seed(9)
    directions = [torch.randn(leaf.shape, generator=generator).double() for leaf in case.leaves]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step, sides = 1e-5, []
    with torch.no_grad():
        for sign in (step, -2 * step):
            for leaf, direction in zip(case.leaves, directions, strict=True):
                leaf += sign * direction
            sides.append(case.loss(teacher, **options).value)
    torch.testing.assert_close((sides[0] - sides[1]) / (2 * step), slope, rtol=1e-6, atol=0.0)


def test_micro_batches_add_up_to_the_batch():
    case = Case()
    whole = case.loss(case.full)
    expected = torch.autograd.grad(whole.value, case.leaves)
    total, sums = torch.zeros(()), [torch.zeros_like(leaf) for leaf in case.leaves]
    for part in (slice(0, 1), slice(1, 90), slice(90, POSITIONS)):
        loss = supervised_loss(
            case.hidden[part],
            case.head,
            FullLogits(case.full.hidden[part], case.full.head),
            case.targets[part],
            PositionWeights(case.weights.divergence[part], case.weights.cross_entropy[part]),
            divergence=DIVERGENCES["forward_kl"](BETA),
        )
        total = total + loss.value.detach()
        for own, gradient in zip(sums, torch.autograd.grad(loss.value, case.leaves), strict=True):
            own += gradient
    torch.testing.assert_close(total, whole.value.detach())
    torch.testing.assert_close(tuple(sums), expected)


def test_a_tied_head_gets_the_gradients_of_both_uses():
    case = Case()
    ids = torch.randint(VOCABULARY, (POSITIONS,), generator=torch.Generator().manual_seed(1))
    gradients = []
    for loss in (
        lambda: case.loss(case.full).value,
        lambda: plain_loss(case, case.full, case.weights),
    ):
        case.hidden = case.head.weight[ids].tanh()
        gradients.append(torch.autograd.grad(loss(), case.head.weight)[0])
    torch.testing.assert_close(*gradients)


class Allocations(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns in memory of its own.

    `known` are tensors whose memory does not count.
    """

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in self.known:
                itself = leaf.untyped_storage().nbytes() // leaf.itemsize
                self.largest = max(self.largest, itself)
        return result


def largest_allocation(case: Case, teacher, **options) -> int:
    known = [case.hidden, case.head.weight, case.full.hidden, case.full.head.weight]
    with Allocations(*known) as allocations:
        case.loss(teacher, **options).value.backward()
    return allocations.largest


def test_the_allocation_test_would_see_the_plain_formula():
    case = Case()
    with Allocations() as allocations:
        plain_loss(case, case.full, case.weights).backward()
    assert allocations.largest >= POSITIONS * VOCABULARY


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("top", [None, TOP], ids=["full", "top"])
@pytest.mark.parametrize("budget", [LOGITS_OF_70, 17_000], ids=["chunks", "tiles"])
def test_positions_x_vocabulary_are_never_held(budget, top, divergence):
    """Neither of student nor of teacher, forward nor backward: at most half the budget for each."""
    case = Case(softcap=3.0)
    teacher = case.full if top is None else case.top(top, 2.0)
    options = {"divergence": divergence, "temperature": 2.0, "gold_mixing": mixing(0.3)}
    largest = largest_allocation(case, teacher, budget=budget, **options)
    bookkeeping = POSITIONS * (TOP + 1)
    sides = 2 if top is None else 1
    assert largest <= max(budget // (8 * sides), bookkeeping)
    assert largest < POSITIONS * VOCABULARY


def test_a_frozen_head_costs_no_weight_gradient():
    """No gradient, and no memory of the head's size either."""
    case = Case()
    case.hidden = case.hidden[:2].detach().requires_grad_()
    case.targets = case.targets[:2]
    case.weights = PositionWeights(torch.ones(2), torch.ones(2))
    teacher = FullLogits(case.full.hidden[:2], case.full.head)
    trainable = case.head
    assert largest_allocation(case, teacher) == VOCABULARY * HIDDEN
    case.head = Head(trainable.weight.detach(), trainable.bias.detach())
    # Two positions of logits are the largest thing that is left.
    assert largest_allocation(case, teacher) == 2 * VOCABULARY
    assert case.head.weight.grad is None
    assert case.hidden.grad.any()


def test_without_gradients_values_are_the_same_and_nothing_else_is_made():
    case = Case()
    with torch.no_grad(), Allocations(*case.leaves, case.full.head.weight) as allocations:
        loss = case.loss(case.full, budget=17_000)
    expected = case.loss(case.full)
    torch.testing.assert_close(loss.value, expected.value.detach())
    assert not loss.value.requires_grad
    assert allocations.largest == POSITIONS * HIDDEN


def test_positions_without_weight_are_not_looked_at():
    case = Case()
    off = (case.weights.divergence == 0) & (case.weights.cross_entropy == 0)
    expected = case.loss(case.full)
    assert off.any()
    with torch.no_grad():
        case.hidden[off] = torch.nan
        case.full.hidden[off] = torch.nan
    loss = case.loss(case.full)
    assert loss.value == expected.value
    loss.value.backward()
    assert not case.hidden.grad[off].any()
    assert case.head.weight.grad.isfinite().all()


@pytest.mark.parametrize("count", [0, 5])
def test_a_batch_without_any_weight_is_a_loss_of_zero(count):
    case = Case()
    case.hidden = case.hidden[:count].detach().requires_grad_()
    case.targets = case.targets[:count]
    nothing = PositionWeights(torch.zeros(count), torch.zeros(count))
    loss = case.loss(None, nothing)
    loss.value.backward()
    assert loss.value == 0
    assert not any(leaf.grad.any() for leaf in case.leaves)
    assert loss.divergence.isnan().all()


def test_the_record_is_per_position_and_missing_where_the_part_has_no_weight():
    case = Case()
    loss = case.loss(case.full, temperature=2.0)
    for part, other in (("divergence", "cross_entropy"), ("cross_entropy", "divergence")):
        recorded, weights = getattr(loss, part), getattr(case.weights, part)
        assert recorded.shape == (POSITIONS,)
        assert not recorded.requires_grad
        assert torch.equal(recorded.isnan(), weights == 0)
        summed = (recorded.nan_to_num(0.0) * weights).sum()
        expected = plain_loss(case, case.full, case.without(other), temperature=2.0)
        torch.testing.assert_close(summed, expected.detach())


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_student_like_its_teacher_has_no_loss_and_another_has_a_gradient(divergence):
    case = Case()
    weights = case.without("cross_entropy")
    same = FullLogits(
        case.hidden.detach(), Head(case.head.weight.detach(), case.head.bias.detach())
    )
    for temperature in (0.5, 1.0, 4.0):
        loss = case.loss(same, weights, divergence=divergence, temperature=temperature)
        assert loss.value.abs() < 1e-10
        assert all(g.abs().max() < 1e-10 for g in torch.autograd.grad(loss.value, case.leaves))
        other = case.loss(case.full, weights, divergence=divergence, temperature=temperature)
        assert all(g.abs().max() > 1e-3 for g in torch.autograd.grad(other.value, case.leaves))


@pytest.mark.parametrize(
    ("divergence", "factor"),
    [("forward_kl", 1.0), ("reverse_kl", 1.0), ("jensen_shannon", BETA * (1 - BETA))],
)
def test_tau_squared_keeps_the_size_of_loss_and_gradient(divergence, factor):
    """At a high tau, tau^2 dD/dz tends to (z_S - z_T) / V of centred logits, whatever tau.

    And tau^2 D to half the mean square of that difference. Jensen-Shannon's curvature at equality
    is beta (1 - beta) times that of KL.
    """
    case = Case()
    identity = torch.eye(VOCABULARY, dtype=torch.float64)
    student = case.head.logits(case.hidden).detach().requires_grad_()
    teacher = case.full.head.logits(case.full.hidden)
    ones = PositionWeights(torch.ones(POSITIONS), torch.zeros(POSITIONS))
    centred = (student - teacher).detach()
    centred = centred - centred.mean(-1, keepdim=True)
    for temperature in (1e4, 2e4):
        loss = supervised_loss(
            student,
            Head(identity),
            FullLogits(teacher, Head(identity)),
            case.targets,
            ones,
            divergence=DIVERGENCES[divergence](BETA),
            temperature=temperature,
        )
        (gradient,) = torch.autograd.grad(loss.value, student)
        close = {"rtol": 0.0, "atol": 2e-3 * centred.abs().max().item() / VOCABULARY}
        torch.testing.assert_close(gradient, factor * centred / VOCABULARY, **close)
        half_square = centred.square().mean(-1) / 2
        torch.testing.assert_close(loss.divergence, factor * half_square, rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("budget", [BUDGET, 1], ids=["whole", "tiles"])
@pytest.mark.parametrize("k", [VOCABULARY - 1, VOCABULARY])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_all_tokens_as_top_tokens_are_the_full_distribution(share, k, budget, divergence):
    case = Case()
    options = {"divergence": divergence, "temperature": 1.5, "gold_mixing": mixing(share)}
    full = case.loss(case.full, **options)
    top = case.loss(case.top(k, 1.5), budget=budget, **options)
    torch.testing.assert_close(top.value, full.value)
    torch.testing.assert_close(
        torch.autograd.grad(top.value, case.leaves), torch.autograd.grad(full.value, case.leaves)
    )


@given(st.integers(0, 2**31), st.integers(1, VOCABULARY - 1), st.sampled_from(list(DIVERGENCES)))
def test_truncation_never_raises_the_divergence(seed, k, divergence):
    """The data processing inequality, for each position; more tokens, less is lost."""
    case = Case(seed=seed)
    weights = PositionWeights(torch.ones(POSITIONS), torch.zeros(POSITIONS))
    with torch.no_grad():
        full, coarse, fine = (
            case.loss(teacher, weights, divergence=divergence).divergence
            for teacher in (case.full, case.top(k), case.top(k + 1))
        )
    assert (coarse >= -1e-12).all()
    assert (coarse <= full + 1e-12).all()
    kept = (case.top(k).tokens == case.top(k + 1).tokens[:, :k]).all(-1)
    assert (coarse[kept] <= fine[kept] + 1e-12).all()


def test_gold_mixing_of_one_is_the_target_alone_where_the_teacher_is_wrong():
    case = Case()
    weights = PositionWeights(torch.ones(POSITIONS), torch.ones(POSITIONS))
    right = case.full.head.logits(case.full.hidden).argmax(-1) == case.targets
    case.targets[:40] = case.full.head.logits(case.full.hidden[:40]).argmax(-1)
    right[:40] = True
    mixed = case.loss(case.full, weights, gold_mixing=torch.ones(POSITIONS))
    plain = case.loss(case.full, weights)
    torch.testing.assert_close(mixed.divergence[right], plain.divergence[right])
    torch.testing.assert_close(mixed.divergence[~right], plain.cross_entropy[~right])


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
@pytest.mark.parametrize("top", [None, 2, TOP])
def test_gold_is_mixed_in_at_the_positions_that_have_a_share_alone(top, budget):
    case = Case()
    weights = PositionWeights(torch.ones(POSITIONS), torch.zeros(POSITIONS))
    teacher = case.full if top is None else case.top(top)
    share = mixing(0.5)
    mixed, plain = (
        case.loss(teacher, weights, budget=budget, gold_mixing=chosen).divergence
        for chosen in (share, None)
    )
    wrong = case.full.head.logits(case.full.hidden).argmax(-1) != case.targets
    assert torch.equal((mixed - plain).abs() > 1e-9, wrong & (share > 0))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("budget", [BUDGET, 1], ids=["whole", "tiles"])
def test_tokens_that_the_teacher_rules_out_stay_finite(budget, divergence):
    case = Case(dtype=torch.float32)
    bias = torch.zeros(VOCABULARY)
    bias[-3:] = -torch.inf
    ruling_out = FullLogits(case.full.hidden, replace(case.full.head, bias=bias))
    # Targets that are possible: a mass of 0 on them is nothing that a trace can hold.
    case.targets.clamp_(max=VOCABULARY - 4)
    without_rest = replace(case.top(TOP), log_rest=torch.full((POSITIONS,), -torch.inf))
    for teacher in (ruling_out, without_rest):
        loss = case.loss(teacher, divergence=divergence, budget=budget, gold_mixing=mixing(0.2))
        assert loss.value.isfinite()
        gradients = torch.autograd.grad(loss.value, case.leaves)
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("top", [None, TOP], ids=["full", "top"])
@pytest.mark.parametrize("way", ["autocast", "weights"])
@pytest.mark.parametrize("budget", [LOGITS_OF_70, 17_000], ids=["chunks", "tiles"])
def test_bfloat16_products_come_close_and_sums_stay_in_full_precision(budget, way, top):
    case = Case(dtype=torch.float32)
    teacher = case.full if top is None else case.top(top)
    expected = case.loss(teacher)
    wanted = torch.autograd.grad(expected.value, case.leaves)
    if way == "weights":
        half = lambda t: t.detach().bfloat16().requires_grad_()  # noqa: E731
        case.hidden = half(case.hidden)
        case.head = Head(half(case.head.weight), half(case.head.bias))
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        loss = case.loss(teacher, budget=budget)
    got = torch.autograd.grad(loss.value, case.leaves)
    assert loss.value.dtype == loss.divergence.dtype == torch.float32
    assert [g.dtype for g in got] == [leaf.dtype for leaf in case.leaves]
    assert 0 < relative_error(loss.value, expected.value) < 0.01
    for own, exact in zip(got, wanted, strict=True):
        assert relative_error(own, exact) < 0.02


def test_what_follows_the_loss_scales_its_gradients_once():
    case = Case()
    expected = torch.autograd.grad(case.loss(case.full).value, case.leaves)
    scaled = case.loss(case.full).value * 3
    got = torch.autograd.grad(scaled, case.leaves, retain_graph=True)
    torch.testing.assert_close(got, tuple(3 * gradient for gradient in expected))
    with pytest.raises(RuntimeError, match="only once"):
        scaled.backward()


@given(st.integers(0, 5000), st.integers(1, 300_000), st.integers(0, 10**8))
def test_a_plan_fits_its_budget_and_covers_everything(positions, vocabulary, logits):
    chunk, tile = plan(positions, vocabulary, logits)
    assert chunk * tile <= max(logits, chunk)
    for total, part in ((positions, chunk), (vocabulary, tile)):
        parts = slices(total, part)
        assert not parts or parts[0].start == 0
        assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
        assert sum(s.stop - s.start for s in parts) == total


def test_vocabularies_of_different_size_are_one_clear_sentence():
    case = Case()
    padded = Head(torch.zeros(VOCABULARY + 8, HIDDEN))
    top = replace(case.top(TOP), vocabulary=VOCABULARY + 8)
    for teacher in (FullLogits(case.full.hidden, padded), top):
        with pytest.raises(InputError, match=r"student predicts 50 tokens .* cover 58"):
            case.loss(teacher)


def test_log_probabilities_of_another_temperature_are_refused():
    case = Case()
    with pytest.raises(InputError, match=r"temperature 2\.0 but temperature is 1\.0"):
        case.loss(case.top(TOP, 2.0))


def test_a_divergence_asks_for_a_teacher_of_the_same_positions():
    case = Case()
    with pytest.raises(ValueError, match="teacher"):
        case.loss(None)
    with pytest.raises(ValueError, match="10 positions"):
        case.loss(FullLogits(case.full.hidden[:10], case.full.head))
