import copy
import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from distillscale.distillation.correction import correct
from distillscale.distillation.objectives import OBJECTIVES
from distillscale.distillation.order import batch_order
from distillscale.distillation.segments import ANSWER, REASONING, Batch, collate, training_row
from distillscale.distillation.settings import AdapterSettings, Recipe, TrainingSettings
from distillscale.distillation.trainer import distill, train
from distillscale.errors import InputError, TrainingDiverged
from distillscale.models.teacher_logits import FullLogits


def same_weights(first, second) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


def moved(before: dict[str, Tensor], model) -> set[str]:
    return {n for n, p in model.named_parameters() if not torch.equal(p.detach(), before[n])}


@pytest.fixture
def run(traces, logits_of, settings, tmp_path):
    """Distills a copy of a model on the traces with some settings changed."""

    def go(model, *, data=traces, work_dir=tmp_path, progress=lambda _: None, **changes):
        return distill(
            copy.deepcopy(model),
            data,
            settings(**changes),
            teacher_logits=logits_of(data),
            pad_id=0,
            work_dir=work_dir,
            progress=progress,
        )

    return go


def logits_at(model, batch: Batch) -> Tensor:
    """The model's logits at the supervised positions of a batch, by its own forward pass."""
    full = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return full[batch.rows, batch.positions]


# Supervised positions


@pytest.mark.parametrize("method", ["logit", "lora"])
def test_nothing_else_is_projected_to_the_vocabulary(run, student, traces, method):
    """The student's head as a module is never called: the loss reads its weights."""
    calls = []
    student.lm_head.register_forward_hook(lambda *_: calls.append(1))
    run(student, method=method)
    assert calls == []


@pytest.mark.parametrize("pad_id", [0, 17])
def test_padding_changes_no_loss(student, traces, logits_of, settings, tmp_path, pad_id):
    logs = [
        distill(
            copy.deepcopy(student), traces, settings(), teacher_logits=logits_of(traces),
            pad_id=pad, work_dir=tmp_path,
        ).log
        for pad in (0, pad_id)
    ]  # fmt: skip
    assert logs[0] == logs[1]


def test_first_label_token_is_learned(student, label_traces, tmp_path):
    """Completions of one token: only a loss on the last prompt position can teach them."""
    single = [replace(trace, completion_ids=(7,)) for trace in label_traces]
    settings = TrainingSettings(steps=30, batch_size=12, learning_rate=1e-2)
    model = correct(student, single, settings, pad_id=0, work_dir=tmp_path).model
    batch = collate([training_row(trace) for trace in single], range(12), 0)
    assert (logits_at(model, batch).argmax(-1) == 7).all()


# What training does


def test_distilling_a_perturbed_copy_brings_it_back_towards_the_teacher(run, student):
    log = run(student, supervision="cot", steps=60, batch_size=12, learning_rate=5e-3).log
    assert log.losses[-1] < 0.3 * log.losses[0]
    assert log.divergence_answer[-1] < 0.5 * log.divergence_answer[0]


def test_the_teacher_itself_has_nothing_to_learn(run, teacher):
    log = run(teacher, steps=1).log
    assert log.losses[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("supervision", ["label", "cot", "blended"])
def test_every_weight_trains(run, student, supervision):
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    distilled = run(student, supervision=supervision)
    assert moved(before, distilled.model) == set(before)
    assert all(norm > 0 for norm in distilled.log.gradient_norms)


def naive_loss(supervision: str, logits: Tensor, teacher: FullLogits, batch: Batch) -> Tensor:
    """The design's formulas at tau = 1, w = b_R = b_A = 0.5, on whole matrices of logits."""
    log_t = teacher.head.logits(teacher.hidden).log_softmax(-1)
    kl = (log_t.exp() * (log_t - logits.log_softmax(-1))).sum(-1)
    reasoning, answer = batch.segments == REASONING, batch.segments == ANSWER
    if supervision == "label":
        return kl[answer].mean()
    if supervision == "cot":
        return kl.mean()
    ce = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    return 0.25 * sum(x[segment].mean() for x in (kl, ce) for segment in (reasoning, answer))


@pytest.mark.parametrize("supervision", ["label", "cot", "blended"])
def test_trainer_equals_a_bare_loop(run, student, traces, logits_of, settings, supervision):
    chosen = settings(
        supervision=supervision, steps=8, weight_decay=0.1, max_gradient_norm=0.5, warmup_ratio=0.25
    )
    rows, teacher = [training_row(t) for t in traces], logits_of(traces)
    bare = copy.deepcopy(student)
    decayed = [p for n, p in bare.named_parameters() if "norm" not in n]
    spared = [p for n, p in bare.named_parameters() if "norm" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": spared, "weight_decay": 0.0}], lr=1e-3, weight_decay=0.1
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, 2, 8)
    losses, norms = [], []
    for numbers in batch_order([len(r.input_ids) for r in rows], steps=8, batch_size=4, seed=0):
        batch = collate(rows, numbers, 0)
        loss = naive_loss(supervision, logits_at(bare, batch), teacher.at(numbers), batch)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(bare.parameters(), 0.5).item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    distilled = run(student, **asdict(chosen))
    assert distilled.log.losses == pytest.approx(losses, rel=1e-4)
    assert distilled.log.gradient_norms == pytest.approx(norms, rel=1e-4)
    for ours, theirs in zip(distilled.model.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_seed_fixes_the_weights(run, student):
    first = run(student, seed=5)
    assert same_weights(first.model, run(student, seed=5).model)
    assert not same_weights(first.model, run(student, seed=6).model)


@pytest.mark.parametrize("supervision", ["label", "cot", "blended"])
def test_traces_without_reasoning_train_under_every_supervision(
    run, student, label_traces, supervision
):
    log = run(student, data=label_traces, supervision=supervision).log
    assert all(math.isfinite(loss) for loss in log.losses)
    assert log.divergence_reasoning == (None,) * 6
    assert all(kl is not None and kl > 0 for kl in log.divergence_answer)


def test_teacher_is_asked_for_exactly_the_rows_of_each_batch(
    student, traces, logits_of, settings, tmp_path
):
    teacher_logits = logits_of(traces)
    distill(student, traces, settings(), teacher_logits=teacher_logits, pad_id=0, work_dir=tmp_path)
    lengths = [len(trace.prompt_ids + trace.completion_ids) for trace in traces]
    expected = batch_order(lengths, steps=6, batch_size=4, seed=0)
    assert teacher_logits.asked == [tuple(batch) for batch in expected]


def test_bf16_runs_the_matrix_products_in_bfloat16_and_keeps_the_weights(run, student):
    plain = run(student)
    dtypes = set()
    student.model.layers[0].mlp.up_proj.register_forward_hook(
        lambda _, __, output: dtypes.add(output.dtype)
    )
    half = run(student, bf16=True)
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    assert half.log.losses == pytest.approx(plain.log.losses, rel=0.1)
    assert half.log.losses != plain.log.losses


# The model that comes back


def test_student_comes_back_in_place_ready_to_generate_and_train_again(
    student, traces, logits_of, settings, tmp_path
):
    arguments = {"teacher_logits": logits_of(traces), "pad_id": 0, "work_dir": tmp_path}
    first = distill(student, traces, settings(), **arguments)
    assert first.model is student
    assert not student.training
    assert student.config.use_cache
    second = distill(student, traces, settings(), **arguments)
    assert second.log.mean_loss < first.log.mean_loss
    assert student.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=3).shape[1] > 3


def test_lora_gives_a_plain_model_of_the_same_class(run, student, tmp_path):
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    model = run(student, method="lora").model
    assert type(model) is type(student)
    assert list(model.state_dict()) == list(student.state_dict())
    assert all(p.requires_grad for p in model.parameters())
    projections = {name for name in before if "proj" in name}
    assert moved(before, model) == projections
    model.save_pretrained(tmp_path / "merged")
    assert not list((tmp_path / "merged").glob("*adapter*"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert same_weights(loaded, model)


def test_lora_learns_the_traces_tokens(run, student):
    log = run(student, method="lora", steps=40, batch_size=12, learning_rate=3e-2).log
    assert log.losses[-1] < 0.7 * log.losses[0]
    assert log.divergence_answer == (None,) * 40


def test_lora_needs_no_teacher_and_logit_does(student, traces, settings, tmp_path):
    nobody = {"teacher_logits": None, "pad_id": 0, "work_dir": tmp_path}
    distill(copy.deepcopy(student), traces, settings(method="lora"), **nobody)
    with pytest.raises(ValueError, match="needs the teacher's logits"):
        distill(student, traces, settings(method="logit"), **nobody)


def test_correction_is_the_same_trainer_with_cross_entropy_on_all_weights(
    student, traces, tmp_path
):
    settings = TrainingSettings(steps=20, batch_size=12, learning_rate=1e-2)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    corrected = correct(copy.deepcopy(student), traces, settings, pad_id=0, work_dir=tmp_path)
    assert corrected.log.losses[-1] < 0.7 * corrected.log.losses[0]
    assert moved(before, corrected.model) == set(before)


# What is told and recorded


def test_log_has_one_value_a_step_and_is_json(run, student):
    log = run(student, steps=7).log
    curves = (log.losses, log.gradient_norms, log.divergence_reasoning, log.divergence_answer)
    assert [len(curve) for curve in curves] == [7] * 4
    assert log.gradient_norm_spread is not None
    json.dumps(asdict(log), allow_nan=False)


def test_progress_is_told_from_the_first_step_to_the_last(run, student):
    told: list[float] = []
    run(student, steps=5, progress=told.append)
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("method", ["logit", "lora"])
def test_training_prints_nothing(run, student, method, capfd):
    run(student, method=method, checkpoint_steps=3)
    assert capfd.readouterr() == ("", "")


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(
    student, teacher, traces, logits_of, settings, tmp_path
):
    class BrokenAtThird(type(logits_of(traces))):
        def at(self, rows):
            full = super().at(rows)
            return replace(full, hidden=full.hidden * (math.nan if len(self.asked) == 3 else 1))

    broken = BrokenAtThird(teacher, traces)
    with pytest.raises(TrainingDiverged, match=r"loss became nan at step 3 of 6"):
        distill(student, traces, settings(), teacher_logits=broken, pad_id=0, work_dir=tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run_with_its_step(student, traces, tmp_path):
    settings = TrainingSettings(steps=4, batch_size=4, learning_rate=1e-3)
    student.model.norm.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(TrainingDiverged, match=r"gradient norm became nan at step 1 of 4"):
        correct(student, traces, settings, pad_id=0, work_dir=tmp_path)


def test_no_traces_is_one_clear_sentence(student, tmp_path):
    settings = TrainingSettings(steps=4, batch_size=4, learning_rate=1e-3)
    with pytest.raises(InputError, match="no traces"):
        correct(student, [], settings, pad_id=0, work_dir=tmp_path)


def test_a_teacher_of_another_vocabulary_is_one_clear_sentence(
    student, teacher, traces, logits_of, settings, tmp_path
):
    class Padded(type(logits_of(traces))):
        def at(self, rows):
            full = super().at(rows)
            padded = torch.nn.functional.pad(full.head.weight, (0, 0, 0, 2))
            return replace(full, head=replace(full.head, weight=padded))

    padded = Padded(teacher, traces)
    with pytest.raises(InputError, match="48"):
        distill(student, traces, settings(), teacher_logits=padded, pad_id=0, work_dir=tmp_path)


@pytest.mark.parametrize("supervision", ["cot", "label"])
def test_lora_can_minimize_the_divergence_too(run, student, supervision):
    changes = {"method": "lora", "supervision": supervision, "learning_rate": 1e-2, "steps": 20}
    log = run(student, lora_objective="divergence", **changes).log
    assert log.divergence_answer[-1] < 0.9 * log.divergence_answer[0]
    assert log.losses != run(student, **changes).log.losses


@pytest.mark.parametrize("divergence", ["reverse_kl", "jensen_shannon"])
def test_every_divergence_draws_the_student_to_the_teacher(run, student, divergence):
    log = run(student, divergence=divergence, steps=60, batch_size=12, learning_rate=5e-3).log
    assert log.losses[-1] < 0.4 * log.losses[0]


def test_mixing_towards_gold_changes_only_what_the_teacher_gets_wrong(
    run, student, teacher, traces
):
    """Traces that the teacher itself would write greedily have nothing to mix."""
    mixed, plain = (run(student, gold_mixing=share).log for share in (0.5, 0.0))
    assert mixed.losses != plain.losses
    prompts = [torch.tensor([trace.prompt_ids]) for trace in traces]
    best = [teacher(prompt).logits[0, -1].argmax().item() for prompt in prompts]
    greedy = [
        replace(trace, completion_ids=(token,), answer_start=0)
        for trace, token in zip(traces, best, strict=True)
    ]
    mixed, plain = (run(student, data=greedy, gold_mixing=share).log for share in (0.5, 0.0))
    assert mixed.losses == pytest.approx(plain.losses, rel=1e-5)


def test_nothing_is_mixed_into_the_reasoning(run, student, traces):
    """There the trace's token is the teacher's own text, sampled, and no one's gold."""
    reasoning = [replace(trace, answer_start=len(trace.completion_ids)) for trace in traces]
    answers = [replace(trace, answer_start=0) for trace in traces]
    plain, mixed, mixed_answers = (
        run(student, data=data, gold_mixing=share).log.losses
        for data, share in ((reasoning, 0.0), (reasoning, 0.5), (answers, 0.5))
    )
    assert mixed == plain
    assert mixed_answers != plain


def test_any_objective_combines_with_any_weights(student, traces, logits_of, tmp_path):
    """The pieces that `method` chooses are separable: KL objectives can train adapters too."""
    distilled = train(
        student,
        traces,
        TrainingSettings(steps=4, batch_size=4, learning_rate=1e-2),
        Recipe(OBJECTIVES["blended"], adapters=AdapterSettings()),
        teacher_logits=logits_of(traces),
        pad_id=0,
        work_dir=tmp_path,
    )
    assert all(kl is not None for kl in distilled.log.divergence_answer)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"method": "lora", "lora_objective": "divergence", "on_policy": 0.5},
            r"on_policy is 0\.5: adapters on sharded weights cannot write text",
        ),
    ],
)
def test_what_sharded_weights_cannot_do_is_refused(
    student, traces, online, settings, tmp_path, changes, sentence
):
    with pytest.raises(InputError, match=sentence):
        distill(
            student,
            traces,
            settings(**changes),
            teacher_logits=online(traces),
            pad_id=0,
            work_dir=tmp_path,
            shard=True,
        )
