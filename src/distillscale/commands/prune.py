"""`prune`: cut a model to a size by what a file of texts says is important."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distillscale.commands.output import check_new_folder
from distillscale.data.labelled_file import read_texts
from distillscale.errors import InputError
from distillscale.models.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    save_checkpoint,
)
from distillscale.pruning import (
    PLAN_COLUMNS,
    Choice,
    Origin,
    PruningAxis,
    PruningPlan,
    Reach,
    apply_plan,
    choose_plan,
    measure_importance,
    params_of,
    plan_candidates,
    shape_of,
    shapes_of_size,
)
from distillscale.pruning.criteria import (
    CHANNEL_CRITERIA,
    LAYER_CRITERIA,
    ChannelCriterionName,
    LayerCriterionName,
)
from distillscale.studies.sources import local_teacher

_BATCH = 8
_LONGEST = 1024
"""Tokens of a calibration text that are read. Assumption: more of one text tells little more."""


@dataclass(frozen=True)
class PruneRequest:
    """What a user asks `prune` for; see the command's help for each field."""

    model: str
    keep: float
    calibration: Path
    text_column: str | None
    axes: str
    multiple: int
    layer_criterion: str
    channel_criterion: str
    candidates: int
    seed: int

    @property
    def axis_names(self) -> tuple[PruningAxis, ...]:
        """The axes as they were written, not yet checked."""
        names = (name.strip() for name in self.axes.split(","))
        return cast(tuple[PruningAxis, ...], tuple(name for name in names if name))


def prune(request: PruneRequest, out: Path | None) -> None:
    """Plan, print the plan, and write the pruned checkpoint with its plan and origin.

    Args:
        out: new folder of the checkpoint; None prints the plan only.

    Raises:
        InputError: an argument, the model or the file is wrong, the size cannot be reached, or
            `out` holds something already.
    """
    if out is not None:
        check_new_folder(out, "--out")
    _check_options(request)
    texts = read_texts(request.calibration, request.text_column)
    source = local_teacher(request.model) or request.model
    config = load_config(source)
    before = _origin(source, config)
    target = _target(config, request)
    dtype = getattr(config, "dtype", None) or torch.float32
    model, tokenizer = load_model(source, dtype=dtype), load_tokenizer(source)
    choice = _choose(model, tokenizer, texts, request, target)
    _print_plan(choice)
    if out is not None:
        origin = before.after(choice.plan) if before else Origin.of(choice.plan)
        _write(apply_plan(model, choice.plan), tokenizer, choice.plan, origin, out.absolute())
        print(f"pruned: {out}")


def _check_options(request: PruneRequest) -> None:
    if not 0 < request.keep < 1:
        raise InputError(f"--keep {request.keep:g}: it must lie between 0 and 1.")
    for option, name, known in (
        ("--layer-criterion", request.layer_criterion, LAYER_CRITERIA),
        ("--channel-criterion", request.channel_criterion, CHANNEL_CRITERIA),
    ):
        if name not in known:
            raise InputError(f"{option} {name}: it must be one of {', '.join(known)}.")


def _target(config: PreTrainedConfig, request: PruneRequest) -> int:
    """The parameters to keep; that they can be reached is known before weights are loaded."""
    shape = shape_of(config)
    target = round(request.keep * params_of(config, shape))
    shapes_of_size(Reach(config, shape, shape, request.axis_names, request.multiple), target)
    return target


def _choose(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    request: PruneRequest,
    target: int,
) -> Choice:
    longest = min(_LONGEST, getattr(model.config, "max_position_embeddings", _LONGEST))
    sequences = tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
    pad_id = tokenizer.pad_token_id
    importance = measure_importance(
        model,
        sequences,
        pad_id,
        _BATCH,
        axes=request.axis_names,
        layer_criterion=cast(LayerCriterionName, request.layer_criterion),
        channel_criterion=cast(ChannelCriterionName, request.channel_criterion),
        seed=request.seed,
    )
    plans = plan_candidates(
        model.config,
        importance,
        target_params=target,
        axes=request.axis_names,
        multiple=request.multiple,
        count=request.candidates,
    )
    return choose_plan(model, plans, sequences, teacher=model, pad_id=pad_id, batch_size=_BATCH)


def _origin(source: str | Path, config: PreTrainedConfig) -> Origin | None:
    """Where MODEL's structure comes from, if it was pruned too; read before weights are loaded.

    Raises:
        InputError: its origin.json is damaged, or that of another model.
    """
    file = Path(source) / "origin.json"
    if not file.is_file():
        return None
    try:
        origin = Origin.from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"{file}: not the origin of a pruned model ({error}).") from error
    shape = shape_of(config)
    if (len(origin.layers), len(origin.hidden)) != (shape.layers, shape.hidden):
        raise InputError(
            f"{file}: says {len(origin.layers)} layers of hidden width {len(origin.hidden)}, but "
            f"the model has {shape.layers} of {shape.hidden}; it must be this model's own."
        )
    return origin


def _print_plan(choice: Choice) -> None:
    *rows, (removed, _, numbers, _) = choice.plan.rows()
    table = [PLAN_COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((first.ljust(widths[0]), *cells)))
    print(f"{removed}: {numbers}")
    if choice.divergences:
        tried = ", ".join(f"{divergence:.4f}" for divergence in choice.divergences)
        print(f"candidates: KL to the unpruned model {tried} nats per token; the least is taken")


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    plan: PruningPlan,
    origin: Origin,
    out: Path,
) -> None:
    """Write the folder under a temporary name beside its place, then rename it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".prune-") as name:
        folder = Path(name) / "model"
        save_checkpoint(model, tokenizer, folder)
        (folder / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        (folder / "origin.json").write_text(origin.to_json(), encoding="utf-8")
        folder.replace(out)  # an empty folder is replaced too
