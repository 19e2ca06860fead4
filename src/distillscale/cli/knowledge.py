"""Commands on general knowledge: `distillscale knowledge` and `import-questions`."""

from pathlib import Path
from typing import Annotated

import typer

from distillscale.cli.options import LARGEST_SEED


def knowledge(
    model: Annotated[
        str,
        typer.Argument(help="`lab`, a checkpoint folder, or a hub name.", show_default=False),
    ],
    benchmark: Annotated[
        str, typer.Option(help="A task of lm-evaluation-harness: mmlu, mmlu_pro, arc_easy, ...")
    ] = "mmlu",
    questions: Annotated[
        Path | None,
        typer.Option(help="Folder of question files of mmlu or mmlu_pro; default: the hub."),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(help="Solved questions in the prompt; default: as is customary.", min=0),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Questions of each subject, drawn at random.", min=1)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Largest length of a free-text answer.", min=1)
    ] = None,
    draw_seed: Annotated[
        int, typer.Option(help="Seed of the draw with --limit.", min=0, max=LARGEST_SEED)
    ] = 0,
    backend: Annotated[str, typer.Option(help="hf or vllm.")] = "hf",
    batch_size: Annotated[int, typer.Option(help="Prompts answered together.", min=1)] = 8,
    out: Annotated[Path | None, typer.Option(help="JSON file for everything found.")] = None,
) -> None:
    """Ask a model a benchmark of lm-evaluation-harness, with errors and position bias."""
    from distillscale.commands.evaluate_knowledge import KnowledgeRequest, evaluate_knowledge

    request = KnowledgeRequest(
        model=model,
        benchmark=benchmark,
        questions=questions,
        shots=shots,
        limit=limit,
        max_new_tokens=max_new_tokens,
        draw_seed=draw_seed,
        backend=backend,
        batch_size=batch_size,
    )
    evaluate_knowledge(request, out)


def import_questions(
    questions: Annotated[
        Path, typer.Argument(help="Folder of question files.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="New folder for the task.")],
    benchmark: Annotated[str, typer.Option(help="mmlu or mmlu_pro.")] = "mmlu",
    validation: Annotated[
        Path | None,
        typer.Option(help="Parquet file of mmlu_pro's solved questions; default: the folder's."),
    ] = None,
) -> None:
    """Make question files a local task of lm-evaluation-harness."""
    from distillscale.commands.evaluate_knowledge import import_questions as run

    run(benchmark, questions, out, validation)
