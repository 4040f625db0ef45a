"""Requests that must stay: at a share of 100 %, however they are spelled, and when no local server can take them."""

from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import HeaderMatch, PathPrefix
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

STAYS = (
    "/metrics",
    "/metrics/",
    "/metrics/of/this",
    "/metrics?x=1",
    "/METRICS",
    "//metrics",
    "/a/../metrics",
    "/./metrics",
    "/%6detrics",
    "/%2e/metrics",
    "/%2Fmetrics",
    "/metrics%2fof",
    "/metrics;of=this",
    "/a%2f..%2fmetrics",
    "/a%5C..%5Cmetrics",
    "/v1/files",
    "/v1//files/file-1/content",
    "/v1%2Ffiles",
    "/health",
    "/healthz",
    "/ready",
)
LEAVES = (
    "/",
    "/metricsfoo",
    "/v1/filesystem",
    "/v1/metrics",
    "/healthzz",
    "/readyz",
    "/v1/models/org%2Fmodel",
    "/..a",
)

KEPT = (
    (("x-data-class", "restricted"),),
    (("X-Data-Class", "RESTRICTED"),),
    (("x-data-class", "  Restricted  "),),
    (("x-data-class", "public, restricted"),),
    (("x-data-class", "restricted,public"),),
    (("x-data-class", "public,\trestricted ,internal"),),
    (("x-data-class", "public"), ("x-data-class", "restricted")),
    (("x-data-class", "restricted"), ("x-data-class", "public")),
    (("x-data-class", "public"), ("X-DATA-CLASS", "a, Restricted")),
    # Readable by nobody for sure.
    (("x-data-class", ""),),
    (("x-data-class", " , "),),
    (("x-data-class", '"restricted"'),),
    (("x-data-class", "public"), ("x-data-class", "\xffrestricted")),
    (("x-data-class", "r\xe9stricted"),),
    # The other rule, whose value means itself.
    (("x-tenant", "a.b*"),),
)
SENT_AWAY = (
    (),
    (("x-data-class", "public"),),
    (("x-data-class", "restricted-not"),),
    (("x-tenant", "aXb"),),
    (("x-other", "restricted"),),
)


async def test_paths_of_the_servers_themselves_stay(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        sides = {path: await _side(gate, path) for path in (*STAYS, *LEAVES)}
        # In HTTP/1.1 a target may also be a whole URL.
        whole = await _side(gate, "http://model.test/metrics")

    assert sides == dict.fromkeys(STAYS, "local") | dict.fromkeys(LEAVES, "remote")
    assert whole == "local"


async def test_rules_of_the_user_take_the_place_of_the_defaults(tmp_path: Path) -> None:
    rules = (HeaderMatch("X-Data-Class", "Restricted"), HeaderMatch("x-tenant", "a.b*"), PathPrefix("/internal/"))
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=rules)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            kept = [await _side(gate, "/", *headers) for headers in KEPT]
            sent_away = [await _side(gate, "/", *headers) for headers in SENT_AWAY]
            paths = [await _side(gate, path) for path in ("/internal", "/internal/x", "/internals", "/metrics")]

    assert kept == ["local"] * len(KEPT)
    assert sent_away == ["remote"] * len(SENT_AWAY)
    assert paths == ["local", "local", "remote", "remote"]


async def test_a_rule_for_the_root_keeps_everything(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(PathPrefix("/"),))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            sides = {await _side(gate, path) for path in ("/", "/v1/chat", "/a?b")}

    assert sides == {"local"}
    assert remote.connections == 0


async def test_a_request_that_must_stay_is_refused_rather_than_sent_away(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        await local.stop()
        answers = [(await client.get(gate.front, "/metrics")).line[1] for _ in range(10)]
        nowhere = await _side(gate, "/v1/chat")

    assert set(answers) == {"503"}
    assert nowhere == "remote"
    assert len(remote.requests) == 1


async def test_a_request_that_must_stay_tries_another_local_server(tmp_path: Path) -> None:
    async def closes(exchange: Exchange) -> None:
        exchange.reset()

    async with (
        upstream("bad", closes) as bad,
        upstream("good") as good,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[bad, good], share=100) as gate,
    ):
        answers = [(await client.get(gate.front, "/metrics")).line[1] for _ in range(50)]
        counted = await gate.requests()

    assert set(answers) == {"200"}
    assert bad.requests
    assert remote.connections == 0
    assert counted == {("local", "keep", "200"): 50}


async def _side(gate: Gateway, path: str, *headers: tuple[str, str]) -> str | None:
    return (await client.get(gate.front, path, headers=headers)).header("x-offload-served-by")
