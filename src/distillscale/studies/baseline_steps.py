"""The steps of baselines: models without a past, and classifiers that are no language models."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distillscale.baselines import (
    EncoderClassifier,
    fit_encoder,
    fit_tfidf,
    load_encoder,
    load_tfidf,
    random_model,
    save_tfidf,
)
from distillscale.evaluation import Measurement, evaluate_text_classifier
from distillscale.evaluation.cost import file_bytes
from distillscale.evaluation.latency import BATCH_SIZE
from distillscale.evaluation.memory import peak_memory
from distillscale.models.checkpoint import save_checkpoint
from distillscale.models.size import ModelSize, model_size
from distillscale.studies.step_run import ORIGIN, StepRun, examples_of, task_of, write_json
from distillscale.tasks import Task
from distillscale.tasks.records import write_records


def make_random_weights(run: StepRun) -> Mapping[str, Any]:
    """`random_weights`: a model of another's shape, of which nothing else is kept.

    Its layers and channels stand for those of the teacher that the other's were cut from.
    """
    model, tokenizer = random_model(run.inputs["like"], run.params["seed"])
    save_checkpoint(model, tokenizer, run.output)
    if (run.inputs["like"] / ORIGIN).is_file():
        shutil.copyfile(run.inputs["like"] / ORIGIN, run.output / ORIGIN)
    return {}


def train_tfidf(run: StepRun) -> Mapping[str, Any]:
    """`tfidf`: TF-IDF with logistic regression on the gold labels."""
    task = task_of(run)
    fitted = fit_tfidf(*_lesson(run, task), len(task.labels))
    save_tfidf(fitted, run.output)
    return {"terms": fitted.terms}


def train_encoder(run: StepRun) -> Mapping[str, Any]:
    """`encoder`: an encoder fine-tuned on the gold labels."""
    params, task = run.params, task_of(run)
    source: dict[str, str] | None = params.get("source")
    place: str | Path | None = None
    if source is not None:
        place = run.sources.path(source["digest"]) if "digest" in source else source["hub"]
    fitted = fit_encoder(
        place,
        *_lesson(run, task),
        task.labels,
        steps=params["steps"],
        batch_size=params["batch_size"],
        seed=params["seed"],
        progress=run.progress,
    )
    save_checkpoint(fitted.model, fitted.tokenizer, run.output)
    return {}


def evaluate_classifier(run: StepRun) -> Mapping[str, Any]:
    """`evaluate_classifier`: decisions, times from text to decision, and size."""
    task, examples, folder = task_of(run), examples_of(run, "test"), run.inputs["model"]
    texts = [example.text for example in examples]
    encoder: EncoderClassifier | None = None
    if run.params["classifier"] == "tfidf":
        tfidf = load_tfidf(folder)
        score, size = tfidf.log_probabilities, ModelSize(tfidf.params, tfidf.params)
        bytes_on_disk = tfidf.file_bytes
    else:
        encoder = load_encoder(folder, task.labels, seed=0)  # its head is not new
        score, size = encoder.log_probabilities, model_size(encoder.model)
        bytes_on_disk = file_bytes(folder)
    measurements = evaluate_text_classifier(
        score,
        texts,
        [example.label for example in examples],
        task.labels,
        singles=run.params["latency_examples"],
    )
    measurements.append(Measurement("file_bytes", float(bytes_on_disk), None, 0))
    if encoder is not None:
        batch = texts[:BATCH_SIZE]
        _, memory = peak_memory(encoder.model, lambda: score(batch))
        measurements.append(
            Measurement("peak_memory_bytes", memory and float(memory), None, len(batch))
        )
    write_records(measurements, run.output / "measurements.parquet")
    write_json(run.output / "size.json", asdict(size))
    return {"params": size.params}


def _lesson(run: StepRun, task: Task) -> tuple[list[str], list[int]]:
    """Texts and numbers of labels, of as many training examples as the students have."""
    examples = examples_of(run, "train")[: run.params["examples"]]
    numbers = {label: number for number, label in enumerate(task.labels)}
    return [e.text for e in examples], [numbers[e.label] for e in examples]
