"""Commands on a deployed model: what `compress` wrote, used, exported, served and published."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="Folder that `compress` wrote.", show_default=False)]


class ExportFormat(StrEnum):
    """What `export` can write."""

    onnx = "onnx"


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="New folder for the graphs.")],
    format: Annotated[ExportFormat, typer.Option(help="What to write.")] = ExportFormat.onnx,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write int8 weights too, and measure macro F1.")
    ] = False,
    test_data: Annotated[
        Path | None,
        typer.Option(help="Labelled file to measure on; default the folder's own test texts."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column of the gold labels.")] = "label",
) -> None:
    """Write a deployed model as ONNX graphs whose logits equal torch's to 1e-4."""
    from distillscale.commands.export import ExportRequest
    from distillscale.commands.export import export as run

    assert format is ExportFormat.onnx
    request = ExportRequest(folder, int8, test_data, text_column, label_column)
    run(request, out)


def serve(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder that `compress` or `export` wrote.", show_default=False),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    max_batch: Annotated[int, typer.Option(help="Texts decided together.", min=1)] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(help="Milliseconds that a text waits for others at most.", min=0)
    ] = 2.0,
    max_queue: Annotated[
        int, typer.Option(help="Texts that wait at most; beyond, 503 is answered.", min=1)
    ] = 1024,
    max_texts: Annotated[int, typer.Option(help="Texts in a request at most.", min=1)] = 64,
    max_characters: Annotated[int, typer.Option(help="Characters of a text.", min=1)] = 4000,
    max_bytes: Annotated[int, typer.Option(help="Bytes of a request's body.", min=1)] = 2**20,
) -> None:
    """Serve a deployed model over HTTP: POST /classify, GET /health, /metrics, /docs."""
    from distillscale.commands.serve import serve_folder

    serve_folder(
        folder,
        host,
        port,
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        max_texts=max_texts,
        max_characters=max_characters,
        max_bytes=max_bytes,
    )


def push(
    folder: Folder,
    repo: Annotated[str, typer.Option(help="Where on the hub: OWNER/NAME.")],
    laws: Annotated[
        Path | None, typer.Option(help="A laws.json: the card states this model's place in it.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; default private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print files and card; nothing leaves this machine.")
    ] = False,
) -> None:
    """Publish a deployed model on the Hugging Face hub, with the token in HF_TOKEN."""
    from distillscale.commands.push import push as run

    run(folder, repo, laws, public=public, dry_run=dry_run)


def vllm_check(folder: Folder) -> None:
    """Check a checkpoint's config against what vLLM reads of it: exit code 1 if it would fail."""
    from distillscale.commands.vllm_check import vllm_check as run

    if not run(folder):
        raise typer.Exit(1)
