"""Commands that ask a model: `distillscale evaluate` and `distillscale classify`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="`lab`, a checkpoint folder, or a hub name.", show_default=False),
    ],
    data: Annotated[Path, typer.Option(help="Labelled file: CSV, JSONL or Parquet.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="A built-in task, or a task's YAML file; default the one that a folder of "
            "`compress` was made for."
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column of the gold labels.")] = "label",
    thinking: Annotated[
        str | None,
        typer.Option(
            help="none, brief or full; default what a folder of `compress` was made for, else none."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens of reasoning and answer together, where it thinks; default what a folder "
            "of `compress` was made for, else 256.",
            min=1,
        ),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Another model, tested against this one on the same file.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Texts scored together.", min=1)] = 32,
    hourly_price: Annotated[
        float | None,
        typer.Option(help="What an hour of this machine costs: money a million texts is printed."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for numbers, predictions and pictures.")
    ] = None,
) -> None:
    """Measure a model at a task: F1, accuracy, NLL, calibration, coverage, confusion and cost."""
    from distillscale.commands.evaluate import EvaluateRequest
    from distillscale.commands.evaluate import evaluate as run

    request = EvaluateRequest(
        model=model,
        task=task,
        data=data,
        text_column=text_column,
        label_column=label_column,
        thinking=thinking,
        max_new_tokens=max_new_tokens,
        compare=compare,
        batch_size=batch_size,
        hourly_price=hourly_price,
    )
    run(request, out)


def classify(
    folder: Annotated[Path, typer.Argument(help="Folder that `compress` wrote.")],
    texts: Annotated[list[str], typer.Argument(help="Texts to classify.")],
) -> None:
    """Print the class of each text and its probability."""
    from distillscale.commands.classify import classify as run

    run(folder, texts)
