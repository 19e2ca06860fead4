import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.data.generation.weights import BOUND, bounded, next_weights, target_shares
from distillscale.errors import InputError
from distillscale.tasks import load_task

TASK = load_task("fin-headlines")


@st.composite
def shares_of(draw, values):
    raw = draw(st.lists(st.floats(0.01, 1), min_size=1, max_size=15))
    shares = {f"c{number}": value / sum(raw) for number, value in enumerate(raw)}
    return shares, {name: draw(values) for name in shares}


@given(shares_of(st.one_of(st.just(0.0), st.floats(1e-6, 1e9))))
def test_weights_sum_to_one_and_stay_within_their_bounds(drawn):
    shares, wanted = drawn
    weights = bounded(wanted, shares)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    for name, share in shares.items():
        assert share / BOUND - 1e-9 <= weights[name] <= min(share * BOUND, 1) + 1e-9


@given(shares_of(st.floats(0.5, 2)))
def test_within_the_bounds_weights_are_in_proportion_to_what_is_wanted(drawn):
    shares, factors = drawn
    wanted = {name: share * factors[name] for name, share in shares.items()}
    total = sum(wanted.values())
    expected = {name: value / total for name, value in wanted.items()}
    assert bounded(wanted, shares) == pytest.approx(expected, abs=1e-9)


def simulate(shares, rates, iterations, batch=1000):
    """Counts after a loop whose categories have fixed acceptance rates."""
    accepted, drafts = dict.fromkeys(shares, 0), dict.fromkeys(shares, 0)
    weights = dict(shares)
    for _ in range(iterations):
        for name, weight in weights.items():
            asked = round(weight * batch)
            drafts[name] += asked
            accepted[name] += round(asked * rates[name])
        weights = next_weights(shares, accepted, drafts, batch=batch)
    return {name: count / sum(accepted.values()) for name, count in accepted.items()}


@pytest.mark.parametrize(
    "shares",
    [{"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 0.6, "b": 0.3, "c": 0.1}],
)
def test_counts_converge_to_the_target_though_categories_are_accepted_unequally(shares):
    reached = simulate(shares, {"a": 0.9, "b": 0.3, "c": 0.6}, iterations=12)
    assert reached == pytest.approx(shares, abs=0.005)
    unweighted = {"a": 0.9, "b": 0.3, "c": 0.6}
    assert reached["b"] - shares["b"] > -0.01 > unweighted["b"] / sum(unweighted.values()) - 1 / 3


def test_a_category_that_cannot_be_had_is_asked_for_at_its_bound_and_starves_no_other():
    shares = dict.fromkeys("abcdefghijklm", 1 / 13)
    accepted = {name: 0 if name == "a" else 500 for name in shares}
    drafts = {name: 3000 if name == "a" else 1000 for name in shares}
    weights = next_weights(shares, accepted, drafts, batch=1000)
    assert weights["a"] == pytest.approx(BOUND / 13)
    assert all(weights[name] == pytest.approx((1 - BOUND / 13) / 12) for name in "bcdefghijklm")


def test_shares_are_even_where_nothing_is_given():
    shares = target_shares(TASK, {})
    assert len(shares) == 13
    assert set(shares.values()) == {1 / 13}


def test_given_shares_leave_the_rest_to_the_others():
    shares = target_shares(TASK, {"macro": 0.4})
    assert shares["macro"] == 0.4
    assert shares["legal"] == pytest.approx(0.05)
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"macroo": 0.1}, "share of `macroo`: task fin-headlines has no such category; it has ear"),
        ({"macro": 0.0}, "share of `macro` is 0.0; it must be between 0 and 1"),
        ({"macro": 1.5}, "share of `macro` is 1.5"),
        ({"macro": 0.5, "legal": 0.5}, "the shares sum to 1; they must sum to 1, or to less"),
        (dict.fromkeys(set(TASK.categories.values()), 0.05), "the shares sum to 0.65"),
    ],
)
def test_shares_that_cannot_be(given, complaint):
    with pytest.raises(InputError, match=complaint):
        target_shares(TASK, given)
