import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_corpus import TASK, recipe_of, results_of

from distillscale.data.embedding import load_embedder
from distillscale.data.generation.filters import FILTERS, FilterRules
from distillscale.data.generation.generators import LabGenerator
from distillscale.data.generation.loop import Run
from distillscale.data.generation.records import Draft, DraftRequest, Drafts
from distillscale.data.generation.weights import target_shares
from distillscale.data.split import normalised
from distillscale.errors import DamagedArtifact, InputError
from distillscale.lab.world import make_world
from distillscale.tasks import Example
from distillscale.tasks.records import read_records


class Scripted:
    """A generator whose iterations are written down."""

    source = "scripted"

    def __init__(self, *batches: Drafts) -> None:
        self.batches = list(batches)
        self.requests: list[DraftRequest] = []

    def draft(self, request: DraftRequest) -> Drafts:
        self.requests.append(request)
        return self.batches.pop(0)


def words(first, count):
    """Texts that have no word in common, each of the class `strike`."""
    rng = np.random.default_rng(first)
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size=(count, 4, 6))
    return tuple(Draft(" ".join("".join(word) for word in text), "strike") for text in letters)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    outcome = Run(recipe_of(), folder).go_on(LabGenerator(TASK, make_world()), min_acceptance=0.02)
    return folder, outcome


def test_the_corpus_holds_as_many_examples_as_wanted_all_different(corpus):
    folder, outcome = corpus
    examples = read_records(folder / "examples.parquet", Example)
    assert len(examples) == 700
    assert outcome.sentence.startswith("target reached: 700 texts after")
    assert len({example.id for example in examples}) == 700
    assert len({normalised(example.text) for example in examples}) == 700
    assert all(example.category == TASK.category_of(example.label) for example in examples)
    vectors = load_embedder("hashed").encode([example.text for example in examples])
    cosines = vectors @ vectors.T - 2 * np.eye(700)
    assert cosines.max() < 0.9


def test_every_draft_is_accepted_or_in_the_audit(corpus):
    folder, outcome = corpus
    dropped = pq.read_table(folder / "dropped.parquet").to_pylist()
    examples = {own.id: own for own in read_records(folder / "examples.parquet", Example)}
    assert sum(own.drafted for own in outcome.iterations) == len(dropped) + len(examples)
    counted = Counter()
    for own in outcome.iterations:
        counted.update(own.dropped)
    assert Counter(row["reason"] for row in dropped) == counted
    assert set(counted) == set(FILTERS) - {"wrong_language"} | {
        "exact_duplicate",
        "near_duplicate",
        "surplus",
    }
    embedder = load_embedder("hashed")
    for row in dropped:
        if row["reason"] not in ("exact_duplicate", "near_duplicate"):
            assert row["keeper"] is row["keeper_text"] is row["similarity"] is None
            continue
        if row["keeper"] in examples:
            assert examples[row["keeper"]].text == row["keeper_text"]
        else:
            surplus = [own["text"] for own in dropped if own["reason"] == "surplus"]
            assert row["keeper_text"] in surplus
        own, keeper = embedder.encode([row["text"], row["keeper_text"]])
        assert own @ keeper == pytest.approx(row["similarity"], abs=1e-5)
        same = normalised(row["text"]) == normalised(row["keeper_text"])
        assert same or row["similarity"] >= 0.9 - 1e-6


def test_the_report_counts_what_the_files_hold(corpus):
    folder, outcome = corpus
    report = json.loads((folder / "report.json").read_text())
    dropped = pq.read_table(folder / "dropped.parquet").to_pandas()
    examples = pq.read_table(folder / "examples.parquet").to_pandas()
    assert report["stopped_because"] == outcome.sentence
    assert len(report["similarity_edges"]) == 11
    assert report["similarity_edges"][0] == 0.9
    total = 0
    for own in report["iterations"]:
        here = dropped[dropped.iteration == own["iteration"]]
        assert own["dropped"] == here.reason.value_counts().to_dict()
        assert own["drafts"] == own["accepted"] + len(here)
        total += own["accepted"]
        assert own["total"] == total
        near = here[here.reason == "near_duplicate"].similarity
        assert sum(own["similarity_histogram"]) == len(near)
        repeats = here.reason.isin(["near_duplicate", "exact_duplicate"]).sum()
        fit = own["accepted"] + repeats + (here.reason == "surplus").sum()
        assert own["duplicate_rate"] == pytest.approx(repeats / fit)
        assert sum(own["weights"].values()) == pytest.approx(1)
        assert sum(own["drafts_by_category"].values()) == own["drafts"]
    shares = examples.category.value_counts(normalize=True).to_dict()
    assert report["iterations"][-1]["category_shares"] == pytest.approx(shares)
    assert max(shares.values()) < 1.3 / 13


def test_the_same_seed_makes_the_same_corpus_and_another_another(make, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        make(tmp_path / name, seed=seed)
    assert results_of(tmp_path / "one") == results_of(tmp_path / "two")
    one, other = (
        {own.text for own in read_records(tmp_path / name / "examples.parquet", Example)}
        for name in ("one", "other")
    )
    assert len(one & other) < 70


def test_given_shares_are_reached(make, tmp_path):
    shares = dict.fromkeys(recipe_of().shares, 0.5 / 12) | {"macro": 0.5}
    outcome = make(tmp_path, shares=shares, target=300, batch_size=60)
    assert outcome.iterations[-1].shares["macro"] == pytest.approx(0.5, abs=0.05)


def test_examples_from_the_rim_of_each_category_are_handed_on(tmp_path):
    generator = Scripted(Drafts(words(0, 40)), Drafts(words(1, 40)))
    Run(recipe_of(target=80, few_shot=2), tmp_path).go_on(generator, min_acceptance=0)
    first, second = generator.requests
    assert first.few_shot == {}
    assert set(second.few_shot) == {"labour"}
    vectors = load_embedder("hashed").encode([draft.text for draft in words(0, 40)])
    centre = vectors.mean(axis=0)
    nearness = dict(zip([own.text for own in words(0, 40)], vectors @ centre, strict=True))
    farthest = sorted(nearness, key=nearness.__getitem__)
    # 40 rows: the two beyond the quantile 0.95 are oddities.
    assert [example.text for example in second.few_shot["labour"]] == farthest[2:4]
    assert second.weights["strike"] < first.weights["strike"]


def test_a_run_whose_drafts_are_no_longer_accepted_says_so(tmp_path):
    known = words(0, 100)
    generator = Scripted(*[Drafts(known) for _ in range(6)])
    outcome = Run(recipe_of(target=500), tmp_path).go_on(generator, min_acceptance=0.05)
    assert outcome.sentence == (
        "stopped at 100 of 500 texts: of the 300 drafts of the last 3 iterations 0.0% were "
        "accepted, below the limit of 5.0%."
    )
    assert len(outcome.iterations) == 4
    assert len(read_records(tmp_path / "examples.parquet", Example)) == 100


def test_a_spent_budget_stops_the_run_and_a_larger_one_lets_it_go_on(tmp_path):
    spent = Drafts(words(0, 30), stopped="the budget of 1,000 tokens is spent.")
    outcome = Run(recipe_of(target=60), tmp_path).go_on(Scripted(spent), min_acceptance=0.05)
    assert outcome.sentence == "stopped at 30 of 60 texts: the budget of 1,000 tokens is spent."
    again = Scripted(Drafts((), stopped="the budget of 1,000 tokens is spent."))
    outcome = Run(recipe_of(target=60), tmp_path).go_on(again, min_acceptance=0.05)
    assert outcome.sentence == "stopped at 30 of 60 texts: the budget of 1,000 tokens is spent."
    assert len(outcome.iterations) == 1
    more = Scripted(Drafts(words(1, 40)))
    outcome = Run(recipe_of(target=60), tmp_path).go_on(more, min_acceptance=0.05)
    assert outcome.sentence == "target reached: 60 texts after 2 iterations."
    assert more.requests[0].iteration == 2


def test_a_generator_that_gives_nothing_is_asked_again_by_the_next_run(tmp_path):
    outcome = Run(recipe_of(target=60), tmp_path).go_on(
        Scripted(Drafts((), dead_letters=4)), min_acceptance=0.05
    )
    assert outcome.sentence == (
        "stopped at 0 of 60 texts: the generator gave no draft (4 requests failed, see "
        "dead_letters.jsonl)."
    )
    assert read_records(tmp_path / "examples.parquet", Example) == []
    outcome = Run(recipe_of(target=60), tmp_path).go_on(
        Scripted(Drafts(words(0, 60))), min_acceptance=0.05
    )
    assert outcome.sentence.startswith("target reached")


def test_no_more_is_asked_for_than_the_rest_of_the_target_needs(corpus):
    _, outcome = corpus
    *_, before, last = outcome.iterations
    missing = 700 - before.total
    assert missing < last.drafted < 3 * missing + 15


def test_a_finished_run_is_done_at_once(corpus):
    folder, outcome = corpus
    before = results_of(folder)
    again = Run(recipe_of(), folder).go_on(Scripted(), min_acceptance=0.02)
    assert again == outcome
    assert results_of(folder) == before


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"target": 800}, r"begun with target 700, not 800; give the same arguments"),
        ({"seed": 1}, r"begun with seed 0, not 1"),
        ({"threshold": 0.8}, r"begun with threshold 0.9, not 0.8"),
        ({"few_shot": 5}, r"begun with few_shot 2, not 5"),
        ({"source": "gpt"}, r'begun with source "lab", not "gpt"'),
    ],
)
def test_a_changed_argument_is_refused(corpus, change, complaint):
    folder, _ = corpus
    with pytest.raises(InputError, match=complaint):
        Run(recipe_of(**change), folder)


def test_changed_rules_and_shares_are_refused_by_name(corpus):
    folder, _ = corpus
    with pytest.raises(InputError, match=r"begun with rules.shortest 12, not 5"):
        Run(recipe_of(rules=FilterRules(shortest=5)), folder)
    with pytest.raises(InputError, match=r"begun with shares.earnings 0.07"):
        Run(recipe_of(shares=target_shares(TASK, {"macro": 0.5})), folder)


@pytest.mark.parametrize("name", ["state.json", "corpus-00001.parquet"])
def test_a_damaged_file_is_found(make, tmp_path, name):
    make(tmp_path, target=100)
    path = tmp_path / "checkpoint" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedArtifact, match=f"{name}: it is not what was written"):
        make(tmp_path, target=100)


def test_a_missing_index_is_found(make, tmp_path):
    make(tmp_path, target=100)
    for path in (tmp_path / "checkpoint" / "index").iterdir():
        path.unlink()
    with pytest.raises(DamagedArtifact, match="no index"):
        make(tmp_path, target=100)


def test_an_iteration_whose_drafts_all_fail_is_no_harm(tmp_path):
    broken = Drafts((Draft("{company} walks out of its plants", "strike"),) * 5)
    recipe = recipe_of(target=10)
    generator = Scripted(broken, broken)
    run = Run(recipe, tmp_path)
    with pytest.raises(IndexError):  # nothing more is written down
        run.go_on(generator, min_acceptance=0.0)
    outcome = Run(recipe, tmp_path).go_on(Scripted(Drafts(words(0, 10))), min_acceptance=0.0)
    assert outcome.sentence == "target reached: 10 texts after 3 iterations."
    assert outcome.iterations[0].dropped == {"malformed": 5}
    assert outcome.iterations[0].duplicate_rate is None
