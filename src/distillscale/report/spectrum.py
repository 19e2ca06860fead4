"""The supervision spectrum: what each format of supervision gives the student."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn, TraceSample
from distillscale.report.theme import GRID, INK, MONO, MUTED, SEGMENT_COLOURS, finish, layered

_LINE = 16  # pixels from one line of text to the next
_BAR = 14  # pixels, the thickness of a bar
_CHARACTERS, _MOST_LINES, _FEWEST_LINES = 58, 8, 4
_ORDER = ("label", "blended", "cot")
_MEANING = {
    "label": ["answer only"],
    "blended": ["reasoning and answer,", "each averaged apart"],
    "cot": ["reasoning and answer,", "one mean over all tokens"],
}


@dataclass(frozen=True)
class _Band:
    """A trace with its wrapped (text, kind) lines and its place, in pixels from the top."""

    trace: TraceSample
    lines: list[tuple[str, str]]
    top: int
    height: int

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def supervision_spectrum(traces: Sequence[TraceSample]) -> ChartType:
    """What each format gives the student: an example, its length, and where the loss falls.

    `traces` are of one task, one for each supervision and depth of thinking.
    """
    if not traces:
        raise NotDrawn("No traces were given.")
    bands = _bands(traces)
    height = bands[-1].top + bands[-1].height
    panels = [
        _names(bands, height).properties(width=150),
        _texts(bands, height).properties(width=400),
        _amounts(bands, _tokens(bands), ".1f", height).properties(
            width=120, title=_heading(["Supervised tokens", "(mean per example)"])
        ),
        _amounts(bands, _shares(bands), ".0%", height).properties(
            width=120, title=_heading(["Share of the loss", "on each segment"])
        ),
    ]
    row = alt.hconcat(*panels, spacing=14).resolve_scale(color="shared")
    prompt = textwrap.shorten(bands[0].trace.prompt, 120, placeholder=" …")
    return finish(row, "The supervision spectrum", f"Input: {prompt}")


def _bands(traces: Sequence[TraceSample]) -> list[_Band]:
    rank = {supervision: place for place, supervision in enumerate(_ORDER)}
    bands, top = [], 0
    for trace in sorted(traces, key=lambda t: rank.get(t.supervision, len(rank))):
        lines = _wrapped(trace)
        height = _LINE * (max(len(lines), _FEWEST_LINES) + 1)
        bands.append(_Band(trace, lines, top, height))
        top += height
    return bands


def _wrapped(trace: TraceSample) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for segment in trace.segments:
        wrapped = textwrap.wrap(segment.text, _CHARACTERS) or [""]
        if len(wrapped) > _MOST_LINES:
            wrapped = [*wrapped[: _MOST_LINES - 1], "…", wrapped[-1]]
        lines += [(line, segment.kind) for line in wrapped]
    return lines


def _y(height: int) -> alt.Y:
    """Pixels from the top of a panel, so that the panels line up whatever they hold."""
    return alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[height, 0], nice=False))


def _separators(bands: list[_Band], height: int) -> alt.Chart:
    edges = [0, *(band.top + band.height for band in bands)]
    return alt.Chart(pd.DataFrame({"y": edges})).mark_rule(color=GRID).encode(_y(height))


def _names(bands: list[_Band], height: int) -> alt.LayerChart:
    rows = [(band.middle, band.trace.supervision, _description(band.trace)) for band in bands]
    base = alt.Chart(pd.DataFrame(rows, columns=["y", "name", "meaning"])).encode(_y(height))
    text: dict[str, Any] = {"align": "left", "baseline": "middle"}
    name = base.mark_text(**text, dy=-20, fontSize=14, fontWeight="bold", color=INK)
    meaning = base.mark_text(**text, dy=0, fontSize=11, color=MUTED, lineHeight=15)
    left = alt.value(4)
    return layered(
        _separators(bands, height),
        name.encode(x=left, text="name:N"),
        meaning.encode(x=left, text="meaning:N"),
    ).properties(height=height)


def _description(trace: TraceSample) -> list[str]:
    meaning = _MEANING.get(trace.supervision, [])
    return meaning if trace.thinking == "none" else [*meaning, f"{trace.thinking} thinking"]


def _hue() -> alt.Color:
    kinds = list(SEGMENT_COLOURS)
    scale = alt.Scale(domain=kinds, range=[SEGMENT_COLOURS[kind] for kind in kinds])
    legend = alt.Legend(title=None, orient="top", symbolType="square", symbolOpacity=1)
    return alt.Color("kind:N", scale=scale, legend=legend)


def _texts(bands: list[_Band], height: int) -> alt.LayerChart:
    rows = [
        (band.middle + _LINE * (i - (len(band.lines) - 1) / 2), line, kind)
        for band in bands
        for i, (line, kind) in enumerate(band.lines)
    ]
    data = pd.DataFrame(rows, columns=["y", "text", "kind"])
    text = alt.Chart(data).mark_text(align="left", baseline="middle", font=MONO, fontSize=11)
    lines = text.encode(_y(height), _hue(), x=alt.value(0), text="text:N")
    heading = _heading(["What the student is taught,", "one example"])
    return layered(_separators(bands, height), lines).properties(height=height, title=heading)


def _heading(text: list[str]) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=12, fontWeight="normal", color=MUTED, offset=6)


def _tokens(bands: list[_Band]) -> pd.DataFrame:
    amounts = [(b.trace.mean_reasoning_tokens, b.trace.mean_answer_tokens) for b in bands]
    return _pairs(bands, amounts)


def _shares(bands: list[_Band]) -> pd.DataFrame:
    return _pairs(bands, [(1 - b.trace.answer_share, b.trace.answer_share) for b in bands])


def _pairs(bands: list[_Band], amounts: list[tuple[float, float]]) -> pd.DataFrame:
    """One row for each band's reasoning, above its middle, and answer, below; none for zero."""
    rows = []
    for band, (reasoning, answer) in zip(bands, amounts, strict=True):
        apart = _BAR / 2 + 2 if reasoning > 0 else 0
        rows += [
            (band.middle - apart, "reasoning", reasoning),
            (band.middle + apart, "answer", answer),
        ]
    return pd.DataFrame([row for row in rows if row[2] > 0], columns=["y", "kind", "amount"])


def _amounts(bands: list[_Band], data: pd.DataFrame, form: str, height: int) -> alt.LayerChart:
    """Thin bars with the amount written at the end."""
    scale = alt.Scale(domain=[0, 1.55 * float(data["amount"].max())], nice=False)
    x = alt.X("amount:Q", axis=None, scale=scale)
    base = alt.Chart(data).encode(_y(height), _hue(), x)
    edges = data.assign(y=data["y"] - _BAR / 2, y2=data["y"] + _BAR / 2, zero=0.0)
    bars = alt.Chart(edges).mark_rect().encode(x, alt.X2("zero"), _y(height), alt.Y2("y2"), _hue())
    text = base.mark_text(align="left", baseline="middle", dx=5, fontSize=12)
    values = text.encode(text=alt.Text("amount:Q", format=form))
    return layered(_separators(bands, height), bars, values).properties(height=height)
