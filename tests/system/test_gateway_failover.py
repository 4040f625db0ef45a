"""One side is down, or part of it: the request is answered by who can, before its first byte, and by nobody twice after it."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import Behavior, OnRemoteFailure, Overflow
from fakes import client, http1, load
from fakes.gateway import free_port, gateway, to
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system


async def closes(exchange: Exchange) -> None:
    """Take the request, and close without an answer."""
    exchange.reset()


async def overloaded(exchange: Exchange) -> None:
    await exchange.respond(b"full", status="503 Service Unavailable")


async def breaks_off(exchange: Exchange) -> None:
    """Begin to answer, and close in the middle."""
    await exchange.begin(length=100)
    await exchange.send_raw(b"the first bytes")
    exchange.reset()


@pytest.mark.parametrize("share", [0, 100])
async def test_the_remote_answers_while_there_is_no_local_server(tmp_path: Path, share: int) -> None:
    async with (
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, share=share) as gate,
    ):
        tally = await load.ask(gate.front, requests=500)

    assert tally.answered == {("200", "remote"): 500}
    assert len(remote.requests) == 500


async def test_the_remote_answers_while_the_local_server_is_down_and_local_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
        load.asking(gate.front) as tally,
    ):
        await eventually(lambda: tally.by("local") >= 200)
        await local.stop()
        await eventually(lambda: tally.by("remote") >= 1000)
        await local.start()
        back = tally.by("local")
        await eventually(lambda: tally.by("local") >= back + 1000, within=60)

    assert tally.failed == []
    assert tally.total == tally.good


@pytest.mark.parametrize("answer", [None, closes], ids=["refuses", "closes after reading"])
async def test_one_bad_local_server_of_two_loses_nothing_and_sends_nothing_away(tmp_path: Path, answer: object) -> None:
    async with upstream("good") as good, upstream("bad", answer) as bad, upstream("remote") as remote:
        if answer is None:
            await bad.stop()
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[good, bad]) as gate:
            tally = await load.ask(gate.front, requests=2000)

    assert tally.answered == {("200", "local"): 2000}
    assert remote.connections == 0
    assert len(good.requests) == 2000


async def test_a_local_server_that_never_answers_the_door_is_passed_over(tmp_path: Path) -> None:
    # 192.0.2.0/24 is for documentation: nobody answers there, and nobody refuses.
    async with (
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=["192.0.2.1:9"]) as gate,
    ):
        answer = await client.ask(gate.front)

    assert (answer.line[1], answer.header("x-offload-served-by")) == ("200", "remote")


async def test_what_a_local_server_answers_is_the_answer_and_never_ejects_it(tmp_path: Path) -> None:
    async with (
        upstream("full", overloaded) as full,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[full]) as gate,
    ):
        tally = await load.ask(gate.front, requests=300)

    assert tally.answered == {("503", "local"): 300}
    assert len(full.requests) == 300
    assert remote.connections == 0


@pytest.mark.parametrize("answer", [None, closes, overloaded], ids=["refuses", "closes after reading", "is overloaded"])
async def test_local_answers_what_the_remote_does_not(tmp_path: Path, answer: object) -> None:
    async with upstream("local") as local, upstream("remote", answer) as remote:
        if answer is None:
            await remote.stop()
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=500)

    assert tally.answered == {("200", "local"): 500}
    # Those that were under way when it was found out.
    assert len(remote.requests) <= (0 if answer is None else 3 + 16)


async def test_a_remote_without_an_address_is_passed_over(tmp_path: Path) -> None:
    async with upstream("local") as local:
        backend = to(local, host="no-such-host.invalid")
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)

    assert tally.answered == {("200", "local"): 50}


@pytest.mark.parametrize("share", [0, 100])
async def test_nothing_is_asked_again_after_the_first_byte_of_an_answer(tmp_path: Path, share: int) -> None:
    async with (
        upstream("local", breaks_off) as local,
        upstream("remote", breaks_off) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=share) as gate,
    ):
        with pytest.raises(ConnectionError):
            await client.ask(gate.front)

    assert len(local.requests) + len(remote.requests) == 1


async def test_both_sides_down_is_told_at_once(tmp_path: Path) -> None:
    gone = f"127.0.0.1:{free_port()}"
    async with upstream("remote") as remote:
        await remote.stop()
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[gone], share=50) as gate:
            answers = Counter([(await client.ask(gate.front)).line[1] for _ in range(20)])

    assert answers == {"503": 20}


async def test_a_body_is_sent_again_as_it_was_unless_it_is_too_large_to_be_kept(tmp_path: Path) -> None:
    async with upstream("bad", closes) as bad, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_request_bytes=100_000))
        async with gateway(spec, tmp_path, local=[bad]) as gate:
            async with client.connect(gate.front) as asker:
                kept = await asker.post("/", b"x" * 99_000)
            async with client.connect(gate.front) as asker:
                lost = await asker.post("/", b"x" * 1_000_000)

    assert kept.line[1] == "200"
    assert [request.body.content for request in remote.requests] == [b"x" * 99_000]
    assert lost.line[1] == "503"


async def test_nothing_leaves_for_being_refused_where_the_spec_forbids_it(tmp_path: Path) -> None:
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_unavailable=False))
        async with gateway(spec, tmp_path) as gate:
            answers = Counter([(await client.ask(gate.front)).line[1] for _ in range(20)])

    assert answers == {"503": 20}
    assert remote.connections == 0


async def test_a_request_that_local_may_have_begun_is_asked_again_only_where_the_spec_allows_it(tmp_path: Path) -> None:
    async with upstream("local", closes) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_reset=False))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await client.ask(gate.front)

    assert answer.line[1] == "503"
    assert len(local.requests) == 1
    assert remote.connections == 0


async def test_the_remotes_failure_is_the_answer_where_the_spec_wants_it(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote", overloaded) as remote:
        spec = builders.spec(remote=to(remote), on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], answer.body.content) == ("503", b"full")
    assert local.connections == 0


async def test_everything_stays_without_a_remote_while_offloading_is_off_and_in_a_dry_run(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        dry = Behavior(dry_run=True)
        specs = {
            "none": builders.spec(),
            "off": builders.spec(remote=to(remote), enabled=False),
            "dry": builders.spec(remote=to(remote), behavior=dry),
        }
        for name, spec in specs.items():
            (tmp_path / name).mkdir()
            async with gateway(spec, tmp_path / name, local=[local], share=100) as gate:
                tally = await load.ask(gate.front, requests=100)
                assert tally.answered == {("200", "local"): 100}
                await local.stop()
                assert (await client.ask(gate.front)).line[1] == "503"
                await local.start()

    assert remote.connections == 0


async def test_a_body_that_is_too_large_to_be_kept_reaches_the_remote_where_no_local_server_listens(
    tmp_path: Path,
) -> None:
    nobody = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    body = b"x" * 3_000_000
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote))
        async with gateway(spec, tmp_path, local=nobody) as gate, client.connect(gate.front) as asker:
            answers = [await asker.post("/v1/chat", body) for _ in range(20)]

    assert [(answer.line[1], answer.body.content) for answer in answers] == [("200", b"remote")] * 20


SHORTEST_KEEP_ALIVE = 2.0
"""Seconds after which the least patient of the usual servers closes an idle connection."""


async def test_an_idle_connection_to_local_is_closed_by_the_gateway_before_the_server_does(tmp_path: Path) -> None:
    """What is sent at the moment at which the server closes is lost, and would leave although local is well."""
    closed: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await asyncio.wait_for(http1.read_head(reader), SHORTEST_KEEP_ALIVE):
                await http1.read_body(reader, head)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlocal")
            closed.append("gateway")
        except TimeoutError:
            closed.append("server")
        writer.close()

    local = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{local.sockets[0].getsockname()[1]}"
    async with local, gateway(builders.spec(), tmp_path, local=[address]) as gate:
        await client.ask(gate.front, "/v1/models")

        await eventually(lambda: closed, within=30, what="its connection is closed")

    assert closed == ["gateway"]
