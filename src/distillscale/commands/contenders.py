"""Classifiers that are compared on the same test texts: a student, and what one would use instead.

Each is a function from texts to scores of the labels, so that all are timed from text to decision.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.baselines import fit_encoder, fit_tfidf, random_model, save_tfidf
from distillscale.distillation import DistillationSettings, TrainingSettings, correct, distill
from distillscale.evaluation import Score
from distillscale.evaluation.cost import file_bytes
from distillscale.evaluation.in_domain import decide
from distillscale.evaluation.task_inputs import task_inputs
from distillscale.models.checkpoint import load_model, load_tokenizer, save_checkpoint
from distillscale.models.teacher_logits import TeacherLogits
from distillscale.serving.deployment import Deployment, read_deployment, write_deployment
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.prompt import encode_prompt, gold_trace


@dataclass(frozen=True)
class Contender:
    """A classifier that is ready to decide.

    Attributes:
        name: short, as in a table's first column.
        description: what it is and what it was trained on, in one line.
        score: log-likelihoods of the labels of one batch of texts, shape [texts, labels].
        params: all numbers that were fitted, embeddings included.
        file_bytes: of its weights as safetensors.
        seconds: that its training took, on this machine; None where it was trained before.
    """

    name: str
    description: str
    score: Score
    params: int
    file_bytes: int
    seconds: float | None


@dataclass(frozen=True)
class Lesson:
    """What is trained on, and how: the same for all that are trained by optimizer steps."""

    task: Task
    train: Sequence[Example]
    settings: TrainingSettings

    @property
    def texts(self) -> list[str]:
        """The training texts."""
        return [example.text for example in self.train]

    @property
    def numbers(self) -> list[int]:
        """The gold label of each, as its number."""
        return [self.task.labels.index(example.label) for example in self.train]


def tfidf(lesson: Lesson, folder: Path) -> Contender:
    """TF-IDF with logistic regression; written into a folder."""
    started = time.perf_counter()
    fitted = fit_tfidf(lesson.texts, lesson.numbers, len(lesson.task.labels))
    seconds = time.perf_counter() - started
    folder.mkdir()
    save_tfidf(fitted, folder)
    what = f"TF-IDF of {fitted.terms}, logistic regression"
    score, size = fitted.log_probabilities, fitted.file_bytes
    return Contender("tfidf", what, score, fitted.params, size, seconds)


def encoder(lesson: Lesson, source: str | None, folder: Path) -> Contender:
    """An encoder, pretrained where `source` names one; written into a folder."""
    settings, started = lesson.settings, time.perf_counter()
    model = fit_encoder(
        source,
        lesson.texts,
        lesson.numbers,
        lesson.task.labels,
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    seconds = time.perf_counter() - started
    what = f"{source}, fine-tuned"
    if source is None:
        what = "small encoder from random weights: a stand-in for a pretrained one"
    save_checkpoint(model.model, model.tokenizer, folder)
    size = file_bytes(folder)
    return Contender("encoder", what, model.log_probabilities, model.params, size, seconds)


def same_shape_gold(lesson: Lesson, like: Path, folder: Path) -> Contender:
    """A model of the student's shape and random weights, trained on the gold labels."""
    model, tokenizer = random_model(like, lesson.settings.seed)
    task = lesson.task
    traces = [gold_trace(e.id, e.text, e.label, task, tokenizer) for e in lesson.train]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        done = correct(
            model,
            traces,
            lesson.settings,
            pad_id=tokenizer.pad_token_id,
            work_dir=Path(work),
        )
    seconds = time.perf_counter() - started
    what = "the student's shape from random weights, trained on the gold labels"
    return _trained("same-shape-gold", what, done.model, tokenizer, task, folder, seconds)


def same_shape_distilled(
    lesson: Lesson,
    like: Path,
    traces: Sequence[Trace],
    teacher: TeacherLogits,
    settings: DistillationSettings,
    folder: Path,
) -> Contender:
    """A model of the student's shape and random weights, distilled as the student was."""
    model, tokenizer = random_model(like, lesson.settings.seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        done = distill(
            model,
            traces,
            settings,
            teacher_logits=teacher,
            pad_id=tokenizer.pad_token_id,
            work_dir=Path(work),
        )
    seconds = time.perf_counter() - started
    what = "the student's shape from random weights, distilled from the teacher's answers"
    name = "same-shape-distilled"
    return _trained(name, what, done.model, tokenizer, lesson.task, folder, seconds)


def student(folder: Path) -> Contender:
    """The pruned student that `compress` wrote."""
    deployment = read_deployment(folder)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    what = f"{folder.name}: pruned and distilled"
    return Contender(
        "student",
        what,
        _score(model, tokenizer, deployment),
        _params(model),
        file_bytes(folder),
        None,
    )


def _trained(
    name: str,
    description: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    folder: Path,
    seconds: float,
) -> Contender:
    save_checkpoint(model, tokenizer, folder)
    deployment = Deployment(task, "none", 16)
    write_deployment(deployment, folder)
    score = _score(model, tokenizer, deployment)
    return Contender(name, description, score, _params(model), file_bytes(folder), seconds)


def _score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, deployment: Deployment
) -> Score:
    task, thinking = deployment.task, deployment.thinking
    budget = deployment.max_new_tokens
    inputs = task_inputs(task, [], tokenizer, thinking=thinking, max_new_tokens=budget)

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        prompts = [encode_prompt(task, text, thinking, tokenizer) for text in texts]
        scores, _ = decide(
            model,
            tokenizer,
            prompts,
            inputs.label_ids,
            reasoning=inputs.reasoning,
            batch_size=len(texts),
        )
        return scores

    return score


def _params(model: PreTrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
