"""A remote that asks to wait is left alone until then, and nobody notices whom another server can answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest

import builders
from beamlit_controller.core import remotes_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ApiKey, OnRemoteFailure, Overflow, SecretKey
from beamlit_controller.envoy import remote_stats, retry_after
from fakes import client, load, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import Message, chunk
from fakes.upstream import Exchange, Upstream, tells, upstream
from waiting import eventually

pytestmark = pytest.mark.system

Headers = tuple[tuple[str, str], ...]
AS_JSON: Headers = (("content-type", "application/json; charset=UTF-8"),)
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
    "a quota for hours": ({"error": {"code": 429, "type": "quota_exceeded"}}, (("retry-after", "7200"),), 7200),
    "a quota for hours, in words": ({"error": {**OPENAI, "message": "try again in 2h"}}, (), 7200),
    "a quota for longer than a day": ({"error": OPENAI}, (("retry-after", "1000000"),), 86400),
    "no quota, for long": ({"error": {"message": "slow down"}}, (("retry-after", "7200"),), 600),
}
# Of an error, a client can influence its text, and what it refers to.
LOOKING_LIKE_A_QUOTA: dict[str, object] = {
    "words": {"error": {"message": "your prompt: insufficient_quota, daily, tokens per day (TPD)", "code": "too_long"}},
    "JSON in words": {"error": {"message": '{"error":{"code":"insufficient_quota"}}", "code": "insufficient_quota"'}},
    "keys elsewhere": {
        "code": "insufficient_quota",
        "error": {"param": {"code": "insufficient_quota", "type": OPENAI}},
    },
    "a part of a code": {"error": {"code": "insufficient_quota_or_so", "type": ["insufficient_quota"]}},
    "no object": {"error": "insufficient_quota"},
    "a list": [{"error": OPENAI}],
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
    """Return a world in which the first pause is as long as any."""
    async with _world(tmp_path, policy=OnRemoteFailure.FAIL, first=10**6) as world:
        yield world


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded"])
async def test_the_first_pause_is_short(tmp_path: Path, status: str) -> None:
    """One client's request that alone was refused paused the remote for everybody for ten minutes."""
    asks: dict[str, tuple[Headers, bytes]] = {
        "59": ((("retry-after", "59"),), b""),
        "60": ((("retry-after", "3600"),), b""),
        "9": ((("retry-after-ms", "8500"),), b""),
    }
    if status.startswith("429"):
        asks["10"] = (requests_reset("9m0s"), b"")
        asks["4"] = (requests_reset("4s"), b"")
    async with _world(tmp_path, policy=OnRemoteFailure.FAIL) as world:
        told = [await world.told(headers, body, status) for headers, body in asks.values()]

    assert told == [*asks]


@pytest.mark.parametrize("name", BY_BODY)
async def test_the_first_pause_is_short_whatever_an_error_says(tmp_path: Path, name: str) -> None:
    error, headers, _ = BY_BODY[name]
    async with _world(tmp_path, policy=OnRemoteFailure.FAIL) as world:
        told = await world.told((*headers, *AS_JSON), json.dumps(error).encode())

    assert told == ("60" if headers else "10")


async def test_a_remote_that_refuses_again_is_paused_for_twice_as_long_until_it_answers(tmp_path: Path) -> None:
    async with _world(tmp_path, policy=OnRemoteFailure.FAIL, first=1) as world:
        world.one.answer = answers("429 Too Many Requests", requests_reset("3s"))
        again = [await _next_pause(world) for _ in range(3)]
        world.one.answer = tells("one")
        await eventually(lambda: _answers(world, "one"))
        world.one.answer = answers("429 Too Many Requests", requests_reset("3s"))
        anew = await _next_pause(world)

    # A slow machine may see the last second of a pause only.
    assert [most - told in {0, 1} for most, told in zip((1, 2, 3, 1), (*again, anew), strict=True)] == [True] * 4
    assert (again[2], anew) == (3, 1)


async def test_one_clients_odd_request_takes_the_remote_from_others_for_seconds(tmp_path: Path) -> None:
    async def refuses_long_ones(exchange: Exchange) -> None:
        if len(exchange.request.body.content) > 1000:
            too_large = requests_reset("9m0s")
            await exchange.respond(b"{}", status="429 Too Many Requests", headers=(*too_large, *AS_JSON))
        else:
            await exchange.respond(b"one")

    async with _world(tmp_path, first=1) as world, client.connect(world.gate.front) as odd:
        world.one.answer = refuses_long_ones
        for _ in range(3):
            await odd.post("/", b"x" * 2000)
            await eventually(lambda: _answers(world, "one"))
        refused = await odd.post("/", b"x" * 2000)

    assert refused.body.content == b"local"


async def test_requests_that_were_sent_before_a_pause_do_not_make_the_next_one_longer(tmp_path: Path) -> None:
    may_answer = asyncio.Event()

    async def refuses_late(exchange: Exchange) -> None:
        if exchange.request.line[1] == "/late":
            await may_answer.wait()
        await exchange.respond(status="429 Too Many Requests", headers=requests_reset("9m0s"))

    async with _world(tmp_path, policy=OnRemoteFailure.FAIL) as world:
        world.one.answer = refuses_late
        late = [asyncio.create_task(client.ask(world.gate.front, "/late")) for _ in range(5)]
        await eventually(lambda: len(world.one.requests) == 5)
        await client.ask(world.gate.front)
        may_answer.set()
        await asyncio.gather(*late)
        paused = await client.ask(world.gate.front)

    assert int(paused.header("retry-after") or 0) in range(1, 11)


async def test_a_response_to_a_request_from_before_a_pause_does_not_end_it(tmp_path: Path) -> None:
    """Pauses were numbered from 1 again once one was forgotten, so a late response ended a later pause."""
    may_answer = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        path = exchange.request.line[1]
        if path in {"/short", "/long"}:
            reset = requests_reset("1s" if path == "/short" else "9m0s")
            await exchange.respond(status="429 Too Many Requests", headers=reset)
            return
        if path == "/late":
            await may_answer.wait()
        await exchange.respond(b"one")

    late: list[asyncio.Task[Message]] = []

    def is_sent(world: World) -> bool:
        """Return whether a request got to the remote after the pause; if the last one did not, send another."""
        if len(world.one.requests) == 1 and (not late or late[-1].done()):
            late.append(asyncio.create_task(client.ask(world.gate.front, "/late")))
        return len(world.one.requests) > 1

    async with _world(tmp_path, policy=OnRemoteFailure.FAIL) as world:
        world.one.answer = answer
        await client.ask(world.gate.front, "/short")
        await eventually(lambda: is_sent(world))
        assert (await client.ask(world.gate.front)).body.content == b"one"
        await client.ask(world.gate.front, "/long")
        may_answer.set()
        answered, paused = await late[-1], await client.ask(world.gate.front)

    assert answered.body.content == b"one"
    assert paused.line[1] == "429"


@pytest.mark.parametrize("name", LOOKING_LIKE_A_QUOTA)
async def test_only_the_code_of_an_error_makes_a_quota(failing: World, name: str) -> None:
    text = json.dumps(LOOKING_LIKE_A_QUOTA[name]).encode()

    without, for_long = [await failing.told((*asks, *AS_JSON), text) for asks in ((), (("retry-after", "7200"),))]

    assert (without, for_long) == (None, "600")


@pytest.mark.parametrize("framing", ["chunked", "no length, no end"])
async def test_nobody_waits_for_an_error_without_end(tmp_path: Path, framing: str) -> None:
    """The client waited for up to 15 minutes, because the error was held back until its end."""
    head = b"HTTP/1.1 429 No\r\ncontent-type: application/json\r\n"
    length = b"transfer-encoding: chunked\r\n\r\n" if framing == "chunked" else b"\r\n"
    error = json.dumps({"error": {**GEMINI, "x": "x" * 1000}}).encode()
    piece = chunk(error[:-1]) if framing == "chunked" else error[:-1]

    async def never_ends(exchange: Exchange) -> None:
        await exchange.send_raw(head + length + piece)
        await exchange.gone()

    async with _world(tmp_path) as world:
        world.one.answer = never_ends
        first = await client.ask(world.gate.front)
        second = await client.ask(world.gate.front)
        page = await client.get(world.gate.params.stats, "/stats/prometheus?filter=offload")

    attempts = remote_stats.attempts(page.body.content.decode())["one"]
    assert attempts.counts == (("answered", 429, 1), ("paused", 429, 1))
    assert (first.body.content, second.body.content) == (b"local", b"local")
    assert len(world.one.requests) == 1


async def test_a_remote_is_left_alone_for_as_long_as_its_headers_ask(failing: World) -> None:
    told = {name: await failing.told(headers) for name, (headers, _) in BY_HEADERS.items()}

    assert told == {name: str(seconds) for name, (_, seconds) in BY_HEADERS.items()}


@pytest.mark.parametrize("name", BY_BODY)
async def test_a_remote_is_left_alone_for_as_long_as_its_error_says(failing: World, name: str) -> None:
    error, headers, seconds = BY_BODY[name]

    told = await failing.told((*headers, *AS_JSON), json.dumps(error, indent=1).encode())

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


async def _next_pause(world: World) -> int:
    """Ask until the remote is asked once more: for how long is it left alone then?"""
    before = len(world.one.requests)
    await eventually(lambda: _asked_since(world, before))
    return int((await client.ask(world.gate.front)).header("retry-after") or 0)


async def _asked_since(world: World, before: int) -> bool:
    await client.ask(world.gate.front)
    return len(world.one.requests) > before


async def _answers(world: World, name: str) -> bool:
    return (await client.ask(world.gate.front)).body.content == name.encode()


def _with_first(seconds: int | None, text: str) -> str:
    """Return the file with another length of the first pause."""
    usual = f"local FIRST, FIRST_ASKED = {retry_after.FIRST}, {retry_after.FIRST_ASKED}"
    return text if seconds is None else text.replace(usual, f"local FIRST, FIRST_ASKED = {seconds}, {seconds}")


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
    first: int | None = None,
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
        gate = await stack.enter_async_context(
            gateway(spec, folder, local=[local], share=share, edited=partial(_with_first, first))
        )
        yield World(one, local, gate, folder)
