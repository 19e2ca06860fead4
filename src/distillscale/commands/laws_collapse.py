"""`laws collapse`: where scores collapse, and how far general knowledge runs ahead of the task."""

from pathlib import Path

from distillscale.commands.table_file import check_table, write_table
from distillscale.errors import InputError
from distillscale.laws.collapse.gap import IN_DOMAIN, collapse_gaps
from distillscale.laws.collapse.table import collapse_table, collapse_text
from distillscale.results import read_results


def print_collapses(
    results: Path, in_domain: str, general: str, lost: float, out: Path | None, seed: int
) -> None:
    """Print the collapse points and gaps of one pair of scores; write those of all to `out`."""
    check_table(out)
    if in_domain not in IN_DOMAIN:
        raise InputError(f"--in-domain {in_domain}: it must be {' or '.join(IN_DOMAIN)}.")
    found = collapse_gaps(read_results(results), lost=lost, seed=seed)
    known = {(gap.in_domain.metric, gap.general.metric) for gap in found.gaps}
    if (in_domain, general) not in known:
        pairs = ", ".join(sorted(f"{task} with {other}" for task, other in known))
        reason = f"it has {pairs}" if pairs else "; ".join(found.left_out) or "it has no benchmark"
        raise InputError(
            f"--in-domain {in_domain}, --general {general}: {results} has no such pair along a "
            f"uniform chain; {reason.rstrip('.')}."
        )
    print(collapse_text(found, in_domain, general))
    if out:
        write_table(collapse_table(found), out)
        print(f"collapse points: {out}")
