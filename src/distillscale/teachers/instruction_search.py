"""Let DSPy propose instructions: COPRO, which looks at what was tried and how it scored.

The coordinate-ascent prompt optimiser of DSPy (`dspy.COPRO`; DSPy: Khattab et al. 2023,
arXiv:2310.03714), instructions only, without examples in the prompt. DSPy never talks to a server
here: its model is an engine that hands every question to our own endpoint client, with its budget,
retries and handling of the key. So litellm, which DSPy would call, is not even imported, and
DSPy's caches, which are pickles on the disk, are off.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from distillscale.errors import InputError

_TEMPERATURE = 1.0
"""Of proposals: the model's own distribution."""
_UNREADABLE = "(no instruction)"
"""In the place of an unreadable proposal: DSPy fills in an instruction of its own for an empty one.
"""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Score = Callable[[str | None], float]
"""How well an instruction does, from 0 to 1; None is a proposal that could not be read."""
Write = Callable[[str, str, float], str]
"""What a model answers to a system message and a user's message, at a temperature."""


class _Carried(BaseException):
    """Carries an error of `Score` or `Write` through DSPy, which swallows every Exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def require_dspy() -> Any:
    """The module `dspy`.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("dspy")
    except ImportError as error:
        raise InputError(
            "DSPy is not installed; `pip install 'distillscale[instruct]'` installs it."
        ) from error


def search_instructions(
    current: str, score: Score, write: Write, *, proposals: int, rounds: int
) -> None:
    """Score the current instruction and those that a model proposes.

    The first round proposes one less than `proposals`, to which the current one is added; every
    further round proposes as many, shown the best so far with their scores. What was scored is for
    `score` to remember.

    Args:
        proposals: instructions a round, at least 2.
        rounds: at least 1.

    Raises:
        InputError: DSPy is not installed.
        Exception: whatever `score` or `write` raises ends the search.
    """
    dspy = require_dspy()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    model = dspy.LM("endpoint", engine=_Engine(_carrying(write)), cache=False, num_retries=0)
    optimiser = dspy.COPRO(
        metric=_score_of,
        breadth=proposals,
        depth=rounds,
        init_temperature=_TEMPERATURE,
    )
    # The whole part is one example: DSPy averages over examples, and macro F1 is no such mean.
    part = [dspy.Example(part="all").with_inputs("part")]
    program = _program(dspy, current, _carrying(score))
    try:
        with _quiet(), dspy.context(lm=model, adapter=_adapter(dspy), disable_history=True):
            optimiser.compile(program, trainset=part, eval_kwargs={"num_threads": 1})
    except _Carried as carried:
        raise carried.error from None


def _carrying(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    def carrying(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            raise _Carried(error) from None

    return carrying


def _score_of(_: Any, prediction: Any) -> float:
    score: float = prediction.score
    return score


class _Engine:
    """What DSPy takes for a model."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def complete(self, request: Any) -> Any:
        """Answer one of DSPy's requests (`dspy.lm15.Request`)."""
        types = import_module("dspy.lm15")
        asked = "\n\n".join(_text(message.parts) for message in request.messages)
        temperature = request.config.temperature
        text = self._write(
            _text(request.system or ()), asked, _TEMPERATURE if temperature is None else temperature
        )
        message = types.Message(role="assistant", parts=(types.TextPart(text=text),))
        return types.Response(
            id=None, model=request.model, message=message, finish_reason="stop", usage=types.Usage()
        )


def _text(parts: Any) -> str:
    return parts if isinstance(parts, str) else "\n\n".join(part.text for part in parts)


def _program(dspy: Any, current: str, score: Score) -> Any:
    """A program whose only part that can be optimised is the instruction that `score` takes."""

    class Labeller(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.label = dspy.Predict(dspy.Signature("text -> label", current))

        def forward(self, part: str) -> Any:  # noqa: ARG002
            text = self.label.signature.instructions
            return dspy.Prediction(score=score(None if text == _UNREADABLE else text))

    return Labeller()


def _adapter(dspy: Any) -> Any:
    """Reads proposals; one that breaks DSPy's format does not end the search."""

    class Lenient(dspy.ChatAdapter):
        def parse(self, signature: Any, completion: str) -> dict[str, Any]:
            try:
                fields = dict(super().parse(signature, completion))
            except dspy.AdapterParseError:
                fields = {}
            if all(str(fields.get(name, "")).strip(' \n"') for name in signature.output_fields):
                return fields
            return dict.fromkeys(signature.output_fields, _UNREADABLE)

    return Lenient(use_json_adapter_fallback=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back DSPy's log of each evaluation."""
    logger = logging.getLogger("dspy")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
