"""Handing over the newest value."""

import asyncio

import pytest

from beamlit_controller.controller.latest import Latest

pytestmark = pytest.mark.looptime


async def test_a_late_reader_sees_the_present() -> None:
    latest = Latest(1)
    latest.set(2)
    latest.set(3)

    assert await latest.changed_from(1) == 3


async def test_an_equal_value_is_no_news() -> None:
    latest = Latest([1])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(latest.changed_from([1]))
        await asyncio.sleep(1)
        latest.set([1])
        await asyncio.sleep(1)
        assert not waiting.done()
        latest.set([2])

    assert waiting.result() == [2]


async def test_every_reader_is_woken() -> None:
    latest = Latest(0)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(latest.changed_from(0)) for _ in range(3)]
        await asyncio.sleep(1)
        latest.set(5)

    assert [reader.result() for reader in readers] == [5, 5, 5]
