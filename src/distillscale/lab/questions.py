"""General knowledge of the lab's world, as multiple-choice questions of two difficulties.

`lab_facts` asks for one fact with four choices and stands in for MMLU; `lab_joins` needs two facts,
has ten choices and stands in for MMLU-Pro. Half of the questions of each are *rehearsed*: some
reasoning trace states the facts they ask for. The other half ask for the same attributes of
companies that no trace mentions, so that "reasoning recovers knowledge" can be told apart from
"reasoning repeats it".
"""

import random
from collections.abc import Sequence

from distillscale.lab.grammar import load_grammar
from distillscale.lab.world import ATTRIBUTES, Attribute, Company, World
from distillscale.tasks import Question

BENCHMARKS = ("lab_facts", "lab_joins")

_FACT_PROMPTS: dict[Attribute, str] = {
    "sector": "which sector is {name} in ?",
    "country": "which country is {name} from ?",
    "product": "what does {name} make ?",
    "kind": "what kind of thing is {product} ?",
    "chief": "who leads {name} ?",
}
_JOIN_PROMPTS: dict[Attribute, str] = {
    "sector": "which sector is the maker of {product} in ?",
    "country": "which country is {product} from ?",
    "chief": "who leads the maker of {product} ?",
}
_CHOICES = {"lab_facts": 4, "lab_joins": 10}


def question_prompt(template: str, company: Company) -> str:
    """The prompt of a question, ending where the answer begins."""
    filled = template.format(name=company.name, product=company.product)
    return f"Question: {filled}\nAnswer:"


def fact_questions(company: Company) -> list[tuple[str, str]]:
    """Every question about a company with its answer, of both difficulties."""
    templates = [*_FACT_PROMPTS.items(), *_JOIN_PROMPTS.items()]
    return [(question_prompt(text, company), company.fact(asked)) for asked, text in templates]


def lab_questions(task_name: str, world: World, *, count: int, seed: int) -> list[Question]:
    """Draw up to `count` questions a benchmark, half rehearsed by the task's reasoning.

    Fewer are returned where the world has fewer facts of that kind.
    """
    mentions = load_grammar(task_name).mentions
    rng = random.Random(f"questions {task_name} {world.seed} {seed}")
    questions: list[Question] = []
    for benchmark in BENCHMARKS:
        prompts = _FACT_PROMPTS if benchmark == "lab_facts" else _JOIN_PROMPTS
        asked = [
            attribute
            for attribute in ATTRIBUTES
            if attribute in mentions
            and attribute in prompts
            and _has_choices(world.quiet, attribute, _CHOICES[benchmark])
        ]
        for companies, rehearsed in ((world.newsmakers, True), (world.quiet, False)):
            facts = [(company, attribute) for company in companies for attribute in asked]
            for company, attribute in rng.sample(facts, min(count // 2, len(facts))):
                prompt = question_prompt(prompts[attribute], company)
                questions.append(
                    _with_choices(benchmark, prompt, company, attribute, rehearsed, companies, rng)
                )
    return questions


def _has_choices(companies: Sequence[Company], attribute: Attribute, choices: int) -> bool:
    return len({company.fact(attribute) for company in companies}) >= choices


def _with_choices(
    benchmark: str,
    prompt: str,
    company: Company,
    attribute: Attribute,
    rehearsed: bool,
    alike: Sequence[Company],
    rng: random.Random,
) -> Question:
    """Wrong choices come from companies like the one asked about.

    Were they from all, a model could tell newsmakers' products from others by their frequency in
    the traces, and score without knowing the fact.
    """
    right = company.fact(attribute)
    others = sorted({other.fact(attribute) for other in alike} - {right})
    choices = [right, *rng.sample(others, _CHOICES[benchmark] - 1)]
    rng.shuffle(choices)
    return Question(
        id=f"{benchmark}-{company.name}-{attribute}",
        benchmark=benchmark,
        prompt=prompt,
        choices=tuple(f" {choice}" for choice in choices),
        answer=choices.index(right),
        rehearsed=rehearsed,
    )
