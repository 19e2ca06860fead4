"""The model card of a deployed student: Markdown with metadata that the hub reads."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from distillscale.commands.model_facts import LEVEL, METRICS, ModelFacts
from distillscale.serving.vllm import VERSION, Finding
from distillscale.tasks import Task

_INDEXED = {
    "macro_f1": ("f1", "macro F1", {"average": "macro"}),
    "weighted_f1": ("f1", "weighted F1", {"average": "weighted"}),
    "accuracy": ("accuracy", "accuracy", None),
    "gold_nll": ("nll", "NLL of the gold label, nats", None),
}
"""Metrics of the model index: type, name and arguments there. Timings are of one machine only."""

_CARD = """---
{metadata}
---
# {task}, {prune_ratio:.0%} kept

A student pruned from {teacher} to {prune_ratio:.1%} of its non-embedding parameters
({params:,} of {teacher_params:,}) in {stages} stages and distilled after each one
(method `{method}`, supervision `{supervision}`, {dataset_size:,} training examples).

It sorts a text into one of {classes} classes: {labels}.

## Measured on {examples:,} test examples

{table}

`pruned only` is the control: the same cuts without distillation. {intervals}Timings are of the
machine that made this folder, while it was busy.
{place}
## Data

{data}

## How to load

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({folder!r})
tokenizer = AutoTokenizer.from_pretrained({folder!r})
```

The model continues this prompt, here for the text `some text`:

{prompt}

With distillscale installed, these print the most likely class and its probability, and serve it:

    distillscale classify {shell_folder} "some text"
    distillscale serve {shell_folder}

vLLM {vllm_version}, by its sources, not run: {vllm}
"""

_PLACE = """
## Place among the laws

What the laws of this configuration predict for a model of this size, and what was measured here:

{table}

`beyond` marks sizes outside those that a law was fitted on: nothing vouches for its value there.
"""


@dataclass(frozen=True)
class LawPlace:
    """One law asked at one model.

    Attributes:
        law: `size` or `data`.
        metric: what it predicts.
        x: its input, `at` its value for this model.
        predicted: by the law, `low` to `high` at `level` where there is an interval.
        inside: False beyond the sizes that the law was fitted on.
        measured: on the model's own test texts; None where it was not.
        fitted_on: what the law's models have in common.
    """

    law: str
    metric: str
    x: str
    at: float
    predicted: float
    low: float | None
    high: float | None
    level: float
    inside: bool
    measured: float | None
    fitted_on: str


def model_card(
    facts: ModelFacts,
    task: Task,
    *,
    folder: str,
    prompt: str,
    vllm: Sequence[Finding],
    places: Sequence[LawPlace] = (),
) -> str:
    """The card: what was kept, metrics before and after, the laws' place, data, how to load.

    Text of the user (labels, names, prompt) stands as code, so that none of it acts as markup.

    Args:
        facts: of the model.
        task: what it decides.
        folder: name of the deployed folder, or of the repository on the hub.
        prompt: what the model reads for the text `some text`.
        vllm: what `check_config` found.
        places: where the model stands among fitted laws.
    """
    return _CARD.format(
        metadata=_metadata(facts, task),
        task=_code(task.name),
        teacher=_code(facts.teacher),
        folder=folder,
        shell_folder=shlex.quote(folder),
        prune_ratio=facts.prune_ratio,
        params=facts.params,
        teacher_params=facts.teacher_params,
        stages=facts.stages,
        method=facts.method,
        supervision=facts.supervision,
        dataset_size=facts.data.train,
        classes=len(task.labels),
        labels=", ".join(map(_code, task.labels)),
        examples=facts.data.test,
        table=_metrics(facts),
        intervals=(
            f"The last column is a {LEVEL:.0%} interval over test examples. "
            if facts.intervals
            else ""
        ),
        place=_PLACE.format(table=_places(places)) if places else "",
        data=_data(facts),
        prompt="\n".join("    " + line for line in prompt.splitlines()),
        vllm_version=VERSION,
        vllm=" ".join(f"{finding}" for finding in vllm) or "nothing stands in its way.",
    )


def _metadata(facts: ModelFacts, task: Task) -> str:
    """YAML in the hub's model-index format."""
    slug = re.sub(r"[^a-z0-9]+", "-", task.name.lower()).strip("-") or "task"
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=slug,
            dataset_name=facts.data.source,
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=value,
            metric_args=arguments,
        )
        for metric, (kind, name, arguments) in _INDEXED.items()
        if (value := facts.measured(metric)) is not None
    ]
    data = ModelCardData(
        base_model=facts.base_model,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["distillscale", "pruning", "distillation", "text-classification"],
        model_name=f"{slug}-{facts.configuration.replace(' ', '-')}",
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _code(text: str) -> str:
    """Any text as an inline code span of Markdown: its fence is longer than those inside."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _metrics(facts: ModelFacts) -> str:
    header = ("metric", *facts.columns, *(("interval",) if facts.intervals else ()))
    rows = []
    for metric in METRICS:
        cells = [_number(values.get(metric)) for values in facts.columns.values()]
        if facts.intervals:
            ends = facts.intervals.get(metric)
            cells.append(f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "")
        rows.append((metric, *cells))
    return _table(header, rows)


def _places(places: Sequence[LawPlace]) -> str:
    rows = [
        (
            f"{place.law} law, {place.fitted_on}",
            place.metric,
            f"{place.x} = {place.at:,.0f}",
            f"{place.predicted:.4g}{'' if place.inside else ' (beyond)'}",
            ""
            if place.low is None or place.high is None
            else f"{place.low:.4g} to {place.high:.4g} ({place.level:.0%})",
            _number(place.measured),
        )
        for place in places
    ]
    return _table(("law, fitted on", "metric", "at", "predicted", "interval", "measured"), rows)


def _data(facts: ModelFacts) -> str:
    data = facts.data
    counts = sorted(data.classes.items(), key=lambda item: (-item[1], item[0]))
    rows = [(_code(label).replace("|", "\\|"), f"{count:,}") for label, count in counts]
    return (
        f"{_code(data.source)}: {data.train:,} training, {data.validation:,} validation and "
        f"{data.test:,} test examples; no test text has a near-duplicate among the others. Licence "
        "of data and teacher: not stated here; ask their sources before you share this model.\n\n"
        + _table(("label", "training examples"), rows)
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines).replace("| --- ", "|---")
