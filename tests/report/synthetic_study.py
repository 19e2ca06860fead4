"""A synthetic study that looks like `lab-quick`: 16 cells, up to six stages, one or more tasks."""

import itertools
import math

import numpy as np
import pandas as pd
import synthetic_evidence as evidence

from distillscale.report import ReportInputs, Segment, TraceSample, empty_table
from distillscale.results import COLUMNS

TEACHER_PARAMS, EMBEDDINGS = 1_574_912, 262_144
SIZES = [250, 500, 1000, 2000]
SHIFT = {"label": 0.0, "cot": -0.012, "blended": 0.006, "none": -0.16}
KEPT_KNOWLEDGE = {"label": 0.46, "cot": 0.24, "blended": 0.27, "none": 0.33}

CATEGORIES = {
    "results": ["earnings_beat", "earnings_miss", "guidance_raise", "guidance_cut"],
    "shareholder returns": ["dividend_raise", "dividend_cut", "buyback"],
    "deals": ["merger", "acquisition", "divestiture", "joint_venture"],
    "capital": ["share_offering", "debt_offering", "debt_repaid", "default"],
    "ratings": ["rating_upgrade", "rating_downgrade", "credit_rating"],
    "management": ["chief_appointed", "chief_leaves", "board_change"],
    "labour": ["layoffs", "strike"],
    "legal": ["lawsuit_filed", "settlement"],
    "regulation": ["drug_approval", "permit_granted", "fine"],
    "products": ["product_launch", "product_recall"],
    "operations": ["plant_opened", "plant_closed"],
    "cyber": ["data_breach"],
    "macro": ["rate_decision", "inflation_report"],
}


def ratios(schedule: str, target: float = 0.162) -> list[float]:
    """Kept ratios after stages 0.."""
    if schedule == "oneshot":
        return [1.0, target]
    if schedule == "decayed":
        return [1.0, 0.52, 0.34, 0.255, 0.201, 0.162]
    return [1.0, 0.695, 0.482, 0.335, 0.233, 0.162]


def cells() -> list[dict[str, object]]:
    """Five uniform chains, nine cells for the data law at one ratio, two more schedules."""
    four = [("label", "logit"), ("label", "lora"), ("cot", "logit"), ("blended", "logit")]
    rows = [(s, m, "uniform", 2000, 0.162) for s, m in [*four, ("none", "none")]]
    rows += [(s, "logit", "oneshot", size, 0.482) for s in ("label", "cot") for size in SIZES]
    rows += [("none", "none", "oneshot", 2000, 0.482)]
    rows += [("cot", "logit", schedule, 2000, 0.162) for schedule in ("decayed", "oneshot")]
    return [
        {
            "supervision": supervision, "method": method, "schedule": schedule,
            "dataset_size": size, "seed": 0, "target": target,
            "thinking": "none" if supervision in ("label", "none") else "full",
            "stages": len(ratios(schedule)) - 1,
            "cell": f"{method}-{supervision}-{schedule}-{size}-{target:.0%}",
        }
        for supervision, method, schedule, size, target in rows
    ]  # fmt: skip


def truth(cell: dict[str, object], ratio: float, stage: int) -> dict[str, float]:
    """The metrics of one stage, without sampling noise."""
    if stage == 0:
        cell = {**cell, "supervision": "cot", "method": "logit", "schedule": "uniform"}
    supervision, size = str(cell["supervision"]), float(str(cell["dataset_size"]))
    loss = 0.075 * (ratio**-0.75 - 1) + (0.55 * size**-0.42 if stage else 0)
    loss *= {"none": 1.9, "cot": 1.12, "blended": 1.0, "label": 1.03}[supervision]
    loss *= 1.15 if cell["method"] == "lora" else 1.0
    loss *= {"uniform": 1.0, "decayed": 1.06, "oneshot": 1.4}[str(cell["schedule"])]
    f1 = max(0.05, 0.93 - loss)
    knowledge = 1 / (1 + math.exp(-4.2 * math.log(ratio / KEPT_KNOWLEDGE[supervision])))
    lift = 0.04 if supervision in ("cot", "blended") else 0.0
    facts = 0.25 + 0.74 * knowledge
    joins = 0.10 + 0.78 * knowledge**1.6
    values = {
        "macro_f1": f1, "weighted_f1": f1 + 0.02, "accuracy": f1 + 0.024,
        "gold_nll": 0.22 + 2.1 * loss, "gold_probability": math.exp(-0.22 - 1.7 * loss),
        "parse_failure_rate": 0.4 * loss, "lab_facts": facts, "lab_joins": joins,
        "lab_facts_rehearsed": min(facts + lift, 0.997), "lab_facts_unrehearsed": facts - lift,
        "lab_joins_rehearsed": joins + lift, "lab_joins_unrehearsed": joins - lift,
        "general": (facts + joins) / 2, "ms_per_example": 1 + 4 * ratio,
        "ms_per_example_batch_32": 0.5 + 2 * ratio,
        "examples_per_second": 1000 / (0.5 + 2 * ratio),
    }  # fmt: skip
    if stage and supervision != "none":
        values["train_loss"] = 0.1 + loss
        values["gradient_norm_spread"] = (2.4 if supervision == "cot" else 1.3) + loss
        values["kl_answer"] = (1.6 if supervision == "cot" else 0.7) * loss
        if supervision != "label":
            values["kl_reasoning"] = (0.5 if supervision == "cot" else 0.62) * loss
    return values


def results_table(tasks: tuple[str, ...] = ("fin-headlines",), seeds: int = 1) -> pd.DataFrame:
    """The results of the synthetic study."""
    noise = np.random.default_rng(0)
    rows = []
    for task in tasks:
        for cell in cells():
            for seed in range(seeds):
                kept = ratios(str(cell["schedule"]), float(str(cell["target"])))
                for stage, ratio in enumerate(kept):
                    own = {
                        **cell,
                        "task": task,
                        "seed": seed,
                        "cell": f"{cell['cell']}-{seed}-{task}",
                    }
                    rows += stage_rows(own, stage, ratio, kept, noise)
    return pd.DataFrame(rows)[list(COLUMNS)]


def stage_rows(
    cell: dict[str, object], stage: int, ratio: float, kept: list[float], noise: np.random.Generator
) -> list[dict[str, object]]:
    cuts = [1 - after / before for before, after in itertools.pairwise(kept[: stage + 1])]
    shared = {
        **cell, "study": "lab-quick", "stage": stage, "prune_ratio": ratio,
        "largest_cut": max(cuts, default=0.0), "params": round(TEACHER_PARAMS * ratio),
        "params_with_embeddings": round(TEACHER_PARAMS * ratio) + EMBEDDINGS,
    }  # fmt: skip
    rows = []
    for metric, value in truth(cell, ratio, stage).items():
        sampled = metric not in ("train_loss", "gradient_norm_spread", "ms_per_example",
                                 "ms_per_example_batch_32", "examples_per_second")  # fmt: skip
        spread = 0.03 if metric == "gold_nll" else 0.012
        seen = value + (noise.normal(0, spread / 2) if sampled and stage else 0)
        rows.append({
            **shared, "metric": metric, "value": seen,
            "chance": 0.25 if "facts" in metric else 0.1 if "joins" in metric else math.nan,
            "examples": 600 if "lab" in metric else 700,
            "replicates": list(noise.normal(seen, spread, 200)) if sampled else [],
        })  # fmt: skip
    return rows


def law_tables(task: str = "fin-headlines") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fitted laws and their curves, as `laws` would hand them over."""
    laws, curves = [], []
    for supervision, method in [("label", "logit"), ("cot", "logit")]:
        name = f"{method}-{supervision}"
        cell = {"supervision": supervision, "method": method, "schedule": "oneshot"}
        for parameter, estimate in (("e_inf", 0.05), ("B", 0.61), ("beta", 0.42)):
            laws.append(("data", task, name, "macro_f1", parameter, estimate, estimate * 0.8,
                         estimate * 1.3, parameter != "e_inf", "5 sizes"))  # fmt: skip
        for size in np.geomspace(250, 2000, 30):
            value = truth({**cell, "dataset_size": size}, 0.482, 1)["macro_f1"]
            curves.append(("data", task, name, "macro_f1", "dataset_size", size, value,
                           value - 0.01, value + 0.01))  # fmt: skip
    for supervision, method in [("label", "logit"), ("label", "lora"), ("cot", "logit"),
                                ("blended", "logit"), ("none", "none")]:  # fmt: skip
        name = "pruned only" if method == "none" else f"{method}-{supervision}"
        cell = {"supervision": supervision, "method": method, "schedule": "uniform",
                "dataset_size": 2000}  # fmt: skip
        for law, metric, x_name in (("size", "macro_f1", "params"), ("size", "gold_nll", "params"),
                                    ("collapse", "lab_facts", "prune_ratio"),
                                    ("collapse", "lab_joins", "prune_ratio")):  # fmt: skip
            for parameter, estimate in (
                (("e_inf", 0.04), ("A", 210.0), ("alpha", 0.75))
                if law == "size"
                else (("r_star", 0.3), ("k", 4.2))
            ):
                laws.append((law, task, name, metric, parameter, estimate, estimate * 0.7,
                             estimate * 1.4, parameter != "A", ""))  # fmt: skip
            for ratio in np.geomspace(0.162, 1, 40):
                value = truth(cell, ratio, 1)[metric]
                x = ratio * (TEACHER_PARAMS if x_name == "params" else 1)
                curves.append((law, task, name, metric, x_name, x, value, value - 0.012,
                               value + 0.012))  # fmt: skip
    law_columns = ["law", "task", "configuration", "metric", "parameter", "estimate", "low", "high",
                   "identified", "note"]  # fmt: skip
    curve_columns = [
        "law",
        "task",
        "configuration",
        "metric",
        "x_name",
        "x",
        "value",
        "low",
        "high",
    ]
    return pd.DataFrame(laws, columns=law_columns), pd.DataFrame(curves, columns=curve_columns)


def recovery_table(task: str = "fin-headlines") -> pd.DataFrame:
    rows = []
    for against in ("logit-label", "pruned only"):
        for stage, ratio in enumerate(ratios("uniform")[1:], start=1):
            gain = 0.09 * math.exp(-((math.log(ratio / 0.33)) ** 2)) - 0.01
            rows.append((task, "logit-cot", against, "general", "uniform", stage, ratio, 2000,
                         gain, gain - 0.03, gain + 0.03))  # fmt: skip
    columns = ["task", "configuration", "against", "metric", "schedule", "stage", "prune_ratio",
               "dataset_size", "difference", "low", "high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def label_counts(task: str = "fin-headlines") -> pd.DataFrame:
    names = [(label, category) for category, labels in CATEGORIES.items() for label in labels]
    order = np.random.default_rng(3).permutation(len(names))
    return pd.DataFrame([
        (task, label, category, round(220 / (1 + order[i]) ** 0.85) + 4)
        for i, (label, category) in enumerate(names)
    ], columns=["task", "label", "category", "count"])  # fmt: skip


def embedding_points(task: str = "fin-headlines", copies: int = 12) -> pd.DataFrame:
    noise = np.random.default_rng(1)
    rows = []
    for category, labels in CATEGORIES.items():
        middle = noise.uniform(-10, 10, 2)
        for label in labels:
            own = middle + noise.normal(0, 1.6, 2)
            for copy in range(copies):
                x, y = own + noise.normal(0, 0.45, 2)
                rows.append((task, x, y, label, category, f"Halvorsen Energy {label} item {copy}"))
    return pd.DataFrame(rows, columns=["task", "x", "y", "label", "category", "text"])


def length_counts(task: str = "fin-headlines") -> pd.DataFrame:
    characters = np.arange(30, 160)
    counts = (400 * np.exp(-(((characters - 72) / 24) ** 2))).astype(int) + 1
    return pd.DataFrame({"task": task, "characters": characters, "count": counts})


def similarity_rows(task: str = "fin-headlines") -> pd.DataFrame:
    cosines = np.random.default_rng(2).beta(6, 4, 2000).astype(np.float32)
    return pd.DataFrame({"task": task, "similarity": cosines, "compared": 4000})


def trace_samples(task: str = "fin-headlines") -> tuple[TraceSample, ...]:
    prompt = "Veltrum Biosciences wins approval for its new inhaler after a two-year review"
    reasoning = (
        "Veltrum Biosciences is a pharma firm based in Denmark, led by Ida Holm. Its product is an "
        "inhaler. The headline says that an authority approved something. For a pharma firm an "
        "approval of a product is a drug approval, not a permit. So the event is drug_approval."
    )
    answer = Segment("drug_approval", "answer")
    thought = (Segment(reasoning, "reasoning"), answer)
    return (
        TraceSample(task, "label", "none", prompt, (answer,), 0.0, 3.2, 1.0),
        TraceSample(task, "cot", "full", prompt, thought, 58.4, 3.2, 0.052),
        TraceSample(task, "blended", "full", prompt, thought, 58.4, 3.2, 0.5),
    )


FACTS = {
    "Study": "lab-quick", "Teacher": "lab teacher, 8 layers of width 128, 1.57 M parameters",
    "Cells": "16 (7 of them chains to 16 %)", "Steps": "142 run, 0 taken from the store",
    "Machine": "2 cores, 24 GB", "Finished": "2026-11-24 08:10 UTC, 8.4 minutes",
    "Versions": "distillscale 0.1.0, torch 2.13.0, transformers 5.23.0",
}  # fmt: skip


def make_inputs(tasks: tuple[str, ...] = ("fin-headlines",), **changes: object) -> ReportInputs:
    """The synthetic study as report inputs, with any field replaced."""
    laws, curves = zip(*(law_tables(task) for task in tasks), strict=True)
    lines = pd.concat([evidence.law_lines(own) for own in curves])
    joint = pd.concat([evidence.joint_lines(task) for task in tasks])
    fields: dict[str, object] = {
        "title": "lab-quick: how small can the headline model get?",
        "facts": FACTS,
        "results": results_table(tasks),
        "laws": pd.concat(laws),
        "curves": pd.concat(curves),
        "recovery": pd.concat([recovery_table(task) for task in tasks]),
        "recommendation": "logit-blended, 2,000 examples, 48 % kept (759k parameters)\n"
        "predicted macro F1 0.89 [0.87, 0.91], general 0.83 [0.80, 0.86]",
        "labels": pd.concat([label_counts(task) for task in tasks]),
        "traces": tuple(sample for task in tasks for sample in trace_samples(task)),
        "embedding": pd.concat([embedding_points(task) for task in tasks]),
        "lengths": pd.concat([length_counts(task) for task in tasks]),
        "similarities": pd.concat([similarity_rows(task) for task in tasks]),
        "law_lines": lines,
        "law_points": evidence.law_points(lines),
        "joint_lines": joint,
        "joint_points": evidence.joint_points(joint),
        "certificates": pd.concat([evidence.certificates(own) for own in laws]),
        "exponents": pd.concat([evidence.exponents(task) for task in tasks]),
        "collapse": pd.concat([evidence.collapse(task) for task in tasks]),
        "contrasts": evidence.contrasts(),
        "shares": evidence.shares(),
        "baselines": pd.concat([evidence.baselines(task) for task in tasks]),
        "hourly_price": 2.5,
        "decisions": tuple(evidence.decision(task) for task in tasks),
        "sheets": tuple(evidence.sheet(task) for task in tasks),
        "judged": tuple(evidence.judged(task) for task in tasks),
        "notes": ("One seed: intervals cover test sampling only.",),
        "command": "distillscale study run studies/lab-quick.yaml",
    }
    return ReportInputs(**{**fields, **changes})  # type: ignore[arg-type]


def small_inputs(**changes: object) -> ReportInputs:
    """A study with one cell, so that rendering takes little time."""
    results = results_table()
    one = results[results["cell"].str.startswith("logit-blended")]
    one = one[one["metric"] == "macro_f1"]
    tables = (
        "laws", "curves", "recovery", "embedding", "lengths", "similarities", "law_lines",
        "law_points", "joint_lines", "joint_points", "certificates", "exponents", "collapse",
        "contrasts", "shares", "baselines",
    )  # fmt: skip
    records = {"decisions": (), "sheets": (), "judged": ()}
    empty = {name: empty_table(name) for name in tables}
    fields = {
        "results": one,
        "labels": empty_table("labels"),
        "traces": (),
        "hourly_price": None,
        **empty,
        **records,
        **changes,
    }
    return make_inputs(**fields)
