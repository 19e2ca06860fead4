"""Requests of many clients decided together: a bounded queue, emptied in batches by one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """So many items are waiting that these ones are not taken."""


@dataclass(frozen=True)
class BatchSettings:
    """How items are gathered.

    Attributes:
        max_batch: items in a batch at most.
        max_wait_seconds: how long the first item of a batch waits for others at most.
        max_queue: items that wait at most; more are turned away.
    """

    max_batch: int = 32
    max_wait_seconds: float = 0.002
    max_queue: int = 1024


@dataclass
class _Waiting(Generic[Item, Result]):
    item: Item
    arrived: float
    done: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Gathers items and gives them to `work`, one batch after another, in a thread of its own.

    While a batch is computed the next one gathers, so the busier it is, the fuller batches are, and
    nobody waits for `max_wait_seconds`. Use it as an asynchronous context manager: what is in the
    queue when the block ends is still computed, except for what was cancelled, which never is.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        settings: BatchSettings,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Not started yet.

        Args:
            work: results of a batch in its order; an exception in place of a result is raised to
                whoever submitted the item. Where `work` itself raises, to all of the batch.
            settings: see there.
            observe: told the size of each batch before it is computed.
        """
        self._work, self._settings, self._observe = work, settings, observe
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._news = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def waiting(self) -> int:
        """Items in the queue, those of the batch under way not among them."""
        return len(self._queue)

    async def __aenter__(self) -> "Batcher[Item, Result]":
        """Start to compute."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Compute what is in the queue, then stop."""
        self._closing = True
        self._news.set()
        await self._task
        self._thread.shutdown()

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of these items, all of which are taken or none.

        Raises:
            QueueFull: the queue has no room for them.
            Exception: what `work` put in place of the first result that is none.
        """
        if self.waiting + len(items) > self._settings.max_queue:
            raise QueueFull
        loop = asyncio.get_running_loop()
        own = [_Waiting(item, loop.time(), loop.create_future()) for item in items]
        self._queue.extend(own)
        self._news.set()
        try:
            results = await asyncio.gather(*(one.done for one in own), return_exceptions=True)
        except asyncio.CancelledError:
            self._drop_cancelled()  # their room in the queue is free at once
            raise
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [one.done.result() for one in own]

    async def _run(self) -> None:
        while batch := await self._next_batch():
            self._observe(len(batch))
            items = [one.item for one in batch]
            results: Sequence[Result | Exception]
            try:
                loop = asyncio.get_running_loop()
                results = await loop.run_in_executor(self._thread, self._work, items)
            except Exception as error:  # the batch fails, the service goes on
                results = [error] * len(batch)
            for one, result in zip(batch, results, strict=True):
                if one.done.done():  # cancelled: whoever asked is gone
                    continue
                if isinstance(result, Exception):
                    one.done.set_exception(result)
                else:
                    one.done.set_result(result)

    async def _next_batch(self) -> list[_Waiting[Item, Result]]:
        """The next items to compute; none once the batcher closes and its queue is empty."""
        self._drop_cancelled()
        while not self._closing:
            left = None
            if self._queue:
                until = self._queue[0].arrived + self._settings.max_wait_seconds
                left = until - asyncio.get_running_loop().time()
                if left <= 0 or len(self._queue) >= self._settings.max_batch:
                    break
            await self._wait_for_news(left)
            self._drop_cancelled()
        size = min(len(self._queue), self._settings.max_batch)
        return [self._queue.popleft() for _ in range(size)]

    def _drop_cancelled(self) -> None:
        if any(one.done.done() for one in self._queue):
            self._queue = deque(one for one in self._queue if not one.done.done())

    async def _wait_for_news(self, seconds: float | None) -> None:
        """Wait until something is submitted, the batcher closes, or time runs out."""
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
