"""The load of the `overflow` benchmark: what it takes for answered, failed and still waiting."""

import asyncio

from benchmarks.overflow import Measured
from benchmarks.overflow_load import Outcome, Target
from demo.recorder import Phase

from benchmarks import overflow, overflow_load
from fakes.completions import completions
from fakes.upstream import Answer, Exchange, upstream

SHORT = Phase("short", "short", rate=40, seconds=0.25, offloading=True)


async def nothing() -> None:
    pass


async def played(answer: Answer, *, patience: float = 30) -> tuple[Outcome, ...]:
    async with upstream("model", answer) as server:
        target = Target((f"http://{server.address}",), "llama")
        return await overflow_load.play(target, [(SHORT, nothing)], seed=1, patience=patience)


async def test_an_answer_that_came_in_whole_has_its_time_to_first_token() -> None:
    outcomes = await played(completions("hello there"))

    assert outcomes
    assert all(each.answered and not each.failure and each.first_token > 0 for each in outcomes)


async def test_an_answer_with_another_status_has_failed() -> None:
    async def full(exchange: Exchange) -> None:
        await exchange.respond(status="503 Service Unavailable")

    outcomes = await played(full)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "HTTP 503")}


async def test_an_answer_that_stops_before_its_end_has_failed() -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.begin(headers=[("content-type", "text/event-stream")])
        await exchange.send(b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n')
        await exchange.send(b"")

    outcomes = await played(begins)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "cut off")}


async def test_a_request_that_waits_when_patience_ends_is_neither_answered_nor_failed() -> None:
    async def never(_: Exchange) -> None:
        await asyncio.Event().wait()

    outcomes = await played(never, patience=0)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "")}
    assert all(each.first_token >= 0 for each in outcomes)


def test_a_setup_that_can_not_be_installed_has_a_row_that_says_so() -> None:
    outcomes = (Outcome(at=0.0, first_token=0.5, answered=True), Outcome(at=50.0, first_token=1.0, answered=True))
    ran = Measured(outcomes, (8.0, 0.0), cpu=0.1, lines=24)

    here, absent = overflow.rows({"here": [ran], "absent": []}, {"absent": "no such package"})

    assert here[:2] == ("here", "0")
    assert absent[0] == "absent: not installed"
    assert len(absent) == len(here) == len(overflow.HEAD)
