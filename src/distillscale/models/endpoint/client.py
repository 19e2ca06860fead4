"""Ask an endpoint many questions at once, and get the outcomes back in order."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from distillscale.errors import EndpointFailed
from distillscale.models.endpoint.backoff import Gate, backoff
from distillscale.models.endpoint.body import Dialect
from distillscale.models.endpoint.dead_letters import DeadLetters
from distillscale.models.endpoint.exchange import (
    Answer,
    Batch,
    BudgetSpent,
    ChatRequest,
    Failure,
    Outcome,
    Usage,
)
from distillscale.models.endpoint.json_answer import UnfitAnswer, read_json
from distillscale.models.endpoint.purse import Purse, worst_case
from distillscale.models.endpoint.reading import completion_of, log_probs_of, usage_of
from distillscale.models.endpoint.settings import Budget, EndpointSettings
from distillscale.models.endpoint.transport import Lost, Refused, Transport, open_pool

_NO_LIMIT, _NOTHING = Budget(), Usage()
_HOPELESS = (401, 402, 404, 405)
"""Statuses that every other request would get too: the key, the account, the address, the model."""
_FORBIDDEN = 403
_MAY_BE_A_FIELD = (400, 422, 501)
_LONGEST_PAUSE = 3600.0
_FRUITLESS = 16
"""Requests without an answer in a row after which the endpoint counts as gone."""


class Endpoint:
    """A client of one endpoint, with what it has spent so far.

    Args:
        budget: for all calls together, `spent` included.
        spent: the usage of an earlier run that this one goes on.
        dead_letters: a JSONL file to which every failure is appended (id, reason, sentence, text).
    """

    def __init__(
        self,
        settings: EndpointSettings,
        budget: Budget = _NO_LIMIT,
        *,
        spent: Usage = _NOTHING,
        dead_letters: Path | None = None,
    ) -> None:
        self.settings = settings
        self._purse = Purse(budget, spent)
        self._dialect = Dialect()
        self._dead_letters = DeadLetters(dead_letters) if dead_letters else None
        self._answered = 0
        self._fruitless = 0

    @property
    def usage(self) -> Usage:
        """What has been spent so far, `spent` included."""
        return self._purse.spent

    @property
    def left_out(self) -> dict[str, str]:
        """Fields that this server refused and that are no longer sent, with its sentences."""
        return dict(self._dialect.left_out)

    def complete(
        self,
        requests: Iterable[ChatRequest],
        on_outcome: Callable[[Outcome], None] = lambda _: None,
    ) -> Batch:
        """Ask all requests, `settings.concurrency` at a time, and wait for the outcomes.

        Args:
            requests: read lazily, so they may be many.
            on_outcome: called with each outcome as it comes, in the order of completion; for a
                journal or a progress bar.

        Raises:
            InputError: the API key's environment variable is not set.
            EndpointFailed: no request can succeed: the server refuses the key (401, 403), does not
                know the address or the model (404), or answered none of many requests. What was
                answered before has been given to `on_outcome`.
        """
        return asyncio.run(self.complete_async(requests, on_outcome))

    async def complete_async(
        self,
        requests: Iterable[ChatRequest],
        on_outcome: Callable[[Outcome], None] = lambda _: None,
    ) -> Batch:
        """The same for callers that run an event loop already; one call at a time."""
        self._purse.open()
        run = _Run(enumerate(requests), on_outcome)
        async with open_pool(self.settings) as pool:
            transport, gate = Transport(self.settings, pool), Gate()
            workers = [
                asyncio.create_task(self._work(run, transport, gate))
                for _ in range(self.settings.concurrency)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return Batch(tuple(run.outcomes[index] for index in sorted(run.outcomes)), run.budget_spent)

    async def _work(self, run: "_Run", transport: Transport, gate: Gate) -> None:
        for index, request in run.queue:  # one iterator, shared by all workers
            if run.budget_spent is not None:
                return
            outcome = await self._ask(request, transport, gate)
            if isinstance(outcome, BudgetSpent):
                run.budget_spent = outcome
                return
            if isinstance(outcome, Failure) and self._dead_letters is not None:
                self._dead_letters.append(outcome)
            run.outcomes[index] = outcome
            run.on_outcome(outcome)
            self._check_hope(outcome)

    async def _ask(
        self, request: ChatRequest, transport: Transport, gate: Gate
    ) -> Outcome | BudgetSpent:
        """One request, sent until it is answered or there is no point in sending it again."""
        taken, attempt = Usage(), 1
        without: frozenset[str] = frozenset()
        first_refusal: Refused | None = None
        while True:
            await gate.passed()
            body = self._dialect.body(
                request, self.settings.model, stream=self.settings.stream, without=without
            )
            result, charged = await self._attempt(body, worst_case(request), transport)
            taken += charged
            match result:
                case BudgetSpent():
                    return result
                case Refused():
                    if self._dialect.renames_limit(body, result.sentence):
                        continue
                    first_refusal = first_refusal or result
                    suspects = self._suspects(result, body)
                    if not suspects:
                        return self._refused(request, first_refusal, taken)
                    without |= suspects
                case Lost():
                    pause = result.retry_after or 0.0
                    if attempt == self.settings.attempts or pause > _LONGEST_PAUSE:
                        return _unreachable(request, result, attempt, taken)
                    longer = backoff(attempt, self.settings.first_wait_seconds, request.id)
                    await gate.pause(max(pause, longer), everyone=result.throttled)
                    attempt += 1
                case _:
                    sentence = first_refusal.sentence if first_refusal else ""
                    self._dialect.accepted(body, without, sentence)
                    return _outcome(request, result, taken)

    async def _attempt(
        self, body: dict[str, Any], worst: Usage, transport: Transport
    ) -> tuple[dict[str, Any] | Lost | Refused | BudgetSpent, Usage]:
        """Send a request once, within the budget: what came of it, and what it took."""
        if spent := await self._purse.reserve(worst):
            return spent, Usage()
        result: dict[str, Any] | Lost | Refused
        charged = worst  # also where the attempt is cancelled
        try:
            try:
                result = await transport.send(body)
                charged = usage_of(result) or worst
            except Refused as refused:
                result, charged = refused, Usage(requests=1)
            except Lost as lost:
                result, charged = lost, worst if lost.may_cost else Usage(requests=1)
        finally:
            self._purse.settle(worst, charged)
        return result, charged

    def _suspects(self, refusal: Refused, body: dict[str, Any]) -> frozenset[str]:
        if refusal.status not in _MAY_BE_A_FIELD:
            return frozenset()
        return self._dialect.suspects(body, refusal.sentence)

    def _refused(self, request: ChatRequest, refusal: Refused, taken: Usage) -> Failure:
        sentence = f"the server answered {refusal.status}: {refusal.sentence}"
        hopeless = refusal.status in _HOPELESS or refusal.status < 400
        if refusal.status == _FORBIDDEN and not self._answered:
            hopeless = True  # later on, it is a gateway that forbids one text
        if hopeless or refusal.code == "insufficient_quota":
            raise EndpointFailed(f"{self.settings.address}: {sentence}")
        return Failure(request.id, "refused", sentence, taken)

    def _check_hope(self, outcome: Outcome) -> None:
        """End a run that gets nothing but failures.

        Raises:
            EndpointFailed: many requests in a row were not answered.
        """
        if isinstance(outcome, Answer) or outcome.reason == "unparsed":
            self._answered += 1
            self._fruitless = 0
        elif outcome.reason == "unreachable" or not self._answered:
            self._fruitless += 1
            if self._fruitless >= max(_FRUITLESS, 2 * self.settings.concurrency):
                raise EndpointFailed(
                    f"{self.settings.address}: none of the last {self._fruitless} requests was "
                    f"answered; of the last one: {outcome.sentence}"
                )


class _Run:
    """What the workers of one call share."""

    def __init__(
        self, queue: Iterator[tuple[int, ChatRequest]], on_outcome: Callable[[Outcome], None]
    ) -> None:
        self.queue = queue
        self.on_outcome = on_outcome
        self.outcomes: dict[int, Outcome] = {}
        self.budget_spent: BudgetSpent | None = None


def _outcome(request: ChatRequest, document: dict[str, Any], taken: Usage) -> Outcome:
    text, reasoning, finish_reason = completion_of(document)
    value = None
    if request.schema is not None:
        try:
            value = read_json(text, request.schema)
        except UnfitAnswer as unfit:
            cut = ", cut off at the token budget" if finish_reason == "length" else ""
            return Failure(request.id, "unparsed", f"{unfit}{cut}", taken, text)
    tokens = log_probs_of(document)
    return Answer(request.id, text, reasoning, value, finish_reason, taken, tokens)


def _unreachable(request: ChatRequest, lost: Lost, attempt: int, taken: Usage) -> Failure:
    times = "once" if attempt == 1 else f"{attempt} times"
    return Failure(request.id, "unreachable", f"asked {times}: {lost.sentence}", taken)
