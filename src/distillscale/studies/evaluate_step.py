"""The `evaluate` step: every metric of one checkpoint, in domain and on general knowledge."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation import (
    Measurement,
    Reasoning,
    evaluate_in_domain,
    evaluate_knowledge,
    harness_benchmarks,
    kl_by_segment,
    measure_latency,
)
from distillscale.lab.questions import BENCHMARKS as LAB_BENCHMARKS
from distillscale.models.size import ModelSize, model_size
from distillscale.studies.step_run import (
    StepRun,
    examples_of,
    load,
    task_of,
    traces_of,
    truncation_of,
    write_json,
)
from distillscale.tasks import Question, Task
from distillscale.tasks.prompt import (
    answer_format,
    encode_labels,
    encode_marker,
    encode_prompt,
    parse_completion,
)
from distillscale.tasks.records import read_records, write_records
from distillscale.teachers.annotate import usable
from distillscale.teachers.logits import CachedTeacher


def evaluate_checkpoint(run: StepRun) -> Mapping[str, Any]:
    """`evaluate`: every metric of one checkpoint, in domain and on general knowledge."""
    params, task = run.params, task_of(run)
    model, tokenizer = load(run, "model")
    examples = examples_of(run, "test")
    prompts = [encode_prompt(task, e.text, params["thinking"], tokenizer) for e in examples]
    reasoning = _reasoning(run, task, tokenizer)
    label_ids = encode_labels(task, tokenizer)
    in_domain = evaluate_in_domain(
        model,
        tokenizer,
        prompts,
        [example.label for example in examples],
        labels=task.labels,
        label_ids=label_ids,
        reasoning=reasoning,
        batch_size=params["batch_size"],
    )
    run.progress(0.5)
    measurements = [*in_domain.measurements, *_knowledge(run, model, tokenizer)]
    run.progress(0.8)
    measurements += _divergence(run, model)
    measurements += measure_latency(
        model,
        tokenizer,
        prompts[: params["latency_examples"]],
        label_ids,
        reasoning=reasoning,
        batch_size=params["batch_size"],
    )
    write_records(measurements, run.output / "measurements.parquet")
    write_json(run.output / "predictions.json", [asdict(item) for item in in_domain.predictions])
    size = model_size(model)
    write_json(run.output / "size.json", asdict(size))
    return {"params": size.params}


def _knowledge(
    run: StepRun, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Measurement]:
    wanted = run.params["benchmarks"]
    on_hub = [name for name in wanted if name not in LAB_BENCHMARKS]
    if on_hub:
        return harness_benchmarks(run.inputs["model"], on_hub)
    questions = read_records(run.inputs["dataset"] / "questions.parquet", Question)
    chosen = [question for question in questions if question.benchmark in wanted]
    if not chosen:
        return []
    return evaluate_knowledge(model, tokenizer, chosen, batch_size=run.params["batch_size"])


def _divergence(run: StepRun, model: PreTrainedModel) -> list[Measurement]:
    """KL to the teacher on its held-out traces; those that could not be parsed have no segments."""
    traces = traces_of(run)
    rows = usable(traces, "all")
    if not rows:
        return []
    cached = CachedTeacher(run.inputs["teacher_logits"], model.device, temperature=1.0)
    return kl_by_segment(
        model,
        [traces[row] for row in rows],
        cached.select(rows),
        truncation=truncation_of(run),
    )


def _reasoning(run: StepRun, task: Task, tokenizer: PreTrainedTokenizerBase) -> Reasoning | None:
    thinking = run.params["thinking"]
    if thinking == "none":
        return None
    style = answer_format(tokenizer)
    return Reasoning(
        max_new_tokens=run.params["max_new_tokens"],
        marker_ids=encode_marker(tokenizer),
        parse=lambda text: parse_completion(text, task, thinking, style),
    )


def read_size(folder: Path) -> ModelSize:
    """The size that an `evaluate` artifact recorded."""
    return ModelSize(**json.loads((folder / "size.json").read_text()))
