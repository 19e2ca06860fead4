import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distillscale.data.generation.few_shot import outermost_rows


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference(vectors, categories, count, quantile):
    """The same in plain Python, from the definition."""
    chosen = {}
    for category in sorted(set(categories)):
        rows = [row for row, own in enumerate(categories) if own == category]
        centre = sum(vectors[row].astype(float) for row in rows) / len(rows)
        centre = centre / max(sum(centre**2) ** 0.5, 1e-12)
        cosine = {row: float(sum(vectors[row].astype(float) * centre)) for row in rows}
        distance = {row: round(1 - cosine[row], 5) for row in rows}
        ordered = sorted(distance.values())
        position = quantile * (len(rows) - 1)
        low = int(position)
        high = min(low + 1, len(rows) - 1)
        limit = ordered[low] + (position - low) * (ordered[high] - ordered[low])
        usual = [row for row in rows if distance[row] <= limit + 1e-7]
        chosen[category] = tuple(sorted(usual, key=lambda row: -distance[row])[:count])
    return chosen


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 4), st.sampled_from([0.5, 0.95]))
def test_the_choice_is_that_of_a_plain_reference(seed, rows, count, quantile):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(rows, 6)))
    categories = rng.integers(0, 3, rows)
    chosen = outermost_rows(vectors, categories, count=count, odd_quantile=quantile)
    assert chosen == reference(vectors, categories.tolist(), count, quantile)


def test_oddities_are_left_out_and_the_rim_is_chosen():
    rng = np.random.default_rng(0)
    crowd = np.tile([1.0, 0, 0], (38, 1)) + rng.normal(scale=0.01, size=(38, 3))
    rim, noise = [[1.0, 0.5, 0]], [[-1.0, 0, 0.1]]
    vectors = unit(np.concatenate([crowd, rim, noise]))
    categories = np.zeros(40, dtype=np.int64)
    assert outermost_rows(vectors, categories, count=1, odd_quantile=0.975) == {0: (38,)}
    assert outermost_rows(vectors, categories, count=2, odd_quantile=1.0) == {0: (39, 38)}


def test_a_small_category_gives_what_it_has():
    vectors = unit([[1, 0], [0, 1], [1, 1]])
    chosen = outermost_rows(vectors, np.array([0, 1, 1]), count=3, odd_quantile=1.0)
    assert chosen[0] == (0,)
    assert set(chosen[1]) == {1, 2}
    assert outermost_rows(vectors, np.array([0, 1, 1]), count=0) == {0: (), 1: ()}
    assert outermost_rows(vectors[:0], np.array([], dtype=np.int64), count=3) == {}
