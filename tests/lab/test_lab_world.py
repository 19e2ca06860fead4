from collections import Counter

import pytest

from distillscale.errors import InputError
from distillscale.lab.teacher import TeacherSize
from distillscale.lab.world import ATTRIBUTES, COUNTRIES, KINDS, SECTORS, Company, make_world


def test_a_world_is_made_from_its_seed_alone():
    assert make_world(4, 60) == make_world(4, 60)
    assert make_world(4, 60) != make_world(5, 60)


def test_a_world_stays_as_it_is():
    # Another order of random draws would make the shipped teacher's knowledge wrong.
    world = make_world(0, 200)
    assert world.companies[0] == Company(
        "binigen", "insurer", "brazil", "jupeoix", "goods", "elif staiweer"
    )
    assert world.companies[150] == Company(
        "staihemond", "software", "vietnam", "haikoano", "goods", "nils dopreosen"
    )


@pytest.mark.parametrize("companies", [10, 11, 200])
def test_names_products_and_chiefs_are_unique(companies):
    world = make_world(1, companies)
    words = [
        word
        for company in world.companies
        for word in (company.name, company.product, company.chief.split()[1])
    ]
    assert len(world.companies) == companies
    assert len(set(words)) == len(words) == 3 * companies


@pytest.mark.parametrize("companies", [10, 11, 200])
def test_each_half_has_the_same_spread_of_facts(companies):
    world = make_world(2, companies)
    assert world.newsmakers + world.quiet == world.companies
    assert 0 <= len(world.quiet) - len(world.newsmakers) <= 1
    for half in (world.newsmakers, world.quiet):
        for attribute, values in (("sector", SECTORS), ("country", COUNTRIES), ("kind", KINDS)):
            counts = Counter(company.fact(attribute) for company in half)
            assert set(counts) <= set(values)
            every = [counts[value] for value in values]
            assert max(every) - min(every) <= 1


def test_the_teacher_is_taught_the_world_that_is_asked_about():
    assert len(make_world().companies) == TeacherSize().companies


def test_facts_are_read_by_attribute():
    company = make_world(0, 200).companies[0]
    facts = [company.fact(attribute) for attribute in ATTRIBUTES]
    assert facts == ["insurer", "brazil", "jupeoix", "goods", "elif staiweer"]


def test_sector_country_and_kind_do_not_decide_one_another(world):
    pairs = {(company.sector, company.kind) for company in world.companies}
    assert len(pairs) == len(SECTORS) * len(KINDS)


def test_a_world_too_small_for_the_grammar_is_refused():
    with pytest.raises(InputError, match="companies is 9; a lab world needs at least 10"):
        make_world(0, 9)
