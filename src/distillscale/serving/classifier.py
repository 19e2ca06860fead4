"""Decisions of a deployed model, by torch or by ONNX Runtime, the same for command and service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distillscale.errors import DistillscaleError, InputError
from distillscale.evaluation import Completion
from distillscale.evaluation.in_domain import decide
from distillscale.evaluation.task_inputs import TaskInputs, task_inputs
from distillscale.models.checkpoint import load_config, load_model, load_tokenizer
from distillscale.serving.deployment import Deployment, read_deployment
from distillscale.tasks.prompt import answer_format, encode_prompt

CLASSIFIER_FILE = "classifier.onnx"
INT8_FILE = "classifier.int8.onnx"

Tokens = Sequence[int]
Score = Callable[[Sequence[Tokens], int], tuple[NDArray[np.float64], Sequence[Completion]]]
"""From prompts, and how many to read at once, to log-likelihoods of the labels, shape [prompts,
labels], and to what the model wrote before it answered (empty where it does not reason)."""


@dataclass(frozen=True)
class Decision:
    """The most likely label, its probability within the closed set, and the model's reasoning.

    `reasoning` is None for a model that answers right away.
    """

    label: str
    probability: float
    reasoning: str | None


@dataclass(frozen=True)
class Classifier:
    """A deployed model that is ready to decide.

    Attributes:
        deployment: its task, and how it reasons.
        backend: what computes: `torch`, `onnx` or `onnx int8`.
        tokenizer: that of the model.
        longest_prompt: tokens of a prompt at most, None where the model states no context.
        score: the model.
    """

    deployment: Deployment
    backend: str
    tokenizer: PreTrainedTokenizerBase
    longest_prompt: int | None
    score: Score

    def prompt(self, text: str) -> tuple[int, ...]:
        """Token ids of the prompt for a text, whose runs of white space become one space.

        Raises:
            InputError: the model's context is too short for it.
        """
        words = " ".join(text.split())  # as the texts trained on were read
        task, thinking = self.deployment.task, self.deployment.thinking
        ids = tuple(encode_prompt(task, words, thinking, self.tokenizer))
        if self.longest_prompt is not None and len(ids) > self.longest_prompt:
            raise InputError(
                f"the text makes a prompt of {len(ids)} tokens; the model's context has room for "
                f"{self.longest_prompt}."
            )
        return ids

    def decide(
        self, prompts: Sequence[Tokens], batch_size: int = 32
    ) -> list[Decision | DistillscaleError]:
        """The decision on each prompt, as `prompt` made them; at least one.

        In the place of a prompt after which the model computes something that is not finite stands
        an error, so that the others have their decisions.
        """
        scores, completions = self.score(prompts, batch_size)
        reasonings = [self._reasoning(one) for one in completions] or [None] * len(prompts)
        return [
            self._decision(own, reasoning)
            for own, reasoning in zip(scores, reasonings, strict=True)
        ]

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """The decision on each text.

        Raises:
            InputError: as of `prompt`.
            DistillscaleError: the model computes something that is not finite.
        """
        decisions = []
        for decision in self.decide([self.prompt(text) for text in texts]):
            if isinstance(decision, DistillscaleError):
                raise decision
            decisions.append(decision)
        return decisions

    def _decision(
        self, scores: NDArray[np.float64], reasoning: str | None
    ) -> Decision | DistillscaleError:
        if not np.isfinite(scores).all():
            return DistillscaleError(
                f"the {self.backend} model's scores of a text are not all finite numbers; its "
                "weights are damaged, or their precision is too low."
            )
        best = scores.argmax()
        probability = 1 / np.exp(scores - scores[best]).sum()
        return Decision(self.deployment.task.labels[best], float(probability), reasoning)

    def _reasoning(self, completion: Completion) -> str | None:
        style = answer_format(self.tokenizer)
        return completion.text.partition(style.marker)[0].removeprefix(style.opening).strip()


def load_classifier(folder: Path) -> Classifier:
    """Load what `compress` or `export` wrote; of an export's graphs the int8 one, if it is there.

    Raises:
        InputError: the folder is neither of them, or is damaged; or it holds the graph of a model
            that reasons, which a graph without a cache cannot do.
    """
    deployment = read_deployment(folder)
    graphs = [folder / name for name in (INT8_FILE, CLASSIFIER_FILE) if (folder / name).is_file()]
    if graphs:
        return _of_graph(folder, graphs[0], deployment)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    inputs = inputs_without_prompts(deployment, tokenizer)

    def score(
        prompts: Sequence[Tokens], batch_size: int
    ) -> tuple[NDArray[np.float64], Sequence[Completion]]:
        return decide(
            model,
            tokenizer,
            prompts,
            inputs.label_ids,
            reasoning=inputs.reasoning,
            batch_size=batch_size,
        )

    longest = _longest_prompt(model.config, deployment, inputs)
    return Classifier(deployment, "torch", tokenizer, longest, score)


def inputs_without_prompts(
    deployment: Deployment, tokenizer: PreTrainedTokenizerBase
) -> TaskInputs:
    """Labels and reasoning of a deployed model, as its tokenizer writes them."""
    return task_inputs(
        deployment.task,
        [],
        tokenizer,
        thinking=deployment.thinking,
        max_new_tokens=deployment.max_new_tokens,
    )


def _of_graph(folder: Path, graph: Path, deployment: Deployment) -> Classifier:
    if deployment.thinking != "none":
        raise InputError(
            f"{folder}: its model reasons before it answers, which needs a key/value cache that "
            "the exported graph does not have; name the folder that `compress` wrote."
        )
    from distillscale.serving.onnx_scorer import OnnxScorer  # an extra

    tokenizer = load_tokenizer(folder)
    inputs = inputs_without_prompts(deployment, tokenizer)
    scorer = OnnxScorer(graph, inputs.label_ids)
    longest = _longest_prompt(load_config(folder), deployment, inputs)
    backend = "onnx int8" if graph.name == INT8_FILE else "onnx"
    return Classifier(
        deployment, backend, tokenizer, longest, lambda prompts, size: (scorer(prompts, size), ())
    )


def _longest_prompt(config: object, deployment: Deployment, inputs: TaskInputs) -> int | None:
    context = getattr(config, "max_position_embeddings", None)
    if context is None:
        return None
    answer = max(map(len, inputs.label_ids)) - 1  # the last token is predicted, never read
    if inputs.reasoning is not None:
        answer += deployment.max_new_tokens + len(inputs.reasoning.marker_ids)
    return context - answer
