"""The two halves of a causal LM: the body that makes hidden states, the head that projects them.

Projection to the vocabulary is the expensive half of a narrow task's step, so callers gather the
positions that they need in between.
"""

from torch import Tensor
from transformers import PreTrainedModel


def hidden_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Final hidden states (after the last norm), shape [batch, length, hidden]."""
    body = model.get_decoder()
    output = body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return output.last_hidden_state


def project(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits of hidden states, shape [..., vocabulary]."""
    return model.get_output_embeddings()(hidden)
