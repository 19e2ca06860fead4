import copy
from dataclasses import replace

import pytest
import torch
from tiny_distillation import MARKER

from distillscale.distillation.objectives import OBJECTIVES, LossWeights
from distillscale.distillation.on_policy import Rollouts, divergence_alone, rollout
from distillscale.distillation.segments import (
    ANSWER,
    REASONING,
    SegmentTotals,
    collate,
    lay_out,
    training_row,
)
from distillscale.distillation.trainer import distill
from distillscale.errors import InputError
from distillscale.tasks.trace import Trace
from distillscale.teachers.online import OnlineTeacher


@pytest.fixture
def rollouts(student, tokenizer, traces) -> Rollouts:
    return Rollouts(student, tokenizer, traces, share=1.0, seed=3)


def batches(traces, *parts):
    rows = [training_row(trace) for trace in traces]
    return [collate(rows, part, 0) for part in parts]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_a_share_of_the_steps_is_on_policy_evenly_spread(rollouts, share):
    wanted = [replace(rollouts, share=share).wanted(step) for step in range(20)]
    assert sum(wanted) == round(20 * share)
    for start in range(0, 20, 5):
        assert abs(sum(wanted[start : start + 5]) - 5 * share) <= 1


def test_rollouts_complete_the_prompts_of_the_batch_within_its_longest_completion(rollouts, traces):
    (batch,) = rollouts.batches(batches(traces, [7, 2, 2]), 0, 0)
    assert batch.trace_rows == (7, 2, 2)
    assert [trace.prompt_ids for trace in batch.rollouts] == [
        traces[row].prompt_ids for row in (7, 2, 2)
    ]
    longest = max(len(traces[row].completion_ids) for row in (7, 2))
    assert max(len(trace.completion_ids) for trace in batch.rollouts) <= longest
    assert batch.rollouts[1].completion_ids != batch.rollouts[2].completion_ids  # sampled
    written = [token for trace in batch.rollouts for token in trace.completion_ids]
    assert batch.targets.tolist() == written
    assert torch.equal(batch.input_ids[batch.rows, batch.positions + 1], batch.targets)


def test_parts_of_a_step_get_the_rollouts_of_the_whole_and_its_totals(rollouts, traces):
    (whole,) = rollouts.batches(batches(traces, [7, 2, 4, 1]), 5, 0)
    parts = rollouts.batches(batches(traces, [7, 2], [4, 1]), 5, 0)
    assert parts[0].rollouts + parts[1].rollouts == whole.rollouts
    assert {part.totals for part in parts} == {SegmentTotals.of(whole.segments)}


def test_rollouts_are_fixed_by_seed_step_and_process(rollouts, traces):
    given = batches(traces, [0, 1, 2, 3])
    texts = {
        key: rollouts.batches(given, *key)[0].rollouts for key in ((0, 0), (1, 0), (0, 1), (0, 0))
    }
    assert len({str(text) for text in texts.values()}) == 3
    assert replace(rollouts, seed=4).batches(given, 0, 0)[0].rollouts != texts[0, 0]
    torch.randn(3)
    assert rollouts.batches(given, 0, 0)[0].rollouts == texts[0, 0]


def trace(answer_start: int) -> Trace:
    return Trace("x", (9, 8), (7, 6, 4), answer_start, "text", "a", "a")


@pytest.mark.parametrize(
    ("of", "completion", "segments"),
    [
        (trace(1), (10, 11, MARKER, 12, 1), [REASONING] * 3 + [ANSWER] * 2),
        (trace(1), (10, 11, 12), [REASONING] * 3),
        (trace(1), (10, MARKER), [REASONING] * 2),
        (trace(0), (10, 11), [ANSWER] * 2),
    ],
    ids=["after the marker", "no marker", "nothing after the marker", "no reasoning asked for"],
)
def test_the_answer_of_a_rollout_begins_after_the_marker(tokenizer, of, completion, segments):
    made = rollout(of, completion, tokenizer)
    assert lay_out(made).segments.tolist() == segments
    assert made.label is None


def test_on_rollouts_cross_entropy_passes_its_weight_to_the_divergence():
    segments = torch.tensor([REASONING, REASONING, ANSWER])
    weights = OBJECTIVES["blended"](segments, SegmentTotals(2, 1), LossWeights())
    moved = divergence_alone(weights)
    assert moved.divergence.tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert moved.cross_entropy.tolist() == [0, 0, 0]


@pytest.fixture
def run(student, traces, online, settings, tokenizer, tmp_path):
    def go(teacher=None, model=student, **changes):
        return distill(
            copy.deepcopy(model),
            traces,
            settings(**{"on_policy": 0.5, **changes}),
            teacher_logits=teacher or online(traces),
            pad_id=0,
            work_dir=tmp_path,
            tokenizer=tokenizer,
        )

    return go


class Watched(OnlineTeacher):
    """Remembers what it scored."""

    def score(self, traces, layers=()):
        self.__dict__.setdefault("seen", []).append(list(traces))
        return super().score(traces, layers)


def test_every_second_step_scores_what_the_student_wrote(run, teacher, traces):
    watched = Watched(teacher, traces, 0)
    run(watched, steps=6)
    written = [all(trace.label is None for trace in batch) for batch in watched.seen]
    assert written == [False, True] * 3


@pytest.mark.parametrize("supervision", ["cot", "blended"])
def test_training_on_rollouts_alone_draws_the_student_to_the_teacher(run, supervision):
    log = run(
        on_policy=1.0, supervision=supervision, steps=60, batch_size=12, learning_rate=5e-3
    ).log
    assert sum(log.losses[-5:]) < 0.4 * sum(log.losses[:5])


def test_the_teacher_itself_has_nothing_to_learn_from_its_own_text(run, teacher):
    log = run(model=teacher, on_policy=1.0, supervision="blended", steps=1).log
    assert log.losses[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("changes", [{"micro_batch_size": 2}, {"gradient_checkpointing": True}])
def test_on_policy_training_is_exact_in_parts_and_when_layers_run_twice(run, changes):
    whole, other = run().log, run(**changes).log
    assert other.losses == pytest.approx(whole.losses, rel=1e-4)


def test_adapters_can_train_on_rollouts(run):
    log = run(method="lora", lora_objective="divergence", on_policy=1.0).log
    assert all(loss > 0 for loss in log.losses)


def test_a_teacher_that_only_stored_predictions_is_refused(run, logits_of, traces):
    with pytest.raises(InputError, match=r"on_policy is 0\.5: it needs a teacher that runs"):
        run(logits_of(traces))
