"""Laws as a JSON file, and as a table for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.bootstrap import at_level
from distillscale.laws.certificate import Certificate
from distillscale.laws.fit import Diagnostics, LawFit
from distillscale.laws.forms import FORMS

LAWS_TABLE_COLUMNS = [
    "law", "task", "configuration", "thinking", "metric", "x", "parameter", "estimate", "low",
    "high", "identified", "note",
]  # fmt: skip


CERTIFICATE_COLUMNS = [
    "law", "task", "configuration", "thinking", "metric", "x", "loss", "delta", "gradient",
    "starts", "reached", "second_basin", "other_solver", "doubts",
]  # fmt: skip


def save_laws(fits: Sequence[LawFit], path: Path) -> None:
    """Write fits as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps({"laws": [asdict(fit) for fit in fits]}, allow_nan=False)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def load_laws(path: Path) -> list[LawFit]:
    """Read fits that `save_laws` wrote.

    Raises:
        InputError: the file is missing, is not JSON, or does not hold laws.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such laws file; `distillscale laws fit` writes one.")
    try:
        return [_law(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["laws"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path}: not a laws file ({reason}); `distillscale laws fit` writes one."
        ) from error


def laws_table(fits: Sequence[LawFit]) -> pd.DataFrame:
    """One row a parameter, for reports; a law that was not fitted has one row that says so.

    `note` says why a parameter is not identified, how the fit stands, and what the intervals
    cover.
    """
    rows = [row for fit in fits for row in _rows(fit)]
    return pd.DataFrame(rows, columns=LAWS_TABLE_COLUMNS)


def certificate_table(fits: Sequence[LawFit]) -> pd.DataFrame:
    """One row a fitted law: the evidence that its estimate is the best fit (see `Certificate`)."""
    rows = [
        _head(fit) | asdict(fit.certificate) | {"doubts": "; ".join(fit.certificate.doubts)}
        for fit in fits
        if fit.certificate
    ]
    return pd.DataFrame(rows, columns=CERTIFICATE_COLUMNS)


def _head(fit: LawFit) -> dict[str, Any]:
    named = {column: fit.group.get(column, "") for column in ("task", "configuration", "thinking")}
    return {"law": fit.form, **named, "metric": fit.metric, "x": fit.x}


def _rows(fit: LawFit) -> list[dict[str, Any]]:
    head = _head(fit)
    if not fit.estimate:
        note = f"not fitted: {fit.covers}"
        return [head | {"parameter": "", "identified": False, "note": note}]
    return [head | _parameter_row(fit, name) for name in fit.estimate]


def _parameter_row(fit: LawFit, name: str) -> dict[str, Any]:
    low, high = fit.intervals[name] or (None, None)
    fixed = [parameter.name for parameter in FORMS[fit.form].parameters if parameter.fixed]
    if name in fixed:
        note = "known beforehand, not fitted"
    else:
        unidentified = fit.unidentified.get(name)
        parts = [
            f"not identified: {unidentified}" if unidentified else "",
            f"{fit.metric} shows no trend over {fit.x}" if fit.status == "no trend" else "",
            f"{fit.diagnostics.dropped} unusable points left out"
            if fit.diagnostics.dropped
            else "",
            *(fit.certificate.doubts if fit.certificate else ()),
            at_level(fit.covers, fit.level),
        ]
        note = "; ".join(part for part in parts if part)
    return {
        "parameter": name,
        "estimate": fit.estimate[name],
        "low": low,
        "high": high,
        "identified": fit.identified(name),
        "note": note,
    }


def _law(entry: dict[str, Any]) -> LawFit:
    unknown = set(entry) ^ {field.name for field in fields(LawFit)}
    if unknown:
        raise ValueError(f"field `{min(unknown)}`")
    if entry["form"] not in FORMS:
        raise ValueError(f"form `{entry['form']}`")
    converted = {
        "intervals": {name: _pair(ends) for name, ends in entry["intervals"].items()},
        "diagnostics": Diagnostics(**entry["diagnostics"]),
        "x_range": _pair(entry["x_range"]),
        "draws": tuple(tuple(row) for row in entry["draws"]),
        "certificate": entry["certificate"] and Certificate(**entry["certificate"]),
    }
    return LawFit(**(entry | converted))


def _pair(ends: list[float] | None) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = ends
    return low, high
