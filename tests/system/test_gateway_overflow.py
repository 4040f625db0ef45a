"""What local can't take is answered by the remote, request by request: full, refused, closed, silent; and what is not."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow
from fakes import client, load
from fakes.gateway import Gateway, gateway, to
from fakes.trouble import breaks_off, closes, hangs, says, takes
from fakes.upstream import Answer, Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

FULL = Overflow(on_status=(429, 503, 529))
REMOTE_FAILS = {
    "401": says(401),
    "403": says(403),
    "429": says(429),
    "500": says(500),
    "529": says(529),
    "closes": closes,
    "refuses": None,
}


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_what_a_full_server_turns_away_the_remote_answers(tmp_path: Path, status: int) -> None:
    async with upstream("full", says(status)) as full, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[full]) as gate:
            tally = await load.ask(gate.front, requests=300)

    assert tally.answered == {("200", "remote"): 300}
    assert (len(full.requests), len(remote.requests)) == (300, 300)


async def test_another_local_server_is_asked_before_the_remote(tmp_path: Path) -> None:
    async with upstream("full", says(503)) as full, upstream("free") as free, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[full, free]) as gate:
            tally = await load.ask(gate.front, requests=1000)

    assert tally.answered == {("200", "local"): 1000}
    assert full.requests
    assert remote.connections == 0


async def test_an_error_that_does_not_mean_full_is_the_answer(tmp_path: Path) -> None:
    async with upstream("local", says(500, b"mine")) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], answer.body.content, answer.header("x-offload-served-by")) == ("500", b"mine", "local")
    assert remote.connections == 0


async def test_full_is_asked_again_as_soon_as_there_is_room(tmp_path: Path) -> None:
    full = True

    async def answer(exchange: Exchange) -> None:
        await (says(503) if full else says_its_name)(exchange)

    async def says_its_name(exchange: Exchange) -> None:
        await exchange.respond(b"local")

    async with upstream("local", answer) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            turned_away = await load.ask(gate.front, requests=200)
            full = False
            taken = await load.ask(gate.front, requests=200)

    assert turned_away.answered == {("200", "remote"): 200}
    assert taken.answered == {("200", "local"): 200}


@pytest.mark.parametrize("answer", REMOTE_FAILS.values(), ids=REMOTE_FAILS)
async def test_a_full_local_and_a_failing_remote_give_what_local_can_give(
    tmp_path: Path, answer: Answer | None
) -> None:
    async with upstream("full", says(503, b"full")) as full, upstream("remote", answer) as remote:
        if answer is None:
            await remote.stop()
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[full]) as gate:
            answers = [await client.ask(gate.front) for _ in range(20)]

    assert {(each.line[1], each.body.content, each.header("x-offload-served-by")) for each in answers} == {
        ("503", b"full", "local")
    }
    # Local has nothing to give, so the remote is asked each time; and once.
    assert len(remote.requests) == (0 if answer is None else 20)


async def test_the_remotes_failure_after_an_overflow_is_the_answer_where_the_spec_wants_it(tmp_path: Path) -> None:
    async with upstream("full", says(503)) as full, upstream("remote", says(429, b"slow down")) as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL, on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[full]) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], answer.body.content) == ("429", b"slow down")
    assert len(full.requests) == 1


@pytest.mark.parametrize("share", [0, 100])
async def test_a_status_of_the_remote_is_not_taken_for_a_full_local(tmp_path: Path, share: int) -> None:
    """What is above maxInFlight comes back to local even with Fail; a 429 of the remote must not come with it."""
    async with upstream("full", says(429, b"full")) as full, upstream("remote", says(429, b"slow down")) as remote:
        spec = builders.spec(remote=to(remote, max_in_flight=10), overflow=FULL, on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[full], share=share) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], answer.body.content) == ("429", b"slow down")
    assert len(full.requests) <= 2 * (share == 0)


async def test_a_single_full_server_is_asked_once_for_what_must_stay(tmp_path: Path) -> None:
    async with upstream("full", says(503)) as full, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=FULL)
        async with gateway(spec, tmp_path, local=[full]) as gate:
            answer = await client.ask(gate.front, "/metrics")

    assert (answer.line[1], len(full.requests), remote.connections) == ("503", 1, 0)


@pytest.mark.parametrize(
    ("overflow", "reason"), [(FULL, "overflow"), (Overflow(), "unavailable")], ids=["by status", "by default"]
)
async def test_the_access_log_says_what_local_may_have_said(tmp_path: Path, overflow: Overflow, reason: str) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        await local.stop()
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await client.ask(gate.front)
            [line] = await gate.log(1)

    assert (line["side"], line["reason"]) == ("remote", reason)


async def test_an_answer_that_has_begun_is_never_asked_for_again(tmp_path: Path) -> None:
    async with upstream("local", breaks_off) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_status=(503,), after=timedelta(seconds=5)))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            with pytest.raises(ConnectionError):
                await client.ask(gate.front)

    assert (len(local.requests), remote.connections) == (1, 0)


# Slow.


async def test_the_remote_answers_what_local_keeps_silent_about(tmp_path: Path) -> None:
    async with upstream("local", hangs) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(after=timedelta(seconds=1)))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            tally = await load.ask(gate.front, requests=32)
            await eventually(lambda: _nothing_runs(gate))

    assert tally.answered == {("200", "remote"): 32}
    # After three in a row it is left out for a second, so that not everybody waits.
    assert len(local.requests) >= 3
    assert len(remote.requests) == 32


async def test_an_answer_that_has_begun_may_take_its_time(tmp_path: Path) -> None:
    async def streams(exchange: Exchange) -> None:
        await exchange.begin(length=10)
        await asyncio.sleep(2)
        await exchange.send_raw(b"0123456789")

    async with upstream("local", streams) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(after=timedelta(seconds=1)))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await client.ask(gate.front)

    assert (answer.body.content, remote.connections) == (b"0123456789", 0)


async def test_a_slow_local_answers_after_all_if_the_remote_fails(tmp_path: Path) -> None:
    async with upstream("local", takes(1.5, b"late")) as local, upstream("remote", says(500)) as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(after=timedelta(seconds=1)))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], answer.body.content) == ("200", b"late")
    assert (len(local.requests), len(remote.requests)) == (2, 1)


@pytest.mark.parametrize("answer", [None, closes, says(503)], ids=["refuses", "closes", "is full"])
async def test_one_bad_server_of_two_sends_nothing_away_behind_the_local_hop_either(
    tmp_path: Path, answer: Answer | None
) -> None:
    async with upstream("good") as good, upstream("bad", answer) as bad, upstream("remote") as remote:
        if answer is None:
            await bad.stop()
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_status=(503,), on_unavailable=False))
        async with gateway(spec, tmp_path, local=[good, bad]) as gate:
            tally = await load.ask(gate.front, requests=500)

    assert tally.answered == {("200", "local"): 500}
    assert remote.connections == 0


# Each reason by itself.


@pytest.mark.parametrize(
    ("overflow", "leaves"),
    [
        (Overflow(on_unavailable=False, on_reset=False, on_status=(503,)), {"is full"}),
        (Overflow(on_unavailable=True, on_reset=False), {"refuses"}),
        (Overflow(on_unavailable=False, on_reset=True), {"closes"}),
        (Overflow(on_unavailable=False, on_reset=True, on_status=(503,)), {"is full", "closes"}),
        (Overflow(on_unavailable=False, on_reset=False), set()),
    ],
    ids=["status", "unavailable", "reset", "status and reset", "nothing"],
)
async def test_only_what_the_spec_names_leaves(tmp_path: Path, overflow: Overflow, leaves: set[str]) -> None:
    left = set()
    for name, answer in {"is full": says(503), "closes": closes, "refuses": None}.items():
        (tmp_path / name).mkdir()
        async with upstream("local", answer) as local, upstream("remote") as remote:
            if answer is None:
                await local.stop()
            spec = builders.spec(remote=to(remote), overflow=overflow)
            async with gateway(spec, tmp_path / name, local=[local]) as gate:
                answers = {(await client.ask(gate.front)).line[1] for _ in range(10)}
        assert answers == ({"200"} if remote.requests else {"503"})
        left |= {name} if remote.requests else set()

    assert left == leaves


# Bodies.


async def test_a_body_is_replayed_up_to_the_limit_and_counted_above_it(tmp_path: Path) -> None:
    async with upstream("full", says(503, b"full")) as full, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_status=(503,), max_request_bytes=100_000))
        async with gateway(spec, tmp_path, local=[full]) as gate:
            async with client.connect(gate.front) as asker:
                small = await asker.post("/", b"x" * 100_000)
            async with client.connect(gate.front) as asker:
                large = await asker.post("/", b"y" * 1_000_000)
            counted = await gate.stat("cluster.local_first.retry_or_shadow_abandoned")

    assert (small.line[1], small.header("x-offload-served-by")) == ("200", "remote")
    assert [request.body.content for request in remote.requests] == [b"x" * 100_000]
    assert (large.line[1], large.body.content) == ("503", b"full")
    assert counted == 1


async def _nothing_runs(gate: Gateway) -> bool:
    return await gate.stat("cluster.local.upstream_rq_active") == 0
