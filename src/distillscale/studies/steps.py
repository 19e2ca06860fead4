"""What each kind of step computes: from parameters and input artifacts to one output artifact.

This is the one module that joins the pipeline's parts. Every function reads nothing but what its
`StepRun` holds, so the same step gives the same artifact anywhere.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.distillation import (
    DistillationSettings,
    LayerMap,
    TrainingSettings,
    correct,
    distill,
)
from distillscale.errors import InputError
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
from distillscale.models.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    save_checkpoint,
)
from distillscale.models.size import ModelSize, model_size
from distillscale.models.top_log_probs import Truncation
from distillscale.pruning import (
    Origin,
    PruningPlan,
    apply_plan,
    choose_plan,
    measure_importance,
    params_of,
    plan_candidates,
    shape_of,
)
from distillscale.studies.dataset import write_dataset
from distillscale.studies.sources import Sources, copy_checkpoint
from distillscale.studies.store import WORK_FOLDER
from distillscale.tasks import Example, Question, Task, Trace
from distillscale.tasks.prompt import (
    answer_format,
    encode_labels,
    encode_marker,
    encode_prompt,
    gold_trace,
    parse_completion,
)
from distillscale.tasks.records import read_records, write_records
from distillscale.tasks.task import task_from_dict
from distillscale.teachers.annotate import (
    annotate,
    annotation_report,
    usable,
    with_gold_answer,
)
from distillscale.teachers.logits import CachedTeacher, cache_teacher
from distillscale.teachers.online import OnlineTeacher

_ORIGIN = "origin.json"
"""Which of the teacher's layers and channels a student consists of; handed on through a chain."""
_CRITERIA = ("layer_criterion", "channel_criterion", "seed")
_CHECKPOINT_STEPS = 250
"""A killed training resumes from here; it changes no result, so it is no part of an identity."""


@dataclass(frozen=True)
class StepRun:
    """All that a step may read, and the folder that it fills.

    `sources` tells where external inputs lie on this machine; they are named by digest in
    `params`, so a path is never part of an identity.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Path]
    output: Path
    progress: Callable[[float], None]
    sources: Sources


def run_step(
    kind: str,
    params: Mapping[str, Any],
    inputs: Mapping[str, Path],
    output: Path,
    progress: Callable[[float], None],
    *,
    sources: Sources,
) -> Mapping[str, Any]:
    """Compute one step; what it returns is kept in its manifest."""
    return STEPS[kind](StepRun(params, inputs, output, progress, sources))


def make_teacher(run: StepRun) -> Mapping[str, Any]:
    """`teacher`: the checkpoint of the full model, linked or copied into the store."""
    copy_checkpoint(run.sources, run.params, run.output)
    return {}


def make_dataset(run: StepRun) -> Mapping[str, Any]:
    """`dataset`: task, examples of the three splits, and questions where the lab has them."""
    return write_dataset(run.params, run.sources, run.output)


def correct_teacher(run: StepRun) -> Mapping[str, Any]:
    """`correct`: the teacher after a light fine-tuning on the task's gold labels."""
    task, examples = _task(run), _examples(run, "train")
    model, tokenizer = _load(run, "teacher", dtype=torch.float32)
    traces = [gold_trace(e.id, e.text, e.label, task, tokenizer) for e in examples]
    done = correct(
        model,
        traces,
        TrainingSettings(**run.params["training"], checkpoint_steps=_CHECKPOINT_STEPS),
        pad_id=tokenizer.pad_token_id,
        work_dir=run.output / WORK_FOLDER,
        progress=run.progress,
    )
    save_checkpoint(done.model, tokenizer, run.output)
    _write_json(run.output / "log.json", asdict(done.log))
    return {"last_loss": done.log.last_loss}


def write_traces(run: StepRun) -> Mapping[str, Any]:
    """`traces`: the teacher's text for the examples of one split, at one depth of thinking."""
    params, task = run.params, _task(run)
    model, tokenizer = _load(run, "teacher")
    budget = params["max_new_tokens"]
    if params["thinking"] == "none":  # every answer must fit
        budget = max(budget, *map(len, encode_labels(task, tokenizer)))
    traces = annotate(
        model,
        tokenizer,
        task,
        _examples(run, params["split"])[: params["examples"]],
        thinking=params["thinking"],
        max_new_tokens=budget,
        temperature=params["temperature"],
        seed=params["seed"],
        batch_size=params["batch_size"],
        progress=run.progress,
    )
    report = annotation_report(traces)  # on what the teacher itself wrote
    if params.get("gold_answers"):
        traces = [with_gold_answer(t, task, params["thinking"], tokenizer) for t in traces]
    write_records(traces, run.output / "traces.parquet")
    summary = asdict(report) | {"agreement": report.agreement, "unparsed": report.unparsed}
    _write_json(run.output / "report.json", summary)
    return summary


def cache_logits(run: StepRun) -> Mapping[str, Any]:
    """`teacher_logits`: the teacher's distribution at every supervised position of its traces."""
    model, tokenizer = _load(run, "teacher")
    done = cache_teacher(
        model,
        _traces(run),
        run.output,
        pad_id=tokenizer.pad_token_id,
        truncation=_truncation(run),
        progress=run.progress,
    )
    return asdict(done)


def prune_model(run: StepRun) -> Mapping[str, Any]:
    """`prune`: a smaller checkpoint, cut by importance on the teacher's traces."""
    params = run.params
    model, tokenizer = _load(run, "model")
    traces = _traces(run)[: params["calibration_examples"]]
    sequences = [trace.token_ids for trace in traces]
    criteria = {name: params[name] for name in _CRITERIA if name in params}
    axes = tuple(params["axes"])
    pad_id = tokenizer.pad_token_id
    importance = measure_importance(model, sequences, pad_id, 32, axes=axes, **criteria)
    config = load_config(run.inputs["teacher"])
    original = shape_of(config)
    teacher_params = params_of(config, original)
    plans = plan_candidates(
        model.config,
        importance,
        target_params=round(params["prune_ratio"] * teacher_params),
        axes=axes,
        multiple=params["multiple"],
        original=original,
        count=params["candidates"],
    )
    teacher = model
    if len(plans) > 1 and run.inputs["model"] != run.inputs["teacher"]:
        teacher = _load(run, "teacher")[0]
    choice = choose_plan(model, plans, sequences, teacher=teacher, pad_id=pad_id, batch_size=32)
    plan = choice.plan
    save_checkpoint(apply_plan(model, plan), tokenizer, run.output)
    (run.output / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    (run.output / _ORIGIN).write_text(_origin(run, plan).to_json(), encoding="utf-8")
    return {
        "prune_ratio": plan.params_after / teacher_params,
        "layer_scores": importance.layers,
        "divergences": choice.divergences,
    }


def _origin(run: StepRun, plan: PruningPlan) -> Origin:
    """Where the pruned model's structure comes from in the teacher, through all stages."""
    if run.inputs["model"] == run.inputs["teacher"]:  # a teacher may be a pruned model itself
        return Origin.of(plan)
    return Origin.from_json((run.inputs["model"] / _ORIGIN).read_text(encoding="utf-8")).after(plan)


def distill_student(run: StepRun) -> Mapping[str, Any]:
    """`distill`: a student trained on the teacher's traces, and the log of its training."""
    params = run.params
    model, tokenizer = _load(run, "student", dtype=torch.float32)
    traces = _traces(run)[: params["dataset_size"]]
    rows = usable(traces, params["filter"])
    if not rows:
        raise InputError(
            f"annotation.filter `{params['filter']}` keeps none of {len(traces)} traces; use "
            "`all`, a larger token budget, or a better teacher."
        )
    settings = DistillationSettings(**params["settings"], checkpoint_steps=_CHECKPOINT_STEPS)
    chosen = [traces[row] for row in rows]
    teacher: CachedTeacher | OnlineTeacher | None = None
    if "teacher_logits" in run.inputs:
        cached = CachedTeacher(
            run.inputs["teacher_logits"], model.device, temperature=settings.temperature
        )
        teacher = cached.select(rows)
    elif "teacher" in run.inputs:
        teacher = OnlineTeacher(_load(run, "teacher")[0], chosen, tokenizer.pad_token_id)
    done = distill(
        model,
        chosen,
        settings,
        teacher_logits=teacher,
        pad_id=tokenizer.pad_token_id,
        work_dir=run.output / WORK_FOLDER,
        layer_map=_layer_map(run) if settings.hidden_weight else None,
        tokenizer=tokenizer,
        progress=run.progress,
    )
    save_checkpoint(done.model, tokenizer, run.output)
    if (run.inputs["student"] / _ORIGIN).is_file():  # a student that was pruned
        shutil.copyfile(run.inputs["student"] / _ORIGIN, run.output / _ORIGIN)
    _write_json(run.output / "log.json", asdict(done.log))
    return {"traces": len(rows), "last_loss": done.log.last_loss}


def _layer_map(run: StepRun) -> LayerMap:
    """The teacher's layers and hidden channels that the student's were cut from."""
    origin = Origin.from_json((run.inputs["student"] / _ORIGIN).read_text(encoding="utf-8"))
    return LayerMap(origin.layers, origin.hidden)


def evaluate_checkpoint(run: StepRun) -> Mapping[str, Any]:
    """`evaluate`: every metric of one checkpoint, in domain and on general knowledge."""
    params, task = run.params, _task(run)
    model, tokenizer = _load(run, "model")
    examples = _examples(run, "test")
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
    _write_json(run.output / "predictions.json", [asdict(item) for item in in_domain.predictions])
    size = model_size(model)
    _write_json(run.output / "size.json", asdict(size))
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
    traces = _traces(run)
    rows = usable(traces, "all")
    if not rows:
        return []
    cached = CachedTeacher(run.inputs["teacher_logits"], model.device, temperature=1.0)
    return kl_by_segment(
        model,
        [traces[row] for row in rows],
        cached.select(rows),
        truncation=_truncation(run),
    )


def _truncation(run: StepRun) -> Truncation | None:
    """How the study cuts the teacher's distributions; None where it keeps them whole."""
    given = run.params.get("truncation")
    return Truncation(**given) if given else None


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


def _load(
    run: StepRun, role: str, *, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model, in the teacher's number format unless it is to train.

    Weights that train are float32: an update is often smaller than bfloat16 can tell apart.
    """
    dtype = dtype or getattr(torch, run.params.get("dtype", "float32"))
    return load_model(run.inputs[role], dtype=dtype), load_tokenizer(run.inputs[role])


def _task(run: StepRun) -> Task:
    return task_from_dict(json.loads((run.inputs["dataset"] / "task.json").read_text()))


def _examples(run: StepRun, split: str) -> list[Example]:
    return read_records(run.inputs["dataset"] / f"{split}.parquet", Example)


def _traces(run: StepRun) -> list[Trace]:
    return read_records(run.inputs["traces"] / "traces.parquet", Trace)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))


def read_size(folder: Path) -> ModelSize:
    """The size that an `evaluate` artifact recorded."""
    return ModelSize(**json.loads((folder / "size.json").read_text()))


STEPS: dict[str, Callable[[StepRun], Mapping[str, Any]]] = {
    "teacher": make_teacher,
    "dataset": make_dataset,
    "correct": correct_teacher,
    "traces": write_traces,
    "teacher_logits": cache_logits,
    "prune": prune_model,
    "distill": distill_student,
    "evaluate": evaluate_checkpoint,
}
