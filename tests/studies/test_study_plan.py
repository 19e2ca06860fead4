from pathlib import Path

import pytest
from cheap_steps import number

from distillscale.errors import InputError
from distillscale.studies.identity import Step
from distillscale.studies.plan import Plan, make_plan
from distillscale.studies.ready import ReadySteps
from distillscale.studies.store import Store
from distillscale.studies.why import Difference, differences, why


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def compute(store: Store, *steps: Step) -> None:
    for step in steps:
        store.publish(step, lambda folder: {})


def played(steps: list[Step], seconds: dict[Step, float], workers: int = 1) -> float:
    return Plan(tuple(steps), tuple(steps), seconds).minutes(workers) * 60


DEFAULTS = {"number": 10.0}


def test_everything_is_missing_in_an_empty_store_inputs_first(store: Store):
    data = number(1)
    middle = number(2, data)
    end = number(3, middle, data)
    plan = make_plan([end, middle], store, DEFAULTS)
    assert plan.steps == plan.missing == (data, middle, end)
    assert plan.by_kind == {"number": (3, 3)}


def test_ancestors_of_a_cached_result_need_not_be_there(store: Store):
    data = number(1)
    end = number(3, number(2, data))
    compute(store, end)
    plan = make_plan([end], store, DEFAULTS)
    assert plan.missing == ()
    assert len(plan.steps) == 3
    assert plan.minutes(2) == 0
    other = number(4, number(2, data))
    assert make_plan([end, other], store, DEFAULTS).missing == (data, number(2, data), other)


def test_a_damaged_input_is_planned_again(store: Store):
    data, end = number(1), number(3, number(1))
    store.publish(data, lambda folder: {"written": (folder / "number.txt").write_text("1")})
    (store.folder(data) / "number.txt").write_text("2")
    assert make_plan([end], Store(store.root), DEFAULTS).missing == (data, end)


def test_estimates_come_from_the_most_similar_step(store: Store, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 70.0])
    monkeypatch.setattr("distillscale.studies.store.time.monotonic", lambda: next(clock))
    for steps in (100, 3000):
        compute(store, Step("distill", {"seed": 0, "method": "lora", "steps": steps}))
    like_first = Step("distill", {"seed": 1, "method": "lora", "steps": 100})
    like_second = Step("distill", {"seed": 1, "method": "lora", "steps": 3000})
    like_both = Step("distill", {"seed": 1, "method": "lora", "steps": 1000})
    unknown = Step("evaluate")
    targets = [like_first, like_second, like_both, unknown]
    plan = make_plan(targets, store, {"distill": 1.0, "evaluate": 5.0})
    assert [plan.seconds[step] for step in targets] == [2.0, 60.0, 31.0, 5.0]


def test_similarity_counts_the_inputs_parameters(store: Store, monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 70.0])
    monkeypatch.setattr("distillscale.studies.store.time.monotonic", lambda: next(clock))
    small, large = Step("prune", {"ratio": 0.2}), Step("prune", {"ratio": 0.9})
    for model in (small, large):
        compute(store, Step("distill", {"seed": 0}, {"student": model}))
    new = Step("distill", {"seed": 1}, {"student": large})
    assert make_plan([new], store, {"prune": 1.0}).seconds[new] == 60.0


def test_minutes_follow_workers_and_the_longest_chain():
    chain = [first := number(1), second := number(2, first), number(3, second)]
    alone = [number(10), number(11), number(12)]
    seconds = dict.fromkeys([*chain, *alone], 10.0)
    assert played(chain + alone, seconds, 1) == pytest.approx(60)
    assert played(chain + alone, seconds, 2) == pytest.approx(30)
    assert played(chain + alone, seconds, 6) == pytest.approx(30)


def test_the_longest_remaining_chain_goes_first():
    short = number(1)
    first = number(2)
    last = number(3, first)
    ready = ReadySteps([short, first, last], {short: 15.0, first: 1.0, last: 20.0})
    assert ready.take() == first
    assert ready.take() == short
    assert ready.take() is None
    ready.done(first)
    assert ready.take() == last


def test_an_input_named_twice_is_awaited_once():
    data = number(1)
    twice = number(2, data, data)
    ready = ReadySteps([data, twice], dict.fromkeys([data, twice], 1.0))
    assert ready.take() == data
    ready.done(data)
    assert ready.take() == twice
    assert ready.take() is None


def test_dependents_are_all_that_need_a_failed_step():
    bad, good = number(1), number(2)
    chain = [bad, good, child := number(3, bad), number(4, child), number(5, good)]
    ready = ReadySteps(chain, dict.fromkeys(chain, 1.0))
    assert ready.dependents([bad]) == {chain[2], chain[3]}


def test_a_step_is_found_by_name_or_key():
    one, other = number(1, name="dataset fin-headlines"), number(2, name="traces brief")
    plan = Plan((one, other), (), {})
    assert plan.find("traces brief") == other
    assert plan.find(one.key[:8]) == one
    with pytest.raises(InputError, match=r"`trace brief`: .* nearest are traces brief"):
        plan.find("trace brief")
    twins = Plan((number(1, name="twin"), number(2, name="twin")), (), {})
    with pytest.raises(InputError, match="2 steps are called so"):
        twins.find("twin")


def student(*, temperature: float = 0.0, rows: int = 3, version: int = 1, **params) -> Step:
    data = Step("dataset", {"rows": rows})
    traces = Step("traces", {"temperature": temperature}, {"dataset": data}, version=version)
    return Step(
        "distill", {"steps": 5} | params, {"traces": traces, "dataset": data}, name="stage 1"
    )


def test_why_names_the_field_and_the_way_to_it(store: Store):
    compute(store, student())
    explanation = why(student(temperature=0.7), store)
    assert explanation.differences == (Difference("traces/params.temperature", 0.0, 0.7),)
    assert "stage 1: not cached" in str(explanation)
    assert "traces/params.temperature: 0.0 -> 0.7" in str(explanation)


def test_why_compares_with_the_nearest(store: Store):
    compute(store, student(steps=9, temperature=0.5), student(steps=9), student(temperature=0.5))
    found = why(student(steps=9, rows=4), store)
    assert [str(difference) for difference in found.differences] == ["dataset/params.rows: 3 -> 4"]


def test_an_ancestor_on_two_ways_is_reported_once():
    assert [one.path for one in differences(student(), student(rows=4))] == ["dataset/params.rows"]


def test_differences_show_versions_new_fields_and_types():
    old, new = student(bf16=1), student(version=2, bf16=True, rank=8)
    assert [str(one) for one in differences(old, new)] == [
        "params.bf16: 1 -> True",
        "params.rank: (absent) -> 8",
        "traces/version: 1 -> 2",
    ]


def test_differences_show_an_input_that_came_or_went():
    old = Step("evaluate", {}, {"student": number(1, name="small")})
    new = Step("evaluate", {}, {"teacher": number(1, name="large")})
    assert [str(one) for one in differences(old, new)] == [
        "student: small -> (absent)",
        "teacher: (absent) -> large",
    ]


def test_why_of_a_cached_step_and_of_an_unknown_kind(store: Store):
    assert "no artifact of kind `distill` yet" in str(why(student(), store))
    compute(store, student())
    assert "stage 1: cached" in str(why(student(), store))
    assert why(student(), store).differences == ()


def test_why_needs_no_artifact_of_the_ancestors(store: Store):
    compute(store, student())
    assert not (store.root / "dataset").exists()
    assert why(student(rows=4), store).differences[0].path == "dataset/params.rows"
