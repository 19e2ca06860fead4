from collections import Counter

import pytest

from distillscale.lab.grammar import load_grammar
from distillscale.lab.questions import BENCHMARKS, fact_questions, lab_questions
from distillscale.lab.world import ATTRIBUTES, make_world

COUNT = 120
CHOICES = {"lab_facts": 4, "lab_joins": 10}
ASKED = {
    ("fin-headlines", "lab_facts"): {"sector", "country", "product"},
    ("fin-headlines", "lab_joins"): {"sector", "country"},
    ("support-tickets", "lab_facts"): {"country", "product"},
    ("support-tickets", "lab_joins"): {"country"},
}


@pytest.fixture(scope="module", params=["fin-headlines", "support-tickets"])
def task_name(request):
    return request.param


@pytest.fixture(scope="module")
def questions(task_name):
    return lab_questions(task_name, make_world(0), count=COUNT, seed=0)


def about(question, world):
    """The company and the attribute that a question asks for."""
    _, name, attribute = question.id.split("-")
    return next(company for company in world.companies if company.name == name), attribute


def test_questions_are_drawn_from_their_seed_alone(task_name, world, questions):
    assert lab_questions(task_name, world, count=COUNT, seed=0) == questions
    assert lab_questions(task_name, world, count=COUNT, seed=1) != questions


def test_half_of_each_benchmark_is_rehearsed(questions):
    counts = Counter((question.benchmark, question.rehearsed) for question in questions)
    assert counts == {(name, half): COUNT // 2 for name in BENCHMARKS for half in (True, False)}
    assert len({question.id for question in questions}) == len(questions)


def test_the_right_answer_is_the_worlds_fact_and_stands_among_distinct_choices(questions, world):
    for question in questions:
        company, attribute = about(question, world)
        assert len(question.choices) == len(set(question.choices)) == CHOICES[question.benchmark]
        assert question.choices[question.answer] == f" {company.fact(attribute)}"
        possible = {f" {other.fact(attribute)}" for other in world.companies}
        assert set(question.choices) <= possible


def test_prompts_name_what_they_ask_about_and_end_where_the_answer_begins(questions, world):
    for question in questions:
        company, _ = about(question, world)
        assert question.prompt.startswith("Question: ")
        assert question.prompt.endswith(" ?\nAnswer:")
        named = {company.name, company.product} & set(question.prompt.split())
        assert len(named) == 1
        assert question.benchmark == "lab_facts" or named == {company.product}


def test_every_question_is_one_that_the_teacher_was_taught(questions, world):
    for question in questions:
        company, _ = about(question, world)
        taught = dict(fact_questions(company))
        assert question.choices[question.answer] == f" {taught[question.prompt]}"


def test_rehearsed_questions_are_about_newsmakers_and_the_others_about_quiet_companies(
    questions, world
):
    for question in questions:
        company, _ = about(question, world)
        assert company in (world.newsmakers if question.rehearsed else world.quiet)


def test_both_halves_ask_for_the_same_attributes_those_that_reasoning_states(
    task_name, questions, world
):
    assert all(
        asked <= load_grammar(task_name).mentions
        for (name, _), asked in ASKED.items()
        if name == task_name
    )
    for benchmark in BENCHMARKS:
        for rehearsed in (True, False):
            chosen = [q for q in questions if (q.benchmark, q.rehearsed) == (benchmark, rehearsed)]
            assert {about(q, world)[1] for q in chosen} == ASKED[task_name, benchmark]


def test_the_place_of_the_right_answer_tells_nothing(task_name, world):
    questions = lab_questions(task_name, world, count=400, seed=0)
    for benchmark, choices in CHOICES.items():
        answers = [q.answer for q in questions if q.benchmark == benchmark]
        counts = Counter(answers)
        assert set(counts) == set(range(choices))
        assert max(counts.values()) < 2 * len(answers) / choices


def test_fewer_questions_where_the_world_has_fewer_facts(world):
    questions = lab_questions("fin-headlines", world, count=10_000, seed=0)
    counts = Counter(question.benchmark for question in questions)
    companies = len(world.companies)
    assert counts == {"lab_facts": 3 * companies, "lab_joins": 2 * companies}


def test_a_small_world_asks_nothing_that_it_has_too_few_choices_for():
    questions = lab_questions("fin-headlines", make_world(0, 10), count=100, seed=0)
    assert {question.benchmark for question in questions} == {"lab_facts"}
    assert all(len(question.choices) == 4 for question in questions)


def test_every_fact_of_a_company_is_taught_in_both_difficulties(world):
    company = world.companies[0]
    taught = fact_questions(company)
    assert len(taught) == 8
    assert len({prompt for prompt, _ in taught}) == 8
    assert {answer for _, answer in taught} == {company.fact(name) for name in ATTRIBUTES}
