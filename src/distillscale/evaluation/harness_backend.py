"""What lm-evaluation-harness asks: a loaded model (`hf`), or a checkpoint folder by vLLM (`vllm`).

The harness needs the extra `harness`. vLLM pins a torch of its own, so it is no extra of ours: it
is used where somebody has installed it beside this package.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.errors import InputError

Backend = Literal["hf", "vllm"]


def hf_backend(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 8
) -> Any:
    """The harness's own wrapper around a model that is loaded already.

    Raises:
        InputError: the harness is not installed.
    """
    wrapper = lm_eval("models.huggingface").HFLM
    with quiet():  # it warns that a loaded model makes it ignore options, of which there are none
        return wrapper(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def vllm_backend(
    source: str | Path, *, dtype: str = "auto", batch_size: int | Literal["auto"] = "auto"
) -> Any:
    """The harness's own wrapper around vLLM, which loads a folder's or hub name's safetensors.

    Raises:
        InputError: the harness or vLLM is not installed, or vLLM cannot load the checkpoint.
    """
    lm_eval("models")
    try:
        wrapper = lm_eval("models.vllm_causallms").VLLM
    except InputError as error:
        raise InputError(
            "the backend `vllm` needs vLLM, which cannot be imported here "
            f"({_one_line(error.__cause__)}); install it beside distillscale, or take the backend "
            "`hf`."
        ) from error
    try:
        return wrapper(
            pretrained=str(source),
            dtype=dtype,
            batch_size=batch_size,
            trust_remote_code=False,
            load_format="safetensors",
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{source}: vLLM cannot load it ({_one_line(error)}).") from error


def lm_eval(module: str) -> Any:
    """A module of the harness, by its name within it.

    Raises:
        InputError: the harness is not installed.
    """
    try:
        return import_module(f"lm_eval.{module}")
    except ImportError as error:
        raise InputError(
            "lm-evaluation-harness is not installed; `pip install 'distillscale[harness]'` "
            "installs it."
        ) from error


@contextmanager
def no_hub_code() -> Iterator[None]:
    """Keep the harness's tasks from downloading and running a metric's code from the hub."""
    evaluate: Any = import_module("evaluate")  # comes with the harness
    load = evaluate.load

    def refuse(name: str, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"its metric {name} is code on the hub, which is not run")

    evaluate.load = refuse
    try:
        yield
    finally:
        evaluate.load = load


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the harness's progress bars and advice, some lines for each of its tasks."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:200]
