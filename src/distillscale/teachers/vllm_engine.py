"""Votes from a local model that vLLM's offline engine runs, for GPUs.

vLLM pins a torch of its own, so it is no extra of ours: it is used where somebody has installed it
beside this package. `open_vllm` alone calls it, by the names in its sources
(`vllm/entrypoints/llm.py`, `vllm/sampling_params.py`, `vllm/outputs.py`); that function has never
been run by us. All else here knows only what its outputs look like.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from distillscale.errors import InputError
from distillscale.tasks import Task
from distillscale.tasks.prompt import encode_prompt, read_trace
from distillscale.teachers.endpoint import (
    AskedText,
    Asking,
    all_keys,
    local_vote,
    missing_keys,
)
from distillscale.teachers.journal import Journal

_GROUP = 2048
"""Votes drawn together: what a kill loses at most. The engine batches them as it sees fit."""


class LogProb(Protocol):
    """vLLM's `Logprob`: a token's log-probability (natural) in its place."""

    @property
    def logprob(self) -> float: ...  # noqa: D102


class Written(Protocol):
    """vLLM's `CompletionOutput`: what the model wrote after one prompt.

    `logprobs` holds for each token the likeliest tokens in its place and the token itself; it is
    None where none were asked for.
    """

    @property
    def token_ids(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def logprobs(self) -> Sequence[Mapping[int, LogProb]] | None: ...  # noqa: D102
    @property
    def finish_reason(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Draw:
    """One completion to be drawn: after which prompt (token ids), from which seed."""

    prompt_ids: tuple[int, ...]
    seed: int


Generate = Callable[[Sequence[Draw]], Sequence[Written]]
"""Draws completions, in the order of the draws."""


def require_vllm() -> Any:
    """The module `vllm`.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        return import_module("vllm")
    except ImportError as error:
        raise InputError(
            f"--engine vllm: vLLM cannot be imported here ({' '.join(str(error).split())[:200]}); "
            "install it beside distillscale on a machine with a GPU, or leave --engine out."
        ) from error


def open_vllm(source: str | Path, asking: Asking, end_id: int) -> Generate:
    """Load a checkpoint into vLLM.

    Only safetensors are read, and no code of the checkpoint is run. Decoding settings of its
    `generation_config.json` are not used, as in `models.generate`.

    Args:
        source: a folder or a hub name.
        asking: its token budget, temperature and number of log-probabilities.
        end_id: the token that ends a completion, which is part of it.

    Raises:
        InputError: vLLM is not installed, or cannot load the checkpoint.
    """
    vllm = require_vllm()
    try:
        engine = vllm.LLM(
            model=str(source),
            seed=asking.seed,
            trust_remote_code=False,
            load_format="safetensors",
            generation_config="vllm",
            max_logprobs=max(1, asking.top_log_probs),
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source}: vLLM cannot load it ({reason}).") from error

    def generate(draws: Sequence[Draw]) -> Sequence[Written]:
        prompts = [{"prompt_token_ids": list(draw.prompt_ids)} for draw in draws]
        settings = [
            vllm.SamplingParams(
                temperature=asking.temperature,
                seed=draw.seed,
                max_tokens=asking.max_new_tokens,
                logprobs=asking.top_log_probs or None,
                stop_token_ids=[end_id],
                detokenize=False,
            )
            for draw in draws
        ]
        return [item.outputs[0] for item in engine.generate(prompts, settings, use_tqdm=False)]

    return generate


def annotate_by_vllm(
    generate: Generate,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    texts: Sequence[AskedText],
    asking: Asking,
    journal: Journal,
    *,
    group: int = _GROUP,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Let the engine write the votes that the journal does not hold yet.

    Each vote is drawn from a seed of its own, so it does not hang on which votes are there.
    """
    by_id = {item.id: (place, item) for place, item in enumerate(texts)}
    keys = missing_keys(texts, asking, journal)
    total = len(texts) * asking.votes
    done = sum(key in journal.labels for key in all_keys(texts, asking.votes))
    while part := list(itertools.islice(keys, group)):
        places = [by_id[name][0] for name, _ in part]
        items = [by_id[name][1] for name, _ in part]
        draws = [
            Draw(
                tuple(encode_prompt(task, item.text, asking.thinking, tokenizer)),
                (asking.seed + number) * len(texts) + place,
            )
            for item, place, (_, number) in zip(items, places, part, strict=True)
        ]
        completions = generate(draws)
        for item, draw, written, (_, number) in zip(items, draws, completions, part, strict=True):
            trace = read_trace(
                item.id,
                item.gold or "",
                draw.prompt_ids,
                tuple(written.token_ids),
                task,
                asking.thinking,
                tokenizer,
            )
            vote = local_vote(trace, number, task, asking.thinking, tokenizer)
            scores = log_prob_fields(written, asking.top_log_probs, tokenizer)
            journal.add(replace(vote, finish_reason=written.finish_reason, **scores))
        journal.sync()
        done += len(part)
        progress(done / total)


def log_prob_fields(
    written: Written, top: int, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """The fields of a vote that hold log-probabilities; none where none were asked for.

    vLLM adds the drawn token to the `top` likeliest ones where it is none of them; it is not kept
    among them here, so that every place has as many.
    """
    if written.logprobs is None:
        return {}
    ranked = [
        sorted(place.items(), key=lambda entry: -entry[1].logprob)[:top]
        for place in written.logprobs
    ]
    own = zip(written.token_ids, written.logprobs, strict=True)
    return {
        "tokens": tuple(tokenizer.decode([token]) for token in written.token_ids),
        "log_probs": tuple(place[token].logprob for token, place in own),
        "top_tokens": tuple(
            tuple(tokenizer.decode([token]) for token, _ in entries) for entries in ranked
        ),
        "top_log_probs": tuple(tuple(score.logprob for _, score in entries) for entries in ranked),
    }
