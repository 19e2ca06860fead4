"""A small HTTP proxy that stands before a real server and breaks what goes through it.

def script(body, attempt):            # the n-th time, from 0, that this very body is sent
    return Reply(429, b"{}") if attempt == 0 else PASS

with fault_proxy(server.port, script) as proxy:
    ...  # talk to proxy.url; proxy.seen has every request that came
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pass:
    """Forward the request; hand on the answer, `change`d, after `seconds`."""

    seconds: float = 0.0
    change: Callable[[dict[str, Any]], object] | None = None


@dataclass(frozen=True)
class Reply:
    """Answer in the server's place."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """Close the connection without a byte, before or after the server did the work."""

    after_work: bool = False


@dataclass(frozen=True)
class CutBody:
    """Hand on a share of the answer's bytes as though that were all: JSON or events break off."""

    share: float = 0.5


@dataclass(frozen=True)
class CutConnection:
    """Announce the whole answer, write a share of its bytes, close the connection."""

    share: float = 0.5


Fault = Pass | Reply | Drop | CutBody | CutConnection
Script = Callable[[dict[str, Any], int], Fault]
PASS = Pass()


@dataclass(frozen=True)
class Seen:
    """A request that came: its headers (lower case) and its body."""

    headers: Mapping[str, str]
    body: dict[str, Any]


class FaultProxy:
    def __init__(self, upstream_port: int | None, script: Script) -> None:
        self.seen: list[Seen] = []
        self.under_way = self.most_under_way = 0
        self.port = 0
        self._upstream_port = upstream_port
        self._script = script
        self._attempts: Counter[bytes] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            head, body = await _read_message(reader)
            document = json.loads(body)
            self.seen.append(Seen(_headers(head), document))
            attempt = self._attempts[body]
            self._attempts[body] += 1
            await self._act(self._script(document, attempt), head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            self.under_way -= 1
            writer.close()

    async def _act(
        self, fault: Fault, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        match fault:
            case Reply(status, said, headers):
                writer.write(_response(status, said, headers))
            case Drop(after_work):
                if after_work:
                    await self._forward(head, body)
                return
            case Pass(seconds, change):
                status, kind, answer = await self._forward(head, body)
                if change is not None:
                    document = json.loads(answer)
                    change(document)
                    answer = json.dumps(document).encode()
                await asyncio.sleep(seconds)
                writer.write(_response(status, answer, {"Content-Type": kind}))
            case CutBody(share):
                status, kind, answer = await self._forward(head, body)
                half = answer[: int(len(answer) * share)]
                writer.write(_response(status, half, {"Content-Type": kind}))
            case CutConnection(share):
                status, kind, answer = await self._forward(head, body)
                whole = _response(status, answer, {"Content-Type": kind})
                writer.write(whole[: len(whole) - int(len(answer) * (1 - share))])
        await writer.drain()

    async def _forward(self, head: bytes, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and decoded body of the real server's answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        first_line, _, rest = head.partition(b"\r\n")
        kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"connection")]
        writer.write(b"\r\n".join([first_line, b"Connection: close", *kept]) + body)
        head, answer = await _read_message(reader)
        writer.close()
        return int(head.split()[1]), _headers(head)["content-type"], answer


@contextmanager
def fault_proxy(upstream_port: int | None, script: Script) -> Iterator[FaultProxy]:
    """Run a proxy in a thread of its own until the block ends.

    Without an upstream only `Reply` and `Drop` work.
    """
    proxy, ready = FaultProxy(upstream_port, script), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(proxy.serve(ready, stop),))
    thread.start()
    try:
        assert ready.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head (with its empty line) and decoded body of a request or an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    headers = _headers(head)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        return head, body
    return head, await reader.readexactly(int(headers.get("content-length", 0)))


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, value in pairs}


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    fields = {"Content-Type": "application/json", **headers, "Connection": "close"}
    fields["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {status} said", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
