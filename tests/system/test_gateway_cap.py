"""The most requests at local at once: what is above goes to the remote without an error, and the number changes live."""

import asyncio
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import pytest

import builders
from beamlit_controller.core.spec import Behavior, Mode, Overflow
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.envoy import caps, remote_stats
from beamlit_controller.envoy.rtds import RuntimeValues
from beamlit_controller.standalone.admin import Admin
from beamlit_controller.standalone.endpoint_health import EndpointHealth
from fakes import client, load
from fakes.gateway import Gateway, gateway, to
from fakes.ports import free_port
from fakes.trouble import says, takes
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system


class Busy:
    """Answers after a while, and remembers the most it was busy with."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, exchange: Exchange) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.02)
            await exchange.respond(b"here")
        finally:
            self.now -= 1


@pytest.mark.parametrize("cap", [1, 4, 10])
async def test_sends_what_is_above_the_cap_to_the_remote(tmp_path: Path, cap: int) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=cap))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(cap)
            tally = await load.ask(gate.front, requests=1000, connections=10 * cap)

    assert tally.total == tally.good == 1000
    # One worker counts exactly.
    assert busy.most == cap
    assert tally.by("local") > 0 < tally.by("remote")


async def test_each_further_worker_may_let_one_more_through(tmp_path: Path) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=8))
        async with gateway(spec, tmp_path, local=[local], workers=2) as gate:
            await gate.cap(8)
            tally = await load.ask(gate.front, requests=2000, connections=80)

    assert tally.total == tally.good == 2000
    assert 8 <= busy.most <= 8 + 1
    assert tally.by("remote") > 0


async def test_the_cap_changes_under_load_without_an_error(tmp_path: Path) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=2))
        async with (
            gateway(spec, tmp_path, local=[local]) as gate,
            load.asking(gate.front, connections=32) as tally,
        ):
            seen = []
            for cap in (2, 16, 4, 24, 1):
                await gate.cap(cap)
                await _answers(tally, 50)
                busy.most = 0
                await _answers(tally, 100)
                seen.append(busy.most)

    assert tally.total == tally.good
    assert seen == [2, 16, 4, 24, 1]


async def test_a_gateway_without_a_controller_keeps_to_the_servers_it_knows(tmp_path: Path) -> None:
    busy = Busy()
    async with upstream("one", busy) as first, upstream("two", busy) as second, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=4))
        async with gateway(spec, tmp_path, local=[first, second], share=None) as gate:
            tally = await load.ask(gate.front, requests=1000, connections=40)

    assert tally.total == tally.good == 1000
    assert busy.most == 8
    assert tally.by("remote") > 0


async def test_above_the_cap_local_answers_what_the_remote_fails(tmp_path: Path) -> None:
    async with upstream("local", takes(0.02, b"local")) as local, upstream("remote", says(500)) as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=1))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            tally = await load.ask(gate.front, requests=200, connections=8)

    assert tally.answered == {("200", "local"): 200}


async def test_above_the_cap_the_only_server_answers_what_the_remote_fails_also_if_nothing_else_leaves(
    tmp_path: Path,
) -> None:
    """It got the remote's failure, because a request that starts at the only server is not tried again."""
    may_end = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.request.line[1] == "/slow":
            await may_end.wait()
        await exchange.respond(b"local")

    async with upstream("local", answer) as local, upstream("remote", says(503)) as remote:
        overflow = Overflow(on_unavailable=False, on_reset=False, max_in_flight_per_replica=1)
        async with gateway(builders.spec(remote=to(remote), overflow=overflow), tmp_path, local=[local]) as gate:
            await gate.cap(1)
            slow = asyncio.create_task(client.ask(gate.front, "/slow"))
            await eventually(lambda: local.requests)
            answered = await client.ask(gate.front)
            may_end.set()
            await slow

    assert (answered.line[1], answered.body.content, len(remote.requests)) == ("200", b"local", 1)


async def test_what_was_sent_away_for_the_cap_is_called_overflow(tmp_path: Path) -> None:
    async with upstream("local", takes(1, b"local")) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=1))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            async with client.connect(gate.front) as slow:
                await slow.send_head("POST / HTTP/1.1", (("content-length", "0"),))
                await eventually(lambda: local.requests)
                await client.ask(gate.front)
                await slow.response()
            lines = await gate.log(2)

    assert [(line["side"], line["reason"]) for line in lines] == [("remote", "overflow"), ("local", "local")]


ADAPTIVE = Behavior(mode=Mode.ADAPTIVE)


@pytest.mark.parametrize("cap", [Fraction(5, 2), Fraction(9), Fraction(27, 2)])
async def test_under_a_cap_between_two_steps_no_more_is_in_flight_than_the_upper_one(
    tmp_path: Path, cap: Fraction
) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(cap, 100, by_cap=True)
            tally = await load.ask(gate.front, requests=1500, connections=60)

    _, high = caps.around(cap)
    assert tally.total == tally.good == 1500
    assert busy.most == high


async def test_a_cap_below_one_sends_a_part_away_whatever_is_in_flight(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(Fraction(1, 4), 100, by_cap=True)
            tally = await load.ask(gate.front, requests=1000, connections=1)

    assert tally.total == tally.good == 1000
    # 250 are expected; the deviation is 14.
    assert 170 < tally.by("local") < 330


async def test_in_adaptive_mode_the_percentage_bounds_what_leaves_and_the_rest_stays(tmp_path: Path) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=Behavior(percentage=30, mode=Mode.ADAPTIVE))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(1, 30, by_cap=True)
            tally = await load.ask(gate.front, requests=1000, connections=20)

    assert tally.total == tally.good == 1000
    # 300 are expected, for one is always in flight; the deviation is 14.
    assert 220 < tally.by("remote") < 380
    assert busy.most > 1


async def test_in_adaptive_mode_nothing_leaves_while_there_is_no_cap(tmp_path: Path) -> None:
    async with upstream("local", Busy()) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            gate.shares.set(spec.key, RuntimeValues(100, None, cap_only=True))
            tally = await load.ask(gate.front, requests=500, connections=40)

    assert tally.answered == {("200", "local"): 500}


async def test_a_gateway_keeps_its_cap_when_the_controller_is_gone(tmp_path: Path) -> None:
    busy = Busy()
    async with upstream("local", busy) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[local], share=None) as gate:
            async with gate.shares.serve(gate.params.shares):
                await gate.cap(3, 100, by_cap=True)
            tally = await load.ask(gate.front, requests=500, connections=30)

    assert tally.total == tally.good == 500
    assert busy.most == 3


async def _answers(tally: load.Tally, more: int) -> None:
    done = tally.by("local") + more
    await eventually(lambda: tally.by("local") >= done)


async def test_a_gateways_own_figures_tell_what_came_of_the_requests_and_what_is_in_flight(tmp_path: Path) -> None:
    async with upstream("local", takes(1, b"local")) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(1, 100, by_cap=True)
            async with client.connect(gate.front) as slow:
                await slow.send_head("POST / HTTP/1.1", (("content-length", "0"),))
                await eventually(lambda: local.requests)
                await client.ask(gate.front)
                during = await _traffic(gate)
                await slow.response()
            await eventually(lambda: _is_idle(gate))
            after = await _traffic(gate)

    assert (during.in_flight, during.overflow, during.local) == (1, 1, 0)
    assert (after.in_flight, after.overflow, after.local, after.unavailable) == (0, 1, 1, 0)
    assert after.local_first_bytes == after.remote_first_bytes == 1


async def test_when_local_is_down_the_figures_say_that_it_was(tmp_path: Path) -> None:
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with gateway(spec, tmp_path, local=[f"127.0.0.1:{free_port()}"]) as gate:
            await load.ask(gate.front, requests=20, connections=2)
            seen = await _traffic(gate)

    assert (seen.unavailable, seen.remote, seen.local, seen.in_flight) == (20, 20, 0, 0)


async def _traffic(gate: Gateway) -> RequestCounters:
    """Read the figures as the controller does."""
    page = await client.get(gate.params.stats, f"/stats/prometheus?filter={quote(remote_stats.FILTER)}")
    return remote_stats.traffic(page.body.content.decode())


async def _is_idle(gate: Gateway) -> bool:
    seen = await _traffic(gate)
    return seen.local == 1 and seen.in_flight == 0


async def test_a_server_that_refuses_is_told_as_down_and_the_others_are_not(tmp_path: Path) -> None:
    """By name, too: `localhost` was a second server at ::1, where few listen, and counted as down with it."""
    dead = f"localhost:{free_port()}"
    async with upstream("local") as local, upstream("remote") as remote:
        alive = f"localhost:{local.address.rpartition(':')[2]}"
        spec = builders.spec(remote=to(remote), behavior=ADAPTIVE)
        async with (
            gateway(spec, tmp_path, local=[alive, dead]) as gate,
            load.asking(gate.front, connections=4) as tally,
        ):
            admin = Admin(tmp_path / "admin.sock")
            await eventually(lambda: _is_down(admin, dead))
            down = await EndpointHealth().look(await admin.endpoints("local"))
            hosts = await gate.stat("cluster.local.membership_total")

    assert alive not in down
    assert hosts == 2
    assert tally.total == tally.good


async def _is_down(admin: Admin, server: str) -> bool:
    return server in await EndpointHealth().look(await admin.endpoints("local"))
