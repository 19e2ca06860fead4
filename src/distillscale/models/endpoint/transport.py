"""Send one request once: the answer's document, or why there is none."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from distillscale.models.endpoint.backoff import retry_after
from distillscale.models.endpoint.reading import completion_of
from distillscale.models.endpoint.settings import EndpointSettings
from distillscale.models.endpoint.stream import BrokenStream, assembled

_PASSING = (408, 409, 425, 429)
"""Statuses below 500 that may be others the next time."""
_SHORTEST_SECRET = 8
"""Characters; servers without access control are given keys like `EMPTY`."""
_NOT_IMPLEMENTED = 501
_CONNECT_SECONDS = 10.0


@dataclass(eq=False)
class Lost(Exception):
    """This attempt brought no answer, but another may.

    `may_cost` tells whether the server may have written (and charged) an answer; `throttled`
    whether it asked for a pause, and `retry_after` for how many seconds.
    """

    sentence: str
    may_cost: bool
    throttled: bool = False
    retry_after: float | None = None


@dataclass(eq=False)
class Refused(Exception):
    """The server called the request wrong: its status, its sentence and its error code."""

    status: int
    sentence: str
    code: str


def open_pool(settings: EndpointSettings) -> httpx2.AsyncClient:
    """The connections to one endpoint; `async with` closes them.

    Raises:
        InputError: the API key's environment variable is not set.
    """
    headers = {"User-Agent": "distillscale"}
    if (key := settings.api_key()) is not None:
        headers["Authorization"] = f"Bearer {key}"
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(settings.timeout_seconds, connect=_CONNECT_SECONDS, pool=None),
        limits=httpx2.Limits(max_connections=settings.concurrency),
    )


class Transport:
    """Sends requests over the connection pool that `open_pool` made.

    The API key lives in the pool's headers alone. Whatever the server says is searched for it
    before anyone else sees it.
    """

    def __init__(self, settings: EndpointSettings, pool: httpx2.AsyncClient) -> None:
        self._settings = settings
        self._key = settings.api_key()
        self._http = pool

    async def send(self, body: dict[str, Any]) -> dict[str, Any]:
        """The completion document of one request.

        Raises:
            Lost: time-out, broken connection, broken answer, 429, 5xx.
            Refused: any other status that is no success.
        """
        try:
            async with self._http.stream("POST", self._settings.address, json=body) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._failure(response)
                if "text/event-stream" in response.headers.get("content-type", ""):
                    document = await assembled(_events(response))
                else:
                    await response.aread()
                    document = self._document(response)
                return self._without_key(document)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Lost(f"no connection ({self._reason(error)})", may_cost=False) from None
        except httpx2.TimeoutException:
            seconds = self._settings.timeout_seconds
            raise Lost(f"no answer within {seconds:g} seconds", may_cost=True) from None
        except httpx2.RequestError as error:
            raise Lost(f"the connection broke ({self._reason(error)})", may_cost=True) from None
        except BrokenStream as error:
            raise Lost(self._redacted(str(error)), may_cost=True) from None

    def _document(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            document = response.json()
        except (ValueError, RecursionError):  # half an answer, or a gateway's page of HTML
            raise Lost("the server's answer is not JSON", may_cost=True) from None
        try:
            completion_of(document)
        except ValueError as error:
            said = self._redacted(_sentence(response))
            raise Lost(f"no chat completion, {error}: {said}", may_cost=True) from None
        return document

    def _failure(self, response: httpx2.Response) -> Lost | Refused:
        status, sentence = response.status_code, self._redacted(_sentence(response))
        code = _error_code(response)
        out_of_money = code == "insufficient_quota"  # a 429 that no waiting cures
        passing = status in _PASSING or (status >= 500 and status != _NOT_IMPLEMENTED)
        if not passing or out_of_money:
            return Refused(status, sentence, code)
        wait = retry_after(response.headers, datetime.now(UTC))
        throttled = status == 429 or wait is not None
        return Lost(f"the server answered {status}: {sentence}", False, throttled, wait)

    def _reason(self, error: Exception) -> str:
        return self._redacted(" ".join(str(error).split())[:200]) or type(error).__name__

    def _without_key(self, document: Any) -> Any:
        """A document whose texts do not hold the key, unless it is a word rather than a secret."""
        if self._key is None or len(self._key) < _SHORTEST_SECRET:
            return document
        if isinstance(document, str):
            return self._redacted(document)
        if isinstance(document, list):
            return [self._without_key(item) for item in document]
        if isinstance(document, dict):
            return {name: self._without_key(item) for name, item in document.items()}
        return document

    def _redacted(self, text: str) -> str:
        if self._key is None:
            return text
        for form in (self._key, json.dumps(self._key)[1:-1]):
            text = text.replace(form, "[API key]")
        return text


async def _events(response: httpx2.Response) -> AsyncIterator[str]:
    async for event in httpx2.EventSource(response):
        yield event.data


def _sentence(response: httpx2.Response) -> str:
    """What the server says of an error, in its own words, on one line."""
    said: Any = response.text
    try:
        document = response.json()
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        error = document.get("error")
        nested = error.get("message") if isinstance(error, dict) else error
        said = nested or document.get("detail") or document.get("message") or said
    return " ".join(str(said).split())[:300] or "no reason given"


def _error_code(response: httpx2.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error.get("code") or error.get("type") or "")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""
