"""Two remotes in order: whatever fails one of them, the next one answers the same request, and local only what neither can."""

import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

import builders
from beamlit_controller.core import remotes_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import (
    REMOTE_FAILURES,
    ApiKey,
    HealthCheck,
    OnRemoteFailure,
    Overflow,
    RemoteBackend,
    RemoteTls,
    Scheme,
    SecretKey,
)
from beamlit_controller.envoy import remote_stats
from fakes import client, load, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import Message
from fakes.tls import Authority
from fakes.trouble import breaks_off, closes, hangs, says, takes
from fakes.upstream import Answer, Upstream, tells, upstream
from waiting import eventually

pytestmark = pytest.mark.system

NAME = "one.example.test"
REQUESTS = 20
STATUSES = (401, 402, 403, 408, 429, 500, 503, 529)
ELSEWHERE = ("refused", "closes", "no address", "no key", "no TLS", "expired")
FAULTS = (*map(str, STATUSES), *ELSEWHERE)
EACH_KIND = ("401", "503", "refused", "no key")
NEVER_ASKED = {"refused", "no address", "no key", "no TLS", "expired"}
Names = tuple[tuple[str, str], ...]
FULL = Overflow(on_status=(503,))


@dataclass
class World:
    """Two remotes, a local server, and the gateway in front of them."""

    one: Upstream
    two: Upstream
    local: Upstream
    gate: Gateway

    async def answers(self) -> Counter[tuple[str, bytes]]:
        """Ask one request after the other, and count the answers by status and body."""
        answers = [await client.ask(self.gate.front) for _ in range(REQUESTS)]
        return Counter((each.line[1], each.body.content) for each in answers)


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_second_remote_answers_what_the_first_one_does_not(tmp_path: Path, fault: str) -> None:
    async with _world(tmp_path, one=fault, share=100) as world:
        answers = await world.answers()

    assert answers == {("200", b"two"): REQUESTS}
    assert len(world.two.requests) == REQUESTS
    assert len(world.one.requests) <= (0 if fault in NEVER_ASKED else REQUESTS)
    assert world.local.connections == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_second_remote_answers_what_neither_local_nor_the_first_one_takes(tmp_path: Path, fault: str) -> None:
    async with _world(tmp_path, one=fault, local="503") as world:
        answers = await world.answers()

    assert answers == {("200", b"two"): REQUESTS}
    assert (len(world.local.requests), len(world.two.requests)) == (REQUESTS, REQUESTS)
    assert len(world.one.requests) <= (0 if fault in NEVER_ASKED else REQUESTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_local_answers_what_neither_remote_does(tmp_path: Path, fault: str) -> None:
    async with _world(tmp_path, one=fault, two="429", share=100) as world:
        answers = await world.answers()

    assert answers == {("200", b"local"): REQUESTS}
    assert len(world.local.requests) == REQUESTS
    assert len(world.two.requests) <= REQUESTS


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("fault", EACH_KIND)
async def test_the_client_is_told_to_come_again_when_nobody_answers(tmp_path: Path, fault: str, share: int) -> None:
    async with _world(tmp_path, one=fault, two=fault, local="refused", share=share) as world:
        answers = [await client.ask(world.gate.front) for _ in range(3)]

    assert {(each.line[1], each.header("retry-after")) for each in answers} == {("503", "1")}


@pytest.mark.parametrize("fault", EACH_KIND)
async def test_where_failures_are_passed_on_it_is_the_last_remotes_failure(tmp_path: Path, fault: str) -> None:
    async with _world(tmp_path, one=fault, two="500", share=100, policy=OnRemoteFailure.FAIL) as world:
        answers = await world.answers()

    assert answers == {("500", b""): REQUESTS}
    assert (len(world.two.requests), world.local.connections) == (REQUESTS, 0)


@pytest.mark.parametrize("share", [0, 100])
async def test_an_answer_that_has_begun_is_asked_for_nowhere_else(tmp_path: Path, share: int) -> None:
    async with _world(tmp_path, one="breaks off", local="503", share=share) as world:
        with pytest.raises(ConnectionError):
            await client.ask(world.gate.front)

    assert (len(world.one.requests), len(world.two.requests)) == (1, 0)


async def test_what_counts_as_a_failure_is_each_remotes_own(tmp_path: Path) -> None:
    async with _world(tmp_path, one="404", two="404", share=100, statuses=((404,), (429,))) as world:
        answers = await world.answers()

    assert answers == {("404", b""): REQUESTS}
    assert (len(world.one.requests), len(world.two.requests)) == (REQUESTS, REQUESTS)
    assert world.local.connections == 0


async def test_the_log_names_the_remote_that_an_attempt_failed_at(tmp_path: Path) -> None:
    async with _world(tmp_path, one="refused", two="closes", share=100) as world:
        await client.ask(world.gate.front)
        lines = await world.gate.log(3)

    failures = {(line["remote"], line["result"]) for line in lines if "remote_failure" in line}
    assert failures == {("one", "refused"), ("two", "reset")}


async def test_a_remote_that_does_not_pass_its_health_check_is_passed_over(tmp_path: Path) -> None:
    check = HealthCheck("/health", timedelta(seconds=1))
    async with _world(tmp_path, one="503", share=100, check=check) as world:
        await eventually(lambda: world.one.requests)
        answers = await world.answers()

    assert answers == {("200", b"two"): REQUESTS}
    assert {request.line[1] for request in world.one.requests} == {"/health"}


async def test_each_remote_is_asked_once_while_those_before_it_are_left_out(tmp_path: Path) -> None:
    async with _world(tmp_path, one="refused", two="408", share=100) as world:
        await world.answers()
        before = len(world.two.requests)
        await world.answers()

    assert len(world.two.requests) - before == REQUESTS


async def test_a_remote_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    async with _world(tmp_path, one="slow", share=100) as world:
        answer = await client.ask(world.gate.front)

    assert answer.body.content == b"late"
    assert (world.two.connections, world.local.connections) == (0, 0)


async def test_a_first_remote_that_is_back_gets_the_requests_again(tmp_path: Path) -> None:
    async with (
        _world(tmp_path, one="503", share=100) as world,
        load.asking(world.gate.front, connections=2) as tally,
    ):
        await eventually(lambda: tally.total > 100, within=30)
        world.one.answer = tells("one")
        begin = len(world.one.requests)
        await eventually(lambda: len(world.one.requests) > begin + 200, within=60)

    assert tally.good == tally.total
    assert world.local.connections == 0


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_what_is_above_the_most_at_one_remote_goes_to_the_next_and_then_to_local(
    tmp_path: Path, policy: OnRemoteFailure
) -> None:
    async with _world(tmp_path, one="hangs", two="hangs", share=100, policy=policy, most=2) as world:
        waiting = [await client.open_to(world.gate.front) for _ in range(4)]
        for each in waiting:
            await each.send_head("POST /wait HTTP/1.1", (("content-length", "0"),))
        await eventually(lambda: (len(world.one.requests), len(world.two.requests)) == (2, 2))
        answers = await world.answers()
        for each in waiting:
            each.abort()

    assert answers == {("200", b"local"): REQUESTS}
    assert (len(world.one.requests), len(world.two.requests)) == (2, 2)


@pytest.mark.parametrize("share", [0, 100])
async def test_no_remote_and_no_local_server_sees_the_credential_of_another(tmp_path: Path, share: int) -> None:
    async with _world(tmp_path, one="429", two="401", local="503", share=share) as world:
        for _ in range(REQUESTS):
            await client.ask(world.gate.front, headers=[("authorization", "Bearer key-of-client")])

    assert _shown(world.one) == {"Bearer key-of-one"}
    assert _shown(world.two) == {"Bearer key-of-two"}
    assert _shown(world.local) == {"Bearer key-of-client"}


async def test_a_model_that_one_remote_does_not_have_is_asked_of_the_next(tmp_path: Path) -> None:
    async with _world(tmp_path, share=100, names=((("other", "other"),), (("llama", "their-llama"),))) as world:
        answer = await _ask_for(world.gate, "llama")

    assert answer.body.content == b"two"
    assert (world.one.requests, world.two.requests[0].body.content) == ([], b'{"model": "their-llama"}')


async def test_the_stats_tell_the_remotes_apart(tmp_path: Path) -> None:
    async with _world(tmp_path, one="401", share=100) as world:
        await world.answers()
        page = await client.get(world.gate.params.stats, "/stats/prometheus?filter=offload")

    families = {each.name: each.samples for each in text_string_to_metric_families(page.body.content.decode())}
    counted = {
        (sample.labels["remote"], sample.labels["result"], sample.labels["code"]): int(sample.value)
        for sample in families["envoy_offload_remote_attempts"]
    }
    assert counted == {("one", "answered", "401"): len(world.one.requests), ("two", "answered", "200"): REQUESTS}
    served = {sample.labels["remote"]: int(sample.value) for sample in families["envoy_offload_requests"]}
    assert served == {"two": REQUESTS}


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_equals_share_requests_by_their_weights_and_take_over_what_one_fails(
    tmp_path: Path, policy: OnRemoteFailure
) -> None:
    async with _world(tmp_path, share=100, weights=(3, 1), policy=policy) as world:
        shared = [await world.answers() for _ in range(4)]
        world.one.answer = says(408)
        without_one = await world.answers()
        world.one.answer, world.two.answer = tells("one"), says(408)
        without_two = await world.answers()

    counted = Counter(name for answers in shared for (_, name), count in answers.items() for _ in range(count))
    assert abs(counted[b"one"] - 60) <= 2
    assert counted[b"one"] + counted[b"two"] == 80
    assert without_one == {("200", b"two"): REQUESTS}
    assert set(without_two) <= {("200", b"one"), ("200", b"local")}
    assert (world.local.connections > 0) == (policy is OnRemoteFailure.LOCAL)


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
@pytest.mark.parametrize("local", ["refused", "closes", "503"])
async def test_what_local_can_not_answer_is_shared_as_well_even_if_no_local_server_is_usable(
    tmp_path: Path, local: str, policy: OnRemoteFailure
) -> None:
    """While the only local server was ejected, the first remote got all requests, whatever its weight."""
    async with _world(tmp_path, local=local, weights=(1, 3), policy=policy) as world:
        shared = [await world.answers() for _ in range(4)]
        world.two.answer = says(503)
        without_two = await world.answers()

    counted = Counter(name for answers in shared for (_, name), count in answers.items() for _ in range(count))
    assert abs(counted[b"two"] - 60) <= 2
    assert counted[b"one"] + counted[b"two"] == 80
    if policy is OnRemoteFailure.LOCAL:
        assert without_two == {("200", b"one"): REQUESTS}


async def test_the_stats_tell_why_each_remote_gets_nothing(tmp_path: Path) -> None:
    check = HealthCheck("/health", timedelta(seconds=1))
    async with _world(tmp_path, one="no address", two="503", share=100, check=check) as world:
        await eventually(lambda: world.two.requests)
        await world.answers()
        page = await client.get(world.gate.params.stats, f"/stats/prometheus?filter={quote(remote_stats.FILTER)}")
        attempts = remote_stats.attempts(page.body.content.decode())

    judged = remotes_health.judge(world.gate.spec.remotes, {}, attempts)
    assert {name: each.condition.reason for name, each in judged.items()} == {
        "one": Reason.REMOTE_ADDRESS_UNKNOWN,
        "two": Reason.REMOTE_UNHEALTHY,
    }


def _shown(server: Upstream) -> set[str | None]:
    return {request.header("authorization") for request in server.requests}


async def _ask_for(gate: Gateway, model: str) -> Message:
    async with client.connect(gate.front) as connection:
        body = json.dumps({"model": model}).encode()
        return await connection.post("/v1/completions", body, headers=[("content-type", "application/json")])


@asynccontextmanager
async def _world(
    folder: Path,
    *,
    one: str = "well",
    two: str = "well",
    local: str = "well",
    share: int = 0,
    policy: OnRemoteFailure = OnRemoteFailure.LOCAL,
    most: int | None = None,
    check: HealthCheck | None = None,
    statuses: tuple[tuple[int, ...], tuple[int, ...]] = (REMOTE_FAILURES, REMOTE_FAILURES),
    names: tuple[Names | None, Names | None] = (None, None),
    weights: tuple[int | None, int | None] = (None, None),
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        authority = Authority(folder, "trusted")
        first, second, own = [
            await stack.enter_async_context(upstream(name, _answer(fault), tls=_tls(fault, authority)))
            for name, fault in (("one", one), ("two", two), ("local", local))
        ]
        remotes = [_remote(server, fault, folder, authority) for server, fault in ((first, one), (second, two))]
        remotes = [
            replace(each, max_in_flight=most, model_names=name, health_check=check)
            for each, name in zip(remotes, names, strict=True)
        ]
        remotes = [replace(each, on_status=codes) for each, codes in zip(remotes, statuses, strict=True)]
        remotes = [replace(each, weight=weight) for each, weight in zip(remotes, weights, strict=True)]
        spec = builders.spec(
            remote=remotes[0], next_remotes=tuple(remotes[1:]), overflow=FULL, on_remote_failure=policy
        )
        for server, fault in ((first, one), (second, two), (own, local)):
            if fault == "refused":
                await server.stop()
        gate = await stack.enter_async_context(gateway(spec, folder, local=[own], share=share))
        yield World(first, second, own, gate)


def _answer(fault: str) -> Answer | None:
    if fault.isdigit():
        return says(int(fault))
    return {"closes": closes, "hangs": hangs, "breaks off": breaks_off, "slow": takes(2, b"late")}.get(fault)


def _tls(fault: str, authority: Authority) -> ssl.SSLContext | None:
    return authority.server(NAME, expired=True) if fault == "expired" else None


def _remote(server: Upstream, fault: str, folder: Path, authority: Authority) -> RemoteBackend:
    """Return the server as a remote with a key of its own, which is missing or whose address is unknown if that is the fault."""
    key = "" if fault == "no key" else f"key-of-{server.name}"
    secrets.put(folder, server.name, key=key, ca=authority.cert.read_bytes())
    remote = to(server, name=server.name, auth=ApiKey(SecretKey(server.name, "key")))
    match fault:
        case "no address":
            return replace(remote, host="no-such-host.invalid")
        case "expired" | "no TLS":
            return replace(remote, scheme=Scheme.HTTPS, tls=RemoteTls(SecretKey(server.name, "ca"), NAME))
        case _:
            return remote
