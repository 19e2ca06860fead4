"""How long to wait before a request is sent again."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = 60.0


def backoff(attempt: int, first_wait: float, request_id: str) -> float:
    """Seconds to wait after the attempt numbered from 1.

    Exponential with jitter: a share between a half and the whole of `first_wait` doubled with each
    attempt, at most a minute. The share hangs on the request's id, so that requests that failed
    together do not come back together.
    """
    longest = min(_LONGEST_WAIT, first_wait * 2.0 ** (attempt - 1))
    return longest * (0.5 + 0.5 * random.Random(f"backoff {request_id} {attempt}").random())


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks for, which names seconds or a date.

    None where there is no such header or it cannot be read.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError):
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None


class Gate:
    """Holds back all requests of an endpoint while the server asks for a pause."""

    def __init__(self) -> None:
        self._opens = 0.0  # seconds of the running event loop's clock

    async def pause(self, seconds: float, *, everyone: bool) -> None:
        """Wait before a further attempt; with `everyone`, all other requests wait as long."""
        if everyone:
            opens = asyncio.get_running_loop().time() + seconds
            self._opens = max(self._opens, opens)
        await asyncio.sleep(seconds)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        while (seconds := self._opens - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(seconds)
