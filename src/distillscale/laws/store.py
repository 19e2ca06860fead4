"""Laws as a JSON file, and as tables for people.

The file states its version. Version 2 drew all parameters by refitting; version 1 (no field
`version`) had laws of one input only, fitted by Huber's loss on the form's scale; they are read as
such.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.bootstrap import at_level
from distillscale.laws.certificate import Certificate
from distillscale.laws.forms import FORMS
from distillscale.laws.joint_fit import JointFit
from distillscale.laws.law_fit import DeltaRow, Diagnostics, LawFit

VERSION = 3
LAWS_TABLE_COLUMNS = [
    "law", "task", "configuration", "thinking", "metric", "x", "parameter", "estimate", "low",
    "high", "identified", "note",
]  # fmt: skip


CERTIFICATE_COLUMNS = [
    "law", "task", "configuration", "thinking", "metric", "x", "loss", "delta", "gradient",
    "starts", "reached", "second_basin", "other_solver", "doubts",
]  # fmt: skip
DELTA_COLUMNS = [
    "law", "task", "configuration", "thinking", "metric", "x", "delta", "beyond", "parameter",
    "estimate",
]  # fmt: skip


def save_laws(fits: Sequence[LawFit], path: Path, joint: Sequence[JointFit] = ()) -> None:
    """Write fits as JSON, whole or not at all.

    Args:
        fits: laws of one input.
        path: the file.
        joint: laws of several inputs or groups.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    content = {
        "version": VERSION,
        "laws": [asdict(fit) for fit in fits],
        "joint": [asdict(fit) for fit in joint],
    }
    text = json.dumps(content, allow_nan=False)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def load_laws(path: Path) -> list[LawFit]:
    """Read the laws of one input that `save_laws` wrote, in this version or an earlier one.

    Raises:
        InputError: the file is missing, is not JSON, does not hold laws, or is of a later version.
    """
    return _read(path)[0]


def load_joint_laws(path: Path) -> list[JointFit]:
    """Read the laws of several inputs or groups that `save_laws` wrote; version 1 has none.

    Raises:
        InputError: as in `load_laws`.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[list[LawFit], list[JointFit]]:
    if not path.is_file():
        raise InputError(f"{path}: no such laws file; `distillscale laws fit` writes one.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.get("version", 1)
        if version not in range(1, VERSION + 1):
            raise ValueError(f"version {version}, this program reads up to {VERSION}")
        laws = content["laws"]
        if version == 1:
            laws = [_from_version_1(entry) for entry in laws]
        if version < VERSION:
            laws = [{"first_order": False} | entry for entry in laws]
        return [_law(entry) for entry in laws], [_joint(e) for e in content.get("joint", [])]
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


def joint_table(fits: Sequence[JointFit]) -> pd.DataFrame:
    """As `laws_table`, for laws of several inputs or groups."""
    rows = [_head(fit) | _joint_row(fit, name) for fit in fits for name in fit.estimate]
    return pd.DataFrame(rows, columns=LAWS_TABLE_COLUMNS)


def certificate_table(fits: Sequence[LawFit | JointFit]) -> pd.DataFrame:
    """One row a fitted law: the evidence that its estimate is the best fit (see `Certificate`)."""
    rows = [
        _head(fit) | asdict(fit.certificate) | {"doubts": "; ".join(fit.certificate.doubts)}
        for fit in fits
        if fit.certificate
    ]
    return pd.DataFrame(rows, columns=CERTIFICATE_COLUMNS)


def delta_table(fits: Sequence[LawFit]) -> pd.DataFrame:
    """One row a law, delta and parameter: how much hangs on Huber's delta; missing: squares."""
    rows = [
        _head(fit) | {"delta": row.delta, "beyond": row.beyond, "parameter": n, "estimate": value}
        for fit in fits
        for row in fit.deltas
        for n, value in row.estimate.items()
    ]
    return pd.DataFrame(rows, columns=DELTA_COLUMNS)


def _head(fit: LawFit | JointFit) -> dict[str, Any]:
    named = {column: fit.group.get(column, "") for column in ("task", "configuration", "thinking")}
    x = " x ".join(fit.columns) if isinstance(fit, JointFit) else fit.x
    return {"law": fit.form, **named, "metric": fit.metric, "x": x}


def _joint_row(fit: JointFit, name: str) -> dict[str, Any]:
    low, high = fit.intervals[name] or (None, None)
    reason = fit.unidentified.get(name)
    parts = [
        f"not identified: {reason}" if reason else "",
        f"{fit.dropped} unusable points left out" if fit.dropped else "",
        *fit.certificate.doubts,
        f"{fit.level:.0%} intervals by profile likelihood; of factors: {fit.covers}",
    ]
    return {
        "parameter": name,
        "estimate": fit.estimate[name],
        "low": low,
        "high": high,
        "identified": reason is None,
        "note": "; ".join(part for part in parts if part),
    }


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


def _from_version_1(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of version 1 as one of this version: by Huber's loss on the form's scale."""
    scale = FORMS[entry["form"]].scale if entry["form"] in FORMS else ""
    likelihood = "score" if scale == "score" else "log"
    return {"likelihood": likelihood, "noise": {}, "prior": {}, "deltas": []} | entry


def _law(entry: dict[str, Any]) -> LawFit:
    _check_fields(entry, LawFit)
    converted = {
        "intervals": {name: _pair(ends) for name, ends in entry["intervals"].items()},
        "diagnostics": Diagnostics(**entry["diagnostics"]),
        "x_range": _pair(entry["x_range"]),
        "draws": tuple(tuple(row) for row in entry["draws"]),
        "certificate": entry["certificate"] and Certificate(**entry["certificate"]),
        "prior": {name: _pair(pair) for name, pair in entry["prior"].items()},
        "deltas": tuple(DeltaRow(**row) for row in entry["deltas"]),
    }
    return LawFit(**(entry | converted))


def _joint(entry: dict[str, Any]) -> JointFit:
    _check_fields(entry, JointFit)
    converted = {
        name: tuple(entry[name]) for name in ("levels", "separate", "columns")
    } | {
        name: {key: _pair(ends) for key, ends in entry[name].items()}
        for name in ("intervals", "ranges", "prior")
    }  # fmt: skip
    return JointFit(
        **(entry | converted | {"draws": tuple(tuple(row) for row in entry["draws"]),
                                "certificate": Certificate(**entry["certificate"])})
    )  # fmt: skip


def _check_fields(entry: dict[str, Any], kind: type[LawFit] | type[JointFit]) -> None:
    unknown = set(entry) ^ {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"field `{min(unknown)}`")
    if entry["form"] not in FORMS:
        raise ValueError(f"form `{entry['form']}`")


def _pair(ends: list[float] | None) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = ends
    return low, high
