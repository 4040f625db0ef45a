"""What a gateway does with clients that ask for too much, and how little of it reaches anybody."""

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.spec import Overflow
from beamlit_controller.envoy import overload
from fakes import client
from fakes.gateway import gateway, to
from fakes.trouble import says
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "headers",
    [[("x-long", "a" * 100_000)], [(f"x-{number}", "a") for number in range(200)]],
    ids=["too long", "too many"],
)
async def test_a_head_beyond_the_limits_is_refused_at_the_front(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        refused = await client.ask(gate.front, headers=headers)
        fine = await client.ask(gate.front, headers=[("x-long", "a" * 40_000)])

    assert (refused.line[1], fine.line[1]) == ("431", "200")
    assert (len(local.requests), remote.connections) == (1, 0)


# Local requests pass a hop of their own, too, where another server is tried after a time.
WAYS = {"to the remote": (100, Overflow()), "through the local hop": (0, Overflow(after=timedelta(seconds=20)))}


@pytest.mark.parametrize("way", WAYS)
async def test_a_head_that_passes_the_front_passes_every_hop(tmp_path: Path, way: str) -> None:
    """The last one or two headers within the limit of the front were beyond that of the hop, where headers are added."""
    share, overflow = WAYS[way]
    heads = [
        *([(f"x-{number}", "a") for number in range(many)] for many in range(92, 101)),
        *([("x-1", "a" * 30_000), ("x-2", "a" * more)] for more in range(30_900, 31_440, 20)),
    ]
    async with upstream("remote") as remote, upstream("local") as local:
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            got = [await client.ask(gate.front, headers=head) for head in heads]

    served = "remote" if share else "local"
    assert {(each.line[1], each.header("x-offload-served-by")) for each in got} == {("200", served), ("431", "none")}
    # With `host` and `content-length` there are a hundred.
    assert [each.line[1] for each in got[:9]] == [*["200"] * 7, "431", "431"]
    assert len((remote if share else local).requests) == sum(each.line[1] == "200" for each in got)
    assert len((local if share else remote).requests) == 0


@pytest.mark.parametrize("way", WAYS)
async def test_the_head_of_a_response_that_a_server_may_send_passes_every_hop(tmp_path: Path, way: str) -> None:
    share, overflow = WAYS[way]
    heads = [
        *([(f"x-{number}", "a") for number in range(many)] for many in range(92, 100)),
        *([("x-1", "a" * 30_000), ("x-2", "a" * more)] for more in range(30_900, 31_380, 20)),
    ]
    left = iter(heads)

    async def answers(exchange: Exchange) -> None:
        await exchange.respond(b"", headers=next(left))

    async with upstream("server", answers) as server, upstream("other") as other:
        remote, local = (server, other) if share else (other, server)
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            got = [await client.ask(gate.front) for _ in heads]

    assert {(each.line[1], each.header("x-offload-served-by")) for each in got} == {
        ("200", "remote" if share else "local")
    }


@pytest.mark.parametrize("size", [900_000, 1024 * 1024])
async def test_a_body_up_to_the_default_limit_is_replayed_in_whole(tmp_path: Path, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    async with upstream("full", says(503)) as full, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_status=(503,)))
        async with gateway(spec, tmp_path, local=[full]) as gate, client.connect(gate.front) as asker:
            answer = await asker.post("/", body)

    assert answer.line[1] == "200"
    assert remote.requests[0].body.digest == full.requests[0].body.digest


async def test_a_gateway_knows_how_much_of_its_memory_it_uses(tmp_path: Path) -> None:
    spec = builders.spec(gateway=GatewaySpec(resources=(("limits", "memory", "64Mi"),)))
    async with upstream("local") as local, gateway(spec, tmp_path, local=[local]) as gate:
        await eventually(lambda: gate.stat("overload.envoy.resource_monitors.fixed_heap.pressure"))
        pressure = await gate.stat("overload.envoy.resource_monitors.fixed_heap.pressure")
        actions = await gate.admin("/stats?filter=overload.*active")

    assert 0 < pressure < 85
    assert "stop_accepting_requests.active: 0" in actions


async def test_clients_that_do_not_get_to_a_request_are_let_go_and_keep_out_nobody_who_watches(tmp_path: Path) -> None:
    """Connections on which nothing was said stayed for an hour, and those that watch were counted among them."""
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[local], descriptors=overload.SPARE + 20) as gate,
        AsyncExitStack() as stack,
        asyncio.timeout(60),
    ):
        slow = await stack.enter_async_context(client.connect(gate.front))
        await slow.send(b"GET / HTTP/1.1\r\nhost: model.test\r\n")
        silent = [await stack.enter_async_context(client.connect(gate.front)) for _ in range(30)]
        # They stay for 10 s at most, which may have passed when a busy machine gets here: the counter tells that others were refused.
        await eventually(lambda: gate.stat(f"listener.{gate.front.replace(':', '_')}.downstream_global_cx_overflow"))

        assert (await client.get(gate.params.stats, "/stats/prometheus?filter=offload")).line[1] == "200"

        answer = await slow.head()
        ends = await asyncio.gather(*(each.reader.read() for each in silent), return_exceptions=True)
        await eventually(lambda: _is_served(gate.front), what="others are served")

    assert answer.line[1] == "408"
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    assert local.connections == 1


async def test_stalled_uploads_stay_below_the_memory_limit_and_others_are_served(tmp_path: Path) -> None:
    limit = 192
    spec = builders.spec(gateway=GatewaySpec(resources=(("limits", "memory", f"{limit}Mi"),)))
    async with upstream("local") as local, gateway(spec, tmp_path, local=[local]) as gate, AsyncExitStack() as stack:
        stalled = [await stack.enter_async_context(client.connect(gate.front)) for _ in range(2 * limit)]
        for each in stalled:
            await each.send_head("POST / HTTP/1.1", [("content-length", str(2**20))])
        for each in stalled:
            with suppress(ConnectionError):
                await each.send(b"x" * (2**20 - 1))

        await eventually(lambda: _is_served(gate.front), what="others are served")
        most = resident(gate.process.pid)

    assert most < limit


@pytest.mark.parametrize("share", [0, 100])
async def test_answers_that_nobody_reads_stay_below_the_memory_limit(tmp_path: Path, share: int) -> None:
    """Of each answer from the remote 1.6 MB waited in the gateway."""
    limit = 64
    spec = builders.spec(gateway=GatewaySpec(resources=(("limits", "memory", f"{limit}Mi"),)))
    long = Long()
    async with upstream("local", long) as local, upstream("remote", long) as remote, AsyncExitStack() as stack:
        gate = await stack.enter_async_context(
            gateway(replace(spec, remote=to(remote)), tmp_path, local=[local], share=share)
        )
        for _ in range(60):
            asker = await stack.enter_async_context(client.connect(gate.front))
            asker.writer.transport.pause_reading()
            asker.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asker.send_head("POST / HTTP/1.1", [("content-length", "0")])

        await eventually(long.waits, every=0.5, what="nothing more is taken")
        most = resident(gate.process.pid)

    assert most < limit


class Long:
    """Gives answers of more megabytes than the system keeps for a socket, and tells when nothing of them was taken for a while."""

    def __init__(self) -> None:
        self._sent = self._before = 0

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.begin(length=PIECES * PIECE)
        for _ in range(PIECES):
            await exchange.send_raw(bytes(PIECE))
            self._sent += 1

    def waits(self) -> bool:
        waits = self._sent == self._before > 0
        self._before = self._sent
        return waits


PIECE, PIECES = 64 * 1024, 256


async def _is_served(front: str) -> bool:
    try:
        async with asyncio.timeout(10):
            return (await client.ask(front)).line[1] == "200"
    except (ConnectionError, TimeoutError):
        return False


def resident(pid: int) -> int:
    """Return the most MiB of memory that the process has had, without what it maps of files: that is given back before it is too much."""
    status = Path(f"/proc/{pid}/status").read_text()
    most, of_files = (int(status.partition(name)[2].split()[0]) for name in ("VmHWM:", "RssFile:"))
    return (most - of_files) // 1024
