"""`distillscale baselines`: what one would use instead."""

from pathlib import Path
from typing import Annotated

import typer

from distillscale.cli.options import LARGEST_SEED


def baselines(
    data: Annotated[Path, typer.Option(help="Labelled file: CSV, JSONL or Parquet.")],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")],
    label_column: Annotated[str, typer.Option(help="Column of the gold labels.")],
    out: Annotated[Path, typer.Option(help="New folder for the table and the trained models.")],
    test_data: Annotated[
        Path | None, typer.Option(help="Test file, where `compress` was given one.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint folder: models of its shape are trained from random weights. A "
            "folder that `compress` wrote is compared too, on the rows it was tested on."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The teacher that `compress` was given as --model: also distill from it, with "
            "the traces that the store holds, into a model that was not pruned from it."
        ),
    ] = None,
    correction_steps: Annotated[
        int, typer.Option(help="Of the teacher, as `compress` was given.", min=0)
    ] = 0,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="A pretrained encoder to fine-tune, a folder or a hub name; without, a small one "
            "with random weights stands in."
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            help="Optimizer steps of every model; to match `compress`: its stages times its steps.",
            min=1,
        ),
    ] = 400,
    batch_size: Annotated[int, typer.Option(help="Texts in a step.", min=1)] = 32,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate of models of the shape of LIKE.", min=0)
    ] = 1e-3,
    seed: Annotated[
        int,
        typer.Option(help="Of splits and training, as of `compress`.", min=0, max=LARGEST_SEED),
    ] = 0,
    store: Annotated[Path, typer.Option(help="Folder of the artifact store.")] = Path(
        "outputs/store"
    ),
    workers: Annotated[int, typer.Option(help="Processes that compute steps.", min=1)] = 1,
) -> None:
    """Train and test TF-IDF, an encoder and unpruned models of a student's shape on your file."""
    from distillscale.commands.baselines import BaselinesRequest, compare_baselines

    request = BaselinesRequest(
        data=data,
        text_column=text_column,
        label_column=label_column,
        test_data=test_data,
        like=like,
        model=model,
        correction_steps=correction_steps,
        encoder=encoder,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    compare_baselines(request, out, store, workers=workers)
