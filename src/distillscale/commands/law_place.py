"""Where a model stands among fitted laws: what they predict for it, and what was measured."""

from collections.abc import Sequence

from distillscale.commands.model_card import LawPlace
from distillscale.commands.model_facts import ModelFacts
from distillscale.errors import InputError
from distillscale.laws.law_fit import LawFit
from distillscale.laws.settings import configuration_label, same_ratio

_METRICS = ("macro_f1", "gold_nll")


def law_places(fits: Sequence[LawFit], facts: ModelFacts, task: str) -> list[LawPlace]:
    """The place of a model in the size and data laws of its task and configuration.

    A data law counts only where its models were cut as far as this one.

    Raises:
        InputError: none of the laws is about the model's task and configuration.
    """
    own = [fit for fit in fits if _concerns(fit, facts, task)]
    if not own:
        wanted = configuration_label(facts.configuration, facts.thinking)
        known = sorted({str(fit.group.get("task")) for fit in fits}) or ["none"]
        raise InputError(
            f"--laws: it has no fitted size or data law of task `{task}`, {wanted}, to place the "
            f"model in; its tasks are {', '.join(known)}."
        )
    return [_place(fit, facts) for fit in own]


def _concerns(fit: LawFit, facts: ModelFacts, task: str) -> bool:
    same = {
        "task": task,
        "supervision": facts.supervision,
        "method": facts.method,
        "thinking": facts.thinking,
    }
    if fit.form not in ("size", "data") or fit.metric not in _METRICS or fit.x_range is None:
        return False
    if any(fit.group.get(name) != value for name, value in same.items()):
        return False
    ratio = fit.group.get("final_ratio")
    return fit.form == "size" or ratio is None or same_ratio(float(ratio), facts.prune_ratio)


def _place(fit: LawFit, facts: ModelFacts) -> LawPlace:
    at = {
        "params": facts.params,
        "params_with_embeddings": facts.params_with_embeddings,
        "dataset_size": facts.data.train,
    }[fit.x]
    prediction = fit.predict(at)
    common = ("schedule", "stages", "dataset_size")
    shown = [f"{name} {fit.group[name]}" for name in common if name in fit.group]
    return LawPlace(
        law=fit.form,
        metric=fit.metric,
        x=fit.x,
        at=at,
        predicted=prediction.value,
        low=prediction.low,
        high=prediction.high,
        level=fit.level,
        inside=prediction.inside,
        measured=facts.measured(fit.metric),
        fitted_on=", ".join(shown),
    )
