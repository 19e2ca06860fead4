"""What a request's body may cost before anything looks into it: bytes and seconds."""

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_DRAINED = 64 * 2**20
"""A body beyond the limit is read to its end and thrown away, so that its sender gets the answer
instead of a broken connection; beyond this one the connection is closed."""


class _ClientGone(Exception):
    """The connection broke before the body was complete."""


class _BodyTooLarge(Exception):
    """The body has more bytes than the limit allows."""


class BodyLimit:
    """ASGI middleware: reads the body first, and answers 413 if it is too long, 408 if too slow."""

    def __init__(self, app: ASGIApp, *, most_bytes: int, seconds: float = 30.0) -> None:
        """Wrap an application.

        Args:
            app: what gets the requests that pass.
            most_bytes: of a body.
            seconds: for the whole body to arrive.
        """
        self._app, self._most, self._seconds = app, most_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body read, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except _ClientGone:
            return
        except (TimeoutError, _BodyTooLarge) as error:
            await self._refusal(error)(scope, receive, send)
            return
        message: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal message
            if message is None:
                return await receive()
            first, message = message, None
            return first

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            if size > _MOST_DRAINED:
                break
            if size <= self._most:
                parts.append(part)
            else:
                parts.clear()
        if size > self._most:
            raise _BodyTooLarge
        return b"".join(parts)

    def _refusal(self, error: Exception) -> JSONResponse:
        headers = {"connection": "close"}
        if isinstance(error, _BodyTooLarge):
            said = f"the body has more than {self._most:,} bytes; send fewer texts at once."
            return JSONResponse({"error": said}, 413, headers)
        said = f"the body did not arrive within {self._seconds:g} seconds."
        return JSONResponse({"error": said}, 408, headers)
