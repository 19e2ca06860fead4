import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.teachers.votes import Tally, tally


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a"], Tally(1, 1, "a", 1.0, 0.0)),
        (["a", "b", "a"], Tally(3, 3, "a", 2 / 3, math.log(3) - 2 / 3 * math.log(2))),
        (["a", "b"], Tally(2, 2, None, 0.5, math.log(2))),  # a tie is no majority
        (["a", None, None], Tally(3, 1, "a", 1.0, 0.0)),  # unparsed is no disagreement
        ([None, None], Tally(2, 0, None, None, None)),
        ([], Tally(0, 0, None, None, None)),
    ],
)
def test_votes_are_counted(labels: list[str | None], expected: Tally) -> None:
    counted = tally(labels)
    assert counted.entropy == pytest.approx(expected.entropy)
    assert (counted.votes, counted.parsed, counted.majority, counted.agreement) == (
        expected.votes,
        expected.parsed,
        expected.majority,
        expected.agreement,
    )


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=9), st.randoms())
def test_the_order_of_votes_does_not_matter(labels: list[str | None], rng: object) -> None:
    shuffled = list(labels)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = tally(labels), tally(shuffled)
    assert (one.majority, one.agreement) == (other.majority, other.agreement)
    if one.entropy is not None:
        assert one.entropy == pytest.approx(other.entropy)
        assert 0 <= one.entropy <= math.log(3) + 1e-9
        assert (one.entropy == 0) == (one.agreement == 1)
