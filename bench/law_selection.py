"""Whether the back-test's intervals and the collapse gap's intervals hold, on simulated studies.

- Predictive intervals: a data law with a floor, six sizes, three runs each, 3 % noise; fitted to
  3, 4 and 5 sizes, the others predicted.
- Collapse gap: two scores that collapse at .25 and .45 along the lab's chain of six ratios, 500
  test examples of which models find the same ones hard, runs whose collapse points vary. A bound
  holds if the truth lies on its side.
- Chinchilla's points (those of `laws.py`): additive against multiplicative law.

    python bench/law_selection.py    # four minutes; needs ../shared/data/chinchilla
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import norm

from distillscale.laws import locate_collapse, select_form, series_of_points
from distillscale.laws.collapse.located import Located, minus
from distillscale.laws.selection.backtest import backtest_series
from laws import DATA, chinchilla
from result import save

STUDIES, EXAMPLES, RESAMPLES = 100, 500, 200
SIZES = np.array([50.0, 100, 200, 400, 800, 1600])
RATIOS = (1.0, 0.69, 0.48, 0.33, 0.23, 0.16)
SCORES = {"accuracy": (0.25, 1 / 35), "lab_facts": (0.45, 0.25)}
DESIGNS = ((1, 0.0), (3, 0.05), (3, 0.15))


def main() -> None:
    save(
        "law_selection",
        {
            "predictive_intervals": predictive_intervals(),
            "gap_intervals": [gap_intervals(*design) for design in DESIGNS],
            "chinchilla": chinchilla_selections(),
        },
    )


def predictive_intervals() -> dict[str, float]:
    """The share of held-out values in the 95 % interval, by the number of fitted sizes."""
    tables = []
    for study in range(STUDIES):
        rng = np.random.default_rng(study)
        x = np.repeat(SIZES, 3)
        y = (0.3 + 20 * x**-0.7) * np.exp(0.03 * rng.normal(size=x.size))
        runs = np.tile([0, 1, 2], len(SIZES))
        series = series_of_points("gold_nll", x, y, ["data"], seeds=runs)
        tables.append(backtest_series(series, seed=study).table())
    rows = pd.concat(tables)
    shares = rows[rows["model"] == "data"].groupby("levels")["covered"].mean()
    return {f"{levels} sizes": float(share) for levels, share in shares.items()}


def gap_intervals(runs: int, spread: float) -> dict[str, float]:
    truth = np.log(SCORES["lab_facts"][0] / SCORES["accuracy"][0])
    gaps = [simulated_gap(study, runs, spread) for study in range(STUDIES)]
    values = [gap for gap in gaps if gap.kind == "value"]
    return {
        "runs": runs,
        "spread": spread,
        "holds": float(np.mean([holds(gap, truth) for gap in gaps])),
        "values": len(values),
        "bounds": sum(gap.kind in "<>" for gap in gaps),
        "median_width": float(np.median([gap.high - gap.low for gap in values])),
        "bias": float(np.mean([gap.value for gap in values]) - truth),
    }


def simulated_gap(study: int, runs: int, spread: float) -> Located:
    rng = np.random.default_rng(study)
    rows = pd.DataFrame([row for name in SCORES for row in chain(rng, name, runs, spread)])
    general, in_domain = (
        locate_collapse(rows[rows["metric"] == name]) for name in ("lab_facts", "accuracy")
    )
    return minus(general.ratio, in_domain.ratio, "")


def chain(rng: np.random.Generator, name: str, runs: int, spread: float) -> Iterator[dict]:
    """The rows of one score: the teacher once, and each run's five pruned models."""
    star, chance = SCORES[name]
    hardness, drawn = rng.normal(size=EXAMPLES), rng.integers(0, EXAMPLES, (RESAMPLES, EXAMPLES))
    for run in range(runs):
        own = star * np.exp(spread * rng.normal())
        for stage, ratio in enumerate(RATIOS):
            right = chance + (0.95 - chance) / (1 + (own / ratio) ** 4)
            latent = np.sqrt(0.7) * hardness + np.sqrt(0.3) * rng.normal(size=EXAMPLES)
            hits = norm.cdf(latent) < right
            yield {
                "study": "simulated", "metric": name, "cell": f"run{run}", "seed": run,
                "stage": stage, "prune_ratio": ratio, "value": hits.mean(), "chance": chance,
                "examples": EXAMPLES, "replicates": hits[drawn].mean(axis=1),
            }  # fmt: skip


def holds(gap: Located, truth: float) -> bool:
    if gap.kind == "unknown":
        return True
    return (gap.low is None or gap.low <= truth) and (gap.high is None or truth <= gap.high)


def chinchilla_selections() -> dict[str, str]:
    x, losses = chinchilla(DATA)
    forms = ["additive", "multiplicative"]
    return {
        f"largest {name} held out": select_form(
            series_of_points("gold_nll", x, losses, forms, along=along)
        ).verdict
        for along, name in enumerate("ND")
    }


if __name__ == "__main__":
    main()
