"""The report's first page: which model to make for each task, by one stated rule."""

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

import numpy as np
import pandas as pd

from distillscale.commands.study_cell import as_yaml, study_of
from distillscale.errors import InputError
from distillscale.laws import LawFit, Recommendation, recommend
from distillscale.laws.advice import Candidate
from distillscale.laws.advice.recommend import SURE
from distillscale.laws.advice.wording import describe_place
from distillscale.laws.cost import TIME_METRIC
from distillscale.report.decision import Decision, Option
from distillscale.studies.study_file import Study

KEEP_F1 = 0.95
"""The share of the teacher's macro F1 that the model must keep."""

_RECOMMEND = "distillscale recommend --results results.parquet"


def decisions(study: Study, results: pd.DataFrame, laws: Sequence[LawFit]) -> tuple[Decision, ...]:
    """The smallest model that keeps `KEEP_F1` of the teacher's macro F1, for each task."""
    found = (_decision(study, rows, laws) for _, rows in results.groupby("task", sort=False))
    return tuple(decision for decision in found if decision is not None)


def _decision(study: Study, rows: pd.DataFrame, laws: Sequence[LawFit]) -> Decision | None:
    task = str(rows["task"].iloc[0])
    values = rows[rows["stage"] == 0].groupby("metric")["value"].max().dropna()
    teacher = {str(name): float(value) for name, value in values.items()}
    if teacher.get("macro_f1", 0.0) <= 0:
        return None
    if teacher.get("general", 0.0) <= 0:  # nothing to keep a share of
        teacher.pop("general", None)
    threshold = round(KEEP_F1 * teacher["macro_f1"], 4)
    minimum = {"macro_f1": threshold}
    own = [law for law in laws if law.group.get("task") == task]
    try:
        answer = recommend(rows, own, minimum, {})
        measured = recommend(rows, (), minimum, {})
        # The same model as `answer.surer`, with its own forecast and probability.
        surer = recommend(rows, own, minimum, {}, confidence=SURE) if answer.surer else None
    except InputError as error:
        return Decision(task, _rule(teacher), threshold, str(error), (), (), "", "")
    several = f" --task {quote(task)}" if study_has_several(study) else ""
    return Decision(
        task=task,
        rule=_rule(teacher),
        threshold=threshold,
        sentence=_sentence(answer, teacher),
        options=tuple(_options(answer, measured, surer, rows, teacher)),
        remarks=answer.remarks,
        command=f"{_RECOMMEND}{several} --min macro_f1={threshold:g}",
        study_file=_study_file(study, answer, rows),
    )


def study_has_several(study: Study) -> bool:
    """Whether the study has more than one task, so that commands must name one."""
    return len({task for grid in study.grids for task in grid.tasks}) > 1


def _rule(teacher: Mapping[str, float]) -> str:
    return (
        f"the smallest model that keeps {KEEP_F1:.0%} of the teacher's macro F1 "
        f"({KEEP_F1:.0%} of {teacher['macro_f1']:.3f})"
    )


def _sentence(answer: Recommendation, teacher: Mapping[str, float]) -> str:
    """The answer in words; where nothing satisfies the rule, why."""
    choice = answer.choice
    if choice is None:
        return answer.decision()
    if choice.stage == 0:
        return f"No student: only the teacher itself, {choice.params:,} parameters, keeps it."
    sentence = (
        f"{choice.label}, {describe_place(choice)}, {choice.prune_ratio:.0%} of the teacher's "
        f"size: expected macro F1 {choice.value('macro_f1'):.3f}, "
        f"{choice.value('macro_f1') / teacher['macro_f1']:.0%} of the teacher's"
    )
    if "general" in teacher and np.isfinite(choice.value("general")):
        share = choice.value("general") / teacher["general"]
        sentence += (
            f"; general knowledge {choice.value('general'):.3f}, {share:.0%} of the teacher's"
        )
    if answer.together is not None:
        sentence += f". A new run keeps the rule with probability {answer.together:.2f}"
    made = "" if choice.stage is not None else "; it was not made yet, the laws predict it"
    return f"{sentence}{made}."


def _options(
    answer: Recommendation,
    measured: Recommendation,
    surer: Recommendation | None,
    rows: pd.DataFrame,
    teacher: Mapping[str, float],
) -> Iterator[Option]:
    """The answer first, then the nearest others; one that is listed already isn't repeated."""
    listed: list[tuple[object, ...]] = []
    for role, candidate, found in (
        ("smallest", answer.choice, answer),
        ("smallest measured", measured.choice, measured),
        (f"probability {SURE:g} or more", surer.choice if surer else None, surer),
        ("runner-up, another chain", answer.runner_up, None),
    ):
        if candidate is None:
            continue
        place = (candidate.setting, candidate.params, candidate.dataset_size)
        if place not in listed:
            listed.append(place)
            yield _option(role, candidate, found, rows, teacher)


def _option(
    role: str,
    candidate: Candidate,
    found: Recommendation | None,
    rows: pd.DataFrame,
    teacher: Mapping[str, float],
) -> Option:
    f1, general = candidate.value("macro_f1"), candidate.value("general")
    forecast = found.forecasts.get("macro_f1") if found else None
    interval = None
    if forecast is not None and forecast.low is not None and forecast.high is not None:
        interval = (forecast.low, forecast.high)
    known = "general" in teacher and np.isfinite(general)
    return Option(
        role=role,
        model=candidate.label,
        place=_place(candidate),
        params=candidate.params,
        params_with_embeddings=candidate.params_with_embeddings,
        share=candidate.prune_ratio,
        macro_f1=f1,
        interval=interval,
        f1_share=f1 / teacher["macro_f1"],
        general=general if known else None,
        general_share=general / teacher["general"] if known else None,
        milliseconds=_milliseconds(candidate, rows, "ms_per_example"),
        probability=found.together if found else None,
        batch_milliseconds=_milliseconds(candidate, rows, TIME_METRIC),
    )


def _place(candidate: Candidate) -> str:
    made = "not made yet" if candidate.stage is None else f"stage {candidate.stage}"
    examples = f", {candidate.dataset_size:,} examples" if candidate.method != "none" else ""
    return f"{candidate.schedule} in {candidate.stages}, {made}{examples}"


def _milliseconds(candidate: Candidate, rows: pd.DataFrame, metric: str) -> float | None:
    """Of this model, or of the measured one that it is derived from: the next larger."""
    made = candidate.anchor or candidate
    own = rows[
        (rows["metric"] == metric) & rows["cell"].isin(made.cells) & (rows["stage"] == made.stage)
    ]["value"].dropna()
    return float(own.mean()) if len(own) else None


def _study_file(study: Study, answer: Recommendation, rows: pd.DataFrame) -> str:
    """The study that makes the answer; nothing for the teacher or a cell of another study."""
    if answer.choice is None or answer.choice.stage == 0:
        return ""
    try:
        return as_yaml(study_of(answer.choice, study, seed=int(rows["seed"].max()) + 1))
    except InputError:
        return ""
