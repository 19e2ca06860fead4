"""Whether a model prefers a position among the choices, whatever stands there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from distillscale.evaluation.question_files import LETTERS


@dataclass(frozen=True)
class Position:
    """One letter: how often it is gold, how often it is given, and how well it is found.

    Attributes:
        gold: share of the questions whose right choice stands there.
        answered: share of the parsed answers that name it.
        accuracy: share of right answers where it is gold; None where it never is. Unparsed
            answers are wrong.
    """

    letter: str
    gold: float
    answered: float
    accuracy: float | None


@dataclass(frozen=True)
class PositionBias:
    """How far the answers' positions are from those of the right choices.

    Attributes:
        positions: one entry a letter.
        largest_deviation: largest difference between a letter's `answered` and `gold` shares among
            the parsed answers, 0 to 1.
        statistic: Stuart-Maxwell statistic (see `marginal_homogeneity`); None without answers.
        p_value: probability of such a statistic where both have the same distribution.
    """

    positions: tuple[Position, ...]
    largest_deviation: float | None
    statistic: float | None
    p_value: float | None


def position_bias(gold: Sequence[int], answers: Sequence[int | None], choices: int) -> PositionBias:
    """Compare given with right positions, question by question.

    Args:
        gold: position of the right choice of each question, 0 to choices - 1.
        answers: position that was answered; None where the answer could not be parsed.
        choices: the largest number of choices of a question.
    """
    right = np.array(gold)
    given = np.array([-1 if answer is None else answer for answer in answers])
    parsed = given >= 0
    table = np.zeros((choices, choices))
    np.add.at(table, (right[parsed], given[parsed]), 1)
    total = table.sum()
    answered = table.sum(axis=0) / max(total, 1)
    deviation = np.abs(answered - table.sum(axis=1) / max(total, 1)).max()
    positions = []
    for position in range(choices):
        own = right == position
        accuracy = float((given[own] == position).mean()) if own.any() else None
        share = float(own.mean())
        positions.append(Position(LETTERS[position], share, float(answered[position]), accuracy))
    if total == 0:
        return PositionBias(tuple(positions), None, None, None)
    statistic, p_value = marginal_homogeneity(table)
    return PositionBias(tuple(positions), float(deviation), statistic, p_value)


def marginal_homogeneity(table: NDArray[np.float64]) -> tuple[float, float]:
    """Stuart-Maxwell test that rows and columns of paired counts have the same distribution.

    With d the differences of the margins and V[i, i] = n[i, .] + n[., i] - 2 n[i, i],
    V[i, j] = -(n[i, j] + n[j, i]), the statistic d' V^+ d is chi-square with as many degrees of
    freedom as V has rank (Stuart 1955, Maxwell 1970; of two classes this is McNemar's test).

    Args:
        table: counts, shape [classes, classes].

    Returns:
        The statistic and its p-value; (0, 1) where every pair agrees.
    """
    difference = table.sum(axis=1) - table.sum(axis=0)
    covariance = -(table + table.T)
    np.fill_diagonal(covariance, table.sum(axis=1) + table.sum(axis=0) - 2 * np.diag(table))
    rank = int(np.linalg.matrix_rank(covariance))
    if rank == 0:
        return 0.0, 1.0
    statistic = float(difference @ np.linalg.pinv(covariance, hermitian=True) @ difference)
    return statistic, float(chi2.sf(statistic, rank))
