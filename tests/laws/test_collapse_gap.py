import numpy as np
import pandas as pd
import pytest
from laws_tables import RATIOS, at_ratio, collapsed, exact, examinee, table

from distillscale.errors import InputError
from distillscale.laws.collapse.gap import collapse_gaps
from distillscale.laws.collapse.located import Draws, located, minus
from distillscale.laws.collapse.point import locate_collapse
from distillscale.laws.collapse.table import COLLAPSE_COLUMNS, collapse_table, collapse_text

CLASSES = 1 / 35
COT = {"supervision": "cot", "thinking": "full"}


def chain(metric: str, star: float, chance: float | None, ratios=RATIOS, steep=4.0, **changes):
    """One score along a chain without noise."""
    level = CLASSES if chance is None else chance
    return [
        at_ratio(stage, ratio, metric=metric, chance=chance, **changes,
                 **exact(collapsed(0.95, star, steep, level, ratio)))
        for stage, ratio in enumerate(ratios)
    ]  # fmt: skip


def format_rows(in_domain: float, general: float, **changes):
    return [
        *chain("accuracy", in_domain, CLASSES, **changes),
        *chain("macro_f1", in_domain, None, **changes),
        *chain("general", general, 0.175, **changes),
    ]


def the_gap(found, in_domain="macro_f1", general="general"):
    (gap,) = [g for g in found.gaps if (g.in_domain.metric, g.general.metric)
              == (in_domain, general)]  # fmt: skip
    return gap


def noisy(rng: np.random.Generator, seeds: int, spread: float, stars: dict) -> pd.DataFrame:
    """Scores {metric: (r*, chance)} of several runs, whose r* vary by `spread` in ln r."""
    rows = []
    score = {metric: examinee(rng, 500, 60) for metric in stars}
    for seed in range(seeds):
        for metric, (star, chance) in stars.items():
            own = star * np.exp(rng.normal(0, spread))
            rows += [
                at_ratio(stage, ratio, seed=seed, cell=f"c{seed}", metric=metric, chance=chance,
                         **score[metric](collapsed(0.95, own, 4, chance, ratio)))
                for stage, ratio in enumerate(RATIOS)
            ]  # fmt: skip
    return table(rows)


def test_planted_points_and_gap_are_recovered() -> None:
    found = collapse_gaps(table(format_rows(0.25, 0.4)))
    gap = the_gap(found)
    assert np.exp(gap.general.ratio.value) == pytest.approx(0.4, rel=1e-3)
    assert np.exp(gap.in_domain.ratio.value) == pytest.approx(0.25, rel=1e-3)
    assert gap.gap.value == pytest.approx(np.log(0.4 / 0.25), abs=2e-3)
    share = [1 / (1 + (star / 0.16) ** 4) for star in (0.25, 0.4)]
    assert gap.kept.value == pytest.approx(share[0] - share[1], abs=2e-3)
    assert gap.in_domain.chance == CLASSES  # macro F1's rows state none


def test_another_share_lost_is_another_place_on_the_same_curve() -> None:
    """10 % are lost where (r / r*)^k = 9."""
    point = locate_collapse(table(chain("general", 0.4, 0.175)), lost=0.1)
    assert np.exp(point.ratio.value) == pytest.approx(0.4 * 9 ** (1 / 4), rel=2e-3)


def test_intervals_of_the_gap_cover_it() -> None:
    """25 studies of three runs: at 95 %, fewer than 20 hits happen once in 600."""
    truth, hits = np.log(0.45 / 0.25), 0
    for study in range(25):
        rows = noisy(np.random.default_rng(study), 3, 0.05,
                     {"accuracy": (0.25, CLASSES), "lab_facts": (0.45, 0.25)})  # fmt: skip
        points = [locate_collapse(rows[rows["metric"] == m]) for m in ("lab_facts", "accuracy")]
        gap = minus(points[0].ratio, points[1].ratio, "")
        assert gap.kind == "value"
        assert gap.high - gap.low < 0.8
        hits += gap.low <= truth <= gap.high
    assert hits >= 20


def test_what_both_scores_share_cancels() -> None:
    """Two scores of the same models, equal in every resample: each is uncertain, the gap is not."""
    rows = noisy(np.random.default_rng(0), 3, 0.1, {"accuracy": (0.3, 0.1)})
    point = locate_collapse(rows)
    assert point.ratio.high - point.ratio.low > 0.1
    gap = minus(point.ratio, point.ratio, "")
    assert (gap.value, gap.low, gap.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_score_that_never_collapses_gives_a_bound() -> None:
    gap = the_gap(collapse_gaps(table(format_rows(0.03, 0.4))))
    assert gap.in_domain.ratio.kind == "<"
    assert np.exp(gap.in_domain.ratio.high) == pytest.approx(0.16, rel=1e-3)
    assert gap.in_domain.ratio.value is None
    assert gap.gap.kind == ">"
    assert gap.gap.low == pytest.approx(np.log(0.4 / 0.16), abs=2e-3)
    other = the_gap(collapse_gaps(table(format_rows(0.4, 0.03))))
    assert other.gap.kind == "<"
    assert other.gap.high == pytest.approx(np.log(0.16 / 0.4), abs=2e-3)


def test_two_scores_that_never_collapse_have_no_gap() -> None:
    found = collapse_gaps(table(format_rows(0.03, 0.05)))
    assert the_gap(found).gap.kind == "unknown"
    assert "below the smallest measured ratio, 0.16" in the_gap(found).gap.reason
    assert the_gap(found).kept.value > 0
    assert "not identified: both points" in collapse_text(found)


def test_an_intact_model_at_chance_has_nothing_to_lose() -> None:
    score = examinee(np.random.default_rng(3), 300, 60)
    rows = [at_ratio(k, r, metric="general", chance=0.25, **score(0.25))
            for k, r in enumerate(RATIOS)]  # fmt: skip
    point = locate_collapse(table(rows))
    assert point.ratio.kind == "unknown"
    assert "no better than chance" in point.ratio.reason


def test_gaps_of_formats_are_compared() -> None:
    rows = format_rows(0.25, 0.45) + format_rows(0.25, 0.3, cell="d", **COT)
    found = collapse_gaps(table(rows))
    (difference,) = [d for d in found.differences if d.left.in_domain.metric == "macro_f1"]
    names = (difference.left.group["configuration"], difference.right.group["configuration"])
    expected = np.log(0.45 / 0.3) * (1 if names == ("logit-label", "logit-cot") else -1)
    assert difference.difference.value == pytest.approx(expected, abs=4e-3)


def test_formats_of_other_seeds_are_not_paired() -> None:
    rows = format_rows(0.25, 0.45) + format_rows(0.25, 0.3, cell="d", seed=7, **COT)
    assert collapse_gaps(table(rows)).differences == ()


def test_bounds_of_gaps_make_bounds_of_their_difference() -> None:
    """Above A minus below B: known from below; the other two ways round are not."""
    draws = Draws(np.zeros(5), np.zeros(5), 0)
    above, below = located((1.0, draws), None), located(None, (0.4, draws))
    assert minus(above, below, "").kind == ">"
    assert minus(below, above, "").kind == "<"
    assert minus(above, above, "why").reason == "why"
    exactly = located((2.0, draws), (2.0, draws))
    assert [minus(exactly, other, "").kind for other in (above, below, exactly)] == [
        "<", ">", "value",
    ]  # fmt: skip


def test_few_runs_get_student_s_t() -> None:
    """Three runs, no test sampling: 4.303 instead of 1.960; sampling alone: 1.960."""
    spread = np.random.default_rng(0).normal(size=4000)
    normal = np.quantile(spread, 0.975)
    runs = Draws(spread, np.zeros(4000), 3)
    assert runs.quantile(0.975, 0.0) == pytest.approx(normal * 4.3027 / 1.95996, rel=1e-3)
    assert Draws(spread, spread, 0).quantile(0.975, 0.0) == pytest.approx(normal)


def test_table_and_text() -> None:
    rows = format_rows(0.25, 0.4) + format_rows(0.03, 0.3, cell="d", **COT)
    found = collapse_gaps(table(rows))
    written = collapse_table(found)
    assert list(written.columns) == COLLAPSE_COLUMNS
    stars = written[(written["quantity"] == "r_star") & (written["general"] == "general")]
    assert sorted(stars["value"]) == pytest.approx([0.3, 0.4], rel=1e-3)
    bound = written[(written["quantity"] == "gap") & (written["kind"] == ">")]
    assert bound["value"].isna().all()
    assert (bound["low"] > 0).all()
    assert len(bound) == 2  # macro F1 and accuracy
    said = collapse_text(found)
    for part in ("half of what a score has above chance", "0.400 (0.400 to 0.400)", "r* < 0.160",
                 "general knowledge collapses first", "chance of macro_f1: 0.0286"):  # fmt: skip
        assert part in said


def test_what_cannot_be_located_is_refused_in_a_sentence() -> None:
    rows = table(format_rows(0.25, 0.4))
    with pytest.raises(InputError, match="between 0 and 1"):
        collapse_gaps(rows, lost=1.0)
    with pytest.raises(InputError, match="no uniform chain"):
        collapse_gaps(rows[rows["stage"] < 3])
    with pytest.raises(InputError, match="needs a chance level"):
        locate_collapse(rows[rows["metric"] == "macro_f1"])
    with pytest.raises(InputError, match="one metric"):
        locate_collapse(rows)
