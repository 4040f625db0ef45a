"""The remote fails: what the client gets, how often the remote is still asked, and when it is trusted again."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core import remote_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import RemoteAssessment
from beamlit_controller.core.spec import ApiKey, HealthCheck, OnRemoteFailure, RemoteTls, Scheme, SecretKey
from beamlit_controller.envoy import remote_stats
from fakes import client, load, secrets
from fakes.gateway import Gateway, free_port, gateway, to
from fakes.tls import Authority
from fakes.trouble import breaks_off, closes, hangs, says, takes
from fakes.upstream import Answer, Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

NAME = "api.example.test"
FAILS = {"503": says(503), "closes": closes}
"""What is not about the request."""
REFUSES = {"401": says(401), "403": says(403), "429": says(429), "500": says(500), "529": says(529)}
"""What may be about one client's requests."""
TLS = {
    "expired": (True, NAME, "expired"),
    "wrong name": (True, "other.test", "SAN_matcher"),
    "unknown authority": (False, NAME, "CERTIFICATE_VERIFY_FAILED"),
}
KNOWN = 3
"""Failures in a row that make a remote known to be bad."""
LATER = 3
"""Requests that may be sent before all of the gateway knows."""


@pytest.mark.parametrize("answer", FAILS.values(), ids=FAILS)
async def test_local_answers_what_the_remote_fails_and_the_remote_is_left_alone(tmp_path: Path, answer: Answer) -> None:
    async with (
        upstream("local") as local,
        upstream("remote", answer) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        answers = [await client.ask(gate.front) for _ in range(50)]

    assert {(each.line[1], each.header("x-offload-served-by")) for each in answers} == {("200", "local")}
    assert not [name for each in answers for name, _ in each.headers if name in {"x-offload-remote", "x-offload-local"}]
    assert KNOWN <= len(remote.requests) <= KNOWN + LATER
    assert len(local.requests) == 50


@pytest.mark.parametrize("answer", REFUSES.values(), ids=REFUSES)
async def test_a_remote_that_refuses_all_requests_of_a_while_is_left_alone(tmp_path: Path, answer: Answer) -> None:
    async with (
        upstream("local") as local,
        upstream("remote", answer) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
        load.asking(gate.front, connections=2) as tally,
    ):
        await eventually(lambda: _left_out(gate), within=30)
        known = len(remote.requests)
        since = tally.by("local")
        await eventually(lambda: tally.by("local") >= since + 200, within=30)
        asked = len(remote.requests) - known

    assert tally.good == tally.total
    assert asked <= LATER


@pytest.mark.parametrize("case", TLS)
async def test_a_remote_with_a_bad_certificate_gets_nothing_and_local_answers(tmp_path: Path, case: str) -> None:
    ours, name, told = TLS[case]
    trusted = Authority(tmp_path, "trusted")
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "ca.crt").write_bytes(trusted.cert.read_bytes())
    issuer = trusted if ours else Authority(tmp_path, "unknown")
    async with (
        upstream("local") as local,
        upstream("remote", tls=issuer.server(name, expired=case == "expired")) as remote,
    ):
        backend = to(remote, scheme=Scheme.HTTPS, tls=RemoteTls(SecretKey("remote", "ca.crt"), NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50, connections=1)
            lines = await gate.log(50 + KNOWN)

    assert tally.answered == {("200", "local"): 50}
    assert remote.requests == []
    failures = [line for line in lines if "remote_failure" in line]
    assert KNOWN <= len(failures) <= KNOWN + LATER
    assert all(told in str(line["transport"]) for line in failures)


async def test_a_remote_without_an_address_costs_nothing(tmp_path: Path) -> None:
    async with upstream("local") as local:
        backend = to(local, host="no-such-host.invalid")
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)

    assert tally.answered == {("200", "local"): 50}


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 Unprocessable Content"])
async def test_what_the_remote_says_about_the_request_is_the_answer(tmp_path: Path, status: str) -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.respond(b"the remote's", status=status)

    async with (
        upstream("local") as local,
        upstream("remote", refuses) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        answers = [await client.ask(gate.front) for _ in range(10)]

    assert {(each.line[1], each.body.content) for each in answers} == {(status[:3], b"the remote's")}
    assert (len(remote.requests), local.connections) == (10, 0)


@pytest.mark.parametrize("status", [401, 403])
async def test_whom_the_remote_refuses_with_a_credential_of_his_own_hears_of_it(tmp_path: Path, status: int) -> None:
    async with upstream("local") as local, upstream("remote", says(status)) as remote:
        backend = to(remote, forward_client_authorization=True)
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            answers = [(await client.ask(gate.front)).line[1] for _ in range(10)]

    assert answers == [str(status)] * 10
    assert (len(remote.requests), local.connections) == (10, 0)


async def test_a_slow_remote_is_waited_for(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote", takes(3, b"late")) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        answer = await client.ask(gate.front)

    assert (answer.body.content, local.connections) == (b"late", 0)


async def test_an_answer_of_the_remote_that_has_begun_is_never_asked_for_again(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote", breaks_off) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        with pytest.raises(ConnectionError):
            await client.ask(gate.front)

    assert (len(remote.requests), local.connections) == (1, 0)


async def test_a_remote_that_always_fails_is_hardly_asked_and_asked_again_when_it_is_back(tmp_path: Path) -> None:
    fails = True

    async def answer(exchange: Exchange) -> None:
        await (says(503)(exchange) if fails else exchange.respond(b"remote"))

    async with upstream("local") as local, upstream("remote", answer) as remote:
        spec = builders.spec(remote=to(remote))
        async with (
            gateway(spec, tmp_path, local=[local], share=100) as gate,
            load.asking(gate.front, connections=4) as tally,
        ):
            clock = asyncio.get_running_loop()
            await eventually(lambda: _left_out(gate), within=30)
            known, since = len(remote.requests), clock.time()
            await eventually(lambda: clock.time() - since > 12, within=60)
            asked = len(remote.requests) - known
            fails = False
            await eventually(lambda: tally.by("remote") > 100, within=60)

    assert tally.total == tally.good
    # Three, and those under way beside them, each time it is tried again: after 5 s, and 10 s later.
    assert asked <= 2 * (KNOWN + LATER + 4)


@pytest.mark.parametrize("share", [0, 100])
async def test_both_sides_bad_is_told_at_once_with_a_time_to_come_again(tmp_path: Path, share: int) -> None:
    gone = f"127.0.0.1:{free_port()}"
    async with (
        upstream("remote", says(500)) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[gone], share=share) as gate,
    ):
        # Of 20 answers that each wait for a side to come back, not even the second would be there by then.
        async with asyncio.timeout(60):
            answers = [await client.ask(gate.front) for _ in range(20)]

    assert {(each.line[1], each.header("retry-after")) for each in answers} == {("503", "1")}


async def test_what_fails_is_the_answer_where_the_spec_wants_it(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote", says(500, b"broken")) as remote:
        spec = builders.spec(remote=to(remote), on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            answers = Counter([(await client.ask(gate.front)).line[1] for _ in range(20)])

    assert answers == {"500": 20}
    assert len(remote.requests) == 20
    assert local.connections == 0


# Probes.


async def test_a_remote_that_is_not_well_gets_nothing_but_probes(tmp_path: Path) -> None:
    well = False

    async def answer(exchange: Exchange) -> None:
        probe = exchange.request.line[1] == "/models/llama/health"
        await (exchange.respond(b"remote") if well or not probe else says(503)(exchange))

    async with upstream("local") as local, upstream("remote", answer) as remote:
        check = HealthCheck("/health", timedelta(seconds=1))
        backend = to(remote, path_prefix="/models/llama", health_check=check, headers_to_add=(("x-team", "search"),))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=100)
            probes = [*remote.requests]
            well = True
            await eventually(lambda: _served_by(gate, "remote"), within=60)

    assert tally.answered == {("200", "local"): 100}
    assert {request.line[1] for request in probes} == {"/models/llama/health"}
    assert {(request.header("host"), request.header("x-team")) for request in probes} == {(remote.address, "search")}


# The most at once.


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_local_serves_what_is_above_the_most_at_the_remote(tmp_path: Path, policy: OnRemoteFailure) -> None:
    async with upstream("local") as local, upstream("remote", hangs) as remote:
        spec = builders.spec(remote=to(remote, max_in_flight=4), on_remote_failure=policy)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            waiting = [await client.open_to(gate.front) for _ in range(4)]
            for each in waiting:
                await each.send_head("POST /wait HTTP/1.1", (("content-length", "0"),))
            await eventually(lambda: len(remote.requests) == 4)
            tally = await load.ask(gate.front, requests=100)
            for each in waiting:
                each.abort()
            await eventually(lambda: _nothing_runs(gate))
            remote.answer = takes(0, b"remote")
            again = await client.ask(gate.front)

    assert tally.answered == {("200", "local"): 100}
    assert again.header("x-offload-served-by") == "remote"


async def _served_by(gate: Gateway, side: str) -> bool:
    return (await client.ask(gate.front)).header("x-offload-served-by") == side


async def _left_out(gate: Gateway) -> bool:
    return await gate.stat("cluster.remote_hop.outlier_detection.ejections_active") == 1


async def _nothing_runs(gate: Gateway) -> bool:
    return await gate.stat("cluster.remote.upstream_rq_active") == 0


# What can be known from outside.


CAUSES = {
    "answers": (None, Reason.REMOTE_ANSWERS),
    "401": (says(401), Reason.REMOTE_REFUSES_CREDENTIAL),
    "429": (says(429), Reason.REMOTE_THROTTLES),
    "500": (says(500), Reason.REMOTE_FAILS),
    "closes": (closes, Reason.REMOTE_RESETS),
    "refuses": (None, Reason.CONNECTION_FAILED),
    "no address": (None, Reason.REMOTE_ADDRESS_UNKNOWN),
    "no key": (None, Reason.CREDENTIALS_UNREADABLE),
    "bad key": (None, Reason.CREDENTIALS_UNREADABLE),
    "no TLS": (None, Reason.TIMED_OUT),
    "expired": (None, Reason.REMOTE_CERTIFICATE_EXPIRED),
    "wrong name": (None, Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME),
    "unknown authority": (None, Reason.REMOTE_CERTIFICATE_UNTRUSTED),
}


@pytest.mark.parametrize("case", CAUSES)
async def test_the_gateways_figures_tell_why_the_remote_fails(tmp_path: Path, case: str) -> None:
    answer, reason = CAUSES[case]
    trusted = Authority(tmp_path, "trusted")
    key = {"no key": "", "bad key": "two\nlines"}.get(case, "good")
    secrets.put(tmp_path, "remote", apiKey=key, ca=trusted.cert.read_bytes())
    served = None
    if case in TLS:
        issuer = trusted if TLS[case][0] else Authority(tmp_path, "unknown")
        served = issuer.server(TLS[case][1], expired=case == "expired")
    async with upstream("local") as local, upstream("remote", answer, tls=served) as remote:
        if case == "refuses":
            await remote.stop()
        backend = to(remote, auth=ApiKey(SecretKey("remote", "apiKey")))
        if case == "no address":
            backend = replace(backend, host="no-such-host.invalid")
        if case in {*TLS, "no TLS"}:
            backend = replace(backend, scheme=Scheme.HTTPS, tls=RemoteTls(SecretKey("remote", "ca"), NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            served_by = (await client.ask(gate.front)).header("x-offload-served-by")
            page = await client.get(gate.params.stats, "/stats/prometheus")
            judged = remote_health.judge(
                backend, RemoteAssessment(), remote_stats.attempts(page.body.content.decode())[""]
            )

    assert judged.condition.reason is reason
    assert served_by == ("remote" if reason is Reason.REMOTE_ANSWERS else "local")
