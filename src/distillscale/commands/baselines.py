"""`baselines`: what one would use instead of a student, trained and tested on the same rows."""

import json
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from distillscale.commands import contenders
from distillscale.commands.compress import CompressRequest, study_of_request
from distillscale.commands.contenders import Contender, Lesson
from distillscale.commands.cost_summary import scaled
from distillscale.commands.output import check_new_folder
from distillscale.commands.publication import TEST_FILE
from distillscale.commands.study import run_missing
from distillscale.distillation import DistillationSettings, TrainingSettings
from distillscale.errors import InputError
from distillscale.evaluation import Measurement, evaluate_text_classifier
from distillscale.laws.cost import TIME_METRIC
from distillscale.models.checkpoint import default_device, load_config, load_tokenizer
from distillscale.serving.deployment import has_deployment
from distillscale.studies.graph import DEFAULT_SECONDS, StageSteps, StudyGraph, study_graph
from distillscale.studies.identity import Step
from distillscale.studies.plan import make_plan
from distillscale.studies.store import Store
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.records import read_records
from distillscale.teachers.annotate import usable
from distillscale.teachers.logits import CachedTeacher

_REPLICATES = 1000
_TRACES, _LOGITS = "traces", "teacher_logits"


@dataclass(frozen=True)
class BaselinesRequest:
    """What a user asks `baselines` for; see the command's help for each field."""

    data: Path
    text_column: str
    label_column: str
    test_data: Path | None
    like: Path | None
    model: str | None
    correction_steps: int
    encoder: str | None
    steps: int
    batch_size: int
    learning_rate: float
    seed: int

    @property
    def as_compression(self) -> CompressRequest:
        """The request of `compress` with the same data, and so the same split and traces."""
        return CompressRequest(
            model=self.model or "lab",  # without a teacher only the split is computed
            data=self.data,
            text_column=self.text_column,
            label_column=self.label_column,
            keep=0.5,
            stages=1,
            supervision="label",
            method="logit",
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            correction_steps=self.correction_steps,
            test_data=self.test_data,
            seed=self.seed,
        )


def compare_baselines(
    request: BaselinesRequest, out: Path, store_folder: Path, *, workers: int
) -> None:
    """Train the baselines on the rows that `compress` trains on, and test them on its test rows.

    Raises:
        InputError: an argument, a model or the file is wrong, or `out` holds something already.
    """
    check_new_folder(out, "--out")
    if request.encoder is not None:
        load_config(request.encoder)
    if request.like is not None:
        load_config(request.like)
        load_tokenizer(request.like)
    elif request.model is not None:
        raise InputError("--model needs --like DIR: the shape that is distilled from this teacher.")
    study, task = study_of_request(request.as_compression)
    graph, store = study_graph(study, {task.name: task}), Store(store_folder)
    dataset, distill = graph.datasets[task.name], _distill_step(graph)
    wanted = [dataset]
    if request.model is not None:
        wanted += [distill.inputs[_TRACES], distill.inputs[_LOGITS]]
    plan, console = make_plan(wanted, store, DEFAULT_SECONDS), Console(stderr=True)
    failure = run_missing(plan, graph.sources, store, workers=workers, console=console)
    if failure is not None:
        raise failure
    train, test = (
        read_records(store.folder(dataset) / f"{split}.parquet", Example)
        for split in ("train", "test")
    )
    if request.like is not None and has_deployment(request.like):
        _check_student(request.like, test)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".baselines-") as name:
        folder = Path(name) / "baselines"
        folder.mkdir()
        parts = []
        for title, make in _makers(request, task, train, distill, store, folder):
            with console.status(title):
                contender = make()
                parts.append(_rows(contender, task, test))
        table = pd.concat(parts, ignore_index=True)
        _write(table, request, len(train), len(test), folder)
        folder.replace(out)
    print(_summary(table, len(train), len(test)))
    print(f"written: {out}")


def _distill_step(graph: StudyGraph) -> Step:
    """The step that distills the student of a request of `compress`."""
    stages: Sequence[StageSteps] = next(
        chain for cell, chain in graph.stages.items() if cell.method != "none"
    )
    step = stages[-1].distill
    assert step is not None
    return step


def _check_student(folder: Path, test: Sequence[Example]) -> None:
    """Refuse a student that was tested on other rows: it may have been trained on these.

    Raises:
        InputError: its test texts are missing, or are others.
    """
    file = folder / TEST_FILE
    if not file.is_file():
        raise InputError(f"--like {folder}: no {TEST_FILE}, so its test rows are not known.")
    lines = file.read_text(encoding="utf-8").splitlines()
    own = [(row["text"], row["label"]) for row in map(json.loads, lines)]
    if own != [(example.text, example.label) for example in test]:
        raise InputError(
            f"--like {folder}: it was tested on other rows; give the --data, --test-data and "
            "--seed that `compress` was given."
        )


def _makers(
    request: BaselinesRequest,
    task: Task,
    train: Sequence[Example],
    distill: Step,
    store: Store,
    folder: Path,
) -> list[tuple[str, Callable[[], Contender]]]:
    """What is compared, in the order of the table: what is shown meanwhile, and how it is made."""
    settings = TrainingSettings(
        steps=request.steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        seed=request.seed,
    )
    lesson, like = Lesson(task, train, settings), request.like
    makers: list[tuple[str, Callable[[], Contender]]] = [
        ("TF-IDF", partial(contenders.tfidf, lesson, folder / "tfidf")),
        ("encoder", partial(contenders.encoder, lesson, request.encoder, folder / "encoder")),
    ]
    if like is not None:
        place = folder / "same-shape-gold"
        makers.append(
            ("same shape, gold", partial(contenders.same_shape_gold, lesson, like, place))
        )
    if like is not None and request.model is not None:
        make = partial(_distilled, lesson, like, distill, store, folder / "same-shape-distilled")
        makers.append(("same shape, distilled", make))
    if like is not None and has_deployment(like):
        makers.append(("student", partial(contenders.student, like)))
    return makers


def _distilled(lesson: Lesson, like: Path, step: Step, store: Store, folder: Path) -> Contender:
    """Distilled as the student's step says, on its traces and the teacher's distribution there."""
    settings = DistillationSettings(**step.params["settings"])
    traces = read_records(store.folder(step.inputs[_TRACES]) / "traces.parquet", Trace)
    rows = usable(traces, step.params["filter"])
    if not rows:
        raise InputError(
            "--model: the teacher's answers agree with none of the gold labels; give it "
            "--correction-steps, as `compress` was given."
        )
    cached = CachedTeacher(
        store.folder(step.inputs[_LOGITS]), default_device(), temperature=settings.temperature
    )
    chosen = [traces[row] for row in rows]
    return contenders.same_shape_distilled(
        lesson, like, chosen, cached.select(rows), settings, folder
    )


def _rows(contender: Contender, task: Task, test: Sequence[Example]) -> pd.DataFrame:
    """One row a metric: in domain with bootstrap replicates, times from text to decision, size."""
    texts = [example.text for example in test]
    gold = [example.label for example in test]
    measured = [
        *evaluate_text_classifier(
            contender.score, texts, gold, task.labels, replicates=_REPLICATES
        ),
        Measurement("file_bytes", float(contender.file_bytes), None, 0),
    ]
    rows = [
        {
            "model": contender.name,
            "description": contender.description,
            "params_with_embeddings": contender.params,
            "training_seconds": contender.seconds,
            "metric": item.metric,
            "value": item.value,
            "low": (item.interval() or (None, None))[0],
            "high": (item.interval() or (None, None))[1],
            "chance": item.chance,
            "examples": item.examples,
            "replicates": list(item.replicates),
        }
        for item in measured
    ]
    return pd.DataFrame(rows).astype({"training_seconds": float, "low": float, "high": float})


def _write(
    table: pd.DataFrame, request: BaselinesRequest, train: int, test: int, folder: Path
) -> None:
    table.to_parquet(folder / "baselines.parquet", index=False)
    asked = {name: value for name, value in vars(request).items() if value is not None}
    rows = table.drop(columns="replicates").to_json(orient="records")
    content = {
        "request": {name: str(v) if isinstance(v, Path) else v for name, v in asked.items()},
        "train": train,
        "test": test,
        "interval": 0.9,
        "rows": json.loads(rows),
    }
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / "baselines.json").write_text(text + "\n", encoding="utf-8")


def _summary(table: pd.DataFrame, train: int, test: int) -> str:
    lines = [
        f"trained on {train:,} texts, tested on {test:,}; in brackets the middle 90 % of resamples "
        "of the test texts",
        f"{'':21}{'macro F1':24}{'accuracy':24}{'ms alone':>9}{'ms in 32':>9}{'file':>10}",
    ]
    records = table.to_dict("records")
    for model in table["model"].unique():
        own = {str(row["metric"]): row for row in records if row["model"] == model}
        quality = "".join(f"{_quality(own[name]):24}" for name in ("macro_f1", "accuracy"))
        alone, together = (own[name]["value"] for name in ("ms_per_example", TIME_METRIC))
        size = f"{scaled(own['file_bytes']['value'])}B"
        lines.append(f"{model:21}{quality}{alone:9.2f}{together:9.2f}{size:>10}")
    names = table.drop_duplicates("model")
    lines += [f"{row.model}: {row.description}" for row in names.itertuples()]
    lines.append("times are from text to decision, on this machine, now; nothing was tuned.")
    return "\n".join(lines)


def _quality(row: Mapping[Hashable, Any]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
