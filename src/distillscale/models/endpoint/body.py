"""The body of a request, and what to leave out of it for servers that do not know a field."""

import re
from typing import Any

from distillscale.models.endpoint.exchange import ChatRequest

_OPTIONAL = {
    "response_format": r"response_format|json_schema|guided|structured output",
    "chat_template_kwargs": r"chat_template_kwargs|enable_thinking",
    "logprobs": r"(top_)?logprobs",
    "seed": r"seed",
    "stream_options": r"stream_options",
}
"""Fields that a request can do without, and how a server names them when it refuses them."""
_NEEDED_WITH = {"logprobs": ("top_logprobs",)}


class Dialect:
    """Which fields a server takes, learned from the requests that it refused.

    `left_out` gives for each field that is no longer sent the server's sentence about it. A field
    that a request had that was answered is *proven*: a later refusal is not put down to it.
    """

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        self._proven: set[str] = set()
        self._limit = "max_tokens"

    def body(
        self, request: ChatRequest, model: str, *, stream: bool, without: frozenset[str]
    ) -> dict[str, Any]:
        """The body of a request, without the fields left out so far and those in `without`."""
        body = {
            "model": model,
            "messages": [{"role": item.role, "content": item.content} for item in request.messages],
            "temperature": request.temperature,
            self._limit: request.max_tokens,
        }
        if request.reasoning_effort is not None:
            body["reasoning_effort"] = request.reasoning_effort
        if stream:
            body["stream"] = True
        optional = _optional_fields(request, stream)
        for field in optional.keys() & (self.left_out.keys() | without):
            for name in (field, *_NEEDED_WITH.get(field, ())):
                optional.pop(name)
        return body | optional

    def suspects(self, body: dict[str, Any], sentence: str) -> frozenset[str]:
        """The fields of a refused body to try without: those the sentence names, else all.

        Empty where every optional field is proven or there is none.
        """
        open_fields = (body.keys() & _OPTIONAL.keys()) - self._proven
        named = {
            field
            for field in open_fields
            if re.search(rf"\b({_OPTIONAL[field]})\b", sentence, re.IGNORECASE)
        }
        return frozenset(named or open_fields)

    def renames_limit(self, body: dict[str, Any], sentence: str) -> bool:
        """Whether the server refused the name `max_tokens`; the next body has the newer one."""
        wanted = "max_completion_tokens"
        if re.search(rf"\buse\W+{wanted}", sentence, re.IGNORECASE) and "max_tokens" in body:
            self._limit = wanted
            return True
        return False

    def accepted(self, body: dict[str, Any], without: frozenset[str], sentence: str | None) -> None:
        """Learn from an answered body: its fields are proven, those tried without are left out."""
        self._proven |= body.keys() & _OPTIONAL.keys()
        for field in without:
            self.left_out.setdefault(field, sentence or "")


def _optional_fields(request: ChatRequest, stream: bool) -> dict[str, Any]:
    optional: dict[str, Any] = {}
    if request.schema is not None:
        optional["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(request.schema), "strict": True},
        }
    if request.thinking is not None:
        optional["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    if request.top_log_probs:
        optional |= {"logprobs": True, "top_logprobs": request.top_log_probs}
    if request.seed is not None:
        optional["seed"] = request.seed
    if stream:
        optional["stream_options"] = {"include_usage": True}
    return optional
