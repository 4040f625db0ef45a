"""The load of the `overflow` benchmark: what it takes for answered, failed and still waiting."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.overflow import Measured
from benchmarks.overflow_load import Outcome, Target
from benchmarks.overflow_servers import Servers
from benchmarks.packages import NotInstalledError
from demo.certificates import Files
from demo.recorder import Phase

from beamlit_controller.api import manifests
from beamlit_controller.api.settings import Settings
from benchmarks import overflow, overflow_llama, overflow_load, overflow_servers, overflow_setups
from fakes import http
from fakes.completions import completions
from fakes.upstream import Answer, Exchange, upstream

SHORT = Phase("short", "short", rate=40, seconds=0.25, offloading=True)


NOWHERE = Files(Path("ca"), Path("certificate"), Path("key"))
PAGE = """
# HELP llamacpp:tokens_predicted_total Number of generation tokens processed.
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 96
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
"""


async def nothing() -> None:
    pass


def servers(*ports: int, metrics: str = overflow_llama.METRICS) -> Servers:
    return Servers(ports, 8443, NOWHERE, 4, metrics, overflow_llama.COUNTER, nothing)


async def played(answer: Answer, *, patience: float = 30) -> tuple[Outcome, ...]:
    async with upstream("model", answer) as server:
        target = Target((f"http://{server.address}",), "llama")
        return await overflow_load.play(target, [(SHORT, nothing)], seed=1, patience=patience)


async def test_an_answer_that_came_in_whole_has_its_time_to_first_token() -> None:
    outcomes = await played(completions("hello there"))

    assert outcomes
    assert all(each.answered and not each.failure and each.first_token > 0 for each in outcomes)


async def test_an_answer_with_another_status_has_failed() -> None:
    async def full(exchange: Exchange) -> None:
        await exchange.respond(status="503 Service Unavailable")

    outcomes = await played(full)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "HTTP 503")}


async def test_an_answer_that_stops_before_its_end_has_failed() -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.begin(headers=[("content-type", "text/event-stream")])
        await exchange.send(b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n')
        await exchange.send(b"")

    outcomes = await played(begins)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "cut off")}


async def test_a_request_that_waits_when_patience_ends_is_neither_answered_nor_failed() -> None:
    async def never(_: Exchange) -> None:
        await asyncio.Event().wait()

    outcomes = await played(never, patience=0)

    assert {(each.answered, each.failure) for each in outcomes} == {(False, "")}
    assert all(each.first_token >= 0 for each in outcomes)


def test_a_setup_that_can_not_be_installed_has_a_row_that_says_so() -> None:
    outcomes = (Outcome(at=0.0, first_token=0.5, answered=True), Outcome(at=50.0, first_token=1.0, answered=True))
    ran = Measured(outcomes, (8.0, 0.0), cpu=0.1, lines=24)

    here, absent = overflow.rows({"here": [ran], "absent": []}, {"absent": "no such package"})

    assert here[:2] == ("here", "0")
    assert absent[0] == "absent: not installed"
    assert len(absent) == len(here) == len(overflow.HEAD)


@pytest.mark.parametrize("metrics", [overflow_servers.METRICS, overflow_llama.METRICS])
@pytest.mark.parametrize("mode", ["Fixed", "Adaptive"])
def test_the_manifest_for_each_kind_of_servers_is_valid(metrics: str, mode: str) -> None:
    manifest = overflow_setups.manifest_of(servers(8001, metrics=metrics), f"{{mode: {mode}, percentage: 50}}")

    parsed = manifests.parse(manifest, settings=Settings(allowed_remote_hosts=("localhost",)))

    assert parsed.problems == ()
    assert len(parsed.specs) == 1


async def test_what_local_has_generated_is_added_up_over_its_servers() -> None:
    async with http.serve(http.page(PAGE)) as one, http.serve(http.page(PAGE)) as other:
        ports = (int(server.address.rpartition(":")[2]) for server in (one, other))

        assert await servers(*ports).generated() == 192


async def test_a_real_server_is_as_fast_as_it_answers_many_at_once() -> None:
    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await completions("hello there")(exchange)

    async with upstream("model", slowly) as server:
        rate = await overflow_llama.measured(Target((f"http://{server.address}",), "llama"))

    assert 0 < rate < 400


async def test_a_real_server_that_fails_is_not_measured() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.respond(status="500 Internal Server Error")

    async with upstream("model", broken) as server:
        with pytest.raises(RuntimeError, match=r"requests were not answered: HTTP 500"):
            await overflow_llama.measured(Target((f"http://{server.address}",), "llama"))


def test_servers_that_can_not_be_installed_are_skipped_and_a_line_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    async def absent() -> float:
        raise NotInstalledError("no such package")

    overflow.compare(replace(overflow_llama.LLAMA, per_second=absent))

    assert "Overflow, llama.cpp's servers: skipped, as no such package" in capsys.readouterr().out
