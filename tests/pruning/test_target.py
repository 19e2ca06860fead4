"""The shape for a target size: within 1 %, aligned, loadable and the evenest there is."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, PreTrainedConfig, Qwen3Config

from distillscale.errors import InputError
from distillscale.pruning.shape import (
    AXIS_FIELD,
    PruningAxis,
    Shape,
    loadable,
    params_of,
    shape_of,
)
from distillscale.pruning.target import TOLERANCE, Reach, shapes_of_size

CONFIG = Qwen3Config(
    vocab_size=100,
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)
WHOLE = shape_of(CONFIG)
FULL = params_of(CONFIG, WHOLE)
BOTH: tuple[PruningAxis, ...] = ("depth", "mlp")


def shapes_for(target: int, axes=BOTH, multiple: int = 8, count: int = 1) -> tuple[Shape, ...]:
    return shapes_of_size(Reach(CONFIG, WHOLE, WHOLE, axes, multiple), target, count)


def every_shape(reach: Reach) -> Iterator[Shape]:
    """All shapes within reach, one by one."""

    def sizes(axis: PruningAxis) -> list[int]:
        full = getattr(reach.before, AXIS_FIELD[axis])
        step = reach.multiple if axis in ("mlp", "hidden") else 1
        return [*range(step, full, step), full] if axis in reach.axes else [full]

    fields = [AXIS_FIELD[axis] for axis in get_args(PruningAxis)]
    for combination in itertools.product(*map(sizes, get_args(PruningAxis))):
        shape = Shape(**dict(zip(fields, combination, strict=True)))
        if loadable(reach.config, shape):
            yield shape


def unevenness(reach: Reach, shape: Shape) -> float:
    cuts = [
        math.log(getattr(shape, field) / getattr(reach.original, field))
        for field in (AXIS_FIELD[axis] for axis in reach.axes)
        if getattr(reach.original, field) > 1
    ]
    return max(cuts, default=0) - min(cuts, default=0)


@st.composite
def reaches(draw: st.DrawFn) -> Reach:
    """Small models of every kind of family, cut before or not, with any axes and alignment."""
    family = draw(st.sampled_from(["qwen3", "llama", "gemma2", "phi3", "qwen3_moe"]))
    groups, heads = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    hidden = groups * heads * draw(st.integers(1, 4))
    config: PreTrainedConfig = AutoConfig.for_model(
        family,
        vocab_size=50,
        hidden_size=hidden,
        intermediate_size=draw(st.integers(1, 20)),
        num_hidden_layers=draw(st.integers(1, 4)),
        num_attention_heads=groups * heads,
        num_key_value_heads=groups,
        head_dim=4,
        **{"pad_token_id": 0} if family == "phi3" else {},
        **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
        if family == "qwen3_moe"
        else {},
    )
    known = [axis for axis in get_args(PruningAxis) if axis != "experts" or family == "qwen3_moe"]
    axes = draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    before = shape_of(config)
    larger = draw(st.booleans())
    original = replace(before, layers=before.layers + 1, mlp=before.mlp + 3) if larger else before
    return Reach(config, before, original, tuple(axes), draw(st.sampled_from([1, 2, 5])))


@settings(max_examples=80, deadline=None)
@given(reaches(), st.data())
def test_the_evenest_shape_of_a_size_is_found(reach: Reach, data: st.DataObject):
    """Against a search through all shapes, for targets near one of them."""
    shapes = list(every_shape(reach))
    near = reach.count(data.draw(st.sampled_from(shapes)))
    target = round(near * data.draw(st.floats(0.995, 1.005)))
    target = min(target, params_of(reach.config, reach.before))

    def rank(shape: Shape) -> tuple[float, int]:
        return unevenness(reach, shape), abs(reach.count(shape) - target)

    fitting = [s for s in shapes if abs(reach.count(s) - target) <= TOLERANCE * target]
    if target < reach.count(reach.before):
        fitting = [shape for shape in fitting if shape != reach.before]
    if not fitting:
        with pytest.raises(InputError, match="cannot be reached"):
            shapes_of_size(reach, target)
        return
    (found,) = shapes_of_size(reach, target)
    assert found in fitting
    best = min(map(rank, fitting))
    assert rank(found)[0] == pytest.approx(best[0], abs=1e-12)
    assert rank(found)[1] == best[1]


@settings(max_examples=50, deadline=None)
@given(reaches(), st.floats(0.2, 1), st.integers(2, 6))
def test_alternatives_have_the_size_and_differ(reach: Reach, ratio: float, count: int):
    target = round(ratio * params_of(reach.config, reach.before))
    try:
        found = shapes_of_size(reach, target, count)
    except InputError:
        return
    assert found[:1] == shapes_of_size(reach, target)
    assert len(found) <= count
    assert [unevenness(reach, s) for s in found] == sorted(unevenness(reach, s) for s in found)
    for shape in found:
        assert abs(params_of(reach.config, shape) - target) <= TOLERANCE * target
        assert loadable(reach.config, shape)
    for one, other in itertools.combinations(found, 2):
        pairs = zip(astuple(one), astuple(other), strict=True)
        assert max(max(a, b) / min(a, b) for a, b in pairs) >= 1.05 - 1e-12


@settings(max_examples=50, deadline=None)
@given(reaches(), st.floats(0.001, 1.2))
def test_what_cannot_be_reached_comes_with_the_nearest_sizes_that_can(reach: Reach, ratio: float):
    whole = params_of(reach.config, reach.before)
    target = round(ratio * whole)
    sizes = [reach.count(shape) for shape in every_shape(reach)]
    if target <= whole and any(abs(size - target) <= TOLERANCE * target for size in sizes):
        return
    with pytest.raises(InputError) as error:
        shapes_of_size(reach, target)
    said = str(error.value)
    below = [size for size in sizes if size <= target]
    above = [size for size in sizes if size > target]
    assert f"{target:,} non-embedding parameters" in said
    assert not below or f" {max(below):,} (" in said
    assert not above or f" {min(above):,} (" in said


def test_axes_are_cut_evenly():
    axes = ("depth", "mlp", "hidden")
    (shape,) = shapes_for(FULL // 3, axes, multiple=1)
    cuts = [math.log(getattr(shape, AXIS_FIELD[a]) / getattr(WHOLE, AXIS_FIELD[a])) for a in axes]
    assert max(cuts) - min(cuts) < 0.15  # one of eight layers is a step of 0.13
    assert shape.groups == WHOLE.groups
    assert shape.heads == WHOLE.heads


def test_one_axis_comes_as_near_as_it_can():
    target = params_of(CONFIG, replace(WHOLE, mlp=104)) + 100
    assert shapes_for(target, ("mlp",)) == (replace(WHOLE, mlp=104),)


def test_a_width_that_is_no_multiple_may_stay_as_it_is():
    (shape,) = shapes_for(FULL // 2, ("depth",), multiple=128)
    assert shape == replace(WHOLE, layers=4)
    assert shapes_for(FULL, multiple=128) == (WHOLE,)


def test_a_chain_is_followed_without_weights():
    """Evenness is judged against the teacher, so the way to a size does not decide its shape."""
    (first,) = shapes_for(round(0.7 * FULL), ("mlp",), multiple=4)
    chain = Reach(CONFIG, first, WHOLE, BOTH, 4)
    assert shapes_of_size(chain, FULL // 4) == shapes_for(FULL // 4, multiple=4)


def test_the_sentence_names_target_axes_alignment_and_neighbours():
    with pytest.raises(InputError) as error:
        shapes_for(round(0.55 * FULL), ("depth",))
    below, above = (params_of(CONFIG, replace(WHOLE, layers=n)) for n in (4, 5))
    assert str(error.value) == (
        f"pruning target: {round(0.55 * FULL):,} non-embedding parameters (55.00% of the teacher) "
        "cannot be reached within 1% by cutting depth with widths in multiples of 8; the nearest "
        f"sizes that can are {below:,} ({below / FULL:.2%} of the teacher) and {above:,} "
        f"({above / FULL:.2%} of the teacher)."
    )


@pytest.mark.parametrize(
    ("ratio", "axes", "near"),
    [
        (1.001, BOTH, f"the largest size that can is {FULL:,} (100.00% of the teacher)"),
        (0.001, BOTH, f"smallest size that can is {params_of(CONFIG, Shape(1, 8, 2, 2, 64)):,}"),
        (0.1, ("mlp",), f"smallest size that can is {params_of(CONFIG, Shape(8, 8, 2, 2, 64)):,}"),
    ],
)
def test_targets_out_of_range_say_where_the_range_ends(ratio, axes, near):
    with pytest.raises(InputError) as error:
        shapes_for(round(ratio * FULL), axes)
    assert near in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"axes": ()}, "axes"),
        ({"axes": ("width",)}, "depth, mlp, heads, groups, hidden, experts"),
        ({"axes": ("mlp", "experts")}, "a qwen3 model has no experts"),
        ({"multiple": 0}, "multiple"),
        ({"count": 0}, "candidates"),
    ],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        shapes_for(FULL // 2, **arguments)


def test_a_model_as_large_as_the_papers_is_solved_on_all_its_axes():
    """Qwen3-32B in multiples of 64: 327,680 combinations besides 400 MLP widths."""
    config = Qwen3Config(
        hidden_size=5120,
        intermediate_size=25600,
        num_hidden_layers=64,
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=128,
    )
    whole = shape_of(config)
    target = round(0.16 * params_of(config, whole))
    axes = ("depth", "mlp", "heads", "groups", "hidden")
    reach = Reach(config, whole, whole, axes, 64)
    (shape,) = shapes_of_size(reach, target)
    assert abs(params_of(config, shape) - target) <= TOLERANCE * target
    assert unevenness(reach, shape) < 0.25
    assert shape.mlp % 64 == shape.hidden % 64 == 0


def test_a_smaller_target_is_never_met_by_cutting_nothing():
    assert shapes_for(FULL, multiple=1) == (WHOLE,)
    assert shapes_for(FULL - 1, multiple=1) == (replace(WHOLE, mlp=191),)
