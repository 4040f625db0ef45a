"""The load and its account: each request is counted once, with who answered, when, and what went wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from demo.load import Load, Question, Target
from demo.recorder import Phase, Recorder, Request, Side, Stopwatch

from demo import load
from fakes import http
from fakes.http import Respond, Server
from waiting import eventually

QUESTION = Question("llama", "where?", tokens=2)
TOKEN = 'data: {"choices":[{"delta":{"content":"here "}}]}\n\n'
END = 'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'


def phase(rate: float = 40, seconds: float = 0.5) -> Phase:
    return Phase("peak", "above capacity", rate, seconds, offloading=True)


def answered_by(side: str, body: str = TOKEN * 2 + END) -> Respond:
    return http.page(body, content_type="text/event-stream", x_offload_served_by=side)


@asynccontextmanager
async def sending(book: Recorder) -> AsyncIterator[Load]:
    async with asyncio.timeout(60), load.sending(book, QUESTION, Stopwatch().seconds) as sender:
        yield sender


async def sent(respond: Respond, *, side: Side | None = None) -> Recorder:
    """Return the account of a short phase against one server."""
    book = Recorder(capacity=1)
    async with http.serve(respond) as server, sending(book) as sender:
        await sender.run(phase(), Target((f"http://{server.address}",), side), seed=1)
        await sender.finish(10)
    return book


async def test_every_request_is_counted_with_who_answered_it() -> None:
    book = await sent(answered_by("remote"))

    assert len(book.requests) == len(book.came) == len(list(load.arrivals(phase(), 1)))
    assert book.served(Side.REMOTE) == len(book.requests)
    assert book.in_flight == 0
    assert book.failures() == ()


async def test_who_answers_is_known_before_where_there_is_no_gateway() -> None:
    book = await sent(http.page(TOKEN * 2 + END), side=Side.LOCAL)

    assert book.served(Side.LOCAL) == len(book.requests)


async def test_an_answer_that_names_nobody_is_nobodys() -> None:
    book = await sent(http.page(TOKEN * 2 + END))

    assert {request.side for request in book.requests} == {Side.UNKNOWN}


@pytest.mark.parametrize(
    ("respond", "failure"),
    [
        (http.page("no healthy upstream", status=503), "HTTP 503: no healthy upstream"),
        (answered_by("local", TOKEN), "cut off after 1 tokens"),
        (answered_by("local", TOKEN + END), "1 tokens, not 2"),
        (answered_by("local", ""), "cut off after 0 tokens"),
        (http.hang_up, "RemoteProtocolError"),
        (http.truncated(TOKEN.encode(), promised=10_000), "RemoteProtocolError"),
    ],
)
async def test_what_is_not_a_whole_answer_has_failed(respond: Respond, failure: str) -> None:
    book = await sent(respond)

    assert len(book.failures()) == len(book.requests) == len(book.came) > 0
    assert all(request.failure.startswith(failure) for request in book.requests), book.requests[0].failure
    assert book.served(Side.LOCAL) == 0


async def test_a_refused_connection_is_a_failure() -> None:
    async with http.serve(http.page()) as server:
        gone = f"http://{server.address}"
    book = Recorder(capacity=1)

    async with sending(book) as sender:
        await sender.run(phase(), Target((gone,)), seed=1)
        await sender.finish(10)

    assert all(request.failure.startswith("ConnectError") for request in book.requests)
    assert len(book.requests) == len(book.came)


async def test_a_slow_answer_is_slow_and_delays_no_other_request() -> None:
    held = asyncio.Event()

    async def late(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        await answered_by("local")(request, writer)

    book = Recorder(capacity=1)
    async with http.serve(late) as server, sending(book) as sender:
        await sender.run(phase(), Target((f"http://{server.address}",)), seed=1)
        assert book.in_flight == len(book.came) == len(list(load.arrivals(phase(), 1)))
        held.set()
        await sender.finish(10)

    assert book.failures() == ()
    waits = [(request.at, request.first_token or 0.0) for request in book.requests]
    assert max(waits)[1] < min(waits)[1], "whoever came first waited longest"
    assert all(request.first_token <= request.total for request in book.requests if request.first_token is not None)


async def test_latencies_count_from_when_a_request_was_due() -> None:
    book = Recorder(capacity=1)
    now = Stopwatch().seconds

    async with (
        asyncio.timeout(60),
        http.serve(answered_by("local")) as server,
        load.sending(book, QUESTION, lambda: now() * 100) as sender,  # a clock so fast that each request is sent late
    ):
        await sender.run(phase(rate=1, seconds=10), Target((f"http://{server.address}",)), seed=1)
        await sender.finish(10)

    assert book.came
    assert all((request.first_token or 0) > 0.1 for request in book.requests)
    assert [request.at for request in sorted(book.requests, key=_at)] == book.came


async def test_what_is_not_answered_in_the_end_has_failed() -> None:
    book = Recorder(capacity=1)

    async with http.serve(http.silence) as server, sending(book) as sender:
        await sender.run(phase(), Target((f"http://{server.address}",)), seed=1)
        await sender.finish(0.05)

    assert {request.failure for request in book.requests} == {load.UNANSWERED}
    assert len(book.requests) == len(book.came) > 0


async def test_of_two_servers_the_one_with_fewer_requests_under_way_is_asked() -> None:
    book = Recorder(capacity=1)

    async with http.serve(http.silence) as stuck, http.serve(answered_by("local")) as quick, sending(book) as sender:
        await sender.run(phase(), Target((f"http://{stuck.address}", f"http://{quick.address}")), seed=1)
        await eventually(lambda: book.in_flight == len(stuck.requests))
        asked = _asked(stuck), _asked(quick)
        await sender.finish(0.05)

    assert asked[0] < asked[1]
    assert sum(asked) == len(book.came)


def test_arrivals_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    assert list(load.arrivals(phase(), 1)) == list(load.arrivals(phase(), 1))
    assert list(load.arrivals(phase(), 1)) != list(load.arrivals(phase(), 2))


def test_arrivals_come_in_order_within_the_phase_at_about_its_rate() -> None:
    offsets = list(load.arrivals(phase(rate=10, seconds=200), 1))

    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert offsets[-1] < 200
    assert 1800 < len(offsets) < 2200


def test_arrivals_are_bounded_in_number() -> None:
    assert sum(1 for _ in load.arrivals(phase(rate=1_000_000, seconds=3600), 1)) == load.MOST_REQUESTS_PER_PHASE


def _asked(server: Server) -> int:
    return len(server.requests)


def _at(request: Request) -> float:
    return request.at
