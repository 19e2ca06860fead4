"""Position bias: shares by letter, and the Stuart-Maxwell test."""

import numpy as np
import pytest
from scipy.stats import chi2

from distillscale.evaluation.answer_positions import marginal_homogeneity, position_bias


def test_of_two_classes_it_is_mcnemars_test():
    statistic, p_value = marginal_homogeneity(np.array([[30.0, 12.0], [5.0, 40.0]]))
    assert statistic == pytest.approx((12 - 5) ** 2 / (12 + 5))
    assert p_value == pytest.approx(chi2.sf(statistic, 1))


def test_it_gives_the_published_statistic_of_three_classes():
    """Fleiss (1981, Statistical Methods for Rates and Proportions), 100 paired diagnoses."""
    table = np.array([[35.0, 5.0, 0.0], [15.0, 20.0, 5.0], [10.0, 5.0, 5.0]])
    statistic, p_value = marginal_homogeneity(table)
    assert statistic == pytest.approx(14.0, abs=0.005)
    assert p_value == pytest.approx(chi2.sf(statistic, 2))


def test_a_class_that_never_occurs_changes_nothing():
    table = np.array([[10.0, 3.0], [8.0, 12.0]])
    padded = np.zeros((4, 4))
    padded[:2, :2] = table
    assert marginal_homogeneity(padded) == pytest.approx(marginal_homogeneity(table))


def test_right_answers_and_even_guesses_show_no_bias():
    gold = [0, 1, 2, 3] * 5
    right = position_bias(gold, gold, 4)
    assert (right.largest_deviation, right.statistic, right.p_value) == (0, 0, 1)
    turned = position_bias(gold, [(letter + 1) % 4 for letter in gold], 4)
    assert (turned.largest_deviation, turned.p_value) == (0, pytest.approx(1))
    assert [position.accuracy for position in turned.positions] == [0] * 4


def test_p_values_are_even_where_answers_ignore_the_question():
    random = np.random.default_rng(0)
    values = []
    for _ in range(300):
        gold, given = random.integers(0, 4, size=(2, 200))
        values.append(position_bias(gold.tolist(), given.tolist(), 4).p_value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_unparsed_answers_are_wrong_but_name_no_position():
    bias = position_bias([0, 0, 1, 1], [0, None, 1, 0], 3)
    a, b, c = bias.positions
    assert (a.letter, a.gold, a.answered, a.accuracy) == ("A", 0.5, pytest.approx(2 / 3), 0.5)
    assert (b.gold, b.answered, b.accuracy) == (0.5, pytest.approx(1 / 3), 0.5)
    assert (c.gold, c.answered, c.accuracy) == (0, 0, None)
    assert bias.largest_deviation == pytest.approx(2 / 3 - 1 / 3)
