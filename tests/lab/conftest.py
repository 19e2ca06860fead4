import pytest

from distillscale.lab.grammar import Grammar, load_grammar
from distillscale.lab.world import World, make_world

TASKS = ("fin-headlines", "support-tickets")


@pytest.fixture(scope="session")
def world() -> World:
    """The world that the shipped teacher knows."""
    return make_world(0)


@pytest.fixture(params=TASKS)
def grammar(request: pytest.FixtureRequest) -> Grammar:
    return load_grammar(request.param)
