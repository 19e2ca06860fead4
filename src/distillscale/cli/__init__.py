"""The command line: one function a command, each a thin call into `commands`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from distillscale.cli.baselines import baselines
from distillscale.cli.data import data
from distillscale.cli.deployment import export, push, serve, vllm_check
from distillscale.cli.evaluation import classify, evaluate
from distillscale.cli.knowledge import import_questions, knowledge
from distillscale.cli.laws import laws, recommend
from distillscale.cli.options import LARGEST_SEED, ApiKeyVariable
from distillscale.errors import DistillscaleError, InputError

app = typer.Typer(
    help="How small can a language model go on one narrow task? Prune, distill, measure, fit laws.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
lab = typer.Typer(help="The embedded world and its tiny teacher.", no_args_is_help=True)
study = typer.Typer(help="Grids of compression experiments.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(lab, name="lab")
app.add_typer(study, name="study")
app.add_typer(laws, name="laws")
app.command()(recommend)
app.command()(knowledge)
app.command()(import_questions)
app.command()(evaluate)
app.command()(classify)
app.command()(baselines)
for command in (export, serve, push, vllm_check):
    app.command()(command)

StudyFile = Annotated[Path, typer.Argument(help="The study's YAML file.", show_default=False)]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of the artifact store.")]
Workers = Annotated[int, typer.Option(help="Processes that compute steps.", min=1)]
Output = Annotated[
    Path | None, typer.Option("--output", help="Folder of the results; default outputs/NAME.")
]
STORE = Path("outputs/store")
_INTERRUPTED = 130
"""Exit code that typer makes of Ctrl-C."""


@lab.command("train-teacher")
def lab_train_teacher(
    out: Annotated[Path, typer.Option(help="Folder to write the checkpoint into.")],
    seed: Annotated[
        int, typer.Option(help="Seed of weights and texts.", min=0, max=LARGEST_SEED)
    ] = 0,
) -> None:
    """Train the lab's teacher from scratch and save it as an ordinary Hugging Face folder."""
    from distillscale.commands.teacher import train_lab_teacher

    train_lab_teacher(out, seed)


@study.command("plan")
def study_plan(
    file: StudyFile,
    store: StoreFolder = STORE,
    workers: Workers = 1,
    why: Annotated[
        str | None, typer.Option(help="A step's name or key: say why it is not cached.")
    ] = None,
) -> None:
    """Say how many steps a study has, how many are cached, and the minutes that are left."""
    from distillscale.commands.study import plan_study

    plan_study(file, store, workers=workers, step=why)


@study.command("run")
def study_run(
    file: StudyFile,
    store: StoreFolder = STORE,
    output: Output = None,
    workers: Workers = 1,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Where annotation.served_model is served, like http://HOST:8000/v1."),
    ] = None,
    api_key_variable: ApiKeyVariable = None,
) -> None:
    """Compute what is missing of a study, and write results, laws and report."""
    from distillscale.commands.study import run_study

    run_study(
        file,
        store,
        output,
        workers=workers,
        endpoint=endpoint,
        api_key_variable=api_key_variable,
    )


@study.command("results")
def study_results(file: StudyFile, store: StoreFolder = STORE, output: Output = None) -> None:
    """Rebuild a study's results table from its artifacts."""
    from distillscale.commands.study import write_results_of

    write_results_of(file, store, output)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    from distillscale.studies.study_file import Study

    print(json.dumps(Study.model_json_schema(), indent=2))


@app.command()
def compress(
    model: Annotated[str, typer.Option(help="`lab`, a checkpoint folder, or a hub name.")],
    data: Annotated[Path, typer.Option(help="Labelled file: CSV, JSONL or Parquet.")],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")],
    label_column: Annotated[str, typer.Option(help="Column of the gold labels.")],
    out: Annotated[Path, typer.Option(help="New folder for the deployable model.")],
    keep: Annotated[
        float, typer.Option(help="Prune ratio: share of the parameters to keep, 0 to 1.")
    ] = 0.5,
    stages: Annotated[int, typer.Option(help="Stages of the uniform schedule.", min=1)] = 2,
    supervision: Annotated[str, typer.Option(help="label, cot or blended.")] = "label",
    method: Annotated[str, typer.Option(help="logit or lora.")] = "logit",
    steps: Annotated[int, typer.Option(help="Distillation steps a stage.", min=1)] = 200,
    batch_size: Annotated[int, typer.Option(help="Sequences in a step.", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.", min=0)] = 1e-3,
    correction_steps: Annotated[
        int, typer.Option(help="Fine-tune the teacher on the gold labels first.", min=0)
    ] = 0,
    test_data: Annotated[
        Path | None, typer.Option(help="Test file; texts that DATA holds too are dropped from it.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of splits and training.", min=0, max=LARGEST_SEED)
    ] = 0,
    store: StoreFolder = STORE,
    workers: Workers = 1,
) -> None:
    """Prune and distill your own model on your own labelled file, into a deployable folder."""
    from distillscale.commands.compress import CompressRequest
    from distillscale.commands.compress import compress as run

    request = CompressRequest(
        model=model,
        data=data,
        text_column=text_column,
        label_column=label_column,
        keep=keep,
        stages=stages,
        supervision=supervision,
        method=method,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        correction_steps=correction_steps,
        test_data=test_data,
        seed=seed,
    )
    run(request, out, store, workers=workers)


@app.command()
def prune(
    model: Annotated[
        str,
        typer.Argument(help="`lab`, a checkpoint folder, or a hub name.", show_default=False),
    ],
    keep: Annotated[
        float, typer.Option(help="Share of the model's non-embedding parameters to keep, 0 to 1.")
    ],
    calibration: Annotated[
        Path,
        typer.Option(
            help="Texts that tell what is important, 1,024 tokens of each: CSV, JSONL or Parquet, "
            "or one text a line in a .txt file."
        ),
    ],
    text_column: Annotated[str | None, typer.Option(help="Column of the texts.")] = None,
    axes: Annotated[
        str, typer.Option(help="What may be cut: depth, mlp, heads, groups, hidden, experts.")
    ] = "depth,mlp",
    multiple: Annotated[
        int, typer.Option(help="MLP and hidden widths are multiples of this.", min=1)
    ] = 8,
    layer_criterion: Annotated[
        str,
        typer.Option(help="block_influence, angular_distance, perplexity, magnitude or random."),
    ] = "block_influence",
    channel_criterion: Annotated[
        str, typer.Option(help="mean_absolute, l2, contribution, magnitude or random.")
    ] = "mean_absolute",
    candidates: Annotated[
        int, typer.Option(help="Shapes to try out; the one nearest to the model is taken.", min=1)
    ] = 1,
    seed: Annotated[
        int, typer.Option(help="Seed of the criteria `random`.", min=0, max=LARGEST_SEED)
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="New folder for the pruned checkpoint.")] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Print the plan and write nothing.")
    ] = False,
) -> None:
    """Cut a model to a size, by what is important on your own texts, without training it."""
    from distillscale.commands.prune import PruneRequest
    from distillscale.commands.prune import prune as run

    if (out is None) != plan_only:
        raise InputError("give either --out, a new folder for the pruned model, or --plan-only.")
    request = PruneRequest(
        model=model,
        keep=keep,
        calibration=calibration,
        text_column=text_column,
        axes=axes,
        multiple=multiple,
        layer_criterion=layer_criterion,
        channel_criterion=channel_criterion,
        candidates=candidates,
        seed=seed,
    )
    run(request, out)


def main() -> None:
    """Run the command line; deliberate errors become one sentence and an exit code."""
    try:
        app()
    except DistillscaleError as error:
        prefix = "" if isinstance(error, InputError) else "error: "
        print(f"{prefix}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("stopped; what was finished is kept.", file=sys.stderr)
        raise
