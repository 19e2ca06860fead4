"""Keeps what requests cost within the budget, however many are under way at once."""

import asyncio

from distillscale.models.endpoint.exchange import BudgetSpent, ChatRequest, Usage
from distillscale.models.endpoint.settings import Budget

_TOKENS_A_MESSAGE = 32
"""Assumption: what a chat template adds around one message, at most."""


def worst_case(request: ChatRequest) -> Usage:
    """The most that one attempt at a request may take.

    A byte-level tokenizer makes no more tokens than a text has bytes, and the server stops the
    answer at `max_tokens`.
    """
    prompt = sum(
        len(message.content.encode("utf-8", "replace")) + _TOKENS_A_MESSAGE
        for message in request.messages
    )
    return Usage(
        requests=1, assumed_prompt_tokens=prompt, assumed_completion_tokens=request.max_tokens
    )


class Purse:
    """What has been spent, and what requests under way may still spend.

    Every attempt reserves its worst case and settles what it really took, so that the sum never
    goes beyond the budget as long as the server counts tokens as `worst_case` supposes.
    """

    def __init__(self, budget: Budget, spent: Usage) -> None:
        self.spent = spent
        self._budget = budget
        self._under_way: list[Usage] = []
        self._settled = asyncio.Event()

    def open(self) -> None:
        """Begin anew in the event loop that runs now."""
        self._under_way = []
        self._settled = asyncio.Event()

    async def reserve(self, worst: Usage) -> BudgetSpent | None:
        """Reserve for an attempt, once enough others are settled; says why where it can't be."""
        while sentence := self._beyond(worst):
            if not self._under_way:  # there is nothing that could give something back
                return BudgetSpent(sentence)
            self._settled.clear()
            await self._settled.wait()
        self._under_way.append(worst)
        return None

    def settle(self, worst: Usage, taken: Usage) -> None:
        """Replace a reservation by what was taken."""
        self._under_way.remove(worst)
        self.spent += taken
        self._settled.set()

    def _beyond(self, worst: Usage) -> str | None:
        """A sentence where an attempt of this size might go beyond the budget."""
        budget, all_in = self._budget, sum((*self._under_way, worst), self.spent)
        if budget.tokens is not None and all_in.tokens > budget.tokens:
            return (
                f"the budget of {budget.tokens:,} tokens is spent: {self.spent.tokens:,} were "
                f"used, and a further request may take up to {worst.tokens:,}."
            )
        cost = self._cost(all_in)
        if budget.money is not None and cost > budget.money:
            return (
                f"the budget of {budget.money:g} is spent: {self._cost(self.spent):.4g} was used, "
                f"and a further request may cost up to {self._cost(worst):.4g}."
            )
        return None

    def _cost(self, usage: Usage) -> float:
        return self._budget.cost(usage.prompt_ceiling, usage.completion_ceiling)
