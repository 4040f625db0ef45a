"""Pauses of the garbage collector: what is kept is passed over, and nothing stays for ever."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from beamlit_controller.controller import garbage_collection

HOUR = garbage_collection.PERIOD * garbage_collection.FULL_EVERY
pytestmark = pytest.mark.looptime


class Node:
    """Refers to itself, so that counting references never frees it."""

    def __init__(self) -> None:
        self.me = self


@asynccontextmanager
async def freezing() -> AsyncIterator[None]:
    task = asyncio.create_task(garbage_collection.freeze_what_is_kept())
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_kept_is_passed_over() -> None:
    kept = Node()

    async with freezing():
        await asyncio.sleep(garbage_collection.PERIOD + 1)
        looked_at = gc.get_objects()

    assert all(each is not kept for each in looked_at)


async def test_a_cycle_that_was_frozen_is_freed_within_an_hour() -> None:
    kept = Node()
    seen = weakref.ref(kept)

    async with freezing():
        await asyncio.sleep(garbage_collection.PERIOD + 1)
        del kept
        await asyncio.sleep(HOUR)

    assert seen() is None


async def test_rounds_that_replace_what_is_kept_cause_no_full_collection() -> None:
    kept, collected = [Node() for _ in range(20_000)], list[int]()

    def note(_phase: str, about: dict[str, int]) -> None:
        collected.append(about["generation"])

    async with freezing():
        await asyncio.sleep(garbage_collection.PERIOD + 1)
        gc.callbacks.append(note)
        for _ in range(10):
            kept = [Node() for _ in kept]
        gc.callbacks.remove(note)

    assert 1 in collected
    assert 2 not in collected


async def test_in_the_end_nothing_is_frozen_and_the_collector_is_set_as_before() -> None:
    thresholds = gc.get_threshold()

    async with freezing():
        await asyncio.sleep(garbage_collection.PERIOD + 1)

    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds
