"""The model card of a deployed student."""

import re
import shlex

import pandas as pd

from distillscale.results import configuration_name
from distillscale.studies.grid import Cell
from distillscale.tasks import Task

METRICS = ("macro_f1", "weighted_f1", "accuracy", "gold_nll", "ms_per_example")

_CARD = """---
library_name: transformers
tags: [distillscale, pruning, distillation]
---
# {task}, {prune_ratio:.0%} kept

A student pruned from {teacher} to {prune_ratio:.1%} of its non-embedding parameters
({params:,} of {teacher_params:,}) in {stages} stages and distilled after each one
(method `{method}`, supervision `{supervision}`, {dataset_size:,} training examples).

It sorts a text into one of {classes} classes: {labels}.

## Measured on {examples:,} test examples

{table}

`pruned only` is the control: the same cuts without distillation. Timings are of the machine that
made this folder, while it was busy.

## How to load

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({folder!r})
tokenizer = AutoTokenizer.from_pretrained({folder!r})
```

The model continues this prompt, here for the text `some text`:

{prompt}

With distillscale installed, this prints the most likely class and its probability:

    distillscale classify {shell_folder} "some text"
"""


def model_card(
    teacher: str, cell: Cell, task: Task, results: pd.DataFrame, *, folder: str, prompt: str
) -> str:
    """Markdown: what was kept, metrics before and after, how to load.

    Text of the user (labels, names, prompt) stands as code, so that none of it acts as markup.

    Args:
        folder: name of the deployed folder.
        prompt: what the model reads for the text `some text`.
    """
    own = results[results["cell"] == cell.cell]
    last, first = own[own["stage"] == own["stage"].max()], own[own["stage"] == 0]
    return _CARD.format(
        task=_code(task.name),
        teacher=_code(teacher),
        folder=folder,
        shell_folder=shlex.quote(folder),
        prune_ratio=last["prune_ratio"].iloc[0],
        params=int(last["params"].iloc[0]),
        teacher_params=int(first["params"].iloc[0]),
        stages=cell.stages,
        method=cell.method,
        supervision=cell.supervision,
        dataset_size=cell.dataset_size,
        classes=len(task.labels),
        labels=", ".join(map(_code, task.labels)),
        examples=int(own.loc[own["metric"] == "macro_f1", "examples"].max()),
        table=_table(results, cell),
        prompt="\n".join("    " + line for line in prompt.splitlines()),
    )


def _code(text: str) -> str:
    """Any text as an inline code span of Markdown: its fence is longer than those inside."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _table(results: pd.DataFrame, cell: Cell) -> str:
    final = results["stage"] == results["stage"].max()
    columns = {
        "teacher": results[(results["cell"] == cell.cell) & (results["stage"] == 0)],
        "pruned only": results[(results["method"] == "none") & final],
        configuration_name(cell.supervision, cell.method): results[
            (results["cell"] == cell.cell) & final
        ],
    }
    lines = [f"| metric | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for metric in METRICS:
        values = [rows.loc[rows["metric"] == metric, "value"] for rows in columns.values()]
        cells = [f"{value.iloc[0]:.4g}" if len(value) else "not measured" for value in values]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines)
