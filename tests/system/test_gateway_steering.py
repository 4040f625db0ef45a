"""A server answers its request and nothing else: no header of an answer changes who is asked, or who is asked later."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

Headers = tuple[tuple[str, str], ...]

MARKS: tuple[Headers, ...] = tuple(
    ((name, value),)
    for name in ("x-offload-remote", "X-Offload-Local")
    for value in (
        "failed",
        "declined",
        "no-credential",
        "unavailable",
        "reset",
        "slow",
        "503:",
        "503:-",
        "remote/failed",
        "local/unavailable",
        "local/reset",
        "local/503:",
        "remote/503:-",
    )
)
ORDERS: tuple[Headers, ...] = (
    (("x-envoy-ratelimited", "true"),),
    (("x-envoy-overloaded", "true"),),
    (("x-envoy-local-overloaded", "true"),),
    (("x-envoy-drop-overload", "true"),),
    (("x-envoy-immediate-health-check-fail", "true"),),
    (("x-envoy-degraded", "true"),),
    (("x-envoy-upstream-canary", "true"),),
    (("X-Envoy-Retry-On", "5xx"), ("x-envoy-attempt-count", "9")),
    (("retry-after", "3600"),),
)

SPECS = {
    "default": Overflow(),
    "by status": Overflow(on_status=(429, 503)),
    "local hop": Overflow(on_status=(429, 503), after=timedelta(seconds=30)),
    "nothing": Overflow(on_unavailable=False, on_reset=False),
}


class Says:
    """Answers with what it is told at the time."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.headers: Headers = ()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.respond(b"", status=self.status, headers=self.headers)


@pytest.mark.parametrize("overflow", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("policy", list(OnRemoteFailure))
@pytest.mark.parametrize("share", [0, 100])
async def test_no_header_of_an_answer_makes_another_side_be_asked(
    tmp_path: Path, share: int, policy: OnRemoteFailure, overflow: Overflow
) -> None:
    says = Says()
    async with upstream("local", says) as local, upstream("remote", says) as remote:
        spec = builders.spec(remote=to(remote, max_in_flight=100), overflow=overflow, on_remote_failure=policy)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            for headers in (*MARKS, *ORDERS):
                says.headers = headers
                answer = await client.ask(gate.front)
                assert (answer.line[1], _ours(answer.headers)) == ("200", [])

    count = len(MARKS) + len(ORDERS)
    assert (len(local.requests), len(remote.requests)) == ((0, count) if share else (count, 0))


@pytest.mark.parametrize("name", ["by status", "local hop"])
async def test_no_header_of_a_full_server_keeps_the_remote_from_being_asked(tmp_path: Path, name: str) -> None:
    full = Says()
    async with upstream("local", full) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=SPECS[name])
        async with gateway(spec, tmp_path, local=[local]) as gate:
            for full.status in ("429 Too Many Requests", "503 Service Unavailable"):
                for full.headers in (*MARKS, *ORDERS):
                    assert (await _asked(gate, 2)) == [("200", "remote")] * 2


async def test_no_header_of_a_remote_that_fails_keeps_local_from_answering(tmp_path: Path) -> None:
    fails = Says()
    async with (
        upstream("local") as local,
        upstream("remote", fails) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        fails.status = "429 Too Many Requests"
        for fails.headers in (*MARKS, *ORDERS):
            assert (await _asked(gate, 2)) == [("200", "local")] * 2


@pytest.mark.parametrize("share", [0, 100])
async def test_no_trailer_of_a_server_passes_as_ours(tmp_path: Path, share: int) -> None:
    names = ("x-offload-served-by", "x-offload-remote", "x-envoy-overloaded", "X-Envoy-Ratelimited", "x-checksum")

    async def answer(exchange: Exchange) -> None:
        await exchange.send_raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n2\r\nok\r\n0\r\n"
        )
        await exchange.send_raw("".join(f"{name}: mine\r\n" for name in names).encode() + b"\r\n")

    async with (
        upstream("local", answer) as local,
        upstream("remote", answer) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=share) as gate,
    ):
        answered = await client.ask(gate.front)

    assert (answered.line[1], answered.body.content) == ("200", b"ok")
    assert len(local.requests) + len(remote.requests) == 1


async def _asked(gate: Gateway, times: int) -> list[tuple[str, str]]:
    answers = [await client.ask(gate.front) for _ in range(times)]
    return [(each.line[1], each.header("x-offload-served-by")) for each in answers]


def _ours(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return what may never reach a client."""
    marks = ("x-offload-remote", "x-offload-local", "x-envoy-")
    return [name for name, _ in headers if name.lower().startswith(marks)]
