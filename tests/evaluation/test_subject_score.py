"""Pooled accuracy and its sampling errors against many draws from known subjects."""

import numpy as np
import pytest

from distillscale.evaluation.subject_score import SubjectScore, pool

SIZES = (12, 30, 300)
SHARES = (0.25, 0.5, 0.9)


def draw(random: np.random.Generator, limit: int) -> list[SubjectScore]:
    """Ask up to `limit` questions of each subject, at random and each once."""
    scores = []
    for number, (size, share) in enumerate(zip(SIZES, SHARES, strict=True)):
        answers = np.arange(size) < round(size * share)
        asked = random.choice(answers, size=min(limit, size), replace=False)
        scores.append(SubjectScore(str(number), size, len(asked), int(asked.sum())))
    return scores


@pytest.mark.parametrize("by_size", [True, False])
def test_a_limit_is_unbiased_and_its_error_is_what_draws_show(by_size):
    random = np.random.default_rng(0)
    whole = pool(draw(random, 1000), by_size=by_size)
    rights = [round(n * p) for n, p in zip(SIZES, SHARES, strict=True)]
    if by_size:
        assert whole.accuracy == pytest.approx(sum(rights) / sum(SIZES))
    else:
        shares = [right / size for right, size in zip(rights, SIZES, strict=True)]
        assert whole.accuracy == pytest.approx(np.mean(shares))
    assert whole.limit_error == 0 < whole.standard_error
    drawn = [pool(draw(random, 8), by_size=by_size) for _ in range(4000)]
    values = np.array([score.accuracy for score in drawn])
    assert values.mean() == pytest.approx(whole.accuracy, abs=0.006)
    variance = np.mean([score.limit_error**2 for score in drawn])
    assert variance == pytest.approx(values.var(), rel=0.08)
    assert all(score.limit_error <= score.standard_error for score in drawn)


def test_the_standard_error_of_one_subject_is_the_textbooks():
    score = pool([SubjectScore("a", 50, 50, 20)], by_size=True)
    assert score.standard_error == pytest.approx(np.sqrt(0.4 * 0.6 / 49))


def test_single_questions_take_the_pooled_variance():
    subjects = [SubjectScore(str(n), 10, 1, n % 2) for n in range(8)]
    score = pool(subjects, by_size=True)
    assert score.standard_error == pytest.approx(np.sqrt(0.25 / 8))
    assert score.limit_error == pytest.approx(np.sqrt(0.25 / 8 * 0.9))
