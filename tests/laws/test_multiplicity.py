import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from distillscale.laws.comparison.multiplicity import holm


@pytest.mark.parametrize("count", range(1, 13))
def test_equals_statsmodels(count: int) -> None:
    p_values = np.random.default_rng(count).beta(0.5, 2, count).round(2).tolist()
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_what_could_not_be_tested_does_not_count() -> None:
    assert holm([0.01, None, 0.04, float("nan")]) == [pytest.approx(0.02), None, 0.04, None]
    assert holm([]) == []
