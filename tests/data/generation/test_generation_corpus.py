import random

from distillscale.data.deduplicate import deduplicate
from distillscale.data.embedding import load_embedder
from distillscale.data.generation.corpus import Corpus, audit, find_novel
from distillscale.data.generation.records import Draft
from distillscale.data.near_duplicates import NearDuplicateIndex
from distillscale.tasks import load_task

TASK = load_task("fin-headlines")


def corpus_of(*texts):
    corpus = Corpus(TASK, "lab")
    corpus.add((text, "strike") for text in texts)
    return corpus


def drafts(*texts):
    return [Draft(text, "strike") for text in texts]


def test_accepted_rows_are_records_of_the_task():
    (example,) = corpus_of("crews walk out").add([("novarix sued", "lawsuit")]) or ()
    assert (example.id, example.text) == ("generated-0000001", "novarix sued")
    assert (example.label, example.category) == ("lawsuit", "legal")
    assert (example.split, example.source) == ("train", "lab")


def test_exact_duplicates_are_found_after_normalisation():
    batch = drafts("Crews walk out!", "novarix sued", "NOVARIX sued .", "drelon sued")
    novelty = find_novel(batch, corpus_of("drelon up", "crews walk out"))
    assert novelty.copied_rows == {0: 1}
    assert novelty.fresh == (2, 3)  # the first of its form by text
    assert novelty.copied_places == {1: 2}


def test_which_of_several_copies_is_fresh_does_not_depend_on_their_order():
    texts = ["a b c", "A b c", "a b, c", "A B C", "x y z", "x  y z"]
    fresh = set()
    for seed in range(20):
        batch = drafts(*random.Random(seed).sample(texts, len(texts)))
        novelty = find_novel(batch, corpus_of("other"))
        fresh.add(frozenset(batch[place].text for place in novelty.fresh))
        assert len(novelty.copied_places) == 4
    assert fresh == {frozenset({"A B C", "x  y z"})}


def test_every_dropped_draft_names_its_keeper_and_the_surplus_is_told():
    embedder = load_embedder("hashed")
    index = NearDuplicateIndex(embedder.dimensions)
    old = "novarix workers walk out at its plants after talks about pay fail"
    corpus = corpus_of(old)
    index.add(embedder.encode([old]))
    near, copy = f"update : {old}", f"Update: {old}!"
    batch = drafts(near, copy, old.upper(), "drelon recalls goods in spring", "quilex names chair")
    novelty = find_novel(batch, corpus)
    texts = [batch[place].text for place in novelty.fresh]
    decision = deduplicate(index, texts, embedder.encode(texts), 0.9)
    kept = [batch[novelty.fresh[place]].text for place in decision.kept]
    corpus.add((text, "strike") for text in kept[:1])
    rows = audit(batch, novelty, decision, corpus, accepted=1, iteration=7)

    by_text = {row.text: row for row in rows}
    for text in (near, copy):
        assert by_text[text].keeper == "generated-0000000"
        assert by_text[text].keeper_text == old
        assert 0.9 <= by_text[text].similarity < 1
    assert {by_text[near].reason, by_text[copy].reason} == {"near_duplicate", "exact_duplicate"}
    assert by_text[old.upper()].reason == "exact_duplicate"
    assert by_text[old.upper()].similarity == 1
    assert by_text[kept[1]].reason == "surplus"
    assert by_text[kept[1]].keeper is None
    assert kept[0] not in by_text
    assert len(rows) == 4
    assert {row.iteration for row in rows} == {7}
