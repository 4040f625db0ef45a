"""Unexpected errors end at what they concern, are reported once while they last, and show nothing of Python."""

import asyncio
from dataclasses import dataclass, field

import pytest

from beamlit_controller.controller.containment import REMEMBERED, Containment
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey

KEY = ModelKey("models", "llama")


@dataclass
class Reports:
    """What was reported, and the containment that reports it."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.containment = Containment(lambda _, what, error: self.seen.append((what, repr(error))))

    async def read(self, error: BaseException | None, what: str = "queue") -> int | Missing:
        async def reading() -> int:
            if error:
                raise error
            return 5

        return await self.containment.run(KEY, what, reading(), lambda missing: missing)


async def test_a_value_is_returned_and_an_error_is_the_reason_why_there_is_none() -> None:
    reports = Reports()

    assert await reports.read(None) == 5
    assert await reports.read(KeyError("_internals")) == Missing(
        Reason.INTERNAL_ERROR, "an unexpected error while reading queue: see the log"
    )


async def test_an_error_is_reported_once_while_it_lasts() -> None:
    reports = Reports()

    for error in (ValueError("1"), ValueError("2"), KeyError("3"), None, ValueError("4")):
        await reports.read(error)
    await reports.read(ValueError("5"), "another")

    assert [error for _, error in reports.seen] == [
        "ValueError('1')",
        "KeyError('3')",
        "ValueError('4')",
        "ValueError('5')",
    ]


async def test_what_has_the_same_name_is_told_apart() -> None:
    reports = Reports()

    async def failing() -> int:
        raise ValueError

    for _ in range(3):
        await reports.read(None)
        await reports.containment.run(KEY, "queue", failing(), lambda missing: missing, of="another")

    assert len(reports.seen) == 1


async def test_only_so_many_errors_are_remembered_and_none_is_reported_each_round() -> None:
    reports = Reports()

    for _ in range(3):
        for number in range(REMEMBERED + 10):
            await reports.read(ValueError(), str(number))

    assert len(reports.seen) == REMEMBERED


async def test_cancellation_passes_through() -> None:
    reports = Reports()

    with pytest.raises(asyncio.CancelledError):
        await reports.read(asyncio.CancelledError())

    assert reports.seen == []
