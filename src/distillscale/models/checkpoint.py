"""Load and save Hugging Face checkpoints without ever running code from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from distillscale.errors import InputError


def default_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(
    source: str | Path, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> PreTrainedModel:
    """Load a causal LM from a folder or a hub name, in evaluation mode.

    Only safetensors weights are read, and code that a repository carries is never run.

    Raises:
        InputError: there is no such checkpoint, or its safetensors weights are missing, damaged or
            incomplete.
    """
    model, loading = _load(
        AutoModelForCausalLM,
        "causal LM with safetensors weights",
        source,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
    )
    if missing := sorted(loading["missing_keys"]):
        # transformers has drawn them at random and only warned.
        raise InputError(
            f"{source}: {len(missing)} weights are missing, the first is `{missing[0]}`; a causal "
            "LM needs all of them."
        )
    return model.to(device or default_device()).eval()


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint; a missing pad token is replaced by end-of-sequence.

    Raises:
        InputError: there is no such tokenizer, or it has no end-of-sequence token.
    """
    tokenizer = _load(AutoTokenizer, "tokenizer", source)
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # Without its files transformers makes a tokenizer up that knows no text at all.
        raise InputError(f"{source}: no tokenizer files; a checkpoint needs those of its model.")
    if tokenizer.eos_token_id is None:
        raise InputError(f"{source}: its tokenizer has no end-of-sequence token; answers need one.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_sequence_classifier(
    source: str | Path, labels: Sequence[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load an encoder from a folder or a hub name with a head for these labels, and its tokenizer.

    The head is new (drawn at random from the seed) unless the checkpoint has one for as many
    labels; so is a pooler that it lacks, as those do that were trained to fill in masked words.

    Raises:
        InputError: there is no such checkpoint with safetensors weights, its weights before the
            head are incomplete or of other shapes, or its tokenizer cannot pad.
    """
    torch.manual_seed(seed)
    model, loading = _load(
        AutoModelForSequenceClassification,
        "text classifier with safetensors weights",
        source,
        use_safetensors=True,
        dtype=torch.float32,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    _refuse_new_backbone(source, model.base_model_prefix, loading)
    tokenizer = _load(AutoTokenizer, "tokenizer", source)
    if tokenizer.pad_token_id is None or model.config.pad_token_id is None:
        raise InputError(f"{source}: it has no padding token; texts of a batch differ in length.")
    return model.to(default_device()).eval(), tokenizer


def _refuse_new_backbone(source: str | Path, prefix: str, loading: dict[str, Any]) -> None:
    """Only the head may be new: transformers draws all that does not fit, and only warns."""
    mismatched = {key for key, *_ in loading["mismatched_keys"]}
    lacking = {key for key in loading["missing_keys"] - mismatched if ".pooler." not in key}
    if wrong := sorted(key for key in mismatched | lacking if key.startswith(f"{prefix}.")):
        raise InputError(
            f"{source}: {len(wrong)} weights before the classification head are missing or do not "
            f"fit its config, the first is `{wrong[0]}`; an encoder needs all of them."
        )


def load_config(source: str | Path) -> PreTrainedConfig:
    """Load a checkpoint's config alone.

    Raises:
        InputError: there is no such checkpoint.
    """
    return _load(AutoConfig, "model config", source)


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write an ordinary Hugging Face folder: config, safetensors weights, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load(auto_class: Any, what: str, source: str | Path, **options: Any) -> Any:
    logging.disable_progress_bar()  # a bar a checkpoint would tear the study's own display apart
    try:
        return auto_class.from_pretrained(str(source), trust_remote_code=False, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{source}: no {what} can be loaded from it ({reason[:300]}).") from error
