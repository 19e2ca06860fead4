"""The command line of `data`: make, import, deduplicate, split and look at corpora."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from distillscale.cli.options import LARGEST_SEED, ApiKeyVariable

Split = Literal["train", "validation", "test"]  # as in `tasks`, which is slow to import
Threshold = Annotated[
    float, typer.Option(help="Cosine from which two texts are near-duplicates.", max=1)
]
EmbedderName = Annotated[
    str, typer.Option("--embedder", help="`hashed`, or a model of sentence-transformers.")
]
EndpointUrl = Annotated[
    str | None, typer.Option(help="OpenAI-compatible server, as http://localhost:8000/v1.")
]
Concurrency = Annotated[int, typer.Option(help="Requests under way at once.", min=1)]
TokenBudget = Annotated[
    int | None, typer.Option(help="Most tokens, of prompts and answers, of all runs.", min=1)
]
MoneyBudget = Annotated[
    float | None, typer.Option(help="Most money, in the currency of the prices.", min=0)
]
PromptPrice = Annotated[float, typer.Option(help="Of a million prompt tokens.", min=0)]
CompletionPrice = Annotated[float, typer.Option(help="Of a million answer tokens.", min=0)]

data = typer.Typer(help="Corpora: make, curate, look at them.", no_args_is_help=True)


@data.command("dedup")
def data_dedup(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.", show_default=False)],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")],
    out: Annotated[Path, typer.Option(help="New folder for kept and dropped rows.")],
    threshold: Threshold = 0.9,
    embedder: EmbedderName = "hashed",
) -> None:
    """Drop the near-duplicates of a file's text column; every dropped row names its keeper."""
    from distillscale.commands.data_dedup import dedup_file

    dedup_file(file, text_column, threshold, embedder, out)


@data.command("generate")
def data_generate(
    task: Annotated[
        str, typer.Argument(help="A built-in task, or a task's YAML file.", show_default=False)
    ],
    target: Annotated[int, typer.Option(help="Texts wanted.", min=1)],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command goes on in it.")],
    generator: Annotated[str, typer.Option(help="lab (its grammar) or endpoint.")] = "lab",
    threshold: Threshold = 0.9,
    embedder: EmbedderName = "hashed",
    batch_size: Annotated[
        int | None,
        typer.Option(help="Drafts an iteration; default target / 5, 50 to 20,000.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all choices.", min=0, max=LARGEST_SEED)] = 0,
    share: Annotated[
        list[str] | None,
        typer.Option(help="CATEGORY=SHARE wanted; the others divide the rest evenly."),
    ] = None,
    min_acceptance: Annotated[
        float,
        typer.Option(help="Stop when less than this of three iterations' drafts is accepted."),
    ] = 0.02,
    few_shot: Annotated[
        int, typer.Option(help="Examples of each category shown to the generator.", min=0)
    ] = 3,
    language: Annotated[str, typer.Option(help="Of the texts: en, de, fr, ru, zh, ...")] = "en",
    shortest: Annotated[int, typer.Option(help="Characters of a text, at least.", min=1)] = 12,
    longest: Annotated[int, typer.Option(help="Characters of a text, at most.", min=1)] = 300,
    ban: Annotated[list[str] | None, typer.Option(help="A string that no text may hold.")] = None,
    endpoint: EndpointUrl = None,
    model: Annotated[str | None, typer.Option(help="The endpoint's name of the model.")] = None,
    api_key_variable: ApiKeyVariable = None,
    concurrency: Concurrency = 8,
    token_budget: TokenBudget = None,
    money_budget: MoneyBudget = None,
    prompt_price: PromptPrice = 0.0,
    completion_price: CompletionPrice = 0.0,
) -> None:
    """Make a corpus: generate, filter, deduplicate, choose examples, re-weight; and again."""
    from distillscale.commands.data_generate import GenerateRequest, generate

    request = GenerateRequest(
        task=task,
        target=target,
        generator=generator,
        threshold=threshold,
        embedder=embedder,
        batch_size=batch_size,
        seed=seed,
        shares=tuple(share or ()),
        min_acceptance=min_acceptance,
        few_shot=few_shot,
        language=language,
        shortest=shortest,
        longest=longest,
        banned=tuple(ban or ()),
        endpoint=endpoint,
        model=model,
        api_key_variable=api_key_variable,
        concurrency=concurrency,
        token_budget=token_budget,
        money_budget=money_budget,
        prompt_price=prompt_price,
        completion_price=completion_price,
    )
    generate(request, out)


@data.command("annotate")
def data_annotate(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.", show_default=False)],
    task: Annotated[str, typer.Option(help="A built-in task, or a task's YAML file.")],
    model: Annotated[
        str,
        typer.Option(help="The endpoint's name of the teacher; else `lab`, a folder, a hub name."),
    ],
    out: Annotated[Path, typer.Option(help="Folder; one that holds this run is gone on with.")],
    endpoint: EndpointUrl = None,
    engine: Annotated[
        str, typer.Option(help="What runs a local model: transformers, or vllm (on a GPU).")
    ] = "transformers",
    supervision: Annotated[
        str, typer.Option(help="label, cot or blended (asked for like cot).")
    ] = "label",
    thinking: Annotated[
        str | None, typer.Option(help="none, brief or full; default none for label, else full.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(help="Token budget of reasoning and answer together.", min=1)
    ] = 256,
    votes: Annotated[int, typer.Option(help="Answers to each text.", min=1)] = 1,
    temperature: Annotated[
        float | None, typer.Option(help="Default 0 for one vote, 1 for several.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="Column of gold labels, to compare the votes with.")
    ] = None,
    top_log_probs: Annotated[
        int,
        typer.Option(help="Log-probabilities to keep a token (endpoint or vllm).", min=0),
    ] = 0,
    reasoning_effort: Annotated[
        str | None, typer.Option(help="Passed on to hosted models that take it.")
    ] = None,
    api_key_variable: ApiKeyVariable = None,
    concurrency: Concurrency = 8,
    timeout: Annotated[float, typer.Option(help="Longest silence of the server, seconds.")] = 120.0,
    stream: Annotated[
        bool, typer.Option("--stream", help="Get answers piece by piece (long reasoning).")
    ] = False,
    token_budget: TokenBudget = None,
    money_budget: MoneyBudget = None,
    prompt_price: PromptPrice = 0.0,
    completion_price: CompletionPrice = 0.0,
    traces_for: Annotated[
        str | None,
        typer.Option(help="A student (`lab`, folder, hub name): write traces with its tokenizer."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the votes.", min=0, max=2**31 - 1)] = 0,
) -> None:
    """Let a teacher label texts, with k votes, their agreement and the reasoning kept."""
    from distillscale.commands.data_annotate import AnnotateRequest, annotate_file
    from distillscale.models.endpoint import Budget, EndpointSettings

    request = AnnotateRequest(
        file=file,
        task=task,
        text_column=text_column,
        label_column=label_column,
        supervision=supervision,
        thinking=thinking,
        max_new_tokens=max_new_tokens,
        model=model,
        engine=engine,
        endpoint=endpoint,
        votes=votes,
        temperature=temperature,
        seed=seed,
        top_log_probs=top_log_probs,
        reasoning_effort=reasoning_effort,
        traces_for=traces_for,
    )
    budget = Budget(token_budget, money_budget, prompt_price, completion_price)
    settings = None
    if endpoint is not None:
        settings = EndpointSettings(
            endpoint,
            model,
            api_key_variable=api_key_variable,
            concurrency=concurrency,
            timeout_seconds=timeout,
            stream=stream,
        )
    annotate_file(request, settings, budget, out)


@data.command("instruct")
def data_instruct(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.", show_default=False)],
    task: Annotated[str, typer.Option(help="A built-in task, or a task's YAML file.")],
    endpoint: Annotated[str, typer.Option(help="OpenAI-compatible server, as http://HOST/v1.")],
    model: Annotated[str, typer.Option(help="The endpoint's name of the teacher.")],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")],
    label_column: Annotated[str, typer.Option(help="Column of the gold labels.")],
    out: Annotated[Path, typer.Option(help="New folder for the report and the task's YAML.")],
    train: Annotated[int, typer.Option(help="Texts that instructions are scored on.", min=1)] = 100,
    validation: Annotated[
        int, typer.Option(help="Other texts, for macro F1 before and after.", min=1)
    ] = 200,
    proposals: Annotated[int, typer.Option(help="Instructions a round.", min=2)] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of proposals.", min=1)] = 2,
    thinking: Annotated[str, typer.Option(help="none, brief or full.")] = "none",
    max_new_tokens: Annotated[
        int, typer.Option(help="Token budget of reasoning and answer together.", min=1)
    ] = 256,
    api_key_variable: ApiKeyVariable = None,
    concurrency: Concurrency = 8,
    token_budget: Annotated[
        int, typer.Option(help="Most tokens, of prompts and answers together.", min=1)
    ] = 2_000_000,
    seed: Annotated[
        int, typer.Option(help="Seed of the split and the proposals.", min=0, max=2**31 - 1)
    ] = 0,
) -> None:
    """Let DSPy look for a better instruction for the teacher: macro F1 before and after."""
    from distillscale.commands.data_instruct import InstructRequest, improve_instruction
    from distillscale.models.endpoint import EndpointSettings

    request = InstructRequest(
        file=file,
        task=task,
        text_column=text_column,
        label_column=label_column,
        train=train,
        validation=validation,
        proposals=proposals,
        rounds=rounds,
        thinking=thinking,
        max_new_tokens=max_new_tokens,
        token_budget=token_budget,
        seed=seed,
    )
    settings = EndpointSettings(
        endpoint, model, api_key_variable=api_key_variable, concurrency=concurrency
    )
    improve_instruction(request, settings, out)


@data.command("import")
def data_import(
    source: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet file, a dataset on the hub (`nvidia/FinHeadlineMix` "
            "needs no columns), or a folder laid out like one.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder of the corpus and its data card.")],
    task: Annotated[
        str | None, typer.Option(help="Built-in task or YAML file whose classes the labels are.")
    ] = None,
    labels_from_file: Annotated[
        bool, typer.Option("--labels-from-file", help="Make a task of the labels that occur.")
    ] = False,
    text_column: Annotated[str | None, typer.Option(help="Column of the texts.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the gold labels.")] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of unique ids; else rows are numbered.")
    ] = None,
    category_column: Annotated[
        str | None, typer.Option(help="Column of the labels' categories.")
    ] = None,
    label_names: Annotated[
        Path | None, typer.Option(help="Class names, one a line, where labels are numbers from 0.")
    ] = None,
    split: Annotated[
        Split, typer.Option(help="What the rows are called; of a dataset, the split to read.")
    ] = "train",
    revision: Annotated[
        str | None, typer.Option(help="Commit or tag of a dataset on the hub.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a text file that is not UTF-8, for example cp1252.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="What the data card says of it.")] = None,
    drop_bad_rows: Annotated[
        bool, typer.Option("--drop-bad-rows", help="Leave bad rows out, counted by reason.")
    ] = False,
) -> None:
    """Make a checked corpus of a labelled table: Parquet, its task, and a data card."""
    from distillscale.commands.data_import import ImportRequest, import_data

    request = ImportRequest(
        source=source,
        task=task,
        labels_from_file=labels_from_file,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
        category_column=category_column,
        label_names=label_names,
        split=split,
        revision=revision,
        encoding=encoding,
        licence=licence,
        drop_bad_rows=drop_bad_rows,
    )
    import_data(request, out)


@data.command("split")
def data_split(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of a corpus, or an examples file.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="New folder for train, validation and test.")],
    validation: Annotated[
        float, typer.Option(help="Validation examples; under 1, their share.", min=0)
    ] = 0.1,
    test: Annotated[float, typer.Option(help="Test examples; under 1, their share.", min=0)] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the split.", min=0)] = 0,
    threshold: Threshold = 0.9,
    embedder: EmbedderName = "hashed",
    licence: Annotated[str | None, typer.Option(help="What the data card says of it.")] = None,
) -> None:
    """Split a corpus by class, keeping near-duplicates together; a prefix of train is a subset."""
    from distillscale.commands.data_split import SplitRequest, split_corpus

    request = SplitRequest(
        corpus=corpus,
        validation=validation,
        test=test,
        seed=seed,
        threshold=threshold,
        embedder=embedder,
        licence=licence,
    )
    split_corpus(request, out)


@data.command("check")
def data_check(
    file: Annotated[
        Path, typer.Argument(help="CSV, JSONL or Parquet: the test side.", show_default=False)
    ],
    other: Annotated[
        Path, typer.Argument(help="CSV, JSONL or Parquet: the train side.", show_default=False)
    ],
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    other_text_column: Annotated[
        str | None, typer.Option(help="Column of the texts in OTHER, where it differs.")
    ] = None,
    threshold: Threshold = 0.9,
    embedder: EmbedderName = "hashed",
    out: Annotated[
        Path | None, typer.Option(help="New .parquet file with every leak and its counterpart.")
    ] = None,
) -> None:
    """Look for texts of FILE that OTHER has too: exit code 1 if there are any, else 0."""
    from distillscale.commands.data_check import check_files

    if check_files(file, other, text_column, other_text_column, threshold, embedder, out):
        raise typer.Exit(1)


@data.command("view")
def data_view(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of a corpus, or an examples file.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="New folder for the page and its pictures.")],
    threshold: Threshold = 0.9,
    embedder: EmbedderName = "hashed",
    seed: Annotated[int, typer.Option(help="Seed of samples and map.", min=0)] = 0,
) -> None:
    """Draw labels, lengths, near-duplicates and a map of a corpus, as a page and as PNG."""
    from distillscale.commands.data_view import view_corpus

    view_corpus(corpus, threshold, embedder, seed, out)
