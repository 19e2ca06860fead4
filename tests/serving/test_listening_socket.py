import asyncio
import socket

from distillscale.serving.server import _listening


async def _accepted_without_delay(listener: socket.socket) -> bool:
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = writer.get_extra_info("socket")
        seen.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accept, sock=listener):
        _reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        found = await seen
        writer.close()
    return bool(found)


def test_answers_leave_at_once_and_do_not_wait_for_an_acknowledgement() -> None:
    assert asyncio.run(_accepted_without_delay(_listening("127.0.0.1", 0)))
