import pytest
import torch
from torch.testing import assert_close

from distillscale.tasks import Trace
from distillscale.teachers.logits import CachedTeacher, cache_teacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def traces():
    """Traces of unequal prompts and completions, one of a single token each."""
    generator = torch.Generator().manual_seed(2)
    sizes = [(3, 5), (9, 2), (1, 1), (4, 12), (12, 4), (2, 7), (6, 3)]
    made = []
    for number, (prompt, completion) in enumerate(sizes):
        ids = torch.randint(2, 500, (prompt + completion,), generator=generator).tolist()
        made.append(
            Trace(f"e{number}", tuple(ids[:prompt]), tuple(ids[prompt:]), 0, "", "label", "label")
        )
    return made


@pytest.fixture(scope="module")
def expected(any_head, traces):
    """The model's own full logits, one trace at a time, at the positions that predict tokens."""
    logits = []
    for trace in traces:
        with torch.no_grad():
            full = any_head(torch.tensor([trace.prompt_ids + trace.completion_ids])).logits[0]
        logits.append(full[len(trace.prompt_ids) - 1 : -1])
    return logits


@pytest.fixture(scope="module")
def teacher(any_head, traces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher_logits")
    cache_teacher(any_head, traces, folder, pad_id=0, batch_size=3)
    assert [file.suffix for file in folder.iterdir()] == [".safetensors"]
    return CachedTeacher(folder, CPU)


@pytest.mark.parametrize("rows", [range(7), [6, 0, 3], [2], [4, 4, 1], [5, 2, 6, 1, 0, 4, 3]])
def test_logits_are_the_models_own_for_any_order_of_rows(teacher, expected, rows):
    assert_close(
        teacher.logits(rows), torch.cat([expected[row] for row in rows]), atol=1e-4, rtol=1e-4
    )


def test_a_selection_is_numbered_anew(teacher, expected):
    chosen = teacher.select([5, 1, 3])
    for row, original in enumerate([5, 1, 3]):
        assert_close(chosen.logits([row]), expected[original], atol=1e-4, rtol=1e-4)
    assert_close(chosen.select([2]).logits([0]), expected[3], atol=1e-4, rtol=1e-4)
    with pytest.raises(IndexError):
        chosen.logits([3])
    assert len(teacher.logits(range(7))) == sum(len(logits) for logits in expected)


def test_the_vocabulary_is_that_of_the_model(teacher, tokenizer):
    assert teacher.vocabulary == len(tokenizer)
    assert teacher.logits([0]).shape == (5, len(tokenizer))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_cache_does_not_depend_on_the_batch_size(
    any_head, traces, expected, tmp_path, batch_size
):
    told = []
    cache_teacher(any_head, traces, tmp_path, pad_id=0, batch_size=batch_size, progress=told.append)
    logits = CachedTeacher(tmp_path, CPU).logits(range(7))
    assert_close(logits, torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_no_gradient_reaches_the_teacher(teacher):
    assert not teacher.logits([0, 1]).requires_grad


def test_a_teacher_of_half_precision_is_kept_in_its_own_numbers(any_head, traces, tmp_path):
    half = type(any_head)(any_head.config).to(torch.bfloat16).eval()
    cache_teacher(half, traces[:1], tmp_path, pad_id=0)
    with torch.no_grad():
        ids = torch.tensor([traces[0].prompt_ids + traces[0].completion_ids])
        full = half(ids).logits[0, len(traces[0].prompt_ids) - 1 : -1]
    assert_close(CachedTeacher(tmp_path, CPU).logits([0]), full)
