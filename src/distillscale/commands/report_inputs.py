"""What a study's report shows, gathered from its artifacts, results and laws."""

import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distillscale import __version__
from distillscale.commands.report_answers import answer_sheets, judged_students
from distillscale.commands.report_baselines import weighed
from distillscale.commands.report_decision import decisions
from distillscale.commands.report_joint_laws import (
    joint_laws_table,
    joint_lines,
    joint_points,
    with_own_name,
)
from distillscale.commands.report_laws import (
    collapses,
    comparisons,
    exponents,
    law_curves,
    law_lines,
    law_points,
)
from distillscale.data.embedding import load_embedder
from distillscale.data.leakage import encode_all
from distillscale.data.similarity import nearest_cosines
from distillscale.errors import InputError
from distillscale.laws import JointFit, LawFit, certificate_table, laws_table, recommend, recover
from distillscale.report.inputs import ReportInputs, Segment, TraceSample, empty_table
from distillscale.studies.graph import StudyGraph
from distillscale.studies.identity import library_versions
from distillscale.studies.manifest import read_manifest
from distillscale.studies.store import Store
from distillscale.studies.study_file import Study
from distillscale.studies.tables import baselines_table
from distillscale.tasks import Example, Trace
from distillscale.tasks.records import read_records

_EMBEDDED, _COMPARED = 100_000, 2000
"""Training texts that are embedded, and of these whose nearest is looked for; for time's sake."""
_KEEP_F1, _KEEP_GENERAL = 0.9, 0.8


def report_inputs(
    study: Study,
    graph: StudyGraph,
    store: Store,
    results: pd.DataFrame,
    laws: Sequence[LawFit],
    command: str,
    joint: Sequence[JointFit] = (),
) -> ReportInputs:
    """Gather what the report shows; `laws` and `joint` are those of the results."""
    recovery = recover(results)
    contrasts, shares = comparisons(results)
    baselines = baselines_table(graph, store)
    asked = weighed(decisions(study, results, laws), baselines)
    return ReportInputs(
        title=study.name,
        facts=_facts(study, graph, results)
        | {"Annotation": _agreement(graph, store)}
        | _leakage_guard(graph, store),
        results=results,
        laws=_together(laws_table(laws), joint_laws_table(joint)),
        curves=law_curves(laws),
        recovery=recovery.table.rename(columns={"recovery": "difference"}),
        recommendation=_recommendations(results, laws),
        labels=_labels(graph, store),
        traces=tuple(_trace_samples(study, graph, store)),
        embedding=_maps(graph, store),
        lengths=_lengths(graph, store),
        similarities=_similarities(graph, store),
        law_lines=law_lines(laws),
        law_points=law_points(results, laws),
        joint_lines=joint_lines(results, joint),
        joint_points=joint_points(results, joint),
        certificates=_together(
            certificate_table(laws), with_own_name(certificate_table(joint), joint)
        ),
        exponents=exponents(laws),
        collapse=collapses(results),
        contrasts=contrasts,
        shares=shares,
        baselines=baselines,
        hourly_price=study.evaluation.hourly_price,
        decisions=asked,
        sheets=answer_sheets(graph, store, results, asked),
        judged=judged_students(graph, store, results, asked),
        notes=tuple(_notes(results, graph, baselines)),
        command=command,
    )


def _together(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows of both tables; an empty one says nothing of the types of its columns."""
    return pd.concat([first, second], ignore_index=True) if len(second) else first


def _facts(study: Study, graph: StudyGraph, results: pd.DataFrame) -> dict[str, str]:
    teacher = results[results["stage"] == 0]
    libraries = library_versions("torch", "transformers", "peft")
    size = f"{teacher['params'].iloc[0]:,.0f}" if len(teacher) else "unknown"
    return {
        "Teacher": f"{study.teacher.model}, {size} non-embedding parameters",
        "Cells": f"{len(graph.stages)} ({results['cell'].nunique()} with results)",
        "Data": f"{study.dataset.source}: {study.train_examples:,} training examples, "
        f"{study.dataset.test:,} test examples",
        "Distillation": f"{study.distillation.steps} steps of {study.distillation.batch_size} "
        "sequences a stage",
        "Teacher's distribution": _distribution(study),
        "Machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "Versions": ", ".join(
            [f"distillscale {__version__}", *(f"{n} {v}" for n, v in libraries.items())]
        ),
        "Made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _distribution(study: Study) -> str:
    """How students were shown what the teacher predicts."""
    recipe = study.distillation
    if recipe.teacher == "online":
        return "exact, computed at every step"
    if recipe.teacher_top_k is None:
        return "exact, computed once"
    return (
        f"its {recipe.teacher_top_k:,} most likely tokens and the mass left over, computed once "
        f"at temperature {recipe.temperature:g}"
    )


def _agreement(graph: StudyGraph, store: Store) -> str:
    """How many of the teacher's traces agree with gold; those that were not parsed stand apart."""
    clauses = [
        f"{task}, thinking {thinking}: {report['agreed']:,} of {report['parsed']:,} parsed "
        f"traces agree with gold, {report['unparsed']:,} unparsed"
        for (task, thinking), (_, report) in _annotations(graph, store).items()
    ]
    return "; ".join(clauses) or "no traces yet"


def _recommendations(results: pd.DataFrame, laws: Sequence[LawFit]) -> str:
    """Two demands that need no taste: keep most of the teacher's macro F1, and its knowledge."""
    texts = []
    for task, rows in results.groupby("task"):
        teacher = rows[rows["stage"] == 0].groupby("metric")["value"].max()
        demands = [{"macro_f1": _KEEP_F1}, {"macro_f1": _KEEP_F1, "general": _KEEP_GENERAL}]
        for demand in demands:
            if all(name in teacher for name in demand):
                minimum = {name: round(share * teacher[name], 4) for name, share in demand.items()}
                texts.append(_recommended(results, laws, minimum, str(task), demand))
    return "\n\n".join(texts)


def _recommended(
    results: pd.DataFrame,
    laws: Sequence[LawFit],
    minimum: dict[str, float],
    task: str,
    demand: dict[str, float],
) -> str:
    shares = " and ".join(f"{share:.0%} of the teacher's {name}" for name, share in demand.items())
    try:
        answer = recommend(results, laws, minimum, {}, task=task).as_text()
    except InputError as error:
        answer = str(error)
    return f"{task}: keep {shares}\n{answer}"


def _labels(graph: StudyGraph, store: Store) -> pd.DataFrame:
    rows = []
    for task, folder in _datasets(graph, store):
        examples = read_records(folder / "train.parquet", Example)
        counts = Counter((example.label, example.category) for example in examples)
        rows += [
            {"task": task, "label": label, "category": category, "count": count}
            for (label, category), count in counts.items()
        ]
    return pd.DataFrame(rows) if rows else empty_table("labels")


def _maps(graph: StudyGraph, store: Store) -> pd.DataFrame:
    maps = [
        pd.read_parquet(folder / "map.parquet").assign(task=task)
        for task, folder in _datasets(graph, store)
    ]
    return pd.concat(maps, ignore_index=True) if maps else empty_table("embedding")


def _lengths(graph: StudyGraph, store: Store) -> pd.DataFrame:
    """How many training texts there are of each length in characters."""
    tables = [empty_table("lengths")]
    for task, folder in _datasets(graph, store):
        texts = pd.read_parquet(folder / "train.parquet", columns=["text"])["text"]
        counts = texts.str.len().value_counts().rename_axis("characters")
        tables.append(counts.reset_index(name="count").assign(task=task))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _similarities(graph: StudyGraph, store: Store) -> pd.DataFrame:
    """How similar training texts are to their nearest; of many, the first are looked at."""
    tables = [empty_table("similarities")]
    embedder = load_embedder("hashed")
    for task, folder in _datasets(graph, store):
        texts = pd.read_parquet(folder / "train.parquet", columns=["text"])["text"]
        vectors = encode_all(texts.tolist()[:_EMBEDDED], embedder)
        found = nearest_cosines(vectors, np.arange(min(len(vectors), _COMPARED)))
        table = pd.DataFrame({"similarity": found, "compared": len(vectors)})
        tables.append(table.assign(task=task))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _leakage_guard(graph: StudyGraph, store: Store) -> dict[str, str]:
    """What was done so that no text of a user's is trained and tested on; nothing for the lab."""
    sentences = []
    for task, folder in _datasets(graph, store):
        extra = read_manifest(folder).extra
        if "grouped" not in extra:
            continue
        sentence = f"{extra['grouped']:,} texts in groups of near-duplicates kept on one side"
        if "dropped_near" in extra:
            sentence += (
                f"; of the test file, {extra['dropped_same']:,} texts dropped that are trained "
                f"on, {extra['dropped_near']:,} that have a near-duplicate there"
            )
        sentences.append(f"{task}: {sentence}")
    return {"Leakage guard": "; ".join(sentences)} if sentences else {}


def _datasets(graph: StudyGraph, store: Store) -> Iterator[tuple[str, Path]]:
    """The datasets that are there; where its source was wrong, there is none."""
    for task, step in graph.datasets.items():
        folder = store.open(step)
        if folder is not None:
            yield task, folder


def _annotations(
    graph: StudyGraph, store: Store
) -> dict[tuple[str, str], tuple[Path, dict[str, Any]]]:
    """The folder and the report of the training traces that are there, by task and thinking."""
    folders = {name: store.open(step) for name, step in graph.traces.items()}
    return {
        name: (folder, json.loads((folder / "report.json").read_text()))
        for name, folder in folders.items()
        if folder is not None
    }


def _trace_samples(study: Study, graph: StudyGraph, store: Store) -> Iterator[TraceSample]:
    """The first agreeing trace of each supervision of each task, with mean lengths."""
    used = {(cell.task, cell.supervision, cell.thinking) for cell in graph.stages}
    annotations = _annotations(graph, store)
    for task, supervision, thinking in sorted(used):
        if supervision == "none" or (task, thinking) not in annotations:
            continue
        folder, report = annotations[task, thinking]
        traces = read_records(folder / "traces.parquet", Trace)
        trace = next((trace for trace in traces if trace.agrees), None)
        if trace is None or trace.label is None:
            continue
        reasoning, answer = report["reasoning_tokens"], report["answer_tokens"]
        shares = {
            "label": 1.0,
            "cot": answer / (answer + reasoning),
            "blended": study.distillation.answer_weight,
        }
        cut = _answer_place(trace.completion, trace.label)
        parts = (
            Segment(trace.completion[:cut], "reasoning"),
            Segment(trace.completion[cut:], "answer"),
        )
        yield TraceSample(
            task=task,
            supervision=supervision,
            thinking=thinking,
            prompt=_text_of(graph, store, task, trace.example_id),
            segments=tuple(part for part in parts if part.text.strip()),
            mean_reasoning_tokens=reasoning,
            mean_answer_tokens=answer,
            answer_share=shares[supervision],
        )


def _answer_place(completion: str, label: str) -> int:
    """Where the answer begins: a model may write a label in other capitals than the task's."""
    places = [found.start() for found in re.finditer(re.escape(label), completion, re.IGNORECASE)]
    return places[-1] if places else 0


def _text_of(graph: StudyGraph, store: Store, task: str, example_id: str) -> str:
    examples = read_records(store.folder(graph.datasets[task]) / "train.parquet", Example)
    return next(example.text for example in examples if example.id == example_id)


def _notes(results: pd.DataFrame, graph: StudyGraph, baselines: pd.DataFrame) -> Iterator[str]:
    seeds = results["seed"].nunique()
    if seeds < 3:
        yield (
            f"Seeds: {seeds}. Intervals of measured values cover the sampling of test examples "
            "only; those of laws and of new runs take how runs differ from what the laws miss."
        )
    yield (
        "Timings were taken while other steps ran on the same machine; compare them within this "
        "report only."
    )
    if len(baselines):
        yield (
            "TF-IDF and encoders are timed from text to decision, language models from their "
            "encoded prompt on. Baselines were not tuned."
        )
    missing = [cell.cell for cell in graph.stages if cell.cell not in set(results["cell"])]
    if missing:
        yield f"Cells without results: {', '.join(missing)}."
