import pytest

from distillscale.data.generation.filters import FILTERS, FilterRules, reason_to_drop
from distillscale.data.generation.records import Draft
from distillscale.errors import InputError
from distillscale.lab.drafts import FAULTS
from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world
from distillscale.tasks import load_task

TASK = load_task("fin-headlines")
RULES = FilterRules()


def reason(text, label="merger", rules=RULES):
    return reason_to_drop(Draft(text, label), TASK, rules)


@pytest.mark.parametrize(
    "text",
    [
        "Novarix wins approval for its new drug",
        "Merger talks between Novarix and Drelon collapse",  # a class's name as a word
        "Regulator: merger of equals needs no review",
        "Weeks after dividend cut, Drelon faces strike",  # words of a class, not its name
        "Q3 profit up 12% to $1.4bn (vs. $1.2bn)",
        "Société Générale to buy Müller's unit in São Paulo",
        "La Banque Postale names new chief",  # one foreign word proves nothing
        "Drelon - once a bank - goes dark",
    ],
)
def test_ordinary_texts_pass(text):
    assert reason(text) is None


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("malformed", ""),
        ("malformed", "... 123 456 789 ..."),
        ("malformed", "Novarix wins\napproval for drug"),
        ("malformed", "Novarix wins\x00 approval for drug"),
        ("malformed", "Novarix wins approval \ufffd for drug"),
        ("malformed", "{company} wins approval for drug"),
        ("malformed", "[COMPANY NAME] wins approval for drug"),
        ("malformed", "<b>Novarix</b> wins approval for drug"),
        ("malformed", '{"texts": ["Novarix wins approval"'),
        ("malformed", "```json Novarix wins approval"),
        ("malformed", "**Novarix** wins approval for drug"),
        ("malformed", "1. Novarix wins approval for drug"),
        ("malformed", "- Novarix wins approval for drug"),
        ("too_short", "Novarix up"),
        ("too_long", "Novarix wins approval " * 20),
        ("wrong_script", "Новарикс получает одобрение лекарства"),
        ("wrong_script", "诺瓦里克斯获得新药的批准并宣布收购计划"),
        ("wrong_script", "Novarix получает approval"),
        ("wrong_language", "Novarix hebt die Prognose für das Jahr und zahlt mehr Dividende"),
        (
            "wrong_language",
            "Novarix relève ses prévisions pour la fin de l'année et les dividendes",
        ),
        ("wrong_language", "Novarix eleva su previsión para el año y paga más dividendos"),
        ("label_leaked", "earnings_beat Novarix tops estimates"),
        ("label_leaked", "Novarix tops estimates in Earnings-Beat fashion"),
        ("label_leaked", "Merger: Novarix and Drelon join forces"),
        ("label_leaked", "Earnings beat: Novarix tops estimates"),
        ("label_leaked", "Novarix and Drelon join forces (merger)"),
        ("label_leaked", "Novarix and Drelon join forces #merger"),
        ("label_leaked", "Novarix and Drelon join forces, category: deals"),
        ("label_leaked", "Shareholder returns!"),
        ("banned", "As an AI, I think Novarix wins approval"),
    ],
)
def test_each_fault_has_its_reason(expected, text):
    assert reason(text) == expected


def test_every_filter_is_named_by_some_test():
    named = {mark.args[1][number][0]
             for mark in test_each_fault_has_its_reason.pytestmark
             for number in range(len(mark.args[1]))}  # fmt: skip
    assert named == set(FILTERS)


def test_lengths_and_banned_strings_are_the_users():
    rules = FilterRules(shortest=5, longest=20, banned=("Drelon",))
    assert reason("Novarix up", rules=rules) is None
    assert reason("Novarix wins approval for drug", rules=rules) == "too_long"
    assert reason("DRELON up", rules=rules) == "banned"
    assert reason("12345", rules=rules) == "malformed"
    assert reason("up " * 2, rules=FilterRules(shortest=6)) is None
    assert reason("up u", rules=FilterRules(shortest=5)) == "too_short"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Novarix hebt die Prognose für das Jahr und zahlt mehr Dividende"),
        ("fr", "Novarix relève ses prévisions pour la fin de l'année"),
        ("ru", "Новарикс получает одобрение лекарства"),
        ("zh", "诺瓦里克斯获得新药的批准并宣布收购计划"),
        ("ja", "ノバリックスが新薬の承認を取得した"),
    ],
)
def test_another_language_can_be_wanted(language, text):
    assert reason(text, rules=FilterRules(language=language)) is None
    english = "Novarix wins the approval for its drug and will pay more to the holders of it"
    wanted = "wrong_language" if language in ("de", "fr") else "wrong_script"
    assert reason(english, rules=FilterRules(language=language)) == wanted


@pytest.mark.parametrize("task", ["fin-headlines", "support-tickets"])
def test_nothing_that_the_grammar_writes_is_dropped(task):
    examples = lab_examples(task, make_world(), train=3000, validation=0, test=0, seed=5)
    reasons = {
        example.text: reason_to_drop(Draft(example.text, example.label), load_task(task), RULES)
        for example in examples
    }
    # Some tickets and headlines are very short; nothing else may object.
    assert set(reasons.values()) <= {None, "too_short"}
    assert list(reasons.values()).count("too_short") < 30


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("label in front", "label_leaked"),
        ("slot not filled", "malformed"),
        ("broken off", "too_short"),
        ("runs on", "too_long"),
        ("another script", "wrong_script"),
        ("talks about itself", "banned"),
    ],
)
def test_each_fault_of_the_lab_is_caught(fault, expected):
    assert reason(FAULTS[fault]("novarix and drelon agree to combine", "merger")) == expected
    assert len(FAULTS) == 6


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"shortest": 0}, "0 to 300 characters"),
        ({"shortest": 20, "longest": 10}, "20 to 10 characters"),
        ({"language": "xx"}, "language `xx`: it must be one of ar, de"),
        ({"banned": (" ",)}, "banned text is empty"),
    ],
)
def test_rules_that_cannot_be(change, complaint):
    with pytest.raises(InputError, match=complaint):
        FilterRules(**change)
