"""How large a model is, stated with and without embeddings."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class ModelSize:
    """Parameter counts; weights that are tied count once.

    `params` leaves out the input embeddings and the LM head: it is the N of the size law and the
    basis of the prune ratio. `params_with_embeddings` is everything.
    """

    params: int
    params_with_embeddings: int


def model_size(model: PreTrainedModel) -> ModelSize:
    """Count the parameters of a model."""
    embeddings = [model.get_input_embeddings(), model.get_output_embeddings()]
    tables = {id(p): p.numel() for module in embeddings for p in _parameters(module)}
    everything = sum(p.numel() for p in model.parameters())
    return ModelSize(everything - sum(tables.values()), everything)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())
