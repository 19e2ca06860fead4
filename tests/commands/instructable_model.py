"""A fake model behind real HTTP, whose accuracy hangs on a phrase in its instruction.

It knows the gold label of every text. With the phrase it names it; without, it names it for half
of the texts and the task's first class for the others. Asked for an instruction in DSPy's format
it proposes the phrase from its `good_from`-th proposal on.
"""

import re
from collections.abc import Mapping
from typing import Any

from fault_proxy import Fault
from replies import asked, ok

PHRASE = "name what happened, not who it happened to"
PROPOSER = "instruction optimizer"


class InstructableModel:
    def __init__(self, gold: Mapping[str, str], fallback: str, good_from: int = 1) -> None:
        self.proposals = 0
        self.calls = 0
        self._gold = gold
        self._fallback = fallback
        self._good_from = good_from
        self._known = set(sorted(gold)[::2])

    def __call__(self, body: dict[str, Any], attempt: int) -> Fault:
        """The proxy's script: it answers in the place of a server."""
        self.calls += 1
        system = body["messages"][0]["content"]
        if PROPOSER in system:
            return ok(self._proposal(), usage=_usage(body, 30))
        text = re.sub(r"^\w+: ", "", asked(body))
        knows = PHRASE in system or text in self._known
        return ok(self._gold[text] if knows else self._fallback, usage=_usage(body, 3))

    def _proposal(self) -> str:
        self.proposals += 1
        said = PHRASE if self.proposals >= self._good_from else "think twice"
        return (
            "[[ ## proposed_instruction ## ]]\n"
            f"Proposal {self.proposals}: {said}.\n\n"
            "[[ ## proposed_prefix_for_output_field ## ]]\nLabel:\n\n[[ ## completed ## ]]"
        )


def _usage(body: dict[str, Any], completion: int) -> dict[str, int]:
    words = sum(len(message["content"].split()) for message in body["messages"])
    return {"prompt_tokens": words, "completion_tokens": completion}
