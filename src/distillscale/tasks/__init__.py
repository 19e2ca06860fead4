"""What is to be learned: classes, prompts, answers, and the records that steps exchange."""

from distillscale.tasks.example import Example, Split
from distillscale.tasks.question import Question
from distillscale.tasks.task import (
    ClassDefinition,
    Task,
    builtin_tasks,
    load_task,
    task_from_labels,
)
from distillscale.tasks.trace import Trace

__all__ = [
    "ClassDefinition",
    "Example",
    "Question",
    "Split",
    "Task",
    "Trace",
    "builtin_tasks",
    "load_task",
    "task_from_labels",
]
