"""Low-rank adapters put into a model, and merged into its weights afterwards."""

import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from distillscale.distillation.settings import AdapterSettings


def add_adapters(model: PreTrainedModel, settings: AdapterSettings, seed: int) -> PeftModel:
    """Put adapters into every linear projection except the LM head; only they can train then.

    The model is changed in place: it computes with the adapters from now on. They start as a
    change of zero.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=settings.rank,
        lora_alpha=settings.alpha,
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that transformers has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def merge_adapters(adapted: PeftModel) -> PreTrainedModel:
    """Add the adapters' change to the weights: the model that was given, plain and trainable."""
    model = adapted.merge_and_unload()
    model.requires_grad_(True)
    return model
