"""The iterative procedure: what a stage does, and how much each schedule keeps."""

from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.theme import FAINT, INK, MUTED, SCHEDULE_ORDER, WIDTH, finish, layered

_KEPT, _REMOVED, _BOX = "#3d6b99", "#dfe7ef", "#f1f5f9"
_STEPS = [  # left edge, width, heading, text
    (0, 120, "Teacher", ["all parameters,", "stage 0"]),
    (180, 170, "Prune", ["drop the least important", "layers and channels"]),
    (400, 170, "Distill", ["learn the teacher's", "distribution on its traces"]),
    (620, 170, "Evaluate", ["task, general knowledge,", "size and speed"]),
]


def schedules(results: pd.DataFrame) -> ChartType:
    """The prune-distill loop, and below it the share kept after each stage, as measured.

    `results` is of one task, with the column `target`; of a schedule that led to one size in
    several numbers of stages, the longest is drawn.
    """
    kept = _kept(results)
    if kept.empty or kept["stage"].max() < 1:
        raise NotDrawn("No chain reached its last stage.")
    drawing = alt.vconcat(_loop(), _bars(kept), spacing=26)
    subtitle = "Bars: share of the teacher's parameters (without embeddings) kept after each stage."
    return finish(drawing, "The iterative procedure and its schedules", subtitle)


def _kept(results: pd.DataFrame) -> pd.DataFrame:
    """The share kept after each stage, by what is called `schedule` and where it leads."""
    longest = results.groupby(["schedule", "target"])["stages"].transform("max")
    complete = results.groupby(["cell", "seed"])["stage"].transform("max") == results["stages"]
    rows = results[complete & (results["stages"] == longest)]
    return rows.groupby(["schedule", "target", "stage"])["prune_ratio"].mean().reset_index()


def _bars(kept: pd.DataFrame) -> alt.HConcatChart:
    chains = [(name, rows) for name in SCHEDULE_ORDER for rows in _chains_of(kept, name)]
    step = min(56, (WIDTH - 60 - 30 * len(chains)) // len(kept))
    panels = [
        _panel(rows, name, step * len(rows), first=place == 0)
        for place, (name, rows) in enumerate(chains)
    ]
    return alt.hconcat(*panels, spacing=30)


def _chains_of(kept: pd.DataFrame, schedule: str) -> list[pd.DataFrame]:
    own = kept[kept["schedule"] == schedule]
    return [rows for _, rows in own.groupby("target")]


def _panel(kept: pd.DataFrame, name: str, width: int, first: bool) -> alt.LayerChart:
    axis = alt.Axis(format="%", tickCount=5, domain=False, ticks=False) if first else None
    y, full = (
        alt.Y(f"{field}:Q", title="Share kept", scale=alt.Scale(domain=[0, 1]), axis=axis)
        for field in ("prune_ratio", "full")
    )
    x = alt.X("stage:O", title="Stage", axis=alt.Axis(labelAngle=0, ticks=False))
    title = alt.TitleParams(name, fontSize=13, offset=18, frame="group")
    base = alt.Chart(kept.assign(full=1.0)).encode(x)
    whole = base.mark_bar(color=_REMOVED).encode(full)
    bars = base.mark_bar(color=_KEPT).encode(
        y, tooltip=["stage:O", alt.Tooltip("prune_ratio:Q", format=".1%")]
    )
    text = base.mark_text(baseline="bottom", dy=-3, fontSize=12, color=INK)
    values = text.encode(y, text=alt.Text("prune_ratio:Q", format=".0%"))
    return layered(whole, bars, values).properties(width=width, height=190, title=title)


def _loop() -> alt.LayerChart:
    boxes = pd.DataFrame(_STEPS, columns=["x", "width", "heading", "text"])
    boxes = boxes.assign(x2=boxes["x"] + boxes["width"], middle=boxes["x"] + boxes["width"] / 2)
    x, x2 = _pixels("x", 800), alt.X2("x2")
    base = alt.Chart(boxes)
    frames = base.mark_rect(fill=_BOX, stroke=FAINT, cornerRadius=6).encode(
        x, x2, alt.YValue(6), alt.Y2Value(76)
    )
    heading = base.mark_text(fontWeight="bold", fontSize=13, color=INK)
    text = base.mark_text(fontSize=11, color=MUTED, lineHeight=14, baseline="top")
    middle = _pixels("middle", 800)
    layers = [
        frames,
        heading.encode(middle, alt.YValue(22), text="heading:N"),
        text.encode(middle, alt.YValue(36), text="text:N"),
        *_arrows(boxes),
    ]
    return layered(*layers).properties(width=800, height=112)


def _pixels(field: str, width: int) -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False))


def _arrows(boxes: pd.DataFrame) -> list[alt.Chart]:
    """An arrow from each box to the next, and the way back from the last to `Prune`."""
    gaps = pd.DataFrame({"x": boxes["x2"][:-1].to_numpy() + 6, "x2": boxes["x"][1:].to_numpy() - 8})
    forth = alt.Chart(gaps)
    first, last = float(boxes["middle"].iloc[1]), float(boxes["middle"].iloc[-1])
    path = pd.DataFrame({"x": [last, last, first, first], "y": [78, 98, 98, 86], "i": range(4)})
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[112, 0], nice=False))
    back = alt.Chart(path)
    label = alt.Chart(pd.DataFrame({"x": [(first + last) / 2], "y": [98]}))
    head: dict[str, Any] = {
        "shape": "triangle",
        "filled": True,
        "color": MUTED,
        "size": 60,
        "opacity": 1,
    }
    return [
        forth.mark_rule(color=MUTED).encode(_pixels("x", 800), alt.X2("x2"), alt.YValue(41)),
        forth.mark_point(**head, angle=90).encode(_pixels("x2", 800), alt.YValue(41)),
        back.mark_line(color=MUTED, strokeWidth=1).encode(_pixels("x", 800), y, order="i:Q"),
        back.transform_filter(alt.datum.i == 3).mark_point(**head).encode(_pixels("x", 800), y),
        label.mark_text(dy=10, fontSize=11, color=MUTED, text="again, until the last stage").encode(
            _pixels("x", 800), y
        ),
    ]
