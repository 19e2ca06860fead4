"""The card of a deployed model, with labels and names that would like to be markup."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from distillscale.commands.model_card import LawPlace, model_card
from distillscale.commands.model_facts import METRICS, DataFacts, model_facts
from distillscale.results import COLUMNS
from distillscale.serving.vllm import Finding
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
                    "params_with_embeddings": 2000 - 250 * stage,
                    "replicates": [i / 100 for i in range(101)] if metric == "macro_f1" else [],
                }  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows)


def card(
    *labels: str,
    name: str = "mine",
    teacher: str = "lab",
    folder: str = "model",
    prompt: str = "x",
    source: str = "mine.csv",
    vllm: tuple[Finding, ...] = (),
    places: tuple[LawPlace, ...] = (),
) -> str:
    task = task_from_labels(name, list(labels or ("a", "b")))
    data = DataFacts(source, 1234, 50, 77, dict.fromkeys(labels or ("a", "b"), 617))
    facts = model_facts(teacher, CELL, results(), data)
    return model_card(facts, task, folder=folder, prompt=prompt, vllm=vllm, places=places)


def test_it_lists_metrics_of_teacher_control_and_student():
    text = card()
    assert "| metric | teacher | pruned only | logit-label | interval |" in text
    assert "| macro_f1 | 0.6 | 0.22 | 0.62 | 0.05 to 0.95 |" in text
    assert "| ms_per_example | not measured | not measured | not measured |  |" in text
    assert "77 test examples" in text


def test_it_says_what_was_kept():
    text = card()
    assert "to 50.0% of its non-embedding parameters" in text
    assert "(500 of 1,000) in 2 stages" in text
    assert "1,234 training examples" in text


def test_it_says_what_data_it_was_made_of():
    text = card("a", "b|c", source="dir/mine.csv")
    assert "1,234 training, 50 validation and 77 test examples" in text
    assert "| `b\\|c` | 617 |" in text


def test_it_says_how_to_load_and_what_the_model_reads():
    text = card(folder="my model's", prompt="Text: some text\nAnswer:")
    assert """AutoModelForCausalLM.from_pretrained("my model's")""" in text
    assert """distillscale classify 'my model'"'"'s' "some text\"""" in text
    assert "\n    Text: some text\n    Answer:\n" in text


def test_it_says_what_vllm_would_stumble_over():
    assert "error: head_dim: too odd" in card(vllm=(Finding(True, "head_dim", "too odd"),))


def test_the_model_index_is_what_the_hub_reads():
    data = ModelCard(card(name="My Task")).data
    name, results = model_index_to_eval_results(data.to_dict().get("model-index", []))
    assert name == "my-task-logit-label"
    found = {one.metric_name: one for one in results}
    assert found["macro F1"].metric_value == pytest.approx(0.62)
    assert found["macro F1"].metric_type == "f1"
    assert found["macro F1"].metric_args == {"average": "macro"}
    assert {one.dataset_name for one in results} == {"mine.csv"}
    assert {one.task_type for one in results} == {"text-classification"}
    assert len(results) == len(METRICS) - 1  # timings are of one machine


@pytest.mark.parametrize(
    ("teacher", "base"),
    [("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), ("lab", None), ("gpt2", None), (".", None)],
)
def test_the_base_model_is_named_where_it_is_on_the_hub(teacher: str, base: str | None):
    assert ModelCard(card(teacher=teacher)).data.base_model == base


def test_a_local_teacher_is_named_without_its_path(tmp_path):
    folder = tmp_path / "my-teacher"
    folder.mkdir()
    text = card(teacher=str(folder))
    assert "pruned from `my-teacher` to" in text
    assert str(tmp_path) not in text


def test_it_states_what_the_laws_predicted():
    place = LawPlace(
        "size", "macro_f1", "params", 500, 0.65, 0.6, 0.7, 0.9, False, 0.62, "uniform, stages 5"
    )
    text = card(places=(place,))
    row = "| size law, uniform, stages 5 | macro_f1 | params = 500 | 0.65 (beyond) "
    assert row + "| 0.6 to 0.7 (90%) | 0.62 |" in text
    assert "Place among the laws" not in card()


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
    title = next(line for line in text.split("---\n", 2)[2].splitlines() if line)
    assert code_spans(title) == (["# <b>`x`</b>"], "# , 50% kept")
    (line,) = [line for line in text.splitlines() if "pruned from" in line]
    assert code_spans(line)[0] == ["`rm`<script>"]


@pytest.mark.parametrize("source", ["---\ntags: [x]\n---", "a: b #c", "'\"", "- x\n...\n", "{%"])
def test_the_front_matter_holds_names_as_plain_values(source: str):
    text = card(name=source, source=source)
    (found,) = {one.dataset_name for one in ModelCard(text).data.eval_results}
    assert found == source
    assert "x" not in ModelCard(text).data.tags


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
