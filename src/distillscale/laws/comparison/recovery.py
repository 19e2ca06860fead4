"""How much general knowledge a configuration keeps beyond its control.

Recovery = general knowledge of a configuration minus that of label-only supervision (what the
reasoning adds), and minus that of the pruned-only chain (what distillation adds), between models
of the same task, schedule, stage, prune ratio, dataset size and seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL, draw, interval
from distillscale.laws.comparison.crossed import crossed_mean
from distillscale.laws.comparison.knowledge import with_splits
from distillscale.laws.metrics import knowledge_metrics
from distillscale.laws.points import read_replicates
from distillscale.laws.settings import SETTING, chain_label, same_ratio, with_settings
from distillscale.results import configuration_name

RECOVERY_COLUMNS = [
    "task", "configuration", "thinking", "against", "schedule", "stages", "dataset_size", "stage",
    "prune_ratio", "metric", "value", "reference", "recovery", "low", "high", "seeds", "note",
]  # fmt: skip
MATCHED = ["task", "schedule", "stages", "final_ratio"]
PAIRED_BY = ["stage", "metric", "seed"]
PRUNED_ONLY = configuration_name("none", "none")

Chain = dict[str, Any]  # `configuration` and the columns of `SETTING`


@dataclass(frozen=True)
class Recovery:
    """The recovery table (columns `RECOVERY_COLUMNS`) and, in words, what could not be paired."""

    table: pd.DataFrame
    left_out: tuple[str, ...]


def recover(table: pd.DataFrame, *, level: float = LEVEL, seed: int = 0) -> Recovery:
    """Compare each configuration with its controls, in every general-knowledge metric.

    Among these are `general_rehearsed` and `general_unrehearsed`, where benchmarks are split.

    The teacher (stage 0) is left out: it is the same in every chain.
    """
    rows = with_settings(with_splits(table))
    measured = rows["metric"].isin(knowledge_metrics(rows)) & rows["value"].notna()
    rows = rows[measured & (rows["stage"] > 0)]
    chains = _chains(rows)
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    for chain in chains:
        for against in _controls(chain):
            control = _matching(chain, against, chains)
            if control is None:
                left_out.append(f"{chain_label(chain)}: no {against} chain to compare with")
                continue
            pairs = _pairs(rows, chain, control)
            found += _compare(pairs, chain, control, level, seed)
            left_out += _unpaired(pairs, rows, chain, control)
    return Recovery(pd.DataFrame(found, columns=RECOVERY_COLUMNS), tuple(left_out))


def _chains(rows: pd.DataFrame) -> list[Chain]:
    settings = rows[["configuration", *SETTING]].drop_duplicates()
    return [
        {str(name): value for name, value in row.items()} for row in settings.to_dict("records")
    ]


def _controls(chain: Chain) -> list[str]:
    """Label-only of the same method (of `logit` for label-only LoRA), and pruned only."""
    if chain["method"] == "none":
        return []
    method = "logit" if chain["supervision"] == "label" else chain["method"]
    label_only = configuration_name("label", method)
    return [name for name in (label_only, PRUNED_ONLY) if name != chain["configuration"]]


def _matching(chain: Chain, against: str, chains: list[Chain]) -> Chain | None:
    """The control's chain. A pruned-only chain learns from no examples: the nearest size serves."""
    same = [
        other
        for other in chains
        if other["configuration"] == against and all(other[c] == chain[c] for c in MATCHED)
    ]
    if against != PRUNED_ONLY:
        same = [other for other in same if other["dataset_size"] == chain["dataset_size"]]
    return min(
        same, key=lambda other: abs(other["dataset_size"] - chain["dataset_size"]), default=None
    )


def _pairs(rows: pd.DataFrame, chain: Chain, control: Chain) -> pd.DataFrame:
    """Rows of both chains side by side, where stage, metric, seed and prune ratio agree."""
    left, right = _rows_of(rows, chain), _rows_of(rows, control)
    columns = [*PAIRED_BY, "prune_ratio", "value", "replicates"]
    pairs = left.merge(right[columns], on=PAIRED_BY, suffixes=("", "_control"))
    ratios = zip(pairs["prune_ratio"], pairs["prune_ratio_control"], strict=True)
    return pairs[[same_ratio(*pair) for pair in ratios]]


def _rows_of(rows: pd.DataFrame, chain: Chain) -> pd.DataFrame:
    return rows[np.logical_and.reduce([rows[column] == chain[column] for column in SETTING])]


def _compare(
    pairs: pd.DataFrame, chain: Chain, control: Chain, level: float, seed: int
) -> Iterator[dict[str, Any]]:
    for (stage, metric), runs in pairs.groupby(["stage", "metric"]):
        difference = (runs["value"] - runs["value_control"]).to_numpy(dtype=float)
        replicates = [
            _difference(*pair)
            for pair in zip(runs["replicates"], runs["replicates_control"], strict=True)
        ]
        low, high, covers = _interval(difference, replicates, runs["seed"].tolist(), level, seed)
        yield {
            **chain,
            "against": control["configuration"],
            "stage": stage,
            "metric": metric,
            "prune_ratio": runs["prune_ratio"].mean(),
            "value": runs["value"].mean(),
            "reference": runs["value_control"].mean(),
            "recovery": difference.mean(),
            "low": low,
            "high": high,
            "seeds": len(runs),
            "note": _note(covers, chain, control),
        }


def _interval(
    difference: Array, replicates: list[Array], seeds: list[int], level: float, seed: int
) -> tuple[float | None, float | None, str]:
    """Student's t over runs and test examples; of a single run, the test examples' percentiles."""
    draws = draw(difference, replicates, seeds, seed=seed)
    if len(difference) == 1:
        low, high = interval(draws.means(), level) or (None, None)
        return low, high, draws.covers
    mean = crossed_mean(difference, replicates, ["runs"] * len(difference), level)
    return mean.low, mean.high, f"intervals cover {mean.covers} ({len(difference)} seeds, t)"


def _difference(left: object, right: object) -> Array:
    """The difference on each resample of the test examples; both models met the same ones."""
    ours, theirs = read_replicates(left), read_replicates(right)
    count = min(len(ours), len(theirs))
    return ours[:count] - theirs[:count]


def _note(covers: str, chain: Chain, control: Chain) -> str:
    if control["dataset_size"] == chain["dataset_size"]:
        return covers
    return f"{covers}; control made with {control['dataset_size']:,.0f} examples"


def _unpaired(
    pairs: pd.DataFrame, rows: pd.DataFrame, chain: Chain, control: Chain
) -> Iterator[str]:
    """What the chain measured and the control did not, one sentence a stage."""
    wanted = set(_rows_of(rows, chain)[PAIRED_BY].itertuples(index=False, name=None))
    missing = wanted - set(pairs[PAIRED_BY].itertuples(index=False, name=None))
    for stage in sorted({stage for stage, _, _ in missing}):
        metrics = sorted({metric for place, metric, _ in missing if place == stage})
        seeds = sorted({seed for place, _, seed in missing if place == stage})
        yield (
            f"{chain_label(chain)}: stage {stage}, seed {', '.join(map(str, seeds))}, "
            f"{', '.join(metrics)}: no {control['configuration']} counterpart at this prune ratio"
        )
