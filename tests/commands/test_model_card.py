"""The card of a deployed model, with labels and names that would like to be markup."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from distillscale.commands.model_card import METRICS, model_card
from distillscale.results import COLUMNS
from distillscale.studies.grid import Cell
from distillscale.tasks import task_from_labels

CELL = Cell(
    study="compress", cell="mine_logit-label", task="mine", supervision="label", thinking="none",
    method="logit", schedule="uniform", stages=2, dataset_size=1234, seed=0,
    prune_ratios=(0.7, 0.5),
)  # fmt: skip


def results() -> pd.DataFrame:
    """A distilled chain and its control; the value of macro F1 tells them and the stage apart."""
    rows = []
    for method, base in (("logit", 0.6), ("none", 0.2)):
        for stage in range(3):
            for metric in METRICS[:-1]:
                row = dict.fromkeys(COLUMNS, "") | {
                    "cell": "mine_logit-label" if method == "logit" else "mine_pruned-only",
                    "method": method, "stage": stage, "metric": metric, "examples": 77,
                    "value": base + stage / 100 if metric == "macro_f1" else 0.5,
                    "params": 1000 - 250 * stage, "prune_ratio": 1 - 0.25 * stage,
                }  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows)


def card(
    *labels: str, name: str = "mine", teacher: str = "lab", folder: str = "model", prompt: str = "x"
) -> str:
    task = task_from_labels(name, list(labels or ("a", "b")))
    return model_card(teacher, CELL, task, results(), folder=folder, prompt=prompt)


def test_it_lists_metrics_of_teacher_control_and_student():
    text = card()
    assert "| metric | teacher | pruned only | logit-label |" in text
    assert "| macro_f1 | 0.6 | 0.22 | 0.62 |" in text
    assert "| ms_per_example | not measured | not measured | not measured |" in text
    assert "77 test examples" in text


def test_it_says_what_was_kept():
    text = card()
    assert "to 50.0% of its non-embedding parameters" in text
    assert "(500 of 1,000) in 2 stages" in text
    assert "1,234 training examples" in text


def test_it_says_how_to_load_and_what_the_model_reads():
    text = card(folder="my model's", prompt="Text: some text\nAnswer:")
    assert """AutoModelForCausalLM.from_pretrained("my model's")""" in text
    assert """distillscale classify 'my model'"'"'s' "some text\"""" in text
    assert "\n    Text: some text\n    Answer:\n" in text


HOSTILE = [
    "`code` and ``more``",
    "`",
    "<script>alert(1)</script>",
    "a`<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "M&A | Investments",
    "{braces} {0}",
    "*bold* _it_ # title",
]


def code_spans(line: str) -> tuple[list[str], str]:
    """The inline code spans of a line by CommonMark's rule, and the text outside them."""
    spans, outside = [], ""
    while "`" in line:
        before, _, rest = line.partition("`")
        outside += before
        fence = 1 + len(rest) - len(rest.lstrip("`"))
        rest = rest.lstrip("`")
        end = next(
            (
                place
                for place in range(len(rest))
                if rest.startswith("`" * fence, place)
                and not rest.startswith("`" * (fence + 1), place)
                and (place == 0 or rest[place - 1] != "`")
            ),
            None,
        )
        assert end is not None, f"a fence of {fence} never closes"
        inner = rest[:end]
        both = inner.startswith(" ") and inner.endswith(" ") and inner.strip()
        spans.append(inner[1:-1] if both else inner)
        line = rest[end + fence :]
    return spans, outside + line


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_stands_as_code_whatever_it_holds(label: str):
    text = card(label, "plain")
    (line,) = [line for line in text.splitlines() if "one of 2 classes" in line]
    spans, outside = code_spans(line)
    assert set(spans) == {label, "plain"}
    assert outside == "It sorts a text into one of 2 classes: , ."


def test_names_stand_as_code_too():
    text = card(name="# <b>`x`</b>", teacher="`rm`<script>")
    assert code_spans(text.splitlines()[4]) == (["# <b>`x`</b>"], "# , 50% kept")
    (line,) = [line for line in text.splitlines() if "pruned from" in line]
    assert code_spans(line)[0] == ["`rm`<script>"]


def test_the_front_matter_holds_nothing_of_the_user():
    plain, hostile = (card(name=name).splitlines()[:4] for name in ("mine", "---\ntags: [x]"))
    assert plain == hostile
    assert plain[0] == plain[3] == "---"


def test_a_prompt_with_markup_stays_an_indented_block():
    text = card(prompt="<b>some text</b>\n```\n# Answer:")
    block = text.partition("`some text`:\n\n")[2].partition("\n\nWith")[0]
    assert block.splitlines() == ["    <b>some text</b>", "    ```", "    # Answer:"]


def test_no_tag_is_left_outside_of_code():
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    text = card(*HOSTILE, name="<b>", teacher="<i>")
    parser.feed("\n".join(code_spans(line)[1] for line in text.splitlines() if "```" not in line))
    assert tags == []
