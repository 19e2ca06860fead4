"""What a synthetic study found: its laws' evidence, decision, and answers to single examples."""

import numpy as np
import pandas as pd

from distillscale.report.answers import AnswerSheet, ModelAnswers
from distillscale.report.decision import Decision, Option
from distillscale.report.inputs import Judged

FORMATS = ("logit-label", "logit-cot", "logit-blended")


def law_lines(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with a part beyond their range, as `commands.report_laws` makes them."""
    fits = curves.groupby(["law", "configuration", "metric", "x_name"], sort=False).ngroup()
    fitted = curves.assign(fit=fits, part="fitted")
    edge = fitted["x"].groupby(fits).transform("min") == fitted["x"]
    ends = fitted[edge]
    beyond = [ends.assign(x=ends["x"] * share, part="beyond") for share in (0.5, 0.7, 1.0)]
    return pd.concat([fitted, *beyond], ignore_index=True)


def law_points(lines: pd.DataFrame) -> pd.DataFrame:
    """Every tenth place of each curve, measured a little off it."""
    own = lines[lines["part"] == "fitted"].iloc[::10].drop(columns="part")
    off = np.random.default_rng(4).normal(0, 0.01, len(own))
    return own.assign(value=own["value"] + off, residual=off)


def joint_lines(task: str = "fin-headlines") -> pd.DataFrame:
    """Two formats over dataset size, an additive law over size, and a P2 law over the share."""
    rows = []
    for fit, (law, x_name, metric, panel, xs) in enumerate(
        [("data", "dataset_size", "macro_f1", "logit", [64, 256, 1024, 2048]),
         ("additive", "params", "macro_f1", "", [2e5, 4e5, 8e5, 1.6e6]),
         ("pruned_one_teacher", "prune_ratio", "gold_nll", "", [0.08, 0.16, 0.4, 1.0])]
    ):  # fmt: skip
        lines = [("logit-label", None), ("logit-cot", None)] if law == "data" else [
            ("logit-cot", 64.0), ("logit-cot", 2048.0)
        ]  # fmt: skip
        for place, (name, size) in enumerate(lines):
            pieces = ["fitted", "fitted", "fitted", "above"] if law == "data" else [
                "below", "fitted", "fitted", "fitted"
            ]  # fmt: skip
            for step, (x, piece) in enumerate(zip(xs, pieces, strict=True)):
                value = 0.6 + 0.05 * step + 0.1 * place
                part = "fitted" if piece == "fitted" else "beyond"
                rows.append((fit, law, task, name, "none", metric, x_name, panel, size, piece,
                             part, x, value, value - 0.02, value + 0.02))  # fmt: skip
    columns = ["fit", "law", "task", "configuration", "thinking", "metric", "x_name", "panel",
               "dataset_size", "piece", "part", "x", "value", "low", "high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def joint_points(lines: pd.DataFrame) -> pd.DataFrame:
    """Each fitted place of the lines, measured a little off it."""
    own = lines[lines["part"] == "fitted"].drop(columns=["part", "piece"])
    off = np.random.default_rng(5).normal(0, 0.01, len(own))
    return own.assign(predicted=own["value"], value=own["value"] + off, residual=off)


def certificates(laws: pd.DataFrame) -> pd.DataFrame:
    fits = laws.drop_duplicates(["law", "configuration", "metric"])
    evidence = {
        "x": "params", "loss": 0.02, "gradient": 3e-7, "starts": 32, "reached": 0.94,
        "second_basin": None, "other_solver": 2e-9, "doubts": "",
    }  # fmt: skip
    columns = ["law", "task", "configuration", "metric"]
    return fits[columns].assign(**evidence)


def exponents(task: str = "fin-headlines") -> pd.DataFrame:
    """An exponent of each kind: a value, both bounds, and one that is not identified."""
    kinds = [("value", 0.4, 0.2, 0.7), ("<", None, None, 0.3), (">", None, 0.9, None),
             ("unidentified", 0.5, 0.0, 9.0)]  # fmt: skip
    names = (*FORMATS, "lora-label")
    rows = [
        (law, task, name, metric, x, parameter, value, low, high, kind)
        for law, x, parameter in (("data", "dataset_size", "beta"), ("size", "params", "alpha"))
        for metric in ("macro_f1", "gold_nll")
        for name, (kind, value, low, high) in zip(names, kinds, strict=True)
    ]
    columns = ["law", "task", "configuration", "metric", "x", "parameter", "value", "low", "high",
               "kind"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})


def collapse(task: str = "fin-headlines") -> pd.DataFrame:
    rows = []
    for place, name in enumerate(FORMATS):
        general = 0.2 + 0.05 * place
        rows += [
            (task, name, "r_star", "macro_f1", None, None, None, 0.16, "<"),
            (task, name, "r_star", None, "general", general, general - 0.02, general + 0.03,
             "value"),
            (task, name, "gap", "macro_f1", "general", None, 0.1 * place, None,
             "unknown" if place == 2 else ">"),
        ]  # fmt: skip
    columns = ["task", "configuration", "quantity", "in_domain", "general", "value", "low", "high",
               "kind"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})


def contrasts() -> pd.DataFrame:
    rows = []
    for metric in ("macro_f1", "general"):
        for contrast, difference, p in (
            ("cot - label", 0.08, 0.01), ("blended - label", 0.05, 0.03),
            ("blended - cot", -0.03, 0.2), ("lora - logit", 0.01, 0.6),
        ):  # fmt: skip
            factor = "method" if "lora" in contrast else "supervision"
            shared = (factor, "uniform in 5 to 0.162", metric, contrast)
            low, high = difference - 0.03, difference + 0.03
            rows.append((*shared, "all", difference, low, high, p, 6, 3))
            rows += [(*shared, f"logit, {n} examples", difference + step, low, high, None, 3, 3)
                     for n, step in ((64, -0.01), (2048, 0.01))]  # fmt: skip
    columns = ["factor", "held", "metric", "contrast", "context", "difference", "low", "high",
               "p_holm", "pairs", "units"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def shares() -> pd.DataFrame:
    rows = [
        (0.162, metric, source, share, None, 12)
        for metric in ("macro_f1", "gold_nll", "general", "general_rehearsed")
        for source, share in (("supervision", 0.5), ("dataset_size", 0.3), ("interactions", 0.25),
                              ("not attributable", -0.05))
    ]  # fmt: skip
    columns = ["final_ratio", "metric", "source", "share", "p_holm", "cells"]
    return pd.DataFrame(rows, columns=columns)


def baselines(task: str = "fin-headlines") -> pd.DataFrame:
    """TF-IDF, fast and middling, and a model of a student's shape, slower and worse."""
    rows = []
    for name, seeds, params, measured in (
        ("tfidf", [None], 90_000, {"macro_f1": 0.8, "ms_per_example": 0.4,
                                   "ms_per_example_batch_32": 0.02}),
        ("same-shape-gold", [0, 1], 255_000, {"macro_f1": 0.7, "general": 0.2,
                                              "ms_per_example": 1.7,
                                              "ms_per_example_batch_32": 0.9}),
    ):  # fmt: skip
        for seed in seeds:
            shared = {
                "study": "lab-quick", "task": task, "baseline": name, "seed": seed,
                "dataset_size": 2000, "steps": None if seed is None else 500, "params": params,
                "params_with_embeddings": params, "chance": None, "examples": 700,
            }  # fmt: skip
            for metric, value in measured.items():
                own = value + (0.01 * (-1) ** seed if seed is not None else 0)
                sampled = metric in ("macro_f1", "general")
                spread = [own - 0.02, own, own + 0.02] if sampled else []
                rows.append(shared | {"metric": metric, "value": own, "replicates": spread})
    return pd.DataFrame(rows)


def decision(task: str = "fin-headlines") -> Decision:
    smallest = Option(
        "smallest", "logit-blended", "uniform in 5, stage 2, 2,048 examples", 759_000, 1_021_000,
        0.48, 0.89, (0.86, 0.92), 0.96, 0.83, 0.88, 2.9, 0.71, 1.4,
    )  # fmt: skip
    surer = Option(
        "sure", "logit-blended", "uniform in 5, not made yet", 900_000, 1_162_000, 0.57, 0.91,
        None, 0.98, None, None, None, None, None,
    )  # fmt: skip
    return Decision(
        task, "the smallest model that keeps 95% of the teacher's macro F1", 0.884,
        "logit-blended, 759,000 params.", (smallest, surer), ("one seed only",),
        "distillscale recommend --results results.parquet --min macro_f1=0.884", "name: next\n",
    )  # fmt: skip


def sheet(task: str = "fin-headlines", text: str = "Halvorsen Energy headline") -> AnswerSheet:
    """Sixty examples of three labels; the models disagree on every fifth."""
    labels = ["layoffs", "merger", "strike"]
    gold = [labels[i % 3] for i in range(60)]
    wrong = [labels[(i + (i % 5 == 0)) % 3] for i in range(60)]
    written = [f"it is about {label}\nAnswer: {label}" for label in gold]
    return AnswerSheet(
        task, [f"{text} {i}" for i in range(60)], gold,
        (
            ModelAnswers("teacher", gold, [0.98] * 60, written),
            ModelAnswers("logit-cot, 16% kept", wrong, [0.7] * 60, written),
            ModelAnswers("logit-label, 16% kept", gold, [0.8] * 60, [None] * 60),
        ),
    )  # fmt: skip


def judged(task: str = "fin-headlines") -> Judged:
    labels = [f"label_{i}" for i in range(14)]
    counts = pd.DataFrame(np.eye(14, dtype=int) * 9 + 1, labels, labels)
    low = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    bins = pd.DataFrame({
        "low": low, "high": low + 0.1, "examples": [10, 20, 30, 40, 60, 162],
        "confidence": low + 0.06, "accuracy": low - 0.02,
    })  # fmt: skip
    return Judged(task, "logit-blended, 759,000 parameters", counts, bins, 0.08)
