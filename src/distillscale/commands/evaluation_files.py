"""What `evaluate --out` writes: numbers, predictions, tables and pictures, whole or not at all."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale import __version__
from distillscale.commands.cost_summary import money
from distillscale.commands.judged import Comparison, Judged, Subject
from distillscale.evaluation import PREDICTIONS, Measurement, write_predictions
from distillscale.report.evaluation_views import (
    confusion_view,
    reliability_view,
    risk_coverage_view,
)
from distillscale.report.render import specification, write_pictures

_LEVEL = 0.9


def write_evaluation(
    subject: Subject,
    judged: Sequence[Judged],
    comparison: Comparison | None,
    pairs: Sequence[tuple[str, str]],
    command: str,
    hourly_price: float | None,
    out: Path,
) -> None:
    """Write the folder under a temporary name beside its place, then rename it.

    The second model, if there is one, has the same files in the folder `compare`.

    Args:
        pairs: text and gold label of each example.
        hourly_price: of this machine, where the user stated one.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".evaluate-") as name:
        folder = Path(name) / "evaluation"
        for own, place in zip(judged, (folder, folder / "compare"), strict=False):
            place.mkdir()
            _write_model(subject, own, pairs, command, hourly_price, place)
        if comparison is not None:
            content = {"first": judged[0].model, "second": judged[1].model, **asdict(comparison)}
            _write_json(folder / "comparison.json", content)
        folder.replace(out)


def _write_model(
    subject: Subject,
    own: Judged,
    pairs: Sequence[tuple[str, str]],
    command: str,
    hourly_price: float | None,
    folder: Path,
) -> None:
    assessed, measured = own.assessment, own.measurements
    _write_json(
        folder / "metrics.json",
        {
            "command": command,
            "version": __version__,
            "model": own.model,
            "thinking": own.thinking,
            **{name: value for name, value in asdict(subject).items() if name != "categories"},
            "interval": _LEVEL,
            "metrics": {name: _content(item) for name, item in measured.items()},
            "cost": {name: item.value for name, item in own.cost.items()},
            "hourly_price": hourly_price,
            **money(own.cost, hourly_price),
            "reliability": assessed.reliability.to_dict("records"),
            "coverage": assessed.coverage.to_dict("records"),
            "most_confused": assessed.pairs.head(20).to_dict("records"),
        },
    )
    write_predictions(
        own.result,
        folder / PREDICTIONS,
        ids=[f"row-{number}" for number in range(1, len(pairs) + 1)],
        texts=[text for text, _ in pairs],
        labels=own.inputs.labels,
        label_ids=own.inputs.label_ids,
    )
    categories = assessed.classes["label"].map(subject.categories)
    classes = assessed.classes.copy()
    classes.insert(1, "category", categories)
    classes.to_csv(folder / "per_class.csv", index=False)
    assessed.confusion.to_csv(folder / "confusion.csv", index_label="gold")
    error = measured["ece"].value
    assert error is not None
    charts = {
        "confusion": confusion_view(assessed.confusion),
        "reliability": reliability_view(assessed.reliability, error),
        "coverage": risk_coverage_view(pd.DataFrame(assessed.coverage).assign(model=own.model)),
    }
    write_pictures({name: specification(chart) for name, chart in charts.items()}, folder)


def _content(item: Measurement) -> dict[str, Any]:
    low, high = item.interval(_LEVEL) or (None, None)
    return {
        "value": item.value, "low": low, "high": high,
        "chance": item.chance, "examples": item.examples,
    }  # fmt: skip


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
