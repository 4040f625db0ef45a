"""Deadlines: as asyncio has them, except where the event loop was held up."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from beamlit_controller.controller.deadline import STEP, STEPS, Deadline
from fakes.hold_up import hold_up

EXTENSION = STEPS * STEP
BOTH = pytest.mark.parametrize("within", [asyncio.timeout, Deadline])


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    try:
        with there:
            yield reader, there
    finally:
        writer.close()


# In virtual time, where nothing is ever late.


@BOTH
@pytest.mark.looptime
async def test_it_expires_at_its_time(within: type[Deadline]) -> None:
    with pytest.raises(TimeoutError):
        async with within(5):
            await asyncio.sleep(60)

    assert asyncio.get_running_loop().time() == 5


@BOTH
@pytest.mark.looptime
async def test_a_block_that_ends_before_is_left_alone_later(within: type[Deadline]) -> None:
    async with within(5):
        await asyncio.sleep(4)

    await asyncio.sleep(60)


@BOTH
@pytest.mark.looptime
@pytest.mark.parametrize(("outer", "inner"), [(3, 5), (5, 3)])
async def test_the_one_that_expires_first_says_so(within: type[Deadline], outer: float, inner: float) -> None:
    expired = []
    try:
        async with within(outer):
            try:
                async with within(inner):
                    await asyncio.sleep(60)
            except TimeoutError:
                expired.append("inner")
    except TimeoutError:
        expired.append("outer")

    assert expired == ["inner" if inner < outer else "outer"]
    assert asyncio.get_running_loop().time() == 3


@BOTH
@pytest.mark.looptime
async def test_being_cancelled_is_no_timeout(within: type[Deadline]) -> None:
    async def work() -> None:
        async with within(5):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@BOTH
@pytest.mark.looptime
async def test_being_cancelled_as_it_expires_is_no_timeout(within: type[Deadline]) -> None:
    async def work() -> None:
        async with within(5):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(6)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@BOTH
@pytest.mark.looptime
async def test_an_error_of_the_block_stays_what_it_is(within: type[Deadline]) -> None:
    with pytest.raises(ValueError, match="odd"):
        async with within(5):
            raise ValueError("odd")


@pytest.mark.looptime
async def test_it_can_be_made_to_expire_at_once_and_more_than_once() -> None:
    async def work() -> None:
        async with Deadline(5) as deadline:
            deadline.expire()
            deadline.expire()
            asyncio.get_running_loop().call_soon(deadline.expire)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await work()

    assert asyncio.get_running_loop().time() == 0


# With a loop that was held up.


async def test_what_came_while_the_loop_was_held_up_is_read() -> None:
    async with connected() as (reader, there):
        asyncio.get_running_loop().call_soon(lambda: (there.sendall(b"a\nb\n"), hold_up(60)))

        async with Deadline(5):
            lines = [await reader.readline() for _ in range(2)]

    assert lines == [b"a\n", b"b\n"]


async def test_who_has_not_answered_by_then_has_a_tenth_of_a_second_more() -> None:
    async with connected() as (reader, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_soon(hold_up, 60)

        with pytest.raises(TimeoutError):
            async with Deadline(5):
                await reader.readline()

    assert loop.time() - began >= 60 + EXTENSION


async def test_a_loop_that_is_held_up_all_the_time_does_not_extend_it_for_ever() -> None:
    loop, passed = asyncio.get_running_loop(), 0

    def busy() -> None:
        nonlocal passed
        passed += 1
        hold_up(1)
        loop.call_soon(busy)

    loop.call_soon(busy)
    with pytest.raises(TimeoutError):
        async with Deadline(5):
            await asyncio.sleep(3600)

    assert passed <= 5 + 2 * STEPS + 5
