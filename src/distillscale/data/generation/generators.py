"""Who writes drafts: the lab's grammar, or a chat model behind an endpoint."""

import random
from collections.abc import Iterator
from pathlib import Path

from distillscale.data.generation.filters import FilterRules
from distillscale.data.generation.journal import Journal, spent_in
from distillscale.data.generation.prompts import TEXTS_A_REQUEST, draft_messages, draft_schema
from distillscale.data.generation.records import Draft, DraftRequest, Drafts
from distillscale.errors import InputError
from distillscale.lab.drafts import lab_drafts
from distillscale.lab.grammar import load_grammar
from distillscale.lab.world import World
from distillscale.models.endpoint import Budget, ChatRequest, Endpoint, EndpointSettings, Usage
from distillscale.tasks import Task

_MAX_TOKENS = 2000
"""Of an answer of ten texts, with room for a little reasoning."""
_TEMPERATURE = 1.0


class LabGenerator:
    """The lab's grammar, as a writer that repeats itself; it pays no heed to few-shot examples."""

    source = "lab"

    def __init__(self, task: Task, world: World) -> None:
        """Prepare the grammar.

        Raises:
            InputError: the lab has none for the task, or one with other classes.
        """
        known = {event.label for event in load_grammar(task.name).events}
        if known != set(task.labels):
            raise InputError(
                f"task {task.name}: it has other classes than the lab's task of this name; give it "
                "another name and use an endpoint."
            )
        self._task = task
        self._world = world

    def draft(self, request: DraftRequest) -> Drafts:
        """Write drafts."""
        pairs = lab_drafts(
            self._task.name,
            self._world,
            request.weights,
            count=request.count,
            seed=request.seed,
            stream=str(request.iteration),
        )
        return Drafts(tuple(Draft(text, label) for text, label in pairs))


class EndpointGenerator:
    """A chat model that writes ten texts of one class a request, as a JSON list.

    Answers go to a journal as they come, so that a killed run does not pay for them again.
    """

    def __init__(
        self,
        task: Task,
        rules: FilterRules,
        settings: EndpointSettings,
        budget: Budget,
        folder: Path,
        *,
        spent: Usage,
        iteration: int,
    ) -> None:
        """Prepare the client.

        Args:
            folder: of the run: dead letters go to `dead_letters.jsonl` there.
            spent: by the iterations that are complete.
            iteration: the one that comes next; what its journal holds is counted as spent too.
        """
        self._task = task
        self._rules = rules
        self.source = settings.model
        self._journals = folder / "checkpoint" / "journal"
        spent += spent_in(self._journal_path(iteration))
        self._endpoint = Endpoint(
            settings, budget, spent=spent, dead_letters=folder / "dead_letters.jsonl"
        )

    def draft(self, request: DraftRequest) -> Drafts:
        """Ask for drafts; those of a spent budget are missing.

        Raises:
            EndpointFailed: no request can succeed.
        """
        asked = dict(self._requests(request))
        path = self._journal_path(request.iteration)
        for old in self._journals.glob("*.jsonl"):
            if old != path:
                old.unlink()
        with Journal(path) as journal:
            missing = [own for own in asked if own.id not in journal.texts]
            batch = self._endpoint.complete(missing, journal.append)
            drafts = [
                Draft(text, label)
                for own, label in asked.items()
                for text in journal.texts.get(own.id, ())
            ]
        return Drafts(
            drafts=tuple(drafts),
            dead_letters=len(batch.failures),
            stopped=batch.budget_spent.sentence if batch.budget_spent else None,
            usage=self._endpoint.usage,
        )

    def _requests(self, request: DraftRequest) -> Iterator[tuple[ChatRequest, str]]:
        """The chat requests of an iteration, each with the class that it asks for."""
        rng = random.Random(f"drafts {self._task.name} {request.seed} {request.iteration}")
        labels, weights = list(request.weights), list(request.weights.values())
        left = request.count
        while left > 0:
            count = min(left, TEXTS_A_REQUEST)
            left -= count
            label = rng.choices(labels, weights)[0]
            examples = request.few_shot.get(self._task.category_of(label), ())
            own = ChatRequest(
                id=f"{request.iteration:05d}-{left:07d}",
                messages=draft_messages(self._task, label, count, self._rules, examples),
                max_tokens=_MAX_TOKENS,
                temperature=_TEMPERATURE,
                seed=rng.randrange(2**31),
                schema=draft_schema(count),
            )
            yield own, label

    def _journal_path(self, iteration: int) -> Path:
        return self._journals / f"{iteration:05d}.jsonl"
