"""One multiple-choice question about general knowledge."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question scored over a closed set of choices.

    `prompt` ends where an answer begins; each choice is the text that would follow it, leading
    space included. `answer` indexes `choices`. `rehearsed` tells whether some reasoning trace of
    the lab states the facts that the question asks for (None: not known, as for MMLU).
    """

    id: str
    benchmark: str
    prompt: str
    choices: tuple[str, ...]
    answer: int
    rehearsed: bool | None = None
