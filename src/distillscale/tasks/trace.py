"""A teacher's text for one example, with its token segments marked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trace:
    """What the teacher wrote after a prompt.

    `completion_ids` ends with the end-of-sequence token where the teacher produced one. Tokens
    `[0, answer_start)` are the reasoning segment R (empty without thinking; the marker that closes
    the reasoning belongs to it), tokens `[answer_start, end)` the answer segment A. `label` is the
    class that the completion was parsed to, or None where it could not be parsed; then
    `answer_start` equals `len(completion_ids)`. A student's rollout is not parsed: its label is
    None, but its segments are marked all the same.
    """

    example_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    answer_start: int
    completion: str
    label: str | None
    gold: str

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Prompt and completion end to end, as a model reads them."""
        return self.prompt_ids + self.completion_ids

    @property
    def predicting(self) -> slice:
        """The positions in `token_ids` that predict the completion's tokens: one before each."""
        return slice(len(self.prompt_ids) - 1, len(self.token_ids) - 1)

    @property
    def parsed(self) -> bool:
        """Whether an answer could be read from the completion."""
        return self.label is not None

    @property
    def agrees(self) -> bool:
        """Whether the parsed answer is the gold label."""
        return self.label == self.gold
