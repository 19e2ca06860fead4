"""A causal LM of another's shape that nothing was taught yet: what pruning is compared with."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from distillscale.models.checkpoint import default_device, load_config, load_tokenizer


def random_model(like: Path, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A float32 model of a checkpoint's config with random weights, and the checkpoint's tokenizer.

    Raises:
        InputError: there is no such config or tokenizer.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(load_config(like), dtype=torch.float32)
    return model.to(default_device()), load_tokenizer(like)
