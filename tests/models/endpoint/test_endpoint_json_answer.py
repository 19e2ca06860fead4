import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.models.endpoint.json_answer import UnfitAnswer, read_json

LIST = {
    "type": "object",
    "properties": {"headlines": {"type": "array", "items": {"type": "string"}}},
    "required": ["headlines"],
}
VALUE = {"headlines": ["a } b", 'c "quoted" ```']}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VALUE),
        f"\n {json.dumps(VALUE, indent=2)} \n",
        f"Here you are:\n```json\n{json.dumps({'headlines': ['x']})}\n```\nEnjoy!",
        f"```\n{json.dumps({'headlines': ['x']})}```",
        f"Sure {{as asked}}: {json.dumps(VALUE)} I hope that [this] helps.",
        f'{{"note": 1}} {json.dumps(VALUE)}',
        f'First [1, 2], then {{"answer": {json.dumps(VALUE)}}}',
    ],
)
def test_value_is_found_in_what_models_write_around_it(text: str) -> None:
    assert read_json(text, LIST) == ({"headlines": ["x"]} if '"x"' in text else VALUE)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no braces at all", "no JSON"),
        ('{"headlines": ["cut o', "no JSON"),
        ('{"headlines": "a"}', "is not of type 'array'"),
        ('{"headlines": [NaN]}', "no JSON"),
        ("{" * 100_000, "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("", "no JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(text: str, sentence: str) -> None:
    with pytest.raises(UnfitAnswer, match=sentence):
        read_json(text, LIST)


@given(
    st.lists(st.text(), max_size=4),
    st.text(alphabet=st.characters(exclude_characters="{}[]`"), max_size=30),
    st.text(max_size=30),
)
def test_words_before_and_after_change_nothing(
    headlines: list[str], before: str, after: str
) -> None:
    value: dict[str, Any] = {"headlines": headlines}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert read_json(f"{before} {text} {after}", LIST) == value
