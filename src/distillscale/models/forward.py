"""The two halves of a causal LM: the body that makes hidden states, the head that projects them.

Projection to the vocabulary is the expensive half of a narrow task's step, so callers gather the
positions that they need in between.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from distillscale.errors import InputError


@dataclass(frozen=True)
class Head:
    """An LM head as plain data: logits z = cap * tanh(y / cap) of y = W h + b.

    `weight` [V, H] and `bias` [V] are the model's own tensors (tied to the embeddings where the
    model ties them), so a gradient with respect to them is the model's. `softcap` bounds logits to
    (-cap, cap) as Gemma 2 does; None leaves y as it is.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None

    @property
    def vocabulary(self) -> int:
        """V, padding rows included."""
        return self.weight.shape[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states [..., H], shape [..., V]."""
        raw = F.linear(hidden, self.weight, self.bias)
        if self.softcap is None:
            return raw
        return torch.tanh(raw / self.softcap) * self.softcap

    def to(self, device: torch.device) -> "Head":
        """The same head with its tensors on a device."""
        bias = None if self.bias is None else self.bias.to(device)
        return Head(self.weight.to(device), bias, self.softcap)


_OTHER_SCALINGS = (
    "logit_scale",  # Cohere
    "logits_scaling",  # Granite, HyperCLOVA X, MiniCPM
    "lm_head_multiplier",  # Falcon-H1
    "output_logit_soft_cap",  # xLSTM
    "logits_soft_cap",  # RecurrentGemma
)
"""Config fields of families in transformers that change the logits after the projection."""


def head_of(model: PreTrainedModel) -> Head:
    """The model's LM head.

    Raises:
        InputError: the model has no plain linear head, or scales its logits in another way than
            `final_logit_softcapping`.
    """
    module, config = model.get_output_embeddings(), model.config.get_text_config()
    name = config.model_type
    if not isinstance(module, nn.Linear):
        raise InputError(
            f"The model's output layer ({name}) is a {type(module).__name__}; it must be one "
            "linear projection from hidden states to the vocabulary."
        )
    for field in _OTHER_SCALINGS:
        if getattr(config, field, None) not in (None, 1.0):
            raise InputError(
                f"The model ({name}) scales its logits by `{field}` = {getattr(config, field)}; "
                "only `final_logit_softcapping` is supported."
            )
    return Head(module.weight, module.bias, getattr(config, "final_logit_softcapping", None))


def hidden_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Final hidden states (after the last norm), shape [batch, length, hidden]."""
    body = model.get_decoder()
    output = body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return output.last_hidden_state


def project(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits of hidden states, shape [..., vocabulary]; errors as of `head_of`."""
    return head_of(model).logits(hidden)
