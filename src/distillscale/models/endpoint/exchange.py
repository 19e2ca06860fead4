"""What is asked of an endpoint and what comes back: plain records, without any network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

FailureReason = Literal["unparsed", "refused", "unreachable"]
"""Why a request has no answer.

unparsed: the model answered, but its text holds no JSON that fits the schema.
refused: the server called the request wrong (4xx); asking again would not help.
unreachable: every attempt timed out, broke off, or met 429 or 5xx; asking later may help.
"""


@dataclass(frozen=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """One question to a chat model.

    Attributes:
        id: the caller's own name for the request, unique among those asked together.
        messages: the conversation so far; the last message is usually the user's.
        max_tokens: the budget of the answer, reasoning included.
        temperature: 0 asks for the most likely tokens.
        seed: for servers that sample reproducibly; None leaves it to the server.
        schema: the JSON schema that the answer must fit; None takes any text. It is sent as
            `response_format` where the server knows that, and checked here in any case.
        thinking: sent as `chat_template_kwargs.enable_thinking` (vLLM, NIM, SGLang, transformers);
            None leaves it to the server.
        reasoning_effort: sent as it is, for hosted models that take it; None leaves it out.
        top_log_probs: for each token of the answer, the log-probabilities of this many most likely
            ones, where the server returns them; 0 asks for none.
    """

    id: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    thinking: bool | None = None
    reasoning_effort: str | None = None
    top_log_probs: int = 0


@dataclass(frozen=True)
class Usage:
    """Requests sent and the tokens that they took.

    The assumed tokens are a worst case, charged where a time-out, a broken connection or a server
    that reports no usage left the true number unknown.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    assumed_prompt_tokens: int = 0
    assumed_completion_tokens: int = 0

    @property
    def prompt_ceiling(self) -> int:
        """Prompt tokens, at the worst case where their number is unknown."""
        return self.prompt_tokens + self.assumed_prompt_tokens

    @property
    def completion_ceiling(self) -> int:
        """Completion tokens, at the worst case where their number is unknown."""
        return self.completion_tokens + self.assumed_completion_tokens

    @property
    def tokens(self) -> int:
        """All tokens, at the worst case where their number is unknown."""
        return self.prompt_ceiling + self.completion_ceiling

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        sums = {
            item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)
        }
        return Usage(**sums)


@dataclass(frozen=True)
class TokenLogProb:
    """One token of an answer, its log-probability (natural), and the likeliest ones in its place.

    `top` holds (token, log-probability) pairs, most likely first.
    """

    token: str
    log_prob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Answer:
    """What the model wrote.

    Attributes:
        text: the answer without its reasoning, stripped of outer white space.
        reasoning: from the server's `reasoning_content` (or `reasoning`), else from a `<think>`
            block in the text; None where there is neither.
        value: the JSON value that fits the request's schema; None without a schema.
        finish_reason: as the server says: `stop`, `length` (the token budget cut it off), ...
        tokens: None where the server returned no log-probabilities.
    """

    request_id: str
    text: str
    reasoning: str | None
    value: Any
    finish_reason: str | None
    usage: Usage
    tokens: tuple[TokenLogProb, ...] | None = None


@dataclass(frozen=True)
class Failure:
    """A request without an answer: why, in one sentence, and the text that could not be parsed."""

    request_id: str
    reason: FailureReason
    sentence: str
    usage: Usage
    text: str | None = None


Outcome = Answer | Failure


@dataclass(frozen=True)
class BudgetSpent:
    """The budget stopped the run: a further request could have gone beyond it."""

    sentence: str


@dataclass(frozen=True)
class Batch:
    """What came of requests that were asked together.

    `outcomes` is in the order of the requests, whatever the order in which they were completed;
    where the budget stopped the run, requests that were not answered are missing from it.
    """

    outcomes: tuple[Outcome, ...]
    budget_spent: BudgetSpent | None

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The outcomes that are answers, in order."""
        return tuple(item for item in self.outcomes if isinstance(item, Answer))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The outcomes that are not answers, in order."""
        return tuple(item for item in self.outcomes if isinstance(item, Failure))
