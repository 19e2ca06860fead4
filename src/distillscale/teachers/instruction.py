"""Find a better instruction for a teacher behind an endpoint, within a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from distillscale.errors import DistillscaleError, EndpointFailed
from distillscale.models.endpoint import Budget, ChatRequest, Endpoint, Failure, Message
from distillscale.models.endpoint.purse import worst_case
from distillscale.tasks import Task
from distillscale.tasks.prompt import class_list, instruction
from distillscale.teachers.endpoint import AskedText, Asking, read_vote, vote_request
from distillscale.teachers.instruction_search import search_instructions

_PROPOSAL_TOKENS = 2048
"""Token budget of a proposal, which may list all classes."""

Labels = tuple[str | None, ...]


class BudgetEnded(DistillscaleError):
    """The budget does not last for the next step."""


@dataclass(frozen=True)
class Trial:
    """An instruction and its score on the part that is optimised on, from 0 to 1."""

    instruction: str
    score: float


@dataclass(frozen=True)
class Search:
    """What a search tried, in order.

    Attributes:
        current: the instruction that the search began with; among the trials, unless the budget
            ended the search before.
        unreadable: proposals that could not be read.
        stopped: why the budget ended the search; None where it came to its end.
    """

    current: str
    trials: tuple[Trial, ...]
    unreadable: int
    stopped: str | None

    @property
    def best(self) -> Trial:
        """The trial with the highest score; of equals the current one, else the earliest."""
        return max(self.trials, key=lambda one: (one.score, one.instruction == self.current))


@dataclass(frozen=True)
class Reserve:
    """What is held back of the budget, so that the best instruction can be measured at the end.

    Attributes:
        texts: how many are going to be asked again.
        tokens_a_text: what a text took with the current instruction.
    """

    texts: int
    tokens_a_text: float


def ask_labels(
    endpoint: Endpoint, task: Task, texts: Sequence[AskedText], asking: Asking
) -> Labels:
    """The class that the teacher names for each text; None where it names none.

    Raises:
        BudgetEnded: the budget did not last.
        EndpointFailed: a request had no answer after all retries.
    """
    requests = (vote_request(item, 0, task, asking) for item in texts)
    batch = endpoint.complete(requests)
    if batch.budget_spent is not None:
        raise BudgetEnded(batch.budget_spent.sentence)
    votes = [read_vote(outcome, task, asking.thinking) for outcome in batch.outcomes]
    lost = [item for item in batch.failures if item.reason == "unreachable"]
    if lost:
        raise EndpointFailed(
            f"{len(lost)} of {len(texts)} texts had no answer after all retries; the first: "
            f"{lost[0].sentence}"
        )
    return tuple(vote.label if vote else None for vote in votes)


def with_instruction(task: Task, proposal: str) -> Task:
    """The task with a proposed instruction, and its list of classes where that lacks a name."""
    text = proposal.strip()
    if text == instruction(task).strip():
        return task
    if not all(label in text for label in task.labels):
        text = f"{text}\n{class_list(task)}"
    return replace(task, instruction=text)


def find_instruction(
    endpoint: Endpoint,
    budget: Budget,
    task: Task,
    texts: Sequence[AskedText],
    asking: Asking,
    score: Callable[[Labels], float],
    *,
    proposals: int,
    rounds: int,
    reserve: Reserve,
    note: Callable[[Trial], None] = lambda _: None,
) -> Search:
    """Let the teacher propose instructions for itself, and score each on the texts.

    Args:
        budget: that of the endpoint; its tokens bound the search, less the reserve.
        score: of the labels that the teacher gave, from 0 to 1.
        proposals: instructions a round; `rounds` of them.
        note: told of each trial as it is scored.

    Raises:
        InputError: DSPy is not installed.
        EndpointFailed: a text had no answer after all retries.
    """
    session = _Session(endpoint, budget, task, texts, asking, score, reserve, note)
    stopped = None
    try:
        search_instructions(
            instruction(task), session.score, session.write, proposals=proposals, rounds=rounds
        )
    except BudgetEnded as ended:
        stopped = str(ended)
    trials = tuple(Trial(text, value) for text, value in session.scores.items())
    return Search(instruction(task), trials, session.unreadable, stopped)


class _Session:
    """The two callbacks of a search, and what they have seen."""

    def __init__(
        self,
        endpoint: Endpoint,
        budget: Budget,
        task: Task,
        texts: Sequence[AskedText],
        asking: Asking,
        score: Callable[[Labels], float],
        reserve: Reserve,
        note: Callable[[Trial], None],
    ) -> None:
        self.scores: dict[str, float] = {}
        self.unreadable = self._written = 0
        self._endpoint, self._budget, self._task = endpoint, budget, task
        self._texts, self._asking, self._score = texts, asking, score
        self._reserve, self._note = reserve, note

    def score(self, proposal: str | None) -> float:
        """Score an instruction; the same one is not asked twice."""
        if proposal is None:
            self.unreadable += 1
            return 0.0
        task = with_instruction(self._task, proposal)
        text = instruction(task)
        if text not in self.scores:
            first = vote_request(self._texts[0], 0, task, self._asking)
            self._check_room(len(self._texts) * self._tokens(text) + worst_case(first).tokens, text)
            labels = ask_labels(self._endpoint, task, self._texts, self._asking)
            self.scores[text] = self._score(labels)
            self._note(Trial(text, self.scores[text]))
        return self.scores[text]

    def write(self, system: str, user: str, temperature: float) -> str:
        """What the teacher answers when it is asked for a proposal; empty where it refuses."""
        request = ChatRequest(
            id=f"proposal-{self._written}",
            messages=tuple(
                message
                for message in (Message("system", system), Message("user", user))
                if message.content
            ),
            max_tokens=_PROPOSAL_TOKENS,
            temperature=temperature,
            seed=self._asking.seed + self._written,
            thinking=False,
        )
        self._written += 1
        self._check_room(worst_case(request).tokens, "")
        batch = self._endpoint.complete([request])
        if batch.budget_spent is not None:
            raise BudgetEnded(batch.budget_spent.sentence)
        outcome = batch.outcomes[0]
        return "" if isinstance(outcome, Failure) else outcome.text

    def _check_room(self, tokens: float, candidate: str) -> None:
        """End the search where `tokens` more would eat up what the last measurement needs."""
        if self._budget.tokens is None:
            return
        longest = max((*self.scores, candidate), key=self._tokens)
        held = self._reserve.texts * self._tokens(longest)
        left = self._budget.tokens - self._endpoint.usage.tokens
        if tokens + held > left:
            raise BudgetEnded(
                f"of the budget of {self._budget.tokens:,} tokens {left:,} are left, of which "
                f"about {held:,.0f} are held back to measure the best instruction; the next step "
                f"may take up to {tokens:,.0f}."
            )

    def _tokens(self, text: str) -> float:
        """About what a text takes with an instruction; a byte more is at most a token more."""
        more = len(text.encode()) - len(instruction(self._task).encode())
        return self._reserve.tokens_a_text + max(0, more)
