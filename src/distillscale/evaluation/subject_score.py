"""Accuracy over subjects with its sampling errors, where some or all of the questions were asked.

With N_h questions in subject h, n_h of them asked at random and p_h the share of right answers,
the accuracy is sum W_h p_h, W_h = N_h / N (or 1 / subjects where the benchmark pools its subjects
alike). This is what the harness reports where all questions are asked; where some are, the harness
weighs subjects by the number asked, which is no estimate of the whole.

s_h^2 = p_h (1 - p_h) n_h / (n_h - 1); a subject with one question asked takes the pooled one.
(Cochran 1977, Sampling Techniques, 5.4-5.9.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SubjectScore:
    """One subject: its questions, those asked, and those answered right."""

    subject: str
    questions: int
    asked: int
    right: int


@dataclass(frozen=True)
class PooledScore:
    """Accuracy over subjects.

    Attributes:
        accuracy: 0 to 1.
        standard_error: of the accuracy as that of a sample of questions like these,
            sqrt(sum W_h^2 s_h^2 / n_h).
        limit_error: of the accuracy as an estimate of the one on all questions of the benchmark,
            sqrt(sum W_h^2 (1 - n_h / N_h) s_h^2 / n_h); 0 where all were asked.
    """

    accuracy: float
    standard_error: float
    limit_error: float


def pool(subjects: Sequence[SubjectScore], *, by_size: bool) -> PooledScore:
    """Pool the subjects of a benchmark.

    Args:
        subjects: each with at least one question asked.
        by_size: whether a subject weighs as many questions as it has, or as much as any other.
    """
    asked = np.array([item.asked for item in subjects], dtype=float)
    questions = np.array([item.questions for item in subjects], dtype=float)
    share = np.array([item.right for item in subjects]) / asked
    weights = subject_weights(subjects, by_size=by_size)
    overall = float((share * asked).sum() / asked.sum())
    variance = np.where(
        asked > 1,
        share * (1 - share) * asked / np.maximum(asked - 1, 1),
        overall * (1 - overall),
    )
    error = weights**2 * variance / asked
    return PooledScore(
        accuracy=float(weights @ share),
        standard_error=float(np.sqrt(error.sum())),
        limit_error=float(np.sqrt((error * (1 - asked / questions)).sum())),
    )


def subject_weights(subjects: Sequence[SubjectScore], *, by_size: bool) -> NDArray[np.float64]:
    """The weight of each subject's accuracy, summing to 1."""
    sizes = np.array([item.questions if by_size else 1 for item in subjects], dtype=float)
    return sizes / sizes.sum()
