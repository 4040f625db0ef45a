"""A remote that asks to wait is left alone until then, and nobody notices whom another server can answer."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

import builders
from beamlit_controller.core import remotes_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ApiKey, OnRemoteFailure, Overflow, SecretKey
from beamlit_controller.envoy import remote_stats
from fakes import client, load, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.upstream import Exchange, Upstream, tells, upstream
from waiting import eventually

pytestmark = pytest.mark.system

Headers = tuple[tuple[str, str], ...]
DATE = "Wed, 01 Jul 2026 10:00:00 GMT"
OPENAI = {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
GEMINI = {
    "code": 429,
    "status": "RESOURCE_EXHAUSTED",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerDay"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
    ],
}
GROQ = "Rate limit reached for model `llama` on tokens per day (TPD): Limit 500000. Please try again in 7m54.3s."


def requests_reset(told: str, remaining: str = "0") -> Headers:
    return (("x-ratelimit-reset-requests", told), ("x-ratelimit-remaining-requests", remaining))


def later(**by: float) -> datetime:
    return datetime.now(UTC) + timedelta(**by)


BY_HEADERS: dict[str, tuple[Headers, int]] = {
    "seconds": ((("retry-after", "7"),), 7),
    "a part of a second": ((("retry-after-ms", "2500"), ("retry-after", "9")), 3),
    "a date, by the remote's own clock": (
        (("date", DATE), ("retry-after", "Wed, 01 Jul 2026 10:01:30 GMT")),
        90,
    ),
    "a date over a leap day": (
        (("date", "Tue, 29 Feb 2028 23:59:00 GMT"), ("retry-after", "Wed, 01 Mar 2028 00:00:10 GMT")),
        70,
    ),
    "more than ten minutes": ((("retry-after", "86400"),), 600),
    "a limit of which nothing remains": ((*requests_reset("6m0s"), ("x-ratelimit-reset-tokens", "1s")), 360),
    "limits of which some remains": ((*requests_reset("6m0s", "3"), ("x-ratelimit-reset-tokens", "4s")), 4),
    "milliseconds": (requests_reset("1500ms"), 2),
    "plain seconds": ((("x-ratelimit-reset", "12"),), 12),
    "the standard's draft": ((("ratelimit-reset", "15"), ("ratelimit-remaining", "0")), 15),
}
BY_BODY: dict[str, tuple[object, Headers, int]] = {
    "a quota that is spent": ({"error": OPENAI}, (), 60),
    "a delay within the error": ({"error": GEMINI}, (), 35),
    "a delay in words": ({"error": {"message": GROQ}}, (), 475),
    "a quota of the day": ({"error": {"message": GROQ}}, (("retry-after", "7200"),), 7200),
    "a quota for longer than a day": ({"error": OPENAI}, (("retry-after", "1000000"),), 86400),
    "no quota, for long": ({"error": {"message": "slow down"}}, (("retry-after", "7200"),), 600),
}
ODD: dict[str, Headers] = {
    "nothing": (),
    "none": (("retry-after", "0"),),
    "negative": (("retry-after", "-5"),),
    "words": (("retry-after", "soon"),),
    "hexadecimal": (("retry-after", "0x10"),),
    "not a number": (("retry-after", "nan"),),
    "twice": (("retry-after", "5"), ("retry-after", "6")),
    "a date that is over": (("date", DATE), ("retry-after", "Wed, 01 Jul 2026 09:00:00 GMT")),
    "a month that is none": (("retry-after", "Wed, 01 Juy 2026 10:01:30 GMT"),),
    "a unit that is none": (("x-ratelimit-reset", "5y"),),
    "long": (("retry-after", "1" * 20_000 + "x"),),
    "a long unit": (("x-ratelimit-reset", "1" * 20_000 + "m"),),
    "a moment that is over": (("x-ratelimit-reset", "1000000001"),),
}
HOSTILE: dict[str, bytes] = {
    "no JSON": b"\xff\xfe insufficient",
    "nothing": b"",
    "long": b'{"error": "' + b"x" * 100_000 + b'insufficient_quota"}',
    "a delay without end": b'{"retryDelay": "' + b"9" * 400 + b's"}',
}


@dataclass
class World:
    """A remote, a local server, and the gateway in front of them."""

    one: Upstream
    local: Upstream
    gate: Gateway
    folder: Path

    async def told(self, headers: Headers, body: bytes = b"", status: str = "429 Too Many Requests") -> str | None:
        """Let the remote answer once like this, with a new account: for how long is it left alone then, if at all?"""
        secrets.put(self.folder, "one", key=f"key-{len(self.one.requests)}")
        self.one.answer = answers(status, headers, body)
        await client.ask(self.gate.front)
        before = len(self.one.requests)
        answer = await client.ask(self.gate.front)
        return answer.header("retry-after") if len(self.one.requests) == before else None


@pytest.fixture
async def failing(tmp_path: Path) -> AsyncIterator[World]:
    async with _world(tmp_path, policy=OnRemoteFailure.FAIL) as world:
        yield world


async def test_a_remote_is_left_alone_for_as_long_as_its_headers_ask(failing: World) -> None:
    told = {name: await failing.told(headers) for name, (headers, _) in BY_HEADERS.items()}

    assert told == {name: str(seconds) for name, (_, seconds) in BY_HEADERS.items()}


@pytest.mark.parametrize("name", BY_BODY)
async def test_a_remote_is_left_alone_for_as_long_as_its_error_says(failing: World, name: str) -> None:
    error, headers, seconds = BY_BODY[name]
    as_json = ("content-type", "application/json; charset=UTF-8")

    told = await failing.told((*headers, as_json), json.dumps(error, indent=1).encode())

    assert told == str(seconds)


async def test_moments_count_from_now(failing: World) -> None:
    date = await failing.told((("retry-after", format_datetime(later(seconds=100), usegmt=True)),))
    seconds = await failing.told((("x-ratelimit-reset", f"{later(seconds=100).timestamp():.0f}"),))
    milliseconds = await failing.told((("x-ratelimit-reset", f"{later(seconds=100).timestamp() * 1000:.0f}"),))

    assert {each for each in (date, seconds, milliseconds) if not 90 <= int(each or 0) <= 101} == set()


async def test_what_is_no_time_makes_no_pause(failing: World) -> None:
    told = {name: await failing.told(headers) for name, headers in ODD.items()}

    assert told == dict.fromkeys(ODD)


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_odd_error_makes_no_pause_of_more_than_ten_minutes(failing: World, name: str) -> None:
    told = await failing.told((("content-type", "application/json"),), HOSTILE[name])

    assert told in {None, "600"}


async def test_other_answers_pause_a_remote_only_where_they_mean_that_it_is_full(failing: World) -> None:
    asks = (("retry-after", "30"),)
    statuses = ("503 Service Unavailable", "529 Overloaded", "500 Internal", "404 Not Found", "301 Moved", "200 OK")

    told = {status: await failing.told(asks, status=status) for status in statuses}

    assert {status for status, seconds in told.items() if seconds == "30"} == {*statuses[:2]}


async def test_the_next_remote_answers_while_one_is_paused(tmp_path: Path) -> None:
    async with upstream("two") as two, _world(tmp_path, two) as world:
        world.one.answer = answers("429 Too Many Requests", (("retry-after", "60"),))
        tally = await load.ask(world.gate.front, requests=100, connections=4)

    assert tally.answered == {("200", "remote"): 100}
    assert 1 <= len(world.one.requests) <= 4
    assert (len(two.requests), world.local.connections) == (100, 0)


@pytest.mark.parametrize("share", [0, 100])
async def test_local_answers_what_it_can_while_the_only_remote_is_paused(tmp_path: Path, share: int) -> None:
    async with _world(tmp_path, share=share) as world:
        world.one.answer = answers("429 Too Many Requests", (("retry-after", "60"),))
        world.local.answer = answers("503 Service Unavailable") if share == 0 else tells("local")
        got = [await client.ask(world.gate.front) for _ in range(20)]

    assert len(world.one.requests) == 1
    assert {each.line[1] for each in got} == ({"503"} if share == 0 else {"200"})


async def test_a_remote_is_asked_again_when_its_pause_is_over(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.one.answer = answers("429 Too Many Requests", (("retry-after-ms", "700"),))
        paused = [await client.ask(world.gate.front) for _ in range(3)]
        world.one.answer = tells("one")
        await eventually(lambda: _answers(world, "one"))

    assert {each.body.content for each in paused} == {b"local"}


async def test_a_refusal_of_the_clients_own_credential_pauses_nothing_for_others(tmp_path: Path) -> None:
    async with _world(tmp_path, forwards=True) as world:
        world.one.answer = answers("429 Too Many Requests", (("retry-after", "60"),))
        for _ in range(5):
            await client.ask(world.gate.front)

    assert len(world.one.requests) == 5


async def test_a_pause_is_told_apart_in_the_stats_and_shown_as_throttling(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.one.answer = answers("429 Too Many Requests", (("retry-after", "60"),))
        for _ in range(5):
            await client.ask(world.gate.front)
        page = await client.get(world.gate.params.stats, "/stats/prometheus?filter=offload")
        lines = await world.gate.log(9)

    attempts = remote_stats.attempts(page.body.content.decode())
    assert attempts["one"].counts == (("answered", 429, 1), ("paused", 429, 4))
    [judged] = remotes_health.judge(world.gate.spec.remotes, {}, attempts).values()
    assert judged.condition.reason is Reason.REMOTE_THROTTLES
    assert [line["result"] for line in lines if "remote_failure" in line] == ["paused"] * 4


async def _answers(world: World, name: str) -> bool:
    return (await client.ask(world.gate.front)).body.content == name.encode()


def answers(status: str, headers: Headers = (), body: bytes = b""):  # noqa: ANN201 - an Answer
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(body, status=status, headers=headers)

    return answer


@asynccontextmanager
async def _world(
    folder: Path,
    *others: Upstream,
    policy: OnRemoteFailure = OnRemoteFailure.LOCAL,
    share: int = 100,
    forwards: bool = False,
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        one, local = [await stack.enter_async_context(upstream(name)) for name in ("one", "local")]
        secrets.put(folder, "one", key="key")
        own = {"forward_client_authorization": True} if forwards else {"auth": ApiKey(SecretKey("one", "key"))}
        spec = builders.spec(
            remote=to(one, name="one", **own),
            next_remotes=tuple(to(each, name=each.name) for each in others),
            overflow=Overflow(on_status=(503,)),
            on_remote_failure=policy,
        )
        gate = await stack.enter_async_context(gateway(spec, folder, local=[local], share=share))
        yield World(one, local, gate, folder)
