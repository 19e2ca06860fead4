"""The batcher: what is decided together, what is turned away, and what happens at its end."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from distillscale.serving.batching import Batcher, BatchSettings, QueueFull


class Work:
    """Doubles numbers; notes its batches; waits, where it has a gate, until that is open."""

    def __init__(self, *, gated: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        if not gated:
            self.gate.set()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.gate.wait()
        if 1313 in items:
            raise RuntimeError("unlucky")
        return [ValueError(f"{item} is negative") if item < 0 else 2 * item for item in items]


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_every_request_gets_its_own_results_in_order():
    async def run() -> list[list[int]]:
        async with Batcher(Work(), BatchSettings(max_batch=4)) as batcher:
            requests = [batcher.submit(range(n, n + 1 + n % 7)) for n in range(50)]
            return await asyncio.gather(*requests)

    expected = [[2 * item for item in range(n, n + 1 + n % 7)] for n in range(50)]
    assert asyncio.run(run()) == expected


def test_requests_that_come_while_it_computes_share_full_batches():
    work = Work(gated=True)

    async def run() -> None:
        async with Batcher(work, BatchSettings(max_batch=8, max_wait_seconds=0)) as batcher:
            first = asyncio.create_task(batcher.submit([0]))
            await until(lambda: work.batches)
            rest = [asyncio.create_task(batcher.submit([n])) for n in range(1, 21)]
            await until(lambda: batcher.waiting == 20)
            work.gate.set()
            await asyncio.gather(first, *rest)

    asyncio.run(run())
    assert [len(batch) for batch in work.batches] == [1, 8, 8, 4]


def test_a_lone_request_waits_for_others_no_longer_than_allowed():
    work = Work()

    async def run() -> None:
        async with Batcher(work, BatchSettings(max_batch=2, max_wait_seconds=60)) as batcher:
            both = asyncio.gather(batcher.submit([1]), batcher.submit([2]))
            await asyncio.wait_for(both, 30)  # the batch is full: nobody waits for 60 seconds
        async with Batcher(work, BatchSettings(max_batch=9, max_wait_seconds=0.01)) as batcher:
            assert await asyncio.wait_for(batcher.submit([3]), 30) == [6]

    asyncio.run(run())
    assert work.batches == [[1, 2], [3]]


def test_a_full_queue_takes_all_of_a_request_or_nothing():
    work = Work(gated=True)

    async def run() -> None:
        async with Batcher(work, BatchSettings(max_batch=1, max_queue=3)) as batcher:
            tasks = [asyncio.create_task(batcher.submit([0]))]
            await until(lambda: work.batches and not batcher.waiting)
            tasks.append(asyncio.create_task(batcher.submit([1, 2])))
            await until(lambda: batcher.waiting == 2)
            with pytest.raises(QueueFull):
                await batcher.submit([3, 4])
            assert batcher.waiting == 2
            tasks.append(asyncio.create_task(batcher.submit([5])))
            await until(lambda: batcher.waiting == 3)
            work.gate.set()
            assert await asyncio.gather(*tasks) == [[0], [2, 4], [10]]

    asyncio.run(run())


def test_an_item_that_fails_fails_alone():
    async def run() -> None:
        async with Batcher(Work(), BatchSettings()) as batcher:
            good, bad = await asyncio.gather(
                batcher.submit([1, 2]), batcher.submit([3, -4]), return_exceptions=True
            )
            assert good == [2, 4]
            assert str(bad) == "-4 is negative"

    asyncio.run(run())


def test_work_that_raises_fails_its_batch_and_the_next_one_is_computed():
    async def run() -> None:
        async with Batcher(Work(), BatchSettings()) as batcher:
            with pytest.raises(RuntimeError, match="unlucky"):
                await batcher.submit([1313])
            assert await batcher.submit([7]) == [14]

    asyncio.run(run())


def test_a_request_that_is_given_up_does_not_disturb_others():
    work = Work(gated=True)

    async def run() -> None:
        async with Batcher(work, BatchSettings(max_batch=8, max_wait_seconds=0)) as batcher:
            gone, kept = (asyncio.create_task(batcher.submit([n])) for n in (1, 2))
            await until(lambda: work.batches)
            gone.cancel()
            work.gate.set()
            assert await kept == [4]

    asyncio.run(run())


def test_what_is_given_up_in_the_queue_is_never_computed_and_leaves_its_room():
    work = Work(gated=True)

    async def run() -> list[int]:
        settings = BatchSettings(max_batch=8, max_wait_seconds=0, max_queue=2)
        async with Batcher(work, settings) as batcher:
            first = asyncio.create_task(batcher.submit([0]))
            await until(lambda: work.batches)
            gone = asyncio.create_task(batcher.submit([1, 2]))
            await until(lambda: batcher.waiting == 2)
            gone.cancel()
            await asyncio.wait([gone])
            kept = asyncio.create_task(batcher.submit([3, 4]))
            await until(lambda: batcher.waiting == 2)
            work.gate.set()
            return await first + await kept

    assert asyncio.run(run()) == [0, 6, 8]
    assert work.batches == [[0], [3, 4]]


def test_it_goes_on_after_all_that_waited_was_given_up():
    work = Work()

    async def run() -> list[int]:
        settings = BatchSettings(max_batch=2, max_wait_seconds=0.05)
        async with Batcher(work, settings) as batcher:
            gone = asyncio.create_task(batcher.submit([1]))
            await until(lambda: batcher.waiting)
            gone.cancel()
            await asyncio.sleep(0.1)
            return await asyncio.wait_for(batcher.submit([2, 3]), 30)

    assert asyncio.run(run()) == [4, 6]
    assert work.batches == [[2, 3]]


def test_what_is_given_up_just_before_the_end_is_not_computed():
    work = Work(gated=True)

    async def run() -> None:
        async with Batcher(work, BatchSettings(max_batch=1, max_wait_seconds=0)) as batcher:
            tasks = [asyncio.create_task(batcher.submit([n])) for n in range(5)]
            await until(lambda: work.batches)
            for task in tasks:
                task.cancel()
            work.gate.set()

    asyncio.run(run())
    assert work.batches == [[0]]


def test_what_is_in_the_queue_at_the_end_is_computed():
    work = Work(gated=True)

    async def run() -> list[list[int]]:
        async with Batcher(work, BatchSettings(max_batch=2, max_wait_seconds=60)) as batcher:
            tasks = [asyncio.create_task(batcher.submit([n])) for n in range(5)]
            await until(lambda: work.batches)
            work.gate.set()
        return [await task for task in tasks]

    assert asyncio.run(run()) == [[0], [2], [4], [6], [8]]
    assert [len(batch) for batch in work.batches] == [2, 2, 1]
