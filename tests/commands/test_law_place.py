"""Where a model stands among laws that were fitted to a table."""

import pandas as pd
import pytest
from tiny_deployment import tiny_facts

from distillscale.commands.law_place import law_places
from distillscale.errors import InputError
from distillscale.laws.fit import fit_law
from distillscale.laws.law_fit import LawFit

GROUP = {
    "task": "news", "configuration": "logit-label", "supervision": "label", "method": "logit",
    "thinking": "none",
}  # fmt: skip


def law(form: str = "size", x: str = "params", **changes: str | float) -> LawFit:
    """Fitted to points that lie on it: error = 0.1 + 4 / sqrt(x)."""
    rows = pd.DataFrame(
        {
            x: value, "seed": seed, "metric": "macro_f1", "value": 1 - 0.1 - 4 / value**0.5,
            "chance": float("nan"), "examples": 50, "study": "s", "cell": f"{value}_s{seed}",
            "task": "news", "stage": 1,
        }
        for value in (150, 300, 500, 900, 1600)
        for seed in range(3)
    )  # fmt: skip
    rows["replicates"] = [[] for _ in range(len(rows))]
    return fit_law(rows, form, x, group=GROUP | changes)


def test_the_size_law_is_asked_at_the_models_size():
    (place,) = law_places([law(schedule="uniform", stages=5)], tiny_facts(params=700), "news")
    assert (place.law, place.metric, place.x, place.at) == ("size", "macro_f1", "params", 700)
    assert place.predicted == pytest.approx(1 - 0.1 - 4 / 700**0.5, abs=1e-3)
    assert place.inside
    assert place.measured == 0.62
    assert place.fitted_on == "schedule uniform, stages 5"


def test_a_size_beyond_the_fitted_ones_is_marked():
    (place,) = law_places([law()], tiny_facts(params=17_000), "news")
    assert not place.inside


def test_a_data_law_counts_where_the_cut_is_the_same():
    facts = tiny_facts(prune_ratio=0.5)
    near, far = (law("data", "dataset_size", final_ratio=ratio) for ratio in (0.501, 0.25))
    places = law_places([near, far], facts, "news")
    assert [(place.law, place.at) for place in places] == [("data", facts.data.train)]


@pytest.mark.parametrize(
    "other",
    [{"task": "tickets"}, {"supervision": "cot"}, {"method": "lora"}, {"thinking": "full"}],
)
def test_laws_of_something_else_are_refused(other: dict[str, str]):
    with pytest.raises(InputError, match=r"no fitted size or data law of task `news`, logit-label"):
        law_places([law(**other)], tiny_facts(), "news")
