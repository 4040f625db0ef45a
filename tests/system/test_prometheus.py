"""A real Prometheus that scrapes a small exporter of ours: what we ask means there what it should mean."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

import builders
from beamlit_controller.core.metric_spec import ExternalMetric, Operator, Requirement, Selector, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading, Sample
from beamlit_controller.prometheus.connection import Connection
from beamlit_controller.prometheus.source import PrometheusSource
from fakes import http
from fakes.prometheus import Prometheus, prometheus
from waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

SPEC = builders.spec()
SECOND = timedelta(seconds=1)
PATIENT = timedelta(seconds=60)
NASTY = [
    "",
    "plain",
    '"',
    '"} or vector(1) #',
    "'",
    "`",
    "\\",
    "\\\\",
    "\\n",
    "\n",
    "a\nb",
    "\r",
    "\t",
    "\x00",
    "\x7f",
    ".",
    ".*",
    "a|b",
    "^a$",
    "(",
    ")",
    "[a-z]",
    "{2}",
    "a+?",
    "$1",
    "\\d",
    "(?i)plain",
    "é",
    "日本",
    "\u2028",
    "😀",
    " blank ",
    "%s",
    "#",
]


def values(count: int = 150) -> list[str]:
    """Return values that each try to mean something else, and as many random ones."""
    generator = random.Random(5)
    alphabet = '\\".*+?()|[]{}^$\n\r\t\x00 abé日😀'
    drawn = {"".join(generator.choices(alphabet, k=generator.randint(1, 6))) for _ in range(count)}
    return NASTY + sorted(drawn - set(NASTY))


VALUES = values()


def metrics() -> str:
    """Return a page: `nasty` has one series for each value, its number, and other metrics for other questions."""
    lines = [f'nasty{{v="{escaped(value)}"}} {number}' for number, value in enumerate(VALUES, 1)]
    lines += [
        'queue:waiting{model_name="llama",engine="0"} 3',
        'queue:waiting{model_name="llama",engine="1"} 4.5',
        'queue:waiting{model_name="mixtral"} 100',
        "not_a_number NaN",
        "endless +Inf",
        "on 5",
        f"old 1 {int(datetime.now(UTC).timestamp() * 1000) - 60_000}",
    ]
    return "\n".join(lines) + "\n"


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Prometheus]:
    page = http.page(metrics(), content_type="text/plain; version=0.0.4")
    async with http.serve(page) as exporter, prometheus(scrape=[exporter.address]) as server:
        await server.scraped("nasty")
        yield server


async def ask(
    server: Prometheus,
    name: str,
    selector: Selector = builders.QUEUE.metric.selector,
    **connection: Any,  # noqa: ANN401 - whatever the fields of Connection take
) -> Reading:
    async with PrometheusSource(Connection(f"http://{server.address}", **{"timeout": PATIENT} | connection)) as source:
        return await read(source, name, selector)


async def read(source: PrometheusSource, name: str, selector: Selector) -> Reading:
    metric = ExternalMetric(SeriesSelector(name, selector), Value(1_000))
    return await source.read(SPEC, metric, at=datetime.now(UTC))


def milli(reading: Reading) -> int:
    assert isinstance(reading, Sample), reading
    return reading.milli


def reason(reading: Reading) -> Reason:
    assert isinstance(reading, Missing), reading
    return reading.reason


async def test_sums_the_series_of_a_name_and_its_labels(server: Prometheus) -> None:
    llama = Selector((("model_name", "llama"),))

    assert milli(await ask(server, "queue:waiting")) == 107_500
    assert milli(await ask(server, "queue:waiting", llama)) == 7_500
    assert milli(await ask(server, "on")) == 5_000


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Requirement("model_name", Operator.IN, ("llama", "other")), 7_500),
        (Requirement("model_name", Operator.NOT_IN, ("llama", "other")), 100_000),
        (Requirement("engine", Operator.NOT_IN, ("0",)), 104_500),
        (Requirement("engine", Operator.EXISTS), 7_500),
        (Requirement("engine", Operator.DOES_NOT_EXIST), 100_000),
    ],
    ids=["in", "not in", "not in or absent", "exists", "does not exist"],
)
async def test_expressions_mean_what_they_mean_in_kubernetes(
    server: Prometheus, requirement: Requirement, expected: int
) -> None:
    assert milli(await ask(server, "queue:waiting", Selector((), (requirement,)))) == expected


async def test_every_value_means_exactly_itself(server: Prometheus) -> None:
    everything = sum(range(1, len(VALUES) + 1))
    async with PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source:
        for number, value in enumerate(VALUES, 1):
            equal = Selector((("v", value),))
            among = Selector((), (Requirement("v", Operator.IN, (value, "not there")),))
            without = Selector((), (Requirement("v", Operator.NOT_IN, (value, "not there")),))

            assert milli(await read(source, "nasty", equal)) == number * 1000, value
            assert milli(await read(source, "nasty", among)) == number * 1000, value
            assert milli(await read(source, "nasty", without)) == (everything - number) * 1000, value


async def test_long_lists_of_values_are_asked_too(server: Prometheus) -> None:
    selector = Selector((), (Requirement("v", Operator.IN, tuple(VALUES) * 10),))

    assert milli(await ask(server, "nasty", selector)) == sum(range(1, len(VALUES) + 1)) * 1000


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ('sum(queue:waiting{model_name="llama"}) / 2', 3_750),
        ("queue:waiting > 4", 104_500),
        ("scalar(sum(queue:waiting))", 107_500),
        ("vector(1) / 3", 334),
        ("1e3", 1_000_000),
    ],
)
async def test_a_query_is_sent_as_it_is(server: Prometheus, promql: str, expected: int) -> None:
    assert milli(await ask(server, promql)) == expected


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("nowhere", Reason.NO_SERIES),
        ("sum(nowhere)", Reason.NO_SERIES),
        ("not_a_number", Reason.NOT_A_NUMBER),
        ("vector(0) / 0", Reason.NOT_A_NUMBER),
        ("scalar(nowhere)", Reason.NOT_A_NUMBER),
        ("endless", Reason.INFINITE),
        ("vector(-1) / 0", Reason.INFINITE),
        ("nasty[10s]", Reason.UNEXPECTED_RESULT_TYPE),
        ('"text"', Reason.UNEXPECTED_RESULT_TYPE),
        ("sum(", Reason.QUERY_FAILED),
        ("nasty * on(v) group_left nasty{v=~'.+'} * on() nasty", Reason.QUERY_FAILED),
    ],
)
async def test_a_query_without_a_number_has_its_reason(server: Prometheus, promql: str, expected: Reason) -> None:
    assert reason(await ask(server, promql)) is expected


async def test_a_mistake_in_a_query_is_shown_as_prometheus_says_it(server: Prometheus) -> None:
    found = await ask(server, "sum(")

    assert isinstance(found, Missing)
    assert "parse error" in found.message
    assert server.address in found.message


async def test_a_sample_older_than_stale_after_is_no_value(server: Prometheus) -> None:
    assert milli(await ask(server, "old", stale_after=timedelta(minutes=10))) == 1_000
    assert reason(await ask(server, "old", stale_after=5 * SECOND)) is Reason.NO_SERIES
    assert milli(await ask(server, "old{}")) == 1_000  # a query, whose age nobody knows


async def test_a_series_is_as_old_as_its_sample(server: Prometheus) -> None:
    old, new = await ask(server, "old", stale_after=timedelta(hours=1)), await ask(server, "queue:waiting")
    exposed = datetime.fromtimestamp(milli(await ask(server, "timestamp(old)")) / 1000, UTC)
    scraped = datetime.fromtimestamp(milli(await ask(server, "min(timestamp(queue:waiting))")) / 1000, UTC)
    by_query = await ask(server, "sum(queue:waiting)")

    assert isinstance(old, Sample)
    assert isinstance(new, Sample)
    assert isinstance(by_query, Sample)
    assert abs(old.at - exposed) < SECOND / 100
    assert (old.undated, old.window) == (False, timedelta(0))
    assert datetime.now(UTC) - old.at >= 60 * SECOND
    assert (new.undated, new.series, new.window) == (False, 3, timedelta(0))
    assert scraped - PATIENT <= new.at <= scraped + SECOND / 100
    assert by_query.undated


async def test_an_address_that_is_no_prometheus_says_so(server: Prometheus) -> None:
    async with PrometheusSource(Connection(f"http://{server.address}/prefix", timeout=PATIENT)) as source:
        elsewhere = await read(source, "nasty", Selector())

    assert isinstance(elsewhere, Missing)
    assert elsewhere.reason is Reason.HTTP_ERROR
    assert "404" in elsewhere.message


async def test_the_value_ends_stale_after_the_exporter_did() -> None:
    async with http.serve(http.page("queue 3\n")) as exporter, prometheus(scrape=[exporter.address]) as server:
        await server.scraped("queue")
        exporter.respond = http.hang_up
        await server.scraped("up == 0")

        kept = await ask(server, "queue")
        await eventually(lambda: gone(server, "queue", stale_after=3 * SECOND))

    assert milli(kept) == 3_000


async def gone(server: Prometheus, name: str, **connection: Any) -> bool:  # noqa: ANN401 - whatever the fields of Connection take
    reading = await ask(server, name, **connection)
    return isinstance(reading, Missing) and reading.reason is Reason.NO_SERIES


async def test_a_result_that_may_not_be_whole_is_no_value() -> None:
    unreachable = 'remote_read: [{url: "http://127.0.0.1:1/read", read_recent: true}]\n'
    async with (
        http.serve(http.page("queue 3\n")) as exporter,
        prometheus(scrape=[exporter.address], config=unreachable) as server,
    ):
        await server.scraped("queue")

        warned = await ask(server, "queue")

    assert isinstance(warned, Missing)
    assert warned.reason is Reason.QUERY_WARNINGS
    assert "remote_read" in warned.message


async def test_goes_on_where_it_was_when_prometheus_comes_back() -> None:
    async with http.serve(http.page("queue 3\n")) as exporter, prometheus(scrape=[exporter.address]) as server:
        await server.scraped("queue")
        async with PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source:
            before = await read(source, "queue", Selector())
            await server.stop(kill=True)
            during = await read(source, "queue", Selector())
            await server.start()
            after = await read(source, "queue", Selector())

    assert milli(before) == 3_000
    assert reason(during) is Reason.CONNECTION_FAILED
    assert milli(after) == 3_000
