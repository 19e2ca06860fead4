"""What lm-evaluation-harness asks: a loaded model (`hf`), or a checkpoint folder by vLLM (`vllm`).

The harness needs the extra `harness`. vLLM pins a torch of its own, so it is no extra of ours: it
is used where somebody has installed it beside this package.

Both wrappers are the harness's own, but for one thing: where a question's text holds a control
token of the model (`</s>`), it is read as plain text, which the harness would take for the token.
"""

import gc
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.errors import InputError
from distillscale.models.batches import pad
from distillscale.tasks.control_tokens import encode_text

Backend = Literal["hf", "vllm"]


def hf_backend(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 8
) -> Any:
    """The harness's own wrapper around a model that is loaded already.

    Raises:
        InputError: the harness is not installed.
    """
    wrapper = _plain(lm_eval("models.huggingface").HFLM)
    with quiet():  # it warns that a loaded model makes it ignore options, of which there are none
        return wrapper(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def vllm_backend(
    source: str | Path, *, dtype: str = "auto", batch_size: int | Literal["auto"] = "auto"
) -> Any:
    """The harness's own wrapper around vLLM, which loads a folder's or hub name's safetensors.

    vLLM takes most of the GPU. Models that nothing refers to any more are let go of first; the
    caller keeps none.

    Raises:
        InputError: the harness or vLLM is not installed, or vLLM cannot load the checkpoint.
    """
    lm_eval("models")
    try:
        wrapper = _plain(lm_eval("models.vllm_causallms").VLLM)
    except InputError as error:
        raise InputError(
            "the backend `vllm` needs vLLM, which cannot be imported here "
            f"({_one_line(error.__cause__)}); install it beside distillscale, or take the backend "
            "`hf`."
        ) from error
    gc.collect()  # models hold themselves in circles
    torch.cuda.empty_cache()
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


def _plain(wrapper: Any) -> Any:
    """The harness's wrapper, for which no text holds a control token.

    All other texts get the tokens that the harness gives them, and so does every text where the
    tokenizer does not tell its added tokens (Mistral's own, with vLLM). A token that begins every
    text is the tokenizer's matter; the harness leaves it out where a text begins with that token's
    name.
    """

    class PlainText(wrapper):
        def tok_encode(
            self,
            string: str | Sequence[str],
            add_special_tokens: bool | None = None,
            left_truncate_len: int | None = None,
            **options: Any,
        ) -> Any:
            if not isinstance(string, str):  # vLLM's takes several, too
                return [self.tok_encode(own, add_special_tokens) for own in string]
            last = slice(-(left_truncate_len or 0), None)
            if not hasattr(self.tokenizer, "added_tokens_decoder"):
                return super().tok_encode(string, add_special_tokens, **options)[last]
            special = self.add_bos_token if add_special_tokens is None else add_special_tokens
            chosen = {} if special is None else {"add_special_tokens": special}
            return encode_text(self.tokenizer, string, **chosen)[last]

        def tok_batch_encode(
            self,
            strings: Sequence[str],
            padding_side: str = "left",
            left_truncate_len: int | None = None,
            truncation: bool = False,  # noqa: ARG002 (of the tokenizer; never asked for here)
        ) -> Any:
            rows = [self.tok_encode(own, left_truncate_len=left_truncate_len) for own in strings]
            return pad(rows, self.tokenizer.pad_token_id, side=padding_side)

    return PlainText


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
