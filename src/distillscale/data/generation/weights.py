"""How often each category is asked for next, so that the accepted ones reach a target."""

from collections.abc import Mapping

from distillscale.errors import InputError
from distillscale.tasks import Task

BOUND = 4.0
"""A weight stays within a factor of this of its target: no category is flooded or starved."""

_BISECTIONS = 200
_LEAST = 1e-9


def target_shares(task: Task, given: Mapping[str, float]) -> dict[str, float]:
    """The share that each category shall have of the corpus; they sum to 1.

    Args:
        given: shares of some categories; the others divide what is left evenly.

    Raises:
        InputError: an unknown category, or shares that cannot be.
    """
    categories = list(dict.fromkeys(task.categories.values()))
    for category, share in given.items():
        if category not in categories:
            raise InputError(
                f"share of `{category}`: task {task.name} has no such category; it has "
                f"{', '.join(categories)}."
            )
        if not 0 < share < 1:
            raise InputError(f"share of `{category}` is {share}; it must be between 0 and 1.")
    rest = 1 - sum(given.values())
    others = len(categories) - len(given)
    if (others and rest <= 0) or (not others and abs(rest) > 1e-9):
        raise InputError(
            f"the shares sum to {sum(given.values()):g}; they must sum to 1, or to less where some "
            "category is left."
        )
    return {category: given.get(category, rest / max(others, 1)) for category in categories}


def next_weights(
    shares: Mapping[str, float],
    accepted: Mapping[str, int],
    drafts: Mapping[str, int],
    *,
    batch: int,
) -> dict[str, float]:
    """Weights of the categories for the next iteration; they sum to 1.

    Enough of each category is asked for that, at its own acceptance rate so far, the counts after
    the next batch would be as the target wants; but no weight leaves its bounds.

    Args:
        shares: target share of each category.
        accepted: accepted rows of each category so far.
        drafts: drafts of each category so far.
        batch: drafts that the next iteration asks for.
    """
    rates = {name: (accepted[name] + 1) / (drafts[name] + 1) for name in shares}
    hoped = batch / sum(share / rates[name] for name, share in shares.items())
    total = sum(accepted.values()) + hoped
    needs = {
        name: max(share * total - accepted[name], 0.0) / rates[name]
        for name, share in shares.items()
    }
    return bounded(needs, shares)


def bounded(wanted: Mapping[str, float], shares: Mapping[str, float]) -> dict[str, float]:
    """Weights in proportion to what is wanted, but within `BOUND` of the shares; they sum to 1.

    The common factor is found by bisection: the sum of the bounded weights grows with it.
    """
    ends = {name: (share / BOUND, min(share * BOUND, 1.0)) for name, share in shares.items()}
    # Nothing is wanted of a category that has enough; still it takes what others' bounds leave.
    wishes = {name: max(wanted[name], _LEAST * share) for name, share in shares.items()}

    def scaled(factor: float) -> dict[str, float]:
        return {
            name: min(max(factor * wishes[name], low), high) for name, (low, high) in ends.items()
        }

    low, high = 0.0, BOUND / _LEAST  # at `high` every weight is at its upper bound
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(scaled(middle).values()) < 1 else (low, middle)
    return scaled(high)
