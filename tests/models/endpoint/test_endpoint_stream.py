import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from distillscale.models.endpoint import Usage
from distillscale.models.endpoint.reading import completion_of, log_probs_of, usage_of
from distillscale.models.endpoint.stream import BrokenStream, assembled


def put_together(events: list[Any]) -> dict[str, Any]:
    async def source() -> AsyncIterator[str]:
        for event in events:
            yield event if isinstance(event, str) else json.dumps(event)

    return asyncio.run(assembled(source()))


def piece(finish_reason: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
    return {"choices": [choice], "usage": None}


def logprob(token: str) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -1.0, "top_logprobs": []}]}


def test_pieces_are_put_together_as_openai_and_vllm_send_them() -> None:
    document = put_together(
        [
            piece(role="assistant", content=""),
            piece(reasoning_content="two "),
            piece(reasoning_content="firms"),
            piece(content="mer", logprobs=logprob("mer")),
            piece(content="ger", logprobs=logprob("ger")),
            piece(finish_reason="stop"),
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
            "[DONE]",
            "never read",
        ]
    )
    assert completion_of(document) == ("merger", "two firms", "stop")
    assert usage_of(document) == Usage(1, 3, 4)
    tokens = log_probs_of(document)
    assert tokens is not None
    assert [token.token for token in tokens] == ["mer", "ger"]


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "in the middle"),
        ([piece(content="mer")], "in the middle"),
        ([piece(content="mer"), "[DONE]"], "in the middle"),
        ([piece(content="mer"), '{"choices": [{"del'], "not JSON"),
        (["[1]"], "no JSON object"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ([{"choices": ["x"]}], "no part"),
        ([piece(content=3)], "no part"),
    ],
)
def test_a_broken_stream_says_what_broke(events: list[Any], sentence: str) -> None:
    with pytest.raises(BrokenStream, match=sentence):
        put_together(events)
