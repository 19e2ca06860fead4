import pytest

from distillscale.errors import InputError
from distillscale.lab.drafts import FAULTS, FAULTY_SHARE, lab_drafts
from distillscale.lab.grammar import load_grammar
from distillscale.lab.world import make_world
from distillscale.tasks import load_task


def test_lab_drafts_repeat_themselves_more_and_more():
    labels = load_task("fin-headlines").labels
    weights = dict.fromkeys(labels, 1.0)
    texts: list[str] = []
    new = []
    for stream in range(3):
        known = len(set(texts))
        texts += [
            text
            for text, _ in lab_drafts(
                "fin-headlines", make_world(), weights, count=2000, seed=0, stream=str(stream)
            )
        ]
        new.append(len(set(texts)) - known)
    assert 2000 > new[0] > new[1] > new[2] > 200


def test_lab_drafts_are_of_the_classes_that_are_asked_for():
    weights = {"strike": 3.0, "lawsuit": 1.0}
    drafts = list(
        lab_drafts("fin-headlines", make_world(), weights, count=4000, seed=0, stream="a")
    )
    shares = {label: sum(own == label for _, own in drafts) / 4000 for label in weights}
    shared = {label for _, labels in load_grammar("fin-headlines").ambiguous for label in labels}
    assert {label for _, label in drafts} <= shared | set(weights)
    assert shares["strike"] == pytest.approx(0.75 * 0.96, abs=0.04)
    assert shares["lawsuit"] == pytest.approx(0.25 * 0.96, abs=0.04)


def test_a_stream_repeats_exactly_and_another_takes_other_ideas():
    def texts(stream, seed=0):
        weights = {"strike": 1.0}
        return list(
            lab_drafts("fin-headlines", make_world(), weights, count=300, seed=seed, stream=stream)
        )

    assert texts("1") == texts("1")
    assert texts("1") != texts("2")
    assert set(texts("1")) & set(texts("2"))  # favourite ideas come back
    assert len(set(texts("1")) & set(texts("1", seed=1))) < 30


def test_few_drafts_are_faulty():
    weights = dict.fromkeys(load_task("fin-headlines").labels, 1.0)
    drafts = list(
        lab_drafts("fin-headlines", make_world(), weights, count=4000, seed=0, stream="a")
    )
    told = sum(text.startswith("as an ai") for text, _ in drafts)
    assert told / 4000 == pytest.approx(FAULTY_SHARE / len(FAULTS), abs=0.004)


def test_a_task_without_a_grammar():
    with pytest.raises(InputError, match="only write examples of fin-headlines"):
        next(lab_drafts("mine", make_world(), {"a": 1.0}, count=1, seed=0, stream="a"))
