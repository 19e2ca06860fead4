from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from teacher_traces import POSITIONS, SIZES, own_logits, random_traces
from torch import Tensor
from torch.testing import assert_close
from transformers import Gemma2Config, Gemma2ForCausalLM

from distillscale.errors import InputError
from distillscale.models.teacher_logits import FullLogits, TopLogProbs
from distillscale.models.top_log_probs import Truncation
from distillscale.teachers.logits import CachedTeacher, cache_teacher
from distillscale.teachers.parts import PartReader, PartWriter

CPU = torch.device("cpu")
CUT = Truncation(top_k=100, temperature=2.0)


@pytest.fixture(scope="module")
def traces():
    return random_traces()


@pytest.fixture(scope="module")
def expected(any_head, traces):
    return own_logits(any_head, traces)


@pytest.fixture(scope="module")
def teacher(any_head, traces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher_logits")
    done = cache_teacher(any_head, traces, folder, pad_id=0, batch_size=3)
    assert (done.positions, done.leftover_mass) == (POSITIONS, None)
    assert {file.suffix for file in folder.iterdir()} == {".safetensors"}
    return CachedTeacher(folder, CPU, temperature=1.0)


@pytest.fixture(scope="module")
def truncated(any_head, traces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truncated")
    cache_teacher(any_head, traces, folder, pad_id=0, batch_size=3, truncation=CUT)
    assert not (folder / "head.safetensors").exists()
    return CachedTeacher(folder, CPU, temperature=CUT.temperature)


def logits(full: FullLogits | TopLogProbs) -> Tensor:
    assert isinstance(full, FullLogits)
    return full.head.logits(full.hidden)


def log_probs(wanted: list[Tensor]) -> Tensor:
    return (torch.cat(wanted) / CUT.temperature).log_softmax(dim=-1)


def own_tokens(traces) -> Tensor:
    return torch.tensor([token for trace in traces for token in trace.completion_ids])


@pytest.mark.parametrize("rows", [range(7), [6, 0, 3], [2], [4, 4, 1], [5, 2, 6, 1, 0, 4, 3]])
def test_logits_are_the_models_own_for_any_order_of_rows(teacher, expected, rows):
    wanted = torch.cat([expected[row] for row in rows])
    assert_close(logits(teacher.at(rows)), wanted, atol=1e-4, rtol=1e-4)


def test_a_selection_is_numbered_anew(teacher, expected):
    chosen = teacher.select([5, 1, 3])
    for row, original in enumerate([5, 1, 3]):
        assert_close(logits(chosen.at([row])), expected[original], atol=1e-4, rtol=1e-4)
    assert_close(logits(chosen.select([2]).at([0])), expected[3], atol=1e-4, rtol=1e-4)
    with pytest.raises(IndexError):
        chosen.at([3])
    assert teacher.at(range(7)).positions == POSITIONS


def test_the_vocabulary_is_that_of_the_model(teacher, truncated, tokenizer):
    for cached in (teacher, truncated):
        assert cached.vocabulary == cached.at([0]).vocabulary == len(tokenizer)
    assert logits(teacher.at([0])).shape == (5, len(tokenizer))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_cache_does_not_depend_on_the_batch_size(
    any_head, traces, expected, tmp_path, batch_size
):
    told = []
    cache_teacher(any_head, traces, tmp_path, pad_id=0, batch_size=batch_size, progress=told.append)
    full = CachedTeacher(tmp_path, CPU, temperature=1.0).at(range(7))
    assert_close(logits(full), torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_no_gradient_reaches_the_teacher(teacher, truncated):
    full, top = teacher.at([0, 1]), truncated.at([0, 1])
    tensors = (full.hidden, full.head.weight, top.log_probs, top.log_rest)
    assert not any(tensor.requires_grad for tensor in tensors)


def test_a_teacher_of_half_precision_is_kept_in_its_own_numbers(any_head, traces, tmp_path):
    half = type(any_head)(any_head.config).to(torch.bfloat16).eval()
    cache_teacher(half, traces[:1], tmp_path, pad_id=0)
    full = CachedTeacher(tmp_path, CPU, temperature=1.0).at([0])
    assert_close(logits(full), own_logits(half, traces[:1])[0])


def test_a_heads_bias_and_cap_are_kept(traces, tmp_path):
    torch.manual_seed(3)
    config = Gemma2Config(
        vocab_size=500, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, initializer_range=0.3,
        final_logit_softcapping=3.0, tie_word_embeddings=False,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    model.lm_head.bias = torch.nn.Parameter(torch.randn(500))
    cache_teacher(model, traces, tmp_path, pad_id=0)
    found = logits(CachedTeacher(tmp_path, CPU, temperature=1.0).at(range(7)))
    wanted = torch.cat(own_logits(model, traces))
    assert wanted.abs().max() > 2.5  # the cap is felt
    assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_kept_are_the_likeliest_tokens_and_the_traces_own(truncated, expected, traces):
    top, log_p, own = truncated.at(range(7)), log_probs(expected), own_tokens(traces)
    best = log_p.topk(CUT.top_k)
    missing = (best.indices != own[:, None]).all(dim=-1)
    assert 0 < missing.sum() < len(own)  # both cases occur
    assert top.temperature == CUT.temperature
    assert top.tokens.dtype == torch.int64
    assert torch.equal(top.tokens[~missing], best.indices[~missing])
    assert torch.equal(top.tokens[missing, :-1], best.indices[missing, :-1])
    assert (top.tokens == own[:, None]).any(dim=-1).all()
    assert_close(top.log_probs, log_p.gather(-1, top.tokens), atol=1e-4, rtol=1e-4)
    assert (top.log_probs.diff(dim=-1) <= 0).all()


def test_what_is_left_over_completes_the_mass(any_head, truncated, traces, expected, tmp_path):
    top = truncated.at(range(7))
    total = top.log_probs.exp().sum(dim=-1) + top.log_rest.exp()
    assert_close(total, torch.ones(POSITIONS), atol=1e-5, rtol=0)
    done = cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=CUT)
    assert done.leftover_mass == pytest.approx(top.log_rest.exp().mean().item(), rel=1e-4)
    left_out = log_probs(expected).exp().scatter(-1, top.tokens, 0).sum(dim=-1)
    assert done.leftover_mass == pytest.approx(left_out.mean().item(), rel=1e-3)


def test_a_small_rest_does_not_vanish(any_head, traces, tmp_path):
    """1 - sum of the kept would round to 0 or below where the teacher is sure."""
    cut = Truncation(top_k=200, temperature=0.05)
    cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=cut)
    log_rest = CachedTeacher(tmp_path, CPU, temperature=0.05).at(range(7)).log_rest
    assert log_rest.isfinite().all()
    assert log_rest.min() < -40


@pytest.mark.parametrize("truncation", [None, CUT], ids=["exact", "truncated"])
def test_many_small_parts_hold_what_one_holds(any_head, traces, tmp_path, truncation):
    one, many = tmp_path / "one", tmp_path / "many"
    for folder, part_bytes in ((one, 2**26), (many, 600)):
        folder.mkdir()
        cache_teacher(
            any_head, traces, folder, pad_id=0, truncation=truncation, batch_size=3,
            part_bytes=part_bytes,
        )  # fmt: skip
    assert len(list(one.glob("part-*"))) == 1
    assert len(list(many.glob("part-*"))) > 3
    for rows in (list(range(7)), [6, 1, 1, 4]):
        found, wanted = (
            CachedTeacher(folder, CPU, temperature=CUT.temperature).at(rows)
            for folder in (many, one)
        )
        names = ("hidden",) if truncation is None else ("tokens", "log_probs", "log_rest")
        for name in names:
            assert torch.equal(getattr(found, name), getattr(wanted, name))


def test_no_part_is_much_larger_than_asked(any_head, traces, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0, batch_size=7, part_bytes=1000)
    longest = max(completion for _, completion in SIZES)
    for part in tmp_path.glob("part-*"):
        assert load_file(part)["hidden"].nbytes < 1000 + longest * 48 * 4


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")
def test_only_the_positions_asked_for_are_read(tmp_path):
    writer = PartWriter(tmp_path, 64, part_bytes=2**25)
    for trace in range(64):
        writer.add(trace, {"hidden": torch.full((1024, 512), float(trace))})  # 2 MiB
    writer.close({})
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 2**27
    before = resident()
    reader = PartReader(tmp_path)
    found = [reader.read("hidden", [trace])[0, 0].item() for trace in (3, 60, 31)]
    assert found == [3.0, 60.0, 31.0]
    assert resident() - before < 2**25


@pytest.mark.parametrize("truncation", [None, CUT], ids=["exact", "truncated"])
def test_no_traces_make_an_empty_cache(any_head, tmp_path, truncation):
    done = cache_teacher(any_head, [], tmp_path, pad_id=0, truncation=truncation)
    assert (done.positions, done.leftover_mass) == (0, None)
    chosen = CachedTeacher(tmp_path, CPU, temperature=CUT.temperature).select([])
    with pytest.raises(IndexError):
        chosen.at([0])


def test_a_student_of_another_temperature_is_refused(any_head, traces, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=CUT)
    with pytest.raises(InputError, match=r"top 100 .* at temperature 2 .* temperature is 1\.5;"):
        CachedTeacher(tmp_path, CPU, temperature=1.5)


def test_exact_logits_serve_every_temperature(any_head, traces, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0)
    for temperature in (0.5, 4.0):
        assert isinstance(CachedTeacher(tmp_path, CPU, temperature=temperature).at([0]), FullLogits)


@pytest.mark.parametrize("beyond", [0, 1000])
def test_more_tokens_than_there_are_cannot_be_kept(any_head, traces, tokenizer, tmp_path, beyond):
    too_many = Truncation(len(tokenizer) + beyond, 1.0)
    said = f"teacher_top_k is {too_many.top_k}: .* 2 to {len(tokenizer) - 1} can be kept"
    with pytest.raises(InputError, match=said):
        cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=too_many)


def test_one_kept_token_is_refused(any_head, traces, tmp_path):
    """The trace's own token in its place would leave nothing of what the teacher predicts."""
    with pytest.raises(InputError, match=r"teacher_top_k is 1: .* 2 to"):
        cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=Truncation(1, 1.0))


def test_two_kept_tokens_are_the_likeliest_and_the_traces_own(any_head, traces, expected, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=Truncation(2, 1.0))
    top = CachedTeacher(tmp_path, CPU, temperature=1.0).at(range(7))
    assert torch.equal(top.tokens[:, 0], torch.cat(expected).argmax(dim=-1))
    assert (top.tokens == own_tokens(traces)[:, None]).any(dim=-1).all()


def test_a_truncated_position_takes_eight_bytes_a_token(any_head, traces, tmp_path):
    cache_teacher(any_head, traces, tmp_path, pad_id=0, truncation=CUT)
    with safe_open(tmp_path / "part-00000.safetensors", framework="pt") as part:
        sizes = {name: part.get_tensor(name).nbytes for name in part.keys()}  # noqa: SIM118
    assert sizes == {
        "tokens": POSITIONS * CUT.top_k * 4,
        "log_probs": POSITIONS * CUT.top_k * 4,
        "log_rest": POSITIONS * 4,
    }
