"""Model servers that have metrics, and every way in which one may not, over real sockets."""

import asyncio
import gc
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import builders
from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.core.metric_spec import AverageValue, PodsMetric, Quantile, Selector, SeriesSelector, SlotsPage
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading
from beamlit_controller.core.spec import Behavior, MetricService, Mode, ModelKey, OffloadSpec, Scheme
from beamlit_controller.scrape import fetch
from beamlit_controller.scrape.source import ScrapeSource
from fakes import hold_up, http
from waiting import eventually

AT = builders.NOW
SECOND = timedelta(seconds=1)
LATE = timedelta(seconds=5)  # for what never answers, beside what does
PATIENT = timedelta(seconds=60)  # for what does, however busy the machine is


def metric(name: str, **labels: str) -> PodsMetric:
    return PodsMetric(SeriesSelector(name, Selector(tuple(labels.items()))), AverageValue(1_000))


WAITING, RUNNING = metric("vllm:num_requests_waiting"), metric("vllm:num_requests_running")
SPEC = builders.spec(metrics=(WAITING, RUNNING), metric_service=MetricService("llama", 8000))


def page(waiting: float = 3, running: float = 8) -> http.Respond:
    lines = f'vllm:num_requests_waiting{{engine="0"}} {waiting}\nvllm:num_requests_running{{engine="0"}} {running}\n'
    return http.page(lines, content_type="text/plain; version=0.0.4")


GOOD = page()


def reader(*endpoints: str, **settings: Any) -> ScrapeSource:  # noqa: ANN401 - whatever a ScrapeSource takes
    return ScrapeSource(lambda _: {each: each for each in endpoints}, **{"timeout": PATIENT} | settings)


async def read(*endpoints: str, spec: OffloadSpec = SPEC, asked: PodsMetric = WAITING, **settings: Any) -> Reading:  # noqa: ANN401 - whatever a ScrapeSource takes
    async with reader(*endpoints, **settings) as source:
        return await source.read(spec, asked, at=AT)


@asynccontextmanager
async def servers(*answers: http.Respond) -> AsyncIterator[Sequence[http.Server]]:
    async with AsyncExitStack() as running:
        yield [await running.enter_async_context(http.serve(answer)) for answer in answers]


async def test_reads_the_metric_from_each_server() -> None:
    async with servers(page(3), page(4.5)) as (one, two):
        reading = await read(one.address, two.address)

    assert reading == PodSamples((PodSample(one.address, 3_000, AT), PodSample(two.address, 4_500, AT)))


async def test_asks_for_the_path_and_the_text_format() -> None:
    spec = replace(SPEC, metric_service=MetricService("llama", 8000, "/v1/metrics?model=a b"))
    async with servers(GOOD) as (server,):
        await read(server.address, spec=spec)

    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/v1/metrics?model=a%20b")
    assert request.headers["accept"].startswith("text/plain;version=0.0.4")
    assert "authorization" not in request.headers


async def test_applies_the_selector() -> None:
    lines = 'queue{model="a"} 1\nqueue{model="b"} 2\nqueue{model="b",engine="1"} 4\n'
    async with servers(http.page(lines)) as (server,):
        reading = await read(server.address, asked=metric("queue", model="b"))

    assert reading == PodSamples((PodSample(server.address, 6_000, AT),))


async def test_reads_openmetrics_if_a_server_speaks_only_that() -> None:
    lines = f"# TYPE queue gauge\nqueue 3 {int(AT.timestamp()) - 4}\n# EOF\n"
    async with servers(http.page(lines, content_type="application/openmetrics-text; version=1.0.0")) as (server,):
        reading = await read(server.address, asked=metric("queue"))

    assert reading == PodSamples((PodSample(server.address, 3_000, AT, timedelta(seconds=4)),))


async def test_reads_gzip_if_a_server_insists() -> None:
    async with servers(http.zipped(b"queue 3\n")) as (server,):
        reading = await read(server.address, asked=metric("queue"))

    assert reading == PodSamples((PodSample(server.address, 3_000, AT),))


# What it can't read.


async def test_other_metrics_are_not_for_it() -> None:
    without = replace(SPEC, metric_service=None)
    async with reader() as source:
        readings = [await source.read(SPEC, builders.QUEUE, at=AT), await source.read(without, WAITING, at=AT)]

    assert [reading.reason for reading in readings if isinstance(reading, Missing)] == [Reason.UNSUPPORTED_METRIC] * 2


async def test_a_tls_handshake_that_is_not_answered_ends_and_leaves_no_socket_open() -> None:
    secured = replace(SPEC, metric_service=MetricService("llama", 8000, scheme=Scheme.HTTPS))
    async with servers(GOOD) as (server,):
        gc.disable()  # it would close the socket sooner or later
        try:
            reading = await read(server.address, spec=secured, timeout=timedelta(seconds=1))
            await eventually(lambda: not server.open_connections)
        finally:
            gc.enable()

    assert isinstance(reading, PodSamples)
    ((_, failure),) = reading.failures
    assert failure.reason is Reason.TIMED_OUT


async def test_a_model_without_servers_has_no_pods() -> None:
    reading = await read()

    assert reading == Missing(Reason.NO_PODS, f"metricServiceRef: {SPEC.key} has no servers")


async def test_why_a_model_has_no_servers_is_the_reason_of_each_metric() -> None:
    gone = Missing(Reason.NO_PODS, "metricServiceRef: Service default/llama does not exist")

    async with ScrapeSource(lambda _: gone) as source:
        readings = [await source.read(SPEC, each, at=AT) for each in (WAITING, RUNNING)]

    assert readings == [gone, gone]


BAD: dict[str, tuple[http.Respond, Reason]] = {
    "empty": (http.page(), Reason.NO_SERIES),
    "other metrics": (http.page("up 1\n"), Reason.NO_SERIES),
    "NaN": (page(float("nan")), Reason.NOT_A_NUMBER),
    "infinite": (http.page("vllm:num_requests_waiting +Inf\n"), Reason.INFINITE),
    "stale": (http.page("vllm:num_requests_waiting 1 1000\n"), Reason.STALE),
    "malformed": (http.page("vllm:num_requests_waiting three\n"), Reason.MALFORMED_ANSWER),
    "HTML": (http.page("<html>Log in</html>", content_type="text/html"), Reason.MALFORMED_ANSWER),
    "404": (http.page(status=404), Reason.HTTP_ERROR),
    "503": (http.page("vllm:num_requests_waiting 1\n", status=503), Reason.HTTP_ERROR),
    "503 in another encoding": (http.page("busy", status=503, content_encoding="br"), Reason.HTTP_ERROR),
    "503 in broken gzip": (http.page("busy", status=503, content_encoding="gzip"), Reason.HTTP_ERROR),
    "redirect": (http.redirect("http://127.0.0.1:1/metrics"), Reason.REDIRECTED),
    "large": (http.huge(9 * 1024**2), Reason.ANSWER_TOO_LARGE),
    "endless": (http.endless(), Reason.ANSWER_TOO_LARGE),
    "gzip bomb": (http.bomb(128 * 1024**2), Reason.ANSWER_TOO_LARGE),
    "gzip bomb in one piece": (http.zipped(bytes(64 * 1024**2)), Reason.ANSWER_TOO_LARGE),
    "broken gzip": (http.page(b"certainly not gzip", content_encoding="gzip"), Reason.MALFORMED_ANSWER),
    "half of a gzip": (http.page(gzip.compress(bytes(1000))[:-9], content_encoding="gzip"), Reason.MALFORMED_ANSWER),
    "another encoding": (http.page("vllm:num_requests_waiting 1\n", content_encoding="br"), Reason.MALFORMED_ANSWER),
    "layers of gzip": (http.layers(b"vllm:num_requests_waiting 1\n"), Reason.MALFORMED_ANSWER),
    "slow": (http.drip(b" " * 1000, interval=0.05), Reason.TIMED_OUT),
    "silent": (http.silence, Reason.TIMED_OUT),
    "hung up": (http.hang_up, Reason.CONNECTION_FAILED),
    "reset": (http.reset, Reason.CONNECTION_FAILED),
    "no HTTP": (http.garbage, Reason.CONNECTION_FAILED),
    "truncated": (http.truncated(b"vllm:num_requests_waiting 1\n", promised=100), Reason.CONNECTION_FAILED),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_server_without_a_value_is_named_with_its_reason_and_the_others_are_read(kind: str) -> None:
    respond, reason = BAD[kind]
    timeout = LATE if reason is Reason.TIMED_OUT else PATIENT
    async with servers(GOOD, respond) as (good, bad), reader(good.address, bad.address, timeout=timeout) as source:
        first = await source.read(SPEC, WAITING, at=AT)
        bad.respond = GOOD
        second = await source.read(SPEC, WAITING, at=AT + SECOND)

    assert isinstance(first, PodSamples)
    assert first.samples == (PodSample(good.address, 3_000, AT),)
    assert [(pod, missing.reason) for pod, missing in first.failures] == [(bad.address, reason)]
    assert isinstance(second, PodSamples)
    assert [sample.milli for sample in second.samples] == [3_000, 3_000]


async def test_a_bug_that_one_server_meets_takes_only_its_own_value_away() -> None:
    """It ended the round, and the values of all servers with it."""

    class Faulty(HeldBytes):
        def add(self, owner: Hashable, size: int) -> bool:
            if size == len(b"queue 13\n"):
                raise KeyError("_internals")
            return super().add(owner, size)

    reported: list[str] = []
    async with servers(http.page(b"queue 5\n"), http.page(b"queue 13\n")) as (good, bad):
        endpoints = {good.address: "good", bad.address: "bad"}
        async with ScrapeSource(
            lambda _: endpoints, timeout=PATIENT, held=Faulty(), report=lambda _, what, error: reported.append(what)
        ) as source:
            readings = [await source.read(SPEC, metric("queue"), at=AT + number * SECOND) for number in range(3)]

    why = Missing(Reason.INTERNAL_ERROR, f"an unexpected error while reading {bad.address}: see the log")
    for reading in readings:
        assert isinstance(reading, PodSamples)
        assert [(each.pod, each.milli) for each in reading.samples] == [("good", 5_000)]
        assert reading.failures == (("bad", why),)
    assert reported == [bad.address]


async def test_no_redirect_is_followed() -> None:
    async with servers(GOOD) as (elsewhere,), servers(http.redirect(f"http://{elsewhere.address}/")) as (server,):
        await read(server.address)

    assert elsewhere.connections == 0


@pytest.mark.parametrize("endpoint", ["no-such-host.invalid:8000", "127.0.0.1:1", "[::1]:1", "not a host:1", "a:b", ""])
async def test_an_endpoint_that_is_nowhere_is_a_failed_connection(endpoint: str) -> None:
    async with servers(GOOD) as (good,):
        reading = await read(good.address, endpoint, timeout=LATE)

    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 1
    ((pod, missing),) = reading.failures
    assert pod == endpoint
    assert missing.reason in {Reason.CONNECTION_FAILED, Reason.TIMED_OUT}


async def test_servers_are_read_at_the_same_time_so_that_dead_ones_cost_one_deadline() -> None:
    everybody = asyncio.Barrier(20)

    async def answer_when_all_are_asked(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await everybody.wait()
        await GOOD(request, writer)

    async with servers(*[answer_when_all_are_asked] * 20) as asked:
        reading = await read(*(server.address for server in asked), timeout=PATIENT)

    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 20


async def test_dead_servers_do_not_spoil_what_others_answer() -> None:
    async with servers(GOOD, *[http.silence] * 20) as (good, *dead):
        reading = await read(good.address, *(server.address for server in dead), timeout=LATE)

    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 1
    assert [missing.reason for _, missing in reading.failures] == [Reason.TIMED_OUT] * 20


@pytest.mark.parametrize("kind", ["endless", "gzip bomb", "gzip bomb in one piece"])
async def test_memory_stays_small_whatever_comes(kind: str) -> None:
    respond, _ = BAD[kind]
    async with servers(GOOD) as (server,), reader(server.address) as source:
        await source.read(SPEC, WAITING, at=AT)
        server.respond = respond
        tracemalloc.start()
        try:
            await source.read(SPEC, WAITING, at=AT + SECOND)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 3 * fetch.LIMIT


async def test_what_one_model_sends_together_is_bounded_and_leaves_room_for_the_others() -> None:
    """60 servers that sent 8 MiB each, from 8 kB of gzip, and then nothing took 600 MiB."""
    held, over = HeldBytes(1_000), asyncio.Event()

    async def stall(request: http.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http.head(200, {"content-length": "401"}) + b"#" * 400)
        await over.wait()
        writer.write(b"\n")

    async def answer_after_it(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await eventually(lambda: held.total == 400 or over.is_set())
        await http.page(b"vllm:num_requests_waiting 3\n".ljust(150, b"\n"))(request, writer)

    other_spec = replace(SPEC, key=ModelKey("another", "model"))
    async with (
        servers(stall, answer_after_it) as (stalled, more),
        servers(answer_after_it) as (other,),
        reader(stalled.address, more.address, held=held) as source,
        reader(other.address, held=held) as other_source,
        asyncio.TaskGroup() as group,
    ):
        reading = group.create_task(source.read(SPEC, WAITING, at=AT))
        of_other = await other_source.read(other_spec, WAITING, at=AT)
        await eventually(lambda: len(more.requests) > 1)
        over.set()
        of_one = await reading

    assert isinstance(of_other, PodSamples)
    assert [sample.milli for sample in of_other.samples] == [3_000]
    assert isinstance(of_one, PodSamples)
    assert [(sample.pod, sample.milli) for sample in of_one.samples] == [(more.address, 3_000)]
    assert {pod: missing.reason for pod, missing in of_one.failures} == {stalled.address: Reason.NO_SERIES}
    assert held.total == 0


async def test_pages_that_have_no_room_together_are_read_one_after_the_other() -> None:
    """Each gave its bytes back only after all had been refused, so none of 100 pages was read."""
    large = http.page(b"vllm:num_requests_waiting 3\n".ljust(400, b"\n"))
    async with servers(*[large] * 12) as several:
        reading = await read(*(each.address for each in several), held=HeldBytes(1_000))

    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 12


async def test_without_room_until_the_timeout_only_that_page_is_missing() -> None:
    held = HeldBytes(1_000)
    with held.of("others") as others:
        assert others.take(500)
        async with servers(http.page(b"#" * 400), GOOD) as (large, small):
            reading = await read(large.address, small.address, held=held, timeout=SECOND)

    assert isinstance(reading, PodSamples)
    assert {pod: missing.reason for pod, missing in reading.failures} == {large.address: Reason.ANSWER_TOO_LARGE}


async def test_what_follows_a_compressed_page_is_not_read() -> None:
    """It was kept without being counted, until the timeout."""
    zipped = gzip.compress(b"vllm:num_requests_waiting 3\n")

    async def more(request: http.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http.head(200, {"transfer-encoding": "chunked", "content-encoding": "gzip"}))
        writer.write(b"%x\r\n%s\r\n" % (len(zipped), zipped))
        await http.endless()(request, writer)

    async with servers(more) as (server,):
        reading = await read(server.address)

    assert isinstance(reading, PodSamples)
    assert [sample.milli for sample in reading.samples] == [3_000]


async def test_the_pages_of_a_model_are_parsed_up_to_a_size_and_those_of_others_still_are() -> None:
    """A page that takes 0.1 s to parse, of each of many servers, would leave no time for the other models."""
    series = "".join(f'queue{{a="{number}",b="{"x" * 200}"}} 1\n' for number in range(1_000))
    other_spec = replace(SPEC, key=ModelKey("another", "model"))
    async with servers(*[http.page(series)] * 16) as asked, reader(*(server.address for server in asked)) as source:
        reading = await source.read(SPEC, metric("queue"), at=AT)
        of_other = await source.read(other_spec, metric("queue"), at=AT)
        next_round = await source.read(SPEC, metric("queue"), at=AT + SECOND)

    for each in (reading, of_other, next_round):
        assert isinstance(each, PodSamples)
        assert 9 <= len(each.samples) <= 11
        assert {missing.reason for _, missing in each.failures} == {Reason.ANSWER_TOO_LARGE}


# One request a round.


async def test_all_metrics_of_a_round_take_one_request_to_each_server() -> None:
    async with servers(page(3, 8), page(4, 9)) as (one, two), reader(one.address, two.address) as source:
        waiting, running = await asyncio.gather(source.read(SPEC, WAITING, at=AT), source.read(SPEC, RUNNING, at=AT))
        again = await source.read(SPEC, WAITING, at=AT)

    assert len(one.requests) == len(two.requests) == 1
    assert isinstance(waiting, PodSamples)
    assert isinstance(running, PodSamples)
    assert [sample.milli for sample in waiting.samples] == [3_000, 4_000]
    assert [sample.milli for sample in running.samples] == [8_000, 9_000]
    assert again == waiting


async def test_the_next_round_asks_again_over_the_same_connection() -> None:
    async with servers(page(3)) as (server,), reader(server.address) as source:
        await source.read(SPEC, WAITING, at=AT)
        server.respond = page(5)
        reading = await source.read(SPEC, WAITING, at=AT + SECOND)

    assert isinstance(reading, PodSamples)
    assert reading.samples[0].milli == 5_000
    assert [request.connection for request in server.requests] == [1, 1]


async def test_a_changed_spec_asks_again_in_the_same_round() -> None:
    other = metric("vllm:num_requests_running", engine="0")
    async with servers(GOOD) as (server,), reader(server.address) as source:
        await source.read(SPEC, WAITING, at=AT)
        changed = await source.read(replace(SPEC, metrics=(other,)), other, at=AT)

    assert isinstance(changed, PodSamples)
    assert changed.samples[0].milli == 8_000
    assert len(server.requests) == 2


async def test_models_do_not_share_their_pages() -> None:
    other = replace(SPEC, key=ModelKey("models", "other"), metric_service=MetricService("llama", 8000, "/other"))
    answers = http.by_path(metrics=page(1), other=page(2))
    async with servers(answers) as (server,), reader(server.address) as source:
        readings = await asyncio.gather(*(source.read(spec, WAITING, at=AT) for spec in (SPEC, other)))

    assert [reading.samples[0].milli for reading in readings if isinstance(reading, PodSamples)] == [1_000, 2_000]


async def test_a_reader_that_gave_up_does_not_take_the_others_with_it() -> None:
    async with servers(http.silence) as (server,), reader(server.address) as source:
        first = asyncio.create_task(source.read(SPEC, WAITING, at=AT))
        await eventually(lambda: server.requests)
        second = asyncio.create_task(source.read(SPEC, RUNNING, at=AT))
        server.respond = GOOD
        first.cancel()
        reading = await second

    assert first.cancelled()
    assert isinstance(reading, PodSamples)
    assert reading.samples[0].milli == 8_000


def first_tokens(fast: int, slow: int) -> http.Respond:
    lines = (
        f'ttft_bucket{{le="1"}} {fast}',
        f'ttft_bucket{{le="4"}} {fast + slow}',
        f'ttft_bucket{{le="+Inf"}} {fast + slow}',
    )
    return http.page("\n".join([*lines, ""]), content_type="text/plain; version=0.0.4")


async def test_a_quantile_is_of_what_a_server_observed_between_two_rounds() -> None:
    p50 = replace(metric("ttft"), quantile=Quantile(500, timedelta(seconds=60)))
    spec = replace(SPEC, metrics=(p50,))

    async with servers(first_tokens(900, 5)) as (server,), reader(server.address) as source:
        first = await source.read(spec, p50, at=AT)
        server.respond = first_tokens(900, 15)
        second = await source.read(spec, p50, at=AT + 5 * SECOND)

    assert isinstance(first, PodSamples)
    assert [failed.reason for _, failed in first.failures] == [Reason.NO_OBSERVATIONS]
    assert second == PodSamples((PodSample(server.address, 2500, AT + 5 * SECOND, 5 * SECOND),))


DEFERRED = replace(metric("llamacpp:requests_deferred"), slots=SlotsPage("/props", "total_slots"))
TELLING = replace(SPEC, metrics=(DEFERRED,), behavior=Behavior(mode=Mode.ADAPTIVE))


def telling(slots: http.Respond) -> http.Respond:
    """Return a server with a queue that tells its slots at another path."""
    queue = http.page("llamacpp:requests_deferred 1\n", content_type="text/plain; version=0.0.4")

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await (slots if request.path == "/props" else queue)(request, writer)

    return respond


async def test_servers_are_asked_for_their_slots_once_a_minute() -> None:
    loading = telling(http.page('{"error": "loading"}', status=503))
    four, eight = telling(http.page('{"total_slots": 4}')), telling(http.page('{"total_slots": 8}'))
    async with servers(loading, eight) as (one, two), reader(one.address, two.address) as source:
        first = await source.read(TELLING, DEFERRED, at=AT)
        one.respond = four
        others = [await source.read(TELLING, DEFERRED, at=AT + later * SECOND) for later in (1, 61, 62)]

    assert [each.slots for each in (first, *others) if isinstance(each, PodSamples)] == [8, 8, 4, 4]
    assert [sum(each.path == "/props" for each in server.requests) for server in (one, two)] == [2, 2]


async def test_a_server_that_was_restarted_with_other_slots_is_asked_again() -> None:
    four, eight = telling(http.page('{"total_slots": 4}')), telling(http.page('{"total_slots": 8}'))
    async with servers(four) as (server,), reader(server.address) as source:
        before = await source.read(TELLING, DEFERRED, at=AT)
        server.respond = eight
        soon, later = [await source.read(TELLING, DEFERRED, at=AT + after * SECOND) for after in (1, 60)]

    assert [each.slots for each in (before, soon, later) if isinstance(each, PodSamples)] == [4, 4, 8]


async def test_after_a_server_did_not_answer_it_is_asked_for_its_slots_at_once() -> None:
    four, eight = telling(http.page('{"total_slots": 4}')), telling(http.page('{"total_slots": 8}'))
    async with servers(four) as (server,), reader(server.address) as source:
        await source.read(TELLING, DEFERRED, at=AT)
        server.respond = http.page("loading", status=503)
        down = await source.read(TELLING, DEFERRED, at=AT + SECOND)
        server.respond = eight
        up = [await source.read(TELLING, DEFERRED, at=AT + later * SECOND) for later in (2, 3)]

    assert [each.slots for each in (down, *up) if isinstance(each, PodSamples)] == [None, None, 8]


async def test_slots_are_asked_for_while_the_page_is_read() -> None:
    """One after the other they took twice the timeout, which is more than a round has."""
    asked = asyncio.Event()

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/props":
            asked.set()
            await http.page("no", status=404)(request, writer)
        else:
            await asked.wait()
            await http.page("llamacpp:requests_deferred 1\n")(request, writer)

    async with servers(respond) as (server,):
        reading = await read(server.address, spec=TELLING, asked=DEFERRED)

    assert isinstance(reading, PodSamples)
    assert len(reading.samples) == 1


async def test_a_page_that_is_too_large_once_is_no_reason_to_forget_the_slots() -> None:
    four = telling(http.page('{"total_slots": 4}'))
    async with servers(four) as (server,), reader(server.address) as source:
        await source.read(TELLING, DEFERRED, at=AT)
        server.respond = http.page("x" * (fetch.LIMIT + 1))
        await source.read(TELLING, DEFERRED, at=AT + SECOND)
        server.respond = four
        after = await source.read(TELLING, DEFERRED, at=AT + 2 * SECOND)

    assert isinstance(after, PodSamples)
    assert after.slots == 4


@pytest.mark.parametrize(
    "answer",
    [
        '{"total_slots": 4}'.ljust(300_000),
        '{"total_slots": 0}',
        '{"total_slots": true}',
        '{"total_slots": 1e9}',
        '{"slots": 4}',
        "[4]",
        "[" * 9999,
        "no",
    ],
)
async def test_slots_that_are_no_positive_number_are_not_told_and_the_metric_is_read(answer: str) -> None:
    async with servers(telling(http.page(answer))) as (server,):
        reading = await read(server.address, spec=TELLING, asked=DEFERRED)

    assert reading == PodSamples((PodSample(server.address, 1_000, AT),))


async def test_only_for_a_cap_that_is_to_be_learned_the_slots_are_asked_for() -> None:
    async with servers(telling(http.page('{"total_slots": 4}'))) as (server,):
        await read(server.address, spec=replace(TELLING, behavior=Behavior()), asked=DEFERRED)

    assert {each.path for each in server.requests} == {"/metrics"}


async def test_servers_that_are_gone_are_let_go() -> None:
    async with servers(GOOD, GOOD) as (one, two):
        present = [one.address, two.address]
        async with ScrapeSource(lambda _: {each: each for each in present}, timeout=PATIENT) as source:
            await source.read(SPEC, WAITING, at=AT)
            present.remove(one.address)
            await source.read(SPEC, WAITING, at=AT + SECOND)
            await eventually(lambda: one.open_connections == 0)
            assert two.open_connections == 1
        await eventually(lambda: two.open_connections == 0)


async def test_models_that_are_gone_are_let_go() -> None:
    old, new = replace(SPEC, key=ModelKey("models", "old")), replace(SPEC, key=ModelKey("models", "new"))
    async with servers(GOOD) as (server,), reader(server.address) as source:
        await source.read(old, WAITING, at=AT)
        await source.read(new, WAITING, at=AT + timedelta(hours=1))

        await eventually(lambda: server.open_connections == 1)


async def test_a_page_that_came_while_the_loop_was_held_up_is_read() -> None:
    async with servers(hold_up.after(GOOD, 6)) as (server,):
        reading = await read(server.address, timeout=LATE)

    assert isinstance(reading, PodSamples)
    assert not reading.failures
