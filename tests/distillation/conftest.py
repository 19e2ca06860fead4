"""A tiny teacher, traces for it, and what it predicts in them."""

from collections.abc import Callable, Sequence

import pytest
from tiny_distillation import (
    MARKER,
    VOCABULARY,
    StoredTeacher,
    make_model,
    make_settings,
    make_student,
    make_trace,
    make_traces,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from distillscale.distillation.settings import DistillationSettings
from distillscale.tasks.trace import Trace
from distillscale.teachers.online import OnlineTeacher


@pytest.fixture
def teacher() -> PreTrainedModel:
    return make_model(0)


@pytest.fixture
def student() -> PreTrainedModel:
    return make_student()


@pytest.fixture
def traces() -> list[Trace]:
    return make_traces()


@pytest.fixture
def label_traces() -> list[Trace]:
    """Twelve traces without reasoning."""
    return [make_trace(i, 3 + i % 4, 0, 1 + i % 3) for i in range(12)]


@pytest.fixture
def logits_of(teacher) -> Callable[[Sequence[Trace]], StoredTeacher]:
    return lambda traces: StoredTeacher(teacher, traces)


@pytest.fixture
def online(teacher) -> Callable[[Sequence[Trace]], OnlineTeacher]:
    """The teacher in memory while the student trains."""
    return lambda traces: OnlineTeacher(teacher, traces, 0)


@pytest.fixture
def settings() -> Callable[..., DistillationSettings]:
    return make_settings


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Token n is the text of n, but for padding, end and the marker before the answer."""
    texts = {0: "<pad>", 1: "<end>", MARKER: "\nAnswer:"}
    vocabulary = {texts.get(n, f" w{n}"): n for n in range(VOCABULARY)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")
