import json

import pandas as pd
import pytest
from advice_tables import noisy_study, repeated
from laws_tables import at_ratio, collapsed, exact, table

from distillscale.errors import InputError
from distillscale.laws import fit_laws, recommend
from distillscale.laws.advice import as_data, metrics_that_matter

SIZES = (100, 200, 400, 800)


@pytest.fixture(scope="module")
def noisy() -> tuple[pd.DataFrame, list]:
    study = noisy_study(3)
    return study, fit_laws(study)


def data_law_study() -> pd.DataFrame:
    """Macro F1 1 - 4 D^-.5 exactly, at one size."""
    return table([
        at_ratio(1, 0.4, cell=str(size), stages=1, dataset_size=size, **exact(1 - 4 * size**-0.5))
        for size in SIZES
    ])  # fmt: skip


def size_law_study() -> pd.DataFrame:
    rows = []
    for stage, ratio in enumerate((1.0, 0.7, 0.5, 0.35, 0.25)):
        general = collapsed(0.95, 0.4, 5, 0.175, ratio)
        rows.append(at_ratio(stage, ratio, stages=4, **exact(1 - 0.02 - 0.05 / ratio)))
        rows.append(
            at_ratio(stage, ratio, stages=4, metric="general", chance=0.175, **exact(general))
        )
    return table(rows)


def test_a_budget_of_examples_is_used_up_to_where_the_law_meets_the_demand() -> None:
    study = data_law_study()
    found = recommend(study, fit_laws(study), {"macro_f1": 0.83}, {"dataset_size": 700})
    # 1 - 4 D^-.5 = .83 at D = 554; the fewest examples that do are asked for.
    assert found.choice.stage is None
    assert found.choice.dataset_size == pytest.approx(554, rel=0.02)
    assert "this dataset size was not made" in " ".join(found.remarks)
    best = recommend(study, fit_laws(study), {}, {"dataset_size": 700}, objective="macro_f1")
    assert best.choice.dataset_size == pytest.approx(700, rel=0.02)
    assert recommend(study, [], {"macro_f1": 0.83}, {"dataset_size": 700}).choice is None


def test_beyond_the_range_only_when_asked_and_then_it_says_how_far() -> None:
    study = data_law_study()
    fits = fit_laws(study)
    assert recommend(study, fits, {"macro_f1": 0.9}, {}).choice is None
    found = recommend(study, fits, {"macro_f1": 0.9}, {}, extrapolate=True)
    assert found.choice.dataset_size == pytest.approx(1600, rel=0.05)
    assert found.choice.factor == pytest.approx(2, rel=0.05)
    (said,) = [remark for remark in found.remarks if "extrapolated" in remark]
    assert "a factor 2.1 beyond the fitted range (data law err(D) = e_inf + B D^-beta" in said
    assert "fitted over dataset_size 100 to 800" in said
    inside = recommend(study, fits, {"macro_f1": 0.85}, {}).forecasts["macro_f1"]
    outside = found.forecasts["macro_f1"]
    assert outside.high - outside.low > 3 * (inside.high - inside.low)
    assert "an allowance for the law's form beyond its range" in outside.covers


def test_smaller_sizes_than_measured_are_found_when_asked() -> None:
    study = size_law_study()
    demands = ({"macro_f1": 0.7}, {"params": 300_000})
    assert recommend(study, fit_laws(study), *demands).choice is None
    found = recommend(study, fit_laws(study), *demands, extrapolate=True)
    # .02 + .05 / r = .3 at r = .179
    assert found.choice.prune_ratio == pytest.approx(0.05 / 0.28, rel=0.05)
    assert found.choice.ratios == pytest.approx((0.7, 0.5, 0.35, 0.25, 0.179), rel=0.05)


@pytest.mark.parametrize(
    ("objective", "place"),
    [
        ("macro_f1", 0), ("min:macro_f1", 4), ("params", 4), ("max:params", 0),
        ("prune_ratio", 4), ("params_with_embeddings", 4),
    ],
)  # fmt: skip
def test_the_objective_is_the_users(objective: str, place: int) -> None:
    assert recommend(size_law_study(), [], {}, {}, objective=objective).choice.stage == place


def test_latency_is_an_objective_and_a_constraint_as_any_metric() -> None:
    rows = [
        *repeated({100: [0.80, 0.82], 200: [0.90, 0.91]}).to_dict("records"),
        *repeated({100: [5.0, 5.2], 200: [7.0, 7.1]}, "ms_per_example").to_dict("records"),
    ]
    study = table([row for row in rows if row["stage"] == 1])
    fastest = recommend(study, [], {"macro_f1": 0.7}, {}, objective="ms_per_example")
    assert fastest.choice.dataset_size == 100
    limited = recommend(study, [], {}, {"ms_per_example": 6}, objective="macro_f1")
    assert limited.choice.dataset_size == 100
    assert 0.9 < limited.together < 1
    assert recommend(study, [], {}, {}, objective="macro_f1").choice.dataset_size == 200


def test_a_cost_is_minimised_once_its_direction_is_said() -> None:
    study = table([
        at_ratio(1, 0.4, cell=str(size), stages=1, dataset_size=size, metric="dollars", value=cost)
        for size, cost in ((100, 20.0), (200, 3.0))
    ])  # fmt: skip
    assert recommend(study, [], {}, {}, objective="min:dollars").choice.dataset_size == 200
    assert recommend(study, [], {}, {"dollars": 5}).choice.dataset_size == 200
    with pytest.raises(InputError, match="write min:dollars or max:dollars"):
        recommend(study, [], {}, {}, objective="dollars")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "macrof1"}, r"--objective macrof1: .*did you mean `macro_f1`"),
        ({"objective": "max:"}, "--objective max:: no such metric or size"),
        ({"confidence": 1.0}, "--confidence 1: give a probability between 0 and 1"),
        ({"confidence": float("nan")}, "--confidence nan: give a probability"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recommend(size_law_study(), [], {}, {}, **options)


def test_an_objective_that_nobody_measured_is_refused() -> None:
    nothing = table([at_ratio(1, 0.5, value=float("nan"))])
    with pytest.raises(InputError, match="no model has a value of `macro_f1`"):
        recommend(nothing, [], {}, {}, objective="macro_f1")


def test_confidence_asks_for_a_surer_and_so_a_larger_model(noisy) -> None:
    demands = ({"macro_f1": 0.75, "general": 0.6}, {"params": 900_000})
    plain = recommend(*noisy, *demands)
    sure = recommend(*noisy, *demands, confidence=0.9)
    assert plain.together < 0.8 <= 0.9 <= sure.together
    assert sure.choice.params > plain.choice.params
    assert plain.surer is not None
    assert plain.choice.params < plain.surer.params <= sure.choice.params
    assert sure.surer is None
    none = recommend(*noisy, {"macro_f1": 0.75, "general": 0.6}, {"params": 520_000},
                     confidence=0.99)  # fmt: skip
    assert none.choice is None
    assert none.decision().startswith("Nothing satisfies all with the probability 0.99")
    assert "Closest: logit-cot" in none.conflict


def test_all_together_is_at_most_as_likely_as_each(noisy) -> None:
    found = recommend(*noisy, {"macro_f1": 0.75, "general": 0.6}, {"params": 900_000})
    assert found.together <= min(found.probabilities)
    assert found.together >= sum(found.probabilities) - 2 - 1e-9
    assert found.probabilities[2] == 1


def test_the_answer_changes_at_the_thresholds_that_are_named(noisy) -> None:
    demands = {"macro_f1": 0.75, "general": 0.6}
    found = recommend(*noisy, demands, {"params": 900_000})
    assert {flip.constraint.name for flip in found.flips} >= {"macro_f1", "general"}
    for flip in found.flips:
        bound = flip.constraint.bound
        minimum, maximum = dict(demands), {"params": 900_000.0}
        (minimum if bound == "min" else maximum)[flip.constraint.name] = flip.threshold
        again = recommend(*noisy, minimum, maximum).choice
        assert again == flip.answer
        assert again is None or again.setting != found.choice.setting or (
            again.stage, again.anchor) != (found.choice.stage, found.choice.anchor)  # fmt: skip
        # Half way to it the answer is still the same chain between the same stages.
        near = flip.constraint.threshold + 0.5 * (flip.threshold - flip.constraint.threshold)
        (minimum if bound == "min" else maximum)[flip.constraint.name] = near
        half = recommend(*noisy, minimum, maximum).choice
        assert half.setting == found.choice.setting


def test_runner_up_is_the_best_of_another_chain(noisy) -> None:
    found = recommend(*noisy, {"macro_f1": 0.75}, {})
    assert found.runner_up.setting != found.choice.setting
    assert found.runner_up.params >= found.choice.params
    alone = recommend(*noisy, {"macro_f1": 0.75, "general": 0.8}, {"params": 620_000})
    assert alone.choice is None or alone.runner_up is None


def test_next_runs_are_the_most_open_ones_that_could_change_the_answer(noisy) -> None:
    found = recommend(*noisy, {"macro_f1": 0.75, "general": 0.6}, {"params": 900_000})
    openness = [abs(run.probability - 0.5) for run in found.next_runs]
    assert openness == sorted(openness)
    assert len({run.candidate.setting for run in found.next_runs}) == len(found.next_runs)
    assert all(run.candidate.params <= found.choice.params for run in found.next_runs)
    assert all(run.repeats == (run.candidate.stage is not None) for run in found.next_runs)


def test_the_more_models_compete_the_more_optimistic_the_choice() -> None:
    def optimism(settings: int) -> float:
        values = {size: [0.78, 0.82] for size in range(100, 100 + settings)}
        study = repeated(values)
        study = study[study["stage"] == 1]
        found = recommend(study, [], {}, {}, objective="macro_f1")
        (said,) = [remark for remark in found.remarks if "look better" in remark]
        return float(said.split("macro_f1 by about ")[1].split(")")[0])

    assert optimism(1) == pytest.approx(0, abs=0.005)
    assert optimism(1) < optimism(3) < optimism(30)


def test_everything_that_is_said_is_also_data(noisy) -> None:
    for demands in (({"macro_f1": 0.75, "general": 0.6}, {}), ({"general": 0.999}, {})):
        found = recommend(*noisy, *demands)
        data = json.loads(json.dumps(as_data(found), allow_nan=False))
        assert data["decision"] == found.decision() == found.as_text().splitlines()[0]
        assert (data["choice"] is None) == (found.choice is None)
        assert len(data["changes"]) == len(found.flips)
    assert data["conflict"]


def test_only_the_laws_that_matter_need_to_be_fitted(noisy) -> None:
    study, fits = noisy
    assert metrics_that_matter(study, {}, {"params": 5}) == ["macro_f1", "general"]
    own = [fit for fit in fits if fit.metric == "macro_f1"]
    without = study[study["metric"] == "macro_f1"]
    assert recommend(without, own, {"macro_f1": 0.75}, {}).choice is not None
    with pytest.raises(InputError, match="no such metric"):
        metrics_that_matter(study, {"zzz": 1}, {})
