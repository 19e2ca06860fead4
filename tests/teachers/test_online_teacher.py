import pytest
import torch
from teacher_traces import own_logits, random_traces
from torch.testing import assert_close

from distillscale.tasks import Trace
from distillscale.teachers.logits import CachedTeacher, cache_teacher
from distillscale.teachers.online import OnlineTeacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def traces():
    return random_traces()


@pytest.fixture(scope="module")
def online(any_head, traces):
    return OnlineTeacher(any_head, traces, pad_id=0)


def test_it_says_what_the_cache_says(any_head, online, traces, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0, batch_size=4)
    cached = CachedTeacher(tmp_path, CPU, temperature=1.0)
    for rows in ([0, 2, 1], [5, 1, 1]):
        found, wanted = online.at(rows), cached.at(rows)
        assert found.vocabulary == wanted.vocabulary
        assert_close(found.hidden, wanted.hidden, atol=1e-5, rtol=1e-4)
        assert torch.equal(found.head.weight, wanted.head.weight)


def test_other_traces_are_scored_as_the_model_would(any_head, online):
    rollouts = [
        Trace("r", (7, 8, 9), (20, 21), 0, "", None, "label"),
        Trace("s", (4,), (30, 31, 32, 33, 34), 0, "", None, "label"),
    ]
    found = online.score(rollouts)
    assert found.layers == ()
    logits = found.logits.head.logits(found.logits.hidden)
    assert_close(logits, torch.cat(own_logits(any_head, rollouts)), atol=1e-4, rtol=1e-4)


def test_states_after_layers_come_with_the_logits_in_one_pass(any_head, online, traces):
    passes = []
    hook = any_head.get_decoder().register_forward_hook(lambda *_: passes.append(1))
    found = online.score([traces[3], traces[0]], [1, 0])
    hook.remove()
    assert passes == [1]
    for place, layer in enumerate([1, 0]):
        states = []
        for row in (3, 0):
            ids = torch.tensor([traces[row].token_ids])
            with torch.no_grad():  # entry 0 is the embedding; the last one has passed the norm
                after = any_head.get_decoder().layers[layer]
                kept = []
                own = after.register_forward_hook(lambda *a, kept=kept: kept.append(a[-1]))
                any_head(ids)
                own.remove()
            states.append(kept[0][0, len(traces[row].prompt_ids) - 1 : -1])
        assert_close(found.layers[place], torch.cat(states), atol=1e-5, rtol=1e-4)
    normed = any_head.get_decoder().norm(found.layers[0])
    assert_close(normed, found.logits.hidden, atol=1e-5, rtol=1e-4)
    assert_close(found.logits.hidden, online.at([3, 0]).hidden)


def test_no_hook_stays_and_no_gradient_flows(any_head, online, traces):
    found = online.score(traces[:1], [0, 1])
    tensors = (found.logits.hidden, found.logits.head.weight, *found.layers)
    assert not any(tensor.requires_grad for tensor in tensors)
    assert not any(layer._forward_hooks for layer in any_head.get_decoder().layers)
    assert any_head.lm_head.weight.requires_grad  # the model itself is left as it was
