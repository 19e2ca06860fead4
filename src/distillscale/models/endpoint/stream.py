"""Put an answer together that the server sends piece by piece."""

import json
from collections.abc import AsyncIterator
from typing import Any

_TEXTS = ("content", "reasoning_content", "reasoning")


class BrokenStream(Exception):
    """A stream ended before its answer did, or brought an error; says which."""


async def assembled(events: AsyncIterator[str]) -> dict[str, Any]:
    """The completion document that the data of server-sent events amount to.

    Raises:
        BrokenStream: the events end without a finish reason, one is not JSON, or one is an error.
    """
    message: dict[str, str] = {}
    tokens: list[Any] = []
    usage = finish_reason = None
    async for data in events:
        if data.strip() == "[DONE]":
            break
        chunk = _parsed(data)
        usage = chunk.get("usage") or usage
        try:
            for choice in chunk.get("choices") or ():
                delta = choice.get("delta") or {}
                for name in _TEXTS:
                    message[name] = message.get(name, "") + (delta.get(name) or "")
                tokens += (choice.get("logprobs") or {}).get("content") or ()
                finish_reason = choice.get("finish_reason") or finish_reason
        except (AttributeError, TypeError):
            raise BrokenStream("a piece of the stream is no part of a chat completion") from None
    if finish_reason is None:
        raise BrokenStream("the stream ended in the middle of the answer")
    choice = {"message": message, "finish_reason": finish_reason, "logprobs": {"content": tokens}}
    return {"choices": [choice], "usage": usage}


def _parsed(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        raise BrokenStream("a piece of the stream is not JSON") from None
    if not isinstance(chunk, dict):
        raise BrokenStream("a piece of the stream is no JSON object")
    if "error" in chunk:
        raise BrokenStream(f"the stream brought an error ({str(chunk['error'])[:200]})")
    return chunk
