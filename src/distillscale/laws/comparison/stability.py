"""Runs that did not get to the end of their chain, by supervision and method.

A distillation that diverges leaves no student, so its chain has fewer stages than planned. In the
table of a study that is still running, a chain that was not reached yet looks the same: count when
the study is complete.
"""

from typing import Any

import pandas as pd
from scipy.stats import binomtest

from distillscale.laws.comparison.matched import Design, sorted_cells
from distillscale.results import configuration_name

STABILITY_COLUMNS = ["configuration", "thinking", "chains", "stopped", "low", "high", "where"]


def stopped_runs(found: Design, level: float) -> pd.DataFrame:
    """Chains and those that stopped early, one row a configuration, columns `STABILITY_COLUMNS`.

    `low` and `high` bound the share that stops, by Clopper and Pearson 1934, as if chains were
    independent; `where` names the cells that stopped and after which stage.
    """
    rows: list[dict[str, Any]] = []
    cells_in_order = sorted_cells(found.cells)
    keys = ["supervision", "thinking", "method"]
    for (supervision, thinking, method), cells in cells_in_order.groupby(keys, sort=False):
        stopped = cells[cells["measured"] < cells["stages"]]
        share = binomtest(len(stopped), len(cells)).proportion_ci(level)
        rows.append({
            "configuration": configuration_name(str(supervision), str(method)),
            "thinking": thinking,
            "chains": len(cells),
            "stopped": len(stopped),
            "low": float(share.low),
            "high": float(share.high),
            "where": "; ".join(
                f"{cell.cell} after stage {cell.measured}" for cell in stopped.itertuples()
            ),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=STABILITY_COLUMNS)
