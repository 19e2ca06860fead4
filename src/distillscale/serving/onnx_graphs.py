"""The two graphs that are exported, as torch modules.

Both take `input_ids` and `attention_mask` (1 for real tokens, padding on either side), int64 of
shape [batch, length], and build positions and the 4D attention mask themselves: a family's own
mask code, which traces badly, is never reached.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distillscale.evaluation.token_tree import token_tree
from distillscale.models.forward import project


class LanguageModelGraph(nn.Module):
    """The causal LM: `logits` of shape [batch, length, vocabulary]."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits at every position; at padding they mean nothing."""
        sees = _causal(attention_mask)
        hidden = _body(self.model, input_ids, sees, _positions(attention_mask))
        return project(self.model, hidden)


class ClassifierGraph(nn.Module):
    """The closed set: `logits` of shape [batch, classes], the summed log-likelihoods of the labels.

    The labels' tree of tokens is part of the graph: it is read behind each prompt in the same pass
    (see `evaluation/closed_set.py`), so a softmax over `logits` is the distribution over classes.
    """

    tokens: Tensor
    depths: Tensor
    sees: Tensor
    slots: Tensor
    targets: Tensor
    owners: Tensor

    def __init__(self, model: PreTrainedModel, label_ids: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.model = model
        tree = token_tree([tuple(ids) for ids in label_ids])
        for name in ("tokens", "depths", "sees", "slots", "targets"):
            self.register_buffer(name, torch.from_numpy(getattr(tree, name)), persistent=False)
        owners = torch.zeros(len(tree.slots), tree.choices)
        owners[torch.arange(len(tree.slots)), torch.from_numpy(tree.owners)] = 1
        self.register_buffer("owners", owners, persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Log-likelihood of each label after each prompt."""
        batch, length = input_ids.shape
        nodes = self.tokens.shape[0]
        ids = torch.cat([input_ids, self.tokens.expand(batch, nodes)], dim=1)
        behind = attention_mask.sum(dim=-1, keepdim=True) + self.depths
        positions = torch.cat([_positions(attention_mask), behind], dim=1)
        hidden = _body(self.model, ids, self._sees(attention_mask), positions)
        last = (attention_mask * torch.arange(length)).argmax(dim=-1)
        slots = torch.cat([hidden[torch.arange(batch), last][:, None], hidden[:, length:]], dim=1)
        values = torch.log_softmax(project(self.model, slots).float(), dim=-1)
        return values[:, self.slots, self.targets] @ self.owners

    def _sees(self, attention_mask: Tensor) -> Tensor:
        """Who attends to whom, shape [batch, length + nodes, length + nodes]."""
        batch, length = attention_mask.shape
        nodes = self.tokens.shape[0]
        unseen = torch.zeros(batch, length, nodes, dtype=torch.bool)
        prompt = torch.cat([_causal(attention_mask), unseen], dim=2)
        real = attention_mask.bool()[:, None, :].expand(batch, nodes, length)
        tree = torch.cat([real, self.sees.expand(batch, nodes, nodes)], dim=2)
        return torch.cat([prompt, tree], dim=1)


def _causal(attention_mask: Tensor) -> Tensor:
    """Each token sees the real ones before it and itself, shape [batch, length, length].

    Padding sees itself too, so that no softmax is empty.
    """
    places = torch.arange(attention_mask.shape[1])
    earlier = (places[None, :] <= places[:, None])[None]
    itself = (places[None, :] == places[:, None])[None]
    return earlier & attention_mask.bool()[:, None, :] | itself


def _positions(attention_mask: Tensor) -> Tensor:
    """Positions that count real tokens from 0, shape [batch, length]."""
    return (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)


def _body(model: PreTrainedModel, ids: Tensor, sees: Tensor, positions: Tensor) -> Tensor:
    """Final hidden states, shape [batch, tokens, hidden]."""
    mask = torch.where(sees, 0.0, torch.finfo(torch.float32).min)[:, None]
    output = model.get_decoder()(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
    )
    return output.last_hidden_state
