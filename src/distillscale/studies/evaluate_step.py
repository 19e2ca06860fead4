"""The `evaluate` step: every metric of one checkpoint, in domain and on general knowledge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation import (
    PREDICTIONS,
    Measurement,
    benchmark_measurements,
    evaluate_in_domain,
    evaluate_knowledge,
    harness_benchmarks,
    hf_backend,
    kl_by_segment,
    measure_cost,
    task_inputs,
    vllm_backend,
    write_predictions,
)
from distillscale.evaluation.latency import BATCH_SIZE
from distillscale.lab.questions import BENCHMARKS as LAB_BENCHMARKS
from distillscale.models.size import ModelSize, model_size
from distillscale.studies.harness_recipe import benchmark_settings
from distillscale.studies.step_run import (
    StepRun,
    examples_of,
    load,
    task_of,
    traces_of,
    truncation_of,
    write_json,
)
from distillscale.tasks import Example, Question, Task
from distillscale.tasks.records import read_records, write_records
from distillscale.teachers.annotate import usable
from distillscale.teachers.logits import CachedTeacher


def evaluate_checkpoint(run: StepRun) -> Mapping[str, Any]:
    """`evaluate`: every metric of one checkpoint, in domain and on general knowledge."""
    in_domain, knowledge, others, size = _of_loaded_model(run)
    if _asks_vllm(run):  # the model is out of reach now, so that vLLM has the GPU to itself
        backend = vllm_backend(run.inputs["model"], dtype=run.params["dtype"])
        knowledge = _ask_harness(run, backend)
    write_records([*in_domain, *knowledge, *others], run.output / "measurements.parquet")
    write_json(run.output / "size.json", asdict(size))
    return {"params": size.params}


def _of_loaded_model(
    run: StepRun,
) -> tuple[Sequence[Measurement], list[Measurement], list[Measurement], ModelSize]:
    """All that needs the model in this process: in domain, knowledge, divergence and cost."""
    params, task = run.params, task_of(run)
    model, tokenizer = load(run, "model")
    examples = examples_of(run, "test")
    inputs = task_inputs(
        task,
        [example.text for example in examples],
        tokenizer,
        thinking=params["thinking"],
        max_new_tokens=params["max_new_tokens"],
    )
    in_domain = evaluate_in_domain(
        model,
        tokenizer,
        inputs.prompts,
        [example.label for example in examples],
        labels=inputs.labels,
        label_ids=inputs.label_ids,
        reasoning=inputs.reasoning,
        batch_size=params["batch_size"],
    )
    run.progress(0.5)
    knowledge = [] if _asks_vllm(run) else _knowledge(run, model, tokenizer)
    run.progress(0.8)
    others = _divergence(run, model)
    others += measure_cost(
        model,
        tokenizer,
        inputs,
        in_domain.predictions,
        label_only_prompts=_label_only_prompts(run, task, examples, tokenizer),
        folder=run.inputs["model"],
        singles=params["latency_examples"],
    )
    write_predictions(
        in_domain,
        run.output / PREDICTIONS,
        ids=[example.id for example in examples],
        texts=[example.text for example in examples],
        labels=inputs.labels,
        label_ids=inputs.label_ids,
    )
    return in_domain.measurements, knowledge, others, model_size(model)


def _label_only_prompts(
    run: StepRun, task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> Sequence[Sequence[int]]:
    """Of a model that reasons, prompts that ask for the label alone, for one batch."""
    if run.params["thinking"] == "none":
        return ()
    texts = [example.text for example in examples[:BATCH_SIZE]]
    return task_inputs(task, texts, tokenizer, thinking="none", max_new_tokens=1).prompts


def _knowledge(
    run: StepRun, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Measurement]:
    if _of_harness(run):
        batch_size = run.params["harness"]["batch_size"]
        return _ask_harness(run, hf_backend(model, tokenizer, batch_size=batch_size))
    questions = read_records(run.inputs["dataset"] / "questions.parquet", Question)
    wanted = run.params["benchmarks"]
    chosen = [question for question in questions if question.benchmark in wanted]
    if not chosen:
        return []
    return evaluate_knowledge(model, tokenizer, chosen, batch_size=run.params["batch_size"])


def _of_harness(run: StepRun) -> list[str]:
    """The benchmarks that the harness asks."""
    return [name for name in run.params["benchmarks"] if name not in LAB_BENCHMARKS]


def _asks_vllm(run: StepRun) -> bool:
    return bool(_of_harness(run)) and run.params["harness"]["backend"] == "vllm"


def _ask_harness(run: StepRun, backend: Any) -> list[Measurement]:
    """Measurements of the harness's benchmarks; `knowledge.json` has all that was found."""
    settings = benchmark_settings(run.params["harness"], run.sources)
    scores = harness_benchmarks(backend, _of_harness(run), settings)
    write_json(run.output / "knowledge.json", [score.as_json() for score in scores])
    return benchmark_measurements(scores)


def _divergence(run: StepRun, model: PreTrainedModel) -> list[Measurement]:
    """KL to the teacher on its held-out traces; those that could not be parsed have no segments.

    Nothing of a model that no teacher taught: its step has no traces.
    """
    if "traces" not in run.inputs:
        return []
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


def read_size(folder: Path) -> ModelSize:
    """The size that an `evaluate` artifact recorded."""
    return ModelSize(**json.loads((folder / "size.json").read_text()))
