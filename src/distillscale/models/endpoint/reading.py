"""Read the document of a chat completion, as the servers of this world write it."""

from collections.abc import Mapping
from typing import Any

from distillscale.models.endpoint.exchange import TokenLogProb, Usage

OPENING, CLOSING = "<think>", "</think>"


def completion_of(document: Any) -> tuple[str, str | None, str | None]:
    """Text, reasoning and finish reason of a completion.

    The reasoning is what the server set apart (`reasoning_content`; `reasoning` in newer vLLM and
    some gateways), else what the text holds in `<think>` tags. The opening tag may be missing,
    because some chat templates write it into the prompt; the closing one, because the token
    budget ended within the reasoning, and then there is no text.

    Raises:
        ValueError: the document is no completion.
    """
    try:
        choice = document["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        reasoning = message.get("reasoning_content") or message.get("reasoning")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("there is no `choices[0].message` in it") from None
    if not isinstance(content, str) or not isinstance(reasoning, str | None):
        raise ValueError("its content is no text")
    if reasoning is None:
        content, reasoning = _split(content)
    reason = choice.get("finish_reason")
    return (
        _clean(content),
        _clean(reasoning or "") or None,
        reason if isinstance(reason, str) else None,
    )


def _clean(text: str) -> str:
    """A text without outer white space and halves of surrogate pairs, which no file can hold."""
    return text.strip().encode("utf-8", "replace").decode()


def _split(content: str) -> tuple[str, str | None]:
    before, closing, after = content.partition(CLOSING)
    opened, opening, inside = before.partition(OPENING)
    if closing:
        return after, inside if opening else opened
    return ("", inside) if opening else (content, None)


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """The tokens that the server reports for one request; None where it reports none."""
    usage = document.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return Usage(1, max(prompt, 0), max(completion, 0))


def log_probs_of(document: Mapping[str, Any]) -> tuple[TokenLogProb, ...] | None:
    """The log-probabilities of the answer's tokens; None where the server returned none."""
    try:
        content = (document["choices"][0].get("logprobs") or {}).get("content")
        if not content:
            return None
        return tuple(
            TokenLogProb(
                token=_token(item),
                log_prob=float(item["logprob"]),
                top=tuple(
                    (_token(other), float(other["logprob"]))
                    for other in item.get("top_logprobs") or ()
                ),
            )
            for item in content
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _token(item: Mapping[str, Any]) -> str:
    return str(item["token"]).encode("utf-8", "replace").decode()
