"""What each kind of step computes: from parameters and input artifacts to one output artifact.

This is the one module that joins the pipeline's parts. Every function reads nothing but what its
`StepRun` holds, so the same step gives the same artifact anywhere.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from distillscale.distillation import (
    DistillationSettings,
    LayerMap,
    TrainingSettings,
    correct,
    distill,
)
from distillscale.errors import InputError
from distillscale.models.checkpoint import (
    load_config,
    load_tokenizer,
    save_checkpoint,
)
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
from distillscale.studies.baseline_steps import (
    evaluate_classifier,
    make_random_weights,
    train_encoder,
    train_tfidf,
)
from distillscale.studies.dataset import write_dataset
from distillscale.studies.evaluate_step import evaluate_checkpoint
from distillscale.studies.served_traces import served_traces
from distillscale.studies.sources import Sources, copy_checkpoint
from distillscale.studies.step_run import (
    ORIGIN,
    StepRun,
    examples_of,
    load,
    task_of,
    traces_of,
    truncation_of,
    write_json,
)
from distillscale.studies.store import WORK_FOLDER
from distillscale.tasks.prompt import (
    encode_labels,
    gold_trace,
)
from distillscale.tasks.records import write_records
from distillscale.teachers.annotate import (
    annotate,
    annotation_report,
    usable,
    with_gold_answer,
)
from distillscale.teachers.logits import CachedTeacher, cache_teacher
from distillscale.teachers.online import OnlineTeacher

_CRITERIA = ("layer_criterion", "channel_criterion", "seed")
_CHECKPOINT_STEPS = 250
"""A killed training resumes from here; it changes no result, so it is no part of an identity."""


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
    """`correct`: the teacher after a light fine-tuning on the task's gold labels.

    Of a baseline, `examples` are the first training examples, as many as the students have.
    """
    task, examples = task_of(run), examples_of(run, "train")[: run.params.get("examples")]
    model, tokenizer = load(run, "teacher", dtype=torch.float32)
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
    write_json(run.output / "log.json", asdict(done.log))
    return {"last_loss": done.log.last_loss}


def write_traces(run: StepRun) -> Mapping[str, Any]:
    """`traces`: the teacher's text for the examples of one split, at one depth of thinking."""
    params, task = run.params, task_of(run)
    tokenizer = load_tokenizer(run.inputs["teacher"])
    examples = examples_of(run, params["split"])[: params["examples"]]
    budget = params["max_new_tokens"]
    if params["thinking"] == "none":  # every answer must fit
        budget = max(budget, *map(len, encode_labels(task, tokenizer)))
    if "served_model" in params:
        traces = served_traces(run, task, tokenizer, examples, budget)
    else:
        traces = annotate(
            load(run, "teacher")[0],
            tokenizer,
            task,
            examples,
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
    write_json(run.output / "report.json", summary)
    return summary


def cache_logits(run: StepRun) -> Mapping[str, Any]:
    """`teacher_logits`: the teacher's distribution at every supervised position of its traces."""
    model, tokenizer = load(run, "teacher")
    done = cache_teacher(
        model,
        traces_of(run),
        run.output,
        pad_id=tokenizer.pad_token_id,
        truncation=truncation_of(run),
        progress=run.progress,
    )
    return asdict(done)


def prune_model(run: StepRun) -> Mapping[str, Any]:
    """`prune`: a smaller checkpoint, cut by importance on the teacher's traces."""
    params = run.params
    model, tokenizer = load(run, "model")
    traces = traces_of(run)[: params["calibration_examples"]]
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
        teacher = load(run, "teacher")[0]
    choice = choose_plan(model, plans, sequences, teacher=teacher, pad_id=pad_id, batch_size=32)
    plan = choice.plan
    save_checkpoint(apply_plan(model, plan), tokenizer, run.output)
    (run.output / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    (run.output / ORIGIN).write_text(_origin(run, plan).to_json(), encoding="utf-8")
    return {
        "prune_ratio": plan.params_after / teacher_params,
        "layer_scores": importance.layers,
        "divergences": choice.divergences,
    }


def _origin(run: StepRun, plan: PruningPlan) -> Origin:
    """Where the pruned model's structure comes from in the teacher, through all stages."""
    if run.inputs["model"] == run.inputs["teacher"]:  # a teacher may be a pruned model itself
        return Origin.of(plan)
    return Origin.from_json((run.inputs["model"] / ORIGIN).read_text(encoding="utf-8")).after(plan)


def distill_student(run: StepRun) -> Mapping[str, Any]:
    """`distill`: a student trained on the teacher's traces, and the log of its training."""
    params = run.params
    model, tokenizer = load(run, "student", dtype=torch.float32)
    traces = traces_of(run)[: params["dataset_size"]]
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
        teacher = OnlineTeacher(load(run, "teacher")[0], chosen, tokenizer.pad_token_id)
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
    if (run.inputs["student"] / ORIGIN).is_file():  # a student that was pruned
        shutil.copyfile(run.inputs["student"] / ORIGIN, run.output / ORIGIN)
    write_json(run.output / "log.json", asdict(done.log))
    return {"traces": len(rows), "last_loss": done.log.last_loss}


def _layer_map(run: StepRun) -> LayerMap:
    """The teacher's layers and hidden channels that the student's were cut from."""
    origin = Origin.from_json((run.inputs["student"] / ORIGIN).read_text(encoding="utf-8"))
    return LayerMap(origin.layers, origin.hidden)


STEPS: dict[str, Callable[[StepRun], Mapping[str, Any]]] = {
    "teacher": make_teacher,
    "dataset": make_dataset,
    "correct": correct_teacher,
    "traces": write_traces,
    "teacher_logits": cache_logits,
    "prune": prune_model,
    "distill": distill_student,
    "evaluate": evaluate_checkpoint,
    "random_weights": make_random_weights,
    "tfidf": train_tfidf,
    "encoder": train_encoder,
    "evaluate_classifier": evaluate_classifier,
}
