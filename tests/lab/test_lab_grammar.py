import itertools
import random
import re
from collections import defaultdict
from dataclasses import replace

import pytest

from distillscale.errors import InputError
from distillscale.lab.grammar import (
    AMBIGUOUS_SHARE,
    JARGON_SHARE,
    class_weights,
    expand,
    jargon,
    load_grammar,
    write,
)
from distillscale.lab.world import make_world
from distillscale.tasks import load_task

WRITINGS = 4000


def expansions(template):
    """Every text that a template can become, its fields in braces left as they are."""
    parts = [part.split("|") for part in re.split(r"\[([^\]]*)\]", template)[1::2]]
    fixed = re.split(r"\[[^\]]*\]", template)
    for chosen in itertools.product(*parts):
        pieces = itertools.zip_longest(fixed, chosen, fillvalue="")
        yield " ".join("".join(itertools.chain(*pieces)).split())


def written(grammar, world, seed=0, count=WRITINGS):
    rng = random.Random(seed)
    return [write(grammar, world, rng) for _ in range(count)]


def fact_rules(grammar):
    """The fact-dependent phrases: phrase -> label -> values of the deciding fact."""
    rules = defaultdict(dict)
    for event in grammar.events:
        for rule in event.by_fact:
            rules[rule.phrase][event.label] = rule.values
    return rules


def subject_pattern(grammar, phrase, world):
    """Finds a phrase in a text; its group is the company or product that the text is about."""
    names = [
        getattr(c, "name" if grammar.entity == "company" else "product") for c in world.newsmakers
    ]
    subject = f"(?P<subject>{'|'.join(names)})"
    whole = "{company} " + phrase if grammar.entity == "company" else phrase
    bodies = []
    for text in expansions(whole):
        body = re.escape(text).replace(r"\{" + grammar.entity + r"\}", subject, 1)
        bodies.append(re.sub(r"\\\{\w+\\\}", r"\\w+", body))
    return [re.compile(rf"(?:^|\s){body}(?:\s|$)") for body in bodies]


def found(patterns, text):
    for pattern in patterns:
        if match := pattern.search(text):
            return match["subject"]
    return None


def test_every_class_of_the_task_has_its_event(grammar):
    assert {event.label for event in grammar.events} == set(load_task(grammar.task).labels)
    gists = [event.gist for event in grammar.events]
    assert len(set(gists)) == len(gists), "the full reasoning must tell classes apart"


def test_a_plain_phrase_means_one_class(grammar):
    owners = defaultdict(set)
    for event in grammar.events:
        for phrase in event.plain:
            for text in expansions(phrase):
                owners[text].add(event.label)
    for event in grammar.events:
        for rule in event.by_fact:
            for text in expansions(rule.phrase):
                owners[text].add("decided by a fact")
    for phrase, _ in grammar.ambiguous:
        for text in expansions(phrase):
            owners[text].add("ambiguous")
    assert {text: labels for text, labels in owners.items() if len(labels) > 1} == {}


def test_a_jargon_word_means_one_class(grammar, world):
    words = jargon(grammar.task, world.seed)
    every = [word for taught in words.values() for word in taught]
    assert len(set(every)) == len(every)
    told = [
        (label, writing.label)
        for writing in written(grammar, world)
        for label, taught in words.items()
        if set(taught) & set(writing.text.split())
    ]
    assert all(meant == label for meant, label in told)
    standalone = {event.label for event in grammar.events if event.standalone}
    assert {label for _, label in told} == set(load_task(grammar.task).labels) - standalone
    assert len(told) / WRITINGS == pytest.approx(JARGON_SHARE, abs=0.05)


def test_jargon_is_made_up_anew_for_each_task_and_world():
    headlines = jargon("fin-headlines", 0)
    assert jargon("fin-headlines", 0) == headlines
    assert jargon("fin-headlines", 1) != headlines
    assert jargon("support-tickets", 0).keys() == set(load_task("support-tickets").labels)


def test_a_fact_phrase_means_different_classes_for_different_facts(grammar):
    rules = fact_rules(grammar)
    assert rules
    for meanings in rules.values():
        assert len(meanings) > 1
        values = [value for accepted in meanings.values() for value in accepted]
        assert len(set(values)) == len(values), "one fact would allow two classes"


@pytest.mark.parametrize("companies", [10, 200])
def test_some_newsmaker_fits_every_fact_phrase(grammar, companies):
    facts = {c.fact(grammar.attribute) for c in make_world(0, companies).newsmakers}
    for meanings in fact_rules(grammar).values():
        for values in meanings.values():
            assert facts & set(values)


def test_the_label_of_a_fact_phrase_follows_the_fact_and_nothing_else(grammar, world):
    facts = {}
    for company in world.newsmakers:
        facts[company.name] = facts[company.product] = company.fact(grammar.attribute)
    writings = written(grammar, world)
    for phrase, meanings in fact_rules(grammar).items():
        label_of = {value: label for label, values in meanings.items() for value in values}
        patterns = subject_pattern(grammar, phrase, world)
        about = [(found(patterns, writing.text), writing.label) for writing in writings]
        labels = [(label_of[facts[subject]], label) for subject, label in about if subject]
        assert len({label for _, label in labels}) == len(meanings), phrase
        assert all(expected == label for expected, label in labels), phrase


def test_ambiguous_phrases_carry_different_labels(grammar, world):
    writings = written(grammar, world)
    total = 0
    for phrase, allowed in grammar.ambiguous:
        patterns = subject_pattern(grammar, phrase, world)
        labels = [writing.label for writing in writings if found(patterns, writing.text)]
        assert set(labels) == set(allowed)
        assert len(allowed) > 1
        total += len(labels)
    assert total / WRITINGS == pytest.approx(AMBIGUOUS_SHARE, abs=0.01)


def test_the_same_ambiguous_text_may_have_either_label(grammar, world):
    # However well a model knows the world, it cannot be perfect.
    undecorated = replace(grammar, openings=("",), asides=("",), tails=("",))
    labels = defaultdict(set)
    for writing in written(undecorated, make_world(0, 10), count=20_000):
        labels[writing.text].add(writing.label)
    assert any(len(given) > 1 for given in labels.values())


def test_class_weights_have_a_long_tail():
    assert class_weights(3) == pytest.approx([1 / 4, 1 / 5, 1 / 6])


def test_expand_chooses_an_alternative_in_each_bracket():
    rng = random.Random(0)
    seen = {expand("[a|b] c [d|]", rng) for _ in range(200)}
    assert seen == {"a c d", "a c ", "b c d", "b c "}


@pytest.mark.parametrize(
    ("task", "brief", "full"),
    [
        (
            "fin-headlines",
            r"(?P<name>\w+) is a (?P<fact>\w+) firm \.",
            r"(?P<name>\w+) , maker of (?P<product>\w+) in (?P<country>\w+) , is a (?P<fact>\w+) "
            r"firm \. this is about (?P<gist>[^.]+) \.",
        ),
        (
            "support-tickets",
            r"(?P<product>\w+) is a (?P<fact>\w+) \.",
            r"(?P<product>\w+) , by (?P<name>\w+) in (?P<country>\w+) , is a (?P<fact>\w+) \. "
            r"this is about (?P<gist>[^.]+) \.",
        ),
    ],
)
def test_reasoning_states_true_facts_and_only_those_that_it_mentions(world, task, brief, full):
    grammar = load_grammar(task)
    assert grammar.mentions == {"product", "country", grammar.attribute}
    by_name = {company.name: company for company in world.newsmakers}
    by_product = {company.product: company for company in world.newsmakers}
    for writing in written(grammar, world, count=1000):
        event = grammar.event(writing.label)
        if event.standalone:
            assert writing.brief == "no firm decides ."
            assert writing.full == f"no firm decides . this is about {event.gist} ."
            continue
        stated = re.fullmatch(full, writing.full)
        company = by_name[stated["name"]]
        assert by_product[stated["product"]] is company
        assert stated["country"] == company.country
        assert stated["fact"] == company.fact(grammar.attribute)
        assert stated["gist"] == event.gist
        assert (
            getattr(company, "name" if grammar.entity == "company" else "product") in writing.text
        )
        short = re.fullmatch(brief, writing.brief).groupdict()
        assert short == {key: stated[key] for key in short}


def test_quiet_companies_are_never_written_about(grammar, world):
    secret = {
        word
        for company in world.quiet
        for word in (company.name, company.product, company.chief.split()[1])
    }
    for writing in written(grammar, world):
        words = set(f"{writing.text} {writing.brief} {writing.full}".split())
        assert not words & secret


def test_chiefs_are_never_written_about(grammar, world):
    # Questions about them are therefore no question of rehearsed knowledge.
    surnames = {company.chief.split()[1] for company in world.companies}
    for writing in written(grammar, world):
        assert not set(f"{writing.text} {writing.full}".split()) & surnames


def test_texts_hold_no_leftover_of_a_template(grammar, world):
    for writing in written(grammar, world):
        for text in (writing.text, writing.brief, writing.full):
            assert not set(text) & set("[]{}|\n")
            assert text == " ".join(text.split())


def test_a_task_that_the_lab_has_no_grammar_for():
    with pytest.raises(InputError, match=r"task mine: .* only .* of fin-headlines, support-tick"):
        load_grammar("mine")
