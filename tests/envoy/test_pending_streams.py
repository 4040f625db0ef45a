"""Waiting for first messages, in virtual time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from beamlit_controller.envoy.pending_streams import PendingStreams
from fakes.hold_up import hold_up

pytestmark = pytest.mark.looptime


async def after(seconds: float, *messages: str) -> AsyncIterator[str]:
    await asyncio.sleep(seconds)
    for message in messages:
        yield message


async def test_a_message_that_comes_in_time_is_given() -> None:
    room = PendingStreams[str](timeout=5)

    assert await room.first(after(4, "hello", "again")) == "hello"
    assert await room.first(after(1)) is None
    assert len(room) == 0


async def test_who_says_nothing_in_time_is_given_up() -> None:
    room = PendingStreams[str](timeout=5)

    with pytest.raises(TimeoutError):
        await room.first(after(6, "late"))

    assert (asyncio.get_running_loop().time(), len(room)) == (5, 0)


async def test_where_there_are_too_many_the_one_that_has_waited_longest_goes() -> None:
    room = PendingStreams[str](timeout=1000, most=3)
    waiting = []
    for name in "abcde":
        waiting.append(asyncio.ensure_future(room.first(after(500, name))))
        await asyncio.sleep(1)

    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [each if isinstance(each, str) else type(each) for each in results] == [TimeoutError, TimeoutError, *"cde"]


async def test_a_message_that_came_while_the_loop_was_held_up_came_in_time() -> None:
    room, loop = PendingStreams[str](timeout=5), asyncio.get_running_loop()
    came = loop.create_future()

    async def messages() -> AsyncIterator[str]:
        yield await came

    loop.call_soon(loop.call_soon, came.set_result, "hello")
    loop.call_soon(hold_up, 6)

    assert await room.first(messages()) == "hello"
