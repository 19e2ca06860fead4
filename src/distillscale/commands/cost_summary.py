"""What a model costs to use, as text."""

from collections.abc import Iterator, Mapping

from distillscale.evaluation import Measurement
from distillscale.laws.cost import COST_METRIC, TIME_METRIC, cost_per_million

WIDTH = 30
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_ROWS = {
    "ms_per_example": ("ms a text, alone", "{:.2f}"),
    "ms_per_example_batch_32": ("ms a text, batch of 32", "{:.2f}"),
    "ms_per_example_label_only": ("label only: alone", "{:.2f}"),
    "ms_per_example_label_only_batch_32": ("label only: batch of 32", "{:.2f}"),
    "prefill_tokens_per_second": ("prompt tokens read a second", "{:,.0f}"),
    "decode_tokens_per_second": ("tokens written a second", "{:,.0f}"),
    "peak_memory_bytes": ("peak memory", "{}B"),
    "flops_per_example": ("operations a text", "{}FLOP"),
    "file_bytes": ("file size", "{}B"),
}


def cost_lines(cost: Mapping[str, Measurement], hourly_price: float | None) -> Iterator[str]:
    """A line for each measurement of `measure_cost` that is there, and for the derived money."""
    for name, (title, form) in _ROWS.items():
        value = cost[name].value if name in cost else None
        if value is not None:
            shown = scaled(value) if form.startswith("{}") else value
            yield f"  {title:<{WIDTH}}{form.format(shown)}"
    for name, value in money(cost, hourly_price).items():
        title = "money a million texts" + (", alone" if name.endswith("alone") else "")
        yield f"  {title:<{WIDTH}}{value:,.2f} at {hourly_price:g} an hour"


def money(cost: Mapping[str, Measurement], hourly_price: float | None) -> dict[str, float]:
    """Money for a million texts in batches of 32 and one at a time, for a stated price only."""
    if hourly_price is None:
        return {}
    names = {COST_METRIC: TIME_METRIC, f"{COST_METRIC}_alone": "ms_per_example"}
    return {
        name: cost_per_million(cost[time].value or 0.0, hourly_price)
        for name, time in names.items()
    }


def scaled(value: float) -> str:
    """A large number with three digits and the prefix of its unit, as in `1.58 M`."""
    for prefix, size in _UNITS:
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "
