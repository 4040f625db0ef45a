"""The share: split exactly, changed at any time, kept when nobody tells it any more."""

from pathlib import Path

import pytest

import builders
from fakes import load
from fakes.gateway import gateway, to
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system


# Every request is drawn for itself: of 40,000 at 50 %, one point is four standard deviations.
@pytest.mark.parametrize(
    ("share", "requests", "low", "high"), [(0, 2000, 0, 0), (50, 40_000, 19_600, 20_400), (100, 2000, 2000, 2000)]
)
async def test_splits_within_one_point(tmp_path: Path, share: int, requests: int, low: int, high: int) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=share) as gate,
    ):
        tally = await load.ask(gate.front, requests=requests)

    assert tally.good == requests
    assert low <= tally.by("remote") <= high
    assert (len(local.requests), len(remote.requests)) == (tally.by("local"), tally.by("remote"))


async def test_loses_no_request_while_the_share_changes_a_hundred_times(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
        load.asking(gate.front) as tally,
    ):
        for change in range(100):
            await gate.offload((100, 0, 50, 1, 99)[change % 5])
            await eventually(lambda done=tally.total + 50: tally.total >= done, every=0)

    assert tally.total == tally.good >= 5000
    assert tally.by("local") > 0 < tally.by("remote")


async def test_serves_locally_when_nobody_ever_told_it_a_share(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=None) as gate,
    ):
        tally = await load.ask(gate.front, requests=200)

    assert tally.answered == {("200", "local"): 200}
    assert remote.requests == []


async def test_keeps_the_last_share_while_the_share_server_is_away(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote))
        async with gateway(spec, tmp_path, local=[local], share=None) as gate:
            async with gate.shares.serve(gate.params.shares):
                await gate.offload(100)
            await eventually(lambda: _disconnected(gate))
            away = await load.ask(gate.front, requests=200)
            gate.shares.forget(spec.key)

            async with gate.shares.serve(gate.params.shares):
                await eventually(lambda: gate.shares.connected(spec.key))
                unknown = await load.ask(gate.front, requests=200)
                await gate.offload(0)
                told = await load.ask(gate.front, requests=200)

    assert away.answered == unknown.answered == {("200", "remote"): 200}
    assert told.answered == {("200", "local"): 200}


async def _disconnected(gate: gateway) -> bool:
    return await gate.stat("control_plane.connected_state") == 0
