"""What Envoy refuses is told, in its own words, and such a gateway is not ready: at its first start and after a change."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.envoy import command, config, remote_stats
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.standalone.gateway import Gateway
from beamlit_controller.standalone.gateway_template import GatewayTemplate
from fakes import client
from fakes.ports import free_port
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system

REFUSED = {
    "routes": ("rds-front.json", '"prefix": "/"', '"safe_regex": {"regex": "("}'),
    "unknown field": ("rds-front.json", '"timeout": "0s"', '"no_such_field": "0s"'),
    "cluster": ("cds.json", '"LEAST_REQUEST"', '"CLUSTER_PROVIDED"'),
    "listener": ("lds.json", '"max_request_headers_kb": 60', '"max_request_headers_kb": 100000'),
}
BAD = "bad"
"""The environment of specs of which Envoy shall refuse a file."""


def template(local: str, front: str, case: str) -> GatewayTemplate:
    """Return real gateways; of a spec that is marked as bad, one file is such that Envoy refuses it."""
    name, good, bad = REFUSED[case]

    def files(spec: OffloadSpec, directory: Path) -> Mapping[str, str]:
        stats = f"unix:{directory}/stats.sock"
        params = GatewayParams(
            str(spec.key), str(directory), front, stats, "unix:admin.sock", "unix:shares.sock", (local,)
        )
        given = config.files(spec, params)
        if spec.environment != BAD:
            return given
        marked = given[name].replace('"version_info": "', '"version_info": "other-', 1)
        return {**given, name: marked.replace(good, bad)}

    return GatewayTemplate(
        files=files,
        command=lambda _, directory, __: command.command(directory, concurrency=1, drain=timedelta(seconds=1)),
        secrets=lambda _: [],
        stats=remote_stats.FILTER,
        attempts=remote_stats.attempts,
    )


@asynccontextmanager
async def kept(gateway: Gateway, spec: OffloadSpec) -> AsyncIterator[Latest[OffloadSpec]]:
    """Have a gateway kept, and stopped in the end."""
    specs = Latest(spec)
    task = asyncio.create_task(gateway.keep(specs))
    try:
        yield specs
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stop_now = asyncio.Event()
        stop_now.set()
        await gateway.stop(drain=0, stop_now=stop_now)


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refused_change_is_told_and_over_when_a_good_one_comes(tmp_path: Path, case: str) -> None:
    good, bad = builders.spec(), builders.spec(environment=BAD)
    async with upstream("local") as local:
        front = f"127.0.0.1:{free_port()}"
        gateway = Gateway(good.key, tmp_path / "gateway", template(local.address, front, case))
        async with kept(gateway, good) as specs:
            await eventually(lambda: gateway.ready, within=30)
            specs.set(bad)
            await eventually(lambda: not gateway.ready, within=30)
            problem = str(gateway.state["problem"])
            meanwhile = await client.ask(front)
            specs.set(replace(good, generation=2))
            await eventually(lambda: gateway.ready, within=30)
            after = gateway.state["problem"]

    assert f"Envoy has not accepted {REFUSED[case][0]}: Filesystem config update" in problem
    assert meanwhile.line[1] == "200"
    assert after == ""


async def test_a_gateway_whose_routes_are_refused_at_its_start_is_not_ready(tmp_path: Path) -> None:
    bad = builders.spec(environment=BAD)
    async with upstream("local") as local:
        front = f"127.0.0.1:{free_port()}"
        gateway = Gateway(bad.key, tmp_path / "gateway", template(local.address, front, "routes"))
        async with kept(gateway, bad) as specs:
            ready = await _ever_ready_before(gateway, "has not accepted rds-front.json")
            specs.set(replace(bad, environment="", generation=2))
            await eventually(lambda: gateway.ready, within=30)
            answer = await client.ask(front)

    assert not ready
    assert answer.line[1] == "200"


async def _ever_ready_before(gateway: Gateway, problem: str) -> bool:
    """Return whether the gateway was ready at any moment before it had this problem."""
    seen = set()

    def told() -> bool:
        seen.add(gateway.ready)
        return problem in gateway.state["problem"]

    await eventually(told, within=30)
    return True in seen
