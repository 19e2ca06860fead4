"""L2 norms of the weights that belong to a channel, a head, an expert or a layer."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.pruning.families import Weight, WeightAxis, family_of, present
from distillscale.pruning.shape import axis_sizes, shape_of
from distillscale.pruning.statistics import reading_norms


def layer_norms(model: PreTrainedModel) -> Tensor:
    """L2 norm of all parameters of each layer, [layers]."""
    layers = model.get_submodule(family_of(model.config).layers).children()
    return torch.stack(
        [torch.stack([_norm(p, ()) for p in layer.parameters()]).norm() for layer in layers]
    )


def norms_along(
    model: PreTrainedModel,
    axes: tuple[WeightAxis, ...],
    only: Callable[[Weight], bool] | None = None,
) -> Tensor:
    """L2 norm of what the layers' weights hold for each channel of some axes.

    Args:
        axes: the axes that stay, in the order of the weights' dimensions; weights without one of
            them do not count.
        only: which weights count; all, if left out.

    Returns:
        [layers, *axes].
    """
    family = family_of(model.config)
    weights = [
        weight
        for weight in present(family.layer_weights, model.config)
        if all(axis in _axes_of(weight) for axis in axes) and (only is None or only(weight))
    ]
    layers = range(shape_of(model.config).layers)
    return torch.stack(
        [_root_sum(model, f"{family.layers}.{layer}.", weights, axes) for layer in layers]
    )


def reader_norms(model: PreTrainedModel) -> Tensor:
    """L2 norm of the weights that read each hidden channel of each norm's output.

    Returns:
        [norms, hidden], norms in the order of `reading_norms`.
    """
    family = family_of(model.config)
    rows = []
    for layer in range(shape_of(model.config).layers):
        for reader in family.norm_readers.values():
            weights = [
                weight
                for weight in present(family.layer_weights, model.config)
                if weight.name.startswith(f"{reader}.") and reads("hidden", weight)
            ]
            rows.append(_root_sum(model, f"{family.layers}.{layer}.", weights, ("hidden",)))
    rows.append(_root_sum(model, "", [family.head], ("hidden",)))
    assert len(rows) == len(reading_norms(model.config))
    return torch.stack(rows)


def hidden_norms(model: PreTrainedModel) -> Tensor:
    """L2 norm of all that a model holds for each hidden channel, tied embeddings once; [hidden]."""
    family = family_of(model.config)
    outer = [family.final_norm_weight, family.embedding]
    if not model.config.tie_word_embeddings:
        outer.append(family.head)
    inner = norms_along(model, ("hidden",)).norm(dim=0)
    return torch.hypot(inner, _root_sum(model, "", outer, ("hidden",)))


def reads(axis: WeightAxis, weight: Weight) -> bool:
    """Whether a weight is a projection whose input are the channels of an axis."""
    return len(weight.dimensions) > 1 and weight.dimensions[-1] == (axis,)


def _root_sum(
    model: PreTrainedModel, prefix: str, weights: Iterable[Weight], axes: tuple[WeightAxis, ...]
) -> Tensor:
    sizes = axis_sizes(model.config)
    squares = [
        _squares(model.get_parameter(prefix + weight.name), weight, axes, sizes)
        for weight in weights
    ]
    return torch.stack(squares).sum(dim=0).sqrt()


def _squares(
    tensor: Tensor, weight: Weight, axes: tuple[WeightAxis, ...], sizes: dict[WeightAxis, int]
) -> Tensor:
    """Sum of squares of a weight over everything but `axes`."""
    stays = [bool(set(dimension) & set(axes)) for dimension in weight.dimensions]
    summed = tuple(number for number, stay in enumerate(stays) if not stay)
    squares = _norm(tensor, summed).square() if summed else tensor.float().square()
    kept = [dimension for dimension, stay in zip(weight.dimensions, stays, strict=True) if stay]
    for number, dimension in enumerate(kept):
        parts = squares.split([sizes[axis] for axis in dimension], dim=number)
        wanted = [part for part, axis in zip(parts, dimension, strict=True) if axis in axes]
        squares = torch.stack(wanted).sum(dim=0)
    return squares


def _norm(tensor: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    """L2 norm in fp32 over some dimensions, over all if none is given."""
    return torch.linalg.vector_norm(tensor, dim=dimensions or None, dtype=torch.float32)


def _axes_of(weight: Weight) -> set[WeightAxis]:
    return {axis for dimension in weight.dimensions for axis in dimension}
