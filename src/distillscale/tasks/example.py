"""One input of a task, with its gold label."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Example:
    """One labelled input.

    `category` is the category of `label` in the task; `source` says where the row came from
    (`lab`, or a file's name).
    """

    id: str
    text: str
    label: str
    category: str
    split: Split
    source: str
