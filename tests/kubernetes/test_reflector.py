"""The reflector against scripted answers, in virtual time: every way in which a watch can break."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.kubernetes import list_chunks
from beamlit_controller.kubernetes.api_server import LONGEST, TOO_LARGE, ApiError, Json, Query
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.reflector import Reflector
from waiting import eventually

pytestmark = pytest.mark.looptime

THINGS = Collection("/api/v1/things", (("labelSelector", "app=x"),))


def thing(name: str, version: int, value: str = "") -> Json:
    return {"metadata": {"namespace": "n", "name": name, "resourceVersion": str(version)}, "value": value or name}


def listed(*things: Json, version: int, following: str = "") -> Json:
    about = {"resourceVersion": str(version), **({"continue": following} if following else {})}
    return {"metadata": about, "items": list(things)}


def event(kind: str, content: Json) -> str:
    return json.dumps({"type": kind, "object": content})


def bookmark(version: int) -> str:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def expired() -> str:
    return event("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version"})


Step = str | float | Exception
"""A line, a pause in seconds, or how the stream breaks."""


@dataclass
class Script:
    """Answers lists and watches in order; when there is nothing left, it is silent."""

    lists: list[Json | ApiError]
    watches: list[list[Step] | ApiError] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    watched: list[dict[str, str]] = field(default_factory=list)

    async def get(self, path: str, query: Query = (), *, most: int = LONGEST, metadata_only: bool = False) -> Json:
        assert path == THINGS.path
        self.asked.append(dict(query))
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, query: Query, *, silence: float, metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[str]]:
        self.watched.append(dict(query))
        steps = self.watches.pop(0) if self.watches else [float("inf")]
        if isinstance(steps, ApiError):
            raise steps
        yield self._lines(steps, silence)

    async def _lines(self, steps: Iterable[Step], silence: float) -> AsyncIterator[str]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, str):
                yield step
                continue
            await asyncio.sleep(min(step, silence))
            if step > silence:
                raise ApiError(0, "Timeout", "silent")


@asynccontextmanager
async def running(script: Script, collection: Collection = THINGS, **how: Any) -> AsyncIterator[Reflector[str]]:  # noqa: ANN401 - of the reflector
    reflector = Reflector(script, collection, **{"keep": lambda content: str(content["value"]), **how})
    task = asyncio.ensure_future(reflector.run())
    try:
        yield reflector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def values(reflector: Reflector[str]) -> set[str]:
    return set(reflector.items.values())


async def test_a_list_in_chunks_is_taken_whole() -> None:
    script = Script([listed(thing("a", 1), version=9, following="t"), listed(thing("b", 2), version=9)])
    async with running(script) as reflector:
        await reflector.wait_synced()

        assert values(reflector) == {"a", "b"}
        assert script.asked[1]["continue"] == "t"
        assert {"labelSelector": "app=x", "limit": "128"}.items() <= script.asked[1].items()


async def test_events_are_taken_in_and_the_next_stream_goes_on_from_the_last() -> None:
    events = [event("ADDED", thing("b", 6)), event("MODIFIED", thing("a", 7, "A")), bookmark(12)]
    script = Script([listed(thing("a", 1), version=5)], [events])
    async with running(script) as reflector:
        await asyncio.sleep(5)

        assert values(reflector) == {"A", "b"}
        assert [each["resourceVersion"] for each in script.watched] == ["5", "12"]
        assert len(script.asked) == 1


async def test_a_silent_watch_is_given_up_after_75_seconds_and_listed_anew() -> None:
    script = Script([listed(version=5), listed(thing("a", 6), version=6)])
    async with running(script) as reflector:
        await reflector.wait_synced()
        await asyncio.sleep(80)

        assert values(reflector) == {"a"}


async def test_bookmarks_keep_a_quiet_watch_alive() -> None:
    quiet: list[Step] = [60.0, bookmark(6), 60.0, bookmark(7), 60.0, bookmark(8)]
    script = Script([listed(version=5)], [quiet])
    async with running(script):
        await asyncio.sleep(170)

        assert (len(script.asked), len(script.watched)) == (1, 1)


@pytest.mark.parametrize("gone", [[expired()], ApiError(410, "Expired", "too old")], ids=["event", "status"])
async def test_what_has_expired_is_listed_anew_and_what_went_meanwhile_is_told(gone: Any) -> None:  # noqa: ANN401
    script = Script([listed(thing("a", 1), thing("b", 2), version=5), listed(thing("b", 2), version=9)], [gone])
    told: list[tuple[str, str | None]] = []
    reflector = Reflector(
        script,
        THINGS,
        keep=lambda content: str(content["value"]),
        changed=lambda namespaced_name, item: told.append((namespaced_name[1], item)),
    )
    task = asyncio.ensure_future(reflector.run())
    await asyncio.sleep(10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert told == [("a", "a"), ("b", "b"), ("a", None)]


async def test_an_expired_continue_token_begins_the_list_anew() -> None:
    script = Script(
        [
            listed(thing("a", 1), version=9, following="t"),
            ApiError(410, "Expired", "continue token"),
            listed(thing("a", 1), thing("b", 2), version=10),
        ]
    )
    async with running(script) as reflector:
        await asyncio.wait_for(reflector.wait_synced(), 10)

        assert values(reflector) == {"a", "b"}


async def test_while_lists_fail_the_old_items_stay_and_the_tries_get_rarer() -> None:
    script = Script([listed(thing("a", 1), version=5), ApiError(0, "ConnectionFailed", "refused")], [[expired()]])
    async with running(script) as reflector:
        await asyncio.sleep(300)

        assert values(reflector) == {"a"}
        assert 20 <= len(script.asked) <= 60


@pytest.mark.parametrize(
    "broken",
    [
        ApiError(403, "Forbidden", "may list, but not watch"),
        ApiError(410, "Expired", "too old resource version"),
        ApiError(429, "TooManyRequests", "later"),
        ApiError(500, "InternalError", "no"),
        [expired()],
        [event("ERROR", {"code": 500, "reason": "InternalError", "message": "no"})],
        ["no event"],
        [ApiError(0, "ConnectionFailed", "reset")],
        [bookmark(6), expired()],
        [bookmark(6), event("ERROR", {"code": 500, "reason": "InternalError", "message": "no"})],
        [bookmark(6), ApiError(0, "MalformedAnswer", "cut off")],
        [bookmark(6), RuntimeError("odd")],
    ],
    ids=str,
)
async def test_where_lists_work_and_watches_do_not_the_lists_get_rarer(broken: list[Step] | ApiError) -> None:
    """The whole collection was listed once a second."""
    script = Script([listed(thing("a", 1), version=5)], [broken] * 1000)
    async with running(script) as reflector:
        await asyncio.sleep(600)

        assert values(reflector) == {"a"}
        assert 50 <= len(script.asked) <= 80


@pytest.mark.parametrize("works", [[bookmark(6)], [30.0]], ids=str)
async def test_a_watch_that_worked_is_begun_again_soon(works: list[Step]) -> None:
    reset = ApiError(0, "ConnectionFailed", "reset")
    script = Script([listed(thing("a", 1), version=5)], [*[reset] * 10, [*works, reset], [20.0, reset]])
    async with running(script):
        await eventually(lambda: len(script.watched) == 11, within=200, every=0.1)
        before = asyncio.get_running_loop().time() + sum(each for each in works if isinstance(each, float))

        await eventually(lambda: len(script.watched) == 12, within=60, every=0.1)

        assert asyncio.get_running_loop().time() - before < 3


async def test_a_watch_whose_connection_breaks_after_each_event_goes_on_without_a_list() -> None:
    """The whole collection was listed after each."""
    torn = [
        [event("ADDED", thing(f"b{each}", each)), ApiError(0, "ConnectionFailed", "torn")] for each in range(6, 206)
    ]
    script = Script([listed(thing("a", 1), version=5)], [*torn])
    async with running(script) as reflector:
        await eventually(lambda: len(reflector.items) == 201, within=300, every=1)

        assert [int(each["resourceVersion"]) for each in script.watched] == [*range(5, 5 + len(script.watched))]
        assert len(script.asked) == 1


async def test_who_asks_for_patience_gets_it() -> None:
    busy = ApiError(429, "TooManyRequests", "later", retry_after=20)
    script = Script([busy, listed(version=5)])
    async with running(script) as reflector:
        began = asyncio.get_running_loop().time()

        await reflector.wait_synced()

        assert asyncio.get_running_loop().time() - began >= 20


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "{}",
        '{"type": "ADDED"}',
        '{"type": "ADDED", "object": {}}',
        '{"type": "ADDED", "object": []}',
        '{"type": 1, "object": {}}',
        '{"type": "ADDED", "object": ' + '{"a":' * 20_000,
        '{"type": "ADDED", "object": {"metadata": null}}',
        '{"type": "MODIFIED", "object": {"metadata": {"name": ["a"], "resourceVersion": 7}}}',
        '{"type": "DELETED", "object": {"metadata": {}}}',
    ],
    ids=range(10),
)
async def test_what_is_no_event_costs_nothing_but_itself(line: str) -> None:
    events = [line, event("ADDED", thing("b", 7)), float("inf")]
    script = Script([listed(thing("a", 1), version=5)], [events])
    async with running(script) as reflector:
        await asyncio.sleep(30)

        assert values(reflector) == {"a", "b"}
        assert (len(script.asked), len(script.watched)) == (1, 1)


async def test_a_watch_that_says_nothing_but_what_is_no_event_is_listed_anew() -> None:
    page = ["<html>", "sorry"]
    script = Script([listed(thing("a", 1), version=5), listed(thing("a", 1), thing("b", 2), version=6)], [page])
    async with running(script) as reflector:
        await asyncio.sleep(30)

        assert values(reflector) == {"a", "b"}


ODD = {"metadata": {"namespace": "n", "name": "odd", "resourceVersion": "6"}}


async def test_an_object_that_can_not_be_read_is_skipped_and_the_watch_goes_on() -> None:
    events = [event("ADDED", ODD), event("ADDED", thing("b", 7)), float("inf")]
    script = Script([listed(thing("a", 1), version=5)], [events])
    async with running(script) as reflector:
        await asyncio.sleep(30)

        assert values(reflector) == {"a", "b"}
        assert len(script.asked) == 1
        assert reflector.skips.counts == {("things", "Unreadable"): 1}


async def test_a_list_with_objects_that_can_not_be_read_is_complete_without_them() -> None:
    items = [ODD, thing("a", 1), {"metadata": None}, {}, "x", None, {"metadata": {"name": 7}}]
    script = Script([{"metadata": {"resourceVersion": "5"}, "items": items}])
    async with running(script) as reflector:
        await asyncio.wait_for(reflector.wait_synced(), 5)

        assert values(reflector) == {"a"}
        assert reflector.skips.counts == {("things", "Unreadable"): 1, ("things", "Unnamed"): 5}


def failing(content: Json) -> str:
    match content.get("value"):
        case "deep":
            raise RecursionError("too deep")
        case "large":
            raise OverflowError("too large")
        case str(value):
            return value
        case _:
            raise KeyError("value")


@pytest.mark.parametrize(("keep_last", "stays"), [(False, {"b"}), (True, {"a", "b"})])
@pytest.mark.parametrize("value", ["deep", "large"])
async def test_an_object_that_became_unreadable_is_dropped_unless_the_last_state_is_to_stay(
    value: str, *, keep_last: bool, stays: set[str]
) -> None:
    spoilt = thing("a", 6, value)
    script = Script(
        [listed(thing("a", 1), version=5), listed(spoilt, thing("b", 7), version=8)],
        [[event("MODIFIED", spoilt), event("ADDED", thing("b", 7)), float("inf")]],
    )
    async with running(script, Collection(THINGS.path, keep_last=keep_last), keep=failing) as reflector:
        await asyncio.sleep(30)
        before = values(reflector)
        await asyncio.sleep(100)

        assert len(script.asked) == 2
        assert before == values(reflector) == stays


async def test_who_fails_over_one_object_is_told_of_all_others() -> None:
    told: list[tuple[str, str | None]] = []

    def changed(namespaced_name: tuple[str, str], item: str | None) -> None:
        told.append((namespaced_name[1], item))
        if item == "bad":
            raise RecursionError("told too much")

    script = Script(
        [listed(thing("a", 1, "bad"), thing("b", 2), version=5)],
        [[event("MODIFIED", thing("b", 6, "bad")), event("ADDED", thing("c", 7)), float("inf")]],
    )
    async with running(script, changed=changed) as reflector:
        await asyncio.sleep(30)

        assert values(reflector) == {"c"}
        assert told == [("a", "bad"), ("a", None), ("b", "b"), ("b", "bad"), ("b", None), ("c", "c")]
        assert reflector.skips.counts == {("things", "Refused"): 2}


async def test_an_object_is_logged_once_per_version() -> None:
    again = {"metadata": {**ODD["metadata"], "resourceVersion": "9"}}
    script = Script(
        [listed(ODD, version=6), listed(ODD, version=7), listed(again, version=9)], [[expired()], [expired()]]
    )
    with structlog.testing.capture_logs() as logs:
        async with running(script) as reflector:
            await asyncio.sleep(30)

            assert reflector.skips.counts["things", "Unreadable"] == 3
    assert len([each for each in logs if each["event"] == "object skipped"]) == 2


async def test_what_breaks_in_an_unforeseen_way_is_begun_again() -> None:
    script = Script(
        [listed(thing("a", 1), version=5)], [[RuntimeError("odd")], [event("ADDED", thing("b", 6)), float("inf")]]
    )
    async with running(script) as reflector:
        await asyncio.sleep(30)

        assert values(reflector) == {"a", "b"}


async def test_an_item_that_became_nothing_while_nobody_watched_is_gone() -> None:
    script = Script([listed(thing("a", 1), version=5), listed(thing("a", 6, "gone"), version=6)], [[expired()]])
    keep = {"a": "a", "gone": None}.__getitem__
    async with running(script, keep=lambda content: keep(content["value"])) as reflector:
        await asyncio.sleep(30)

        assert not values(reflector)


async def test_a_watch_that_is_silent_is_no_warning() -> None:
    script = Script([listed(version=5)])
    with structlog.testing.capture_logs() as logs:
        async with running(script):
            await asyncio.sleep(200)

    assert {(each["event"], each["log_level"]) for each in logs} == {("watch restarted", "info")}


@dataclass
class Heavy:
    """A collection whose objects are large: no answer may have more bytes than was allowed."""

    weights: list[int]
    largest: int = 0

    async def get(self, path: str, query: Query = (), *, most: int = LONGEST, metadata_only: bool = False) -> Json:
        asked = dict(query)
        begin = int(asked.get("continue", "0"))
        end = min(begin + int(asked["limit"]), len(self.weights))
        size = sum(self.weights[begin:end])
        if size > most:
            raise ApiError(0, TOO_LARGE, "too large")
        self.largest = max(self.largest, size)
        things = [thing(f"t{number}", number) for number in range(begin, end)]
        return listed(*things, version=9, following=str(end) if end < len(self.weights) else "")

    @asynccontextmanager
    async def stream(
        self, path: str, query: Query, *, silence: float, metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[str]]:
        raise ApiError(0, "ConnectionFailed", "refused")
        yield


@pytest.mark.parametrize("weight", [100, 1024 * 1024, 9 * 1024 * 1024])
async def test_no_chunk_of_a_list_is_larger_than_its_bound(weight: int) -> None:
    """260 ConfigMaps of 1 MB took the controller past its memory limit, in chunks of 500."""
    server = Heavy([100] * 300 + [weight] * 260 + [100] * 300)
    reflector = Reflector(server, THINGS, keep=lambda content: str(content["value"]))
    task = asyncio.ensure_future(reflector.run())
    await asyncio.wait_for(reflector.wait_synced(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert len(reflector.items) == 860
    assert server.largest <= max(list_chunks.MOST_BYTES, weight)


async def test_everything_is_listed_anew_every_ten_minutes() -> None:
    steps: list[Step] = [60.0, bookmark(6)] * 20
    script = Script([listed(thing("a", 1), version=5)], [list(steps), list(steps)])
    async with running(script):
        await asyncio.sleep(760)

        assert len(script.asked) == 2


async def test_the_age_is_that_of_the_last_sign_of_life() -> None:
    script = Script([listed(version=5)], [[30.0, bookmark(6), 50.0]])
    async with running(script) as reflector:
        await asyncio.sleep(40)

        assert 5 <= reflector.age() <= 15


class World:
    """A collection that changes, whose server drops, doubles and forgets."""

    def __init__(self, script: list[tuple[str, int]]) -> None:
        self.things: dict[str, Json] = {}
        self.version = 1
        self.history: list[tuple[int, str]] = []
        self._script = script

    async def get(self, path: str, query: Query = (), *, most: int = LONGEST, metadata_only: bool = False) -> Json:
        return listed(*self.things.values(), version=self.version)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Query, *, silence: float, metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[str]]:
        yield self._lines(int(dict(query)["resourceVersion"]))

    def change(self, name: str) -> None:
        self.version += 1
        if name in self.things and self.version % 3 == 0:
            self.history.append(
                (self.version, event("DELETED", {**self.things.pop(name), **thing(name, self.version)}))
            )
            return
        kind = "MODIFIED" if name in self.things else "ADDED"
        self.things[name] = thing(name, self.version, f"{name}-{self.version}")
        self.history.append((self.version, event(kind, self.things[name])))

    async def _lines(self, since: int) -> AsyncIterator[str]:
        """Yield what came since, with whatever the script has in store."""
        trouble, number = self._script.pop(0) if self._script else ("", 0)
        if trouble == "expired":
            yield expired()
            return
        told = 0
        while True:
            for version, line in [each for each in self.history if each[0] > since]:
                since = version
                told += 1
                yield line
                if trouble == "doubled" and told <= number:
                    yield line
                if trouble == "torn" and told > number:
                    raise ApiError(0, "ConnectionFailed", "torn")
            await asyncio.sleep(0.5)
            if trouble == "ended":
                return


TROUBLES = st.lists(
    st.tuples(st.sampled_from(["", "expired", "doubled", "torn", "ended"]), st.integers(0, 3)), max_size=8
)


@given(TROUBLES, st.lists(st.sampled_from("abcd"), max_size=30))
def test_whatever_happens_on_the_way_in_the_end_it_is_what_the_server_has(
    troubles: list[tuple[str, int]], changes: list[str]
) -> None:
    async def scenario() -> None:
        world = World(list(troubles))
        reflector = Reflector(world, THINGS, keep=lambda content: str(content["value"]))
        task = asyncio.ensure_future(reflector.run())
        for name in changes:
            world.change(name)
            await asyncio.sleep(0.3)
        await asyncio.sleep(120)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert values(reflector) == {str(each["value"]) for each in world.things.values()}

    with asyncio.Runner(loop_factory=_virtual) as runner:
        runner.run(scenario())


def _virtual() -> asyncio.AbstractEventLoop:
    import looptime  # noqa: PLC0415 - only this test makes its own loop

    class Loop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
        pass

    loop = Loop()
    loop.setup_looptime(start=0, end=100_000)
    return loop
