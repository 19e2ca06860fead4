"""Answers as OpenAI-compatible servers write them, and settings that lose no time in tests."""

import json
from typing import Any

from fault_proxy import Reply

from distillscale.models.endpoint import ChatRequest, EndpointSettings, Message

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def completion(
    content: str | None,
    *,
    usage: dict[str, int] | None = USAGE,
    finish_reason: str = "stop",
    logprobs: Any = None,
    **message: Any,
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
        "logprobs": logprobs,
    }
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def ok(content: str | None, **fields: Any) -> Reply:
    return Reply(200, json.dumps(completion(content, **fields)).encode())


def error(status: int, message: str, **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "code": None}}).encode()
    return Reply(status, body, headers)


def quick(url: str, **fields: Any) -> EndpointSettings:
    waits = {"first_wait_seconds": 0.01, "timeout_seconds": 10.0}
    return EndpointSettings(url, "some-model", **{**waits, **fields})


def ask(number: int, **fields: Any) -> ChatRequest:
    defaults: dict[str, Any] = {"max_tokens": 20}
    return ChatRequest(str(number), (Message("user", f"question {number}"),), **defaults | fields)


def asked(body: dict[str, Any]) -> str:
    """The user's message of a request's body."""
    return body["messages"][-1]["content"]
