import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillscale.studies.identity import (
    Step,
    ancestry,
    canonical,
    from_lineage,
    library_versions,
    lineage,
)


def chain() -> Step:
    data = Step("dataset", {"seed": 0, "task": "fin-headlines"})
    traces = Step("traces", {"temperature": 0.0}, {"dataset": data})
    return Step("distill", {"steps": 3}, {"dataset": data, "traces": traces}, version=2)


def test_same_recipe_has_same_key_whatever_the_order_of_its_fields():
    one = Step("train", {"a": 1, "b": {"c": 2, "d": 3}})
    other = Step("train", OrderedDict(b={"d": 3, "c": 2}, a=1))
    assert one.key == other.key
    assert one == other
    assert len({one, other}) == 1


def test_the_key_is_the_same_in_every_process_and_release():
    assert Step("train", {"rate": 1e-3, "names": ["é"]}).key == (
        "8607126b8b943fc211a632e8b6cd4bd01a76e0cdfffa50983d9d975216417bc2"
    )


@pytest.mark.parametrize(
    "changed",
    [
        Step("prune", {"a": 1}),
        Step("train", {"a": 2}),
        Step("train", {"a": 1.0}),
        Step("train", {"a": True}),
        Step("train", {"a": "1"}),
        Step("train", {"a": 1, "b": None}),
        Step("train", {"a": 1}, version=2),
        Step("train", {"a": 1}, libraries={"torch": "2.13.0"}),
        Step("train", {"a": 1}, {"data": Step("data")}),
    ],
)
def test_every_part_of_the_recipe_affects_identity(changed: Step):
    assert changed.key != Step("train", {"a": 1}).key


def test_a_change_of_a_distant_ancestor_affects_identity():
    def student(seed: int) -> Step:
        data = Step("data", {"seed": seed})
        return Step("distill", {}, {"traces": Step("traces", {}, {"data": data})})

    assert student(0).key != student(1).key


def test_resources_and_names_do_not_affect_identity():
    assert Step("train", {"a": 1}, name="stage 1").key == Step("train", {"a": 1}).key
    assert not {"device", "workers", "path"} & chain().identity.keys()
    with pytest.raises(TypeError, match=r"train\.params\.folder is PosixPath"):
        Step("train", {"folder": Path("/data")})


def test_the_cpu_or_cuda_build_of_a_library_does_not_affect_identity():
    assert "+" not in library_versions("torch")["torch"]


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, object(), math.nan, math.inf, Path("x"), b"bytes", 1j, np.float64(1.0),
        np.array([1]), {1: "key is no text"}, float, [0, {"deep": (1, {2})}],
    ],
)  # fmt: skip
def test_values_without_stable_form_are_rejected(value: object):
    with pytest.raises(TypeError, match="no stable identity"):
        Step("train", {"value": value})


def test_rejection_names_the_place():
    with pytest.raises(TypeError, match=r"^train\.params\.rates\[1\]\.logit is nan \(float\)"):
        Step("train", {"rates": [0, {"logit": math.nan}]})


def test_later_changes_to_the_callers_mapping_do_no_harm():
    params = {"sizes": [1, 2]}
    step = Step("train", params)
    key = step.key
    params["sizes"].append(3)
    assert step.params == {"sizes": [1, 2]}
    assert Step("train", step.params).key == key


def test_minus_zero_is_zero():
    assert Step("train", {"decay": -0.0}).key == Step("train", {"decay": 0.0}).key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(JSON)
def test_canonical_form_is_stable(value: object):
    assert canonical(canonical(value)) == canonical(value) == value


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), JSON))
def test_a_step_is_rebuilt_from_its_lineage(params: dict):
    step = Step("distill", params, {"student": chain()}, name="stage 1")
    records = json.loads(json.dumps(lineage(step)))
    rebuilt = from_lineage(step.key, records)
    assert rebuilt == step
    assert rebuilt.name == "stage 1"
    assert rebuilt.inputs["student"].inputs["traces"].params == {"temperature": 0.0}


def test_a_forged_lineage_is_refused():
    step = chain()
    records = lineage(step)
    records[step.key]["params"]["steps"] = 300
    with pytest.raises(ValueError, match="is that of"):
        from_lineage(step.key, records)


def test_ancestry_is_inputs_first_and_once_each():
    step = chain()
    order = list(ancestry(step, step.inputs["dataset"]))
    assert [one.kind for one in order] == ["dataset", "traces", "distill"]


def test_what_only_a_known_step_needs_is_not_visited():
    step = chain()
    known = step.inputs["traces"]
    assert [one.kind for one in ancestry(step, known=lambda one: one == known)] == [
        "dataset", "distill",
    ]  # fmt: skip
    assert list(ancestry(step, known=lambda one: one == step)) == []
