"""The web endpoints over real sockets."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from prometheus_client.registry import Collector

from beamlit_controller.controller.ports import Clock
from beamlit_controller.core import cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.telemetry import connections, web
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelsSink
from beamlit_controller.telemetry.web import WebEndpoints
from builders import NOW, missing, signals, spec
from waiting import eventually


@dataclass
class Health:
    """What the probes are told."""

    alive: Check = field(default=Check(ok=True, text="all is well"))
    ready: Check = field(default=Check(ok=True, text="all are there"))


class HeldCollector(Collector):
    """A part of the metrics that is not read to its end before it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.begun.set()
        self.let_go.wait(60)
        return ()


@dataclass
class Served:
    """A site that is served, what it is made of, and a client of it."""

    site: WebEndpoints
    registry: CollectorRegistry
    health: Health
    metrics: MetricsSink
    client: httpx2.AsyncClient
    address: tuple[str, int]
    task: asyncio.Task[None]

    def tell(self, name: str = "llama", value: int | None = 20) -> None:
        read = signals(missing()) if value is None else signals(value=value)
        record = cycle.run(spec(key=ModelKey("models", name)), read, previous=None, now=NOW)
        self.site.models.record(record)
        self.metrics.record(record)


@contextlib.asynccontextmanager
async def serving(
    clock: Clock, address: str = "127.0.0.1:0", request_timeout: float = connections.REQUEST_TIMEOUT
) -> AsyncIterator[Served]:
    health, registry = Health(), CollectorRegistry()
    site = WebEndpoints(lambda: health.alive, lambda: health.ready, Exposition(registry), ModelsSink(clock))
    listener = web.bind(address)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with (
        asyncio.TaskGroup() as group,
        httpx2.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=60) as client,
    ):
        task = group.create_task(web.run(site, listener, request_timeout=request_timeout))
        yield Served(site, registry, health, MetricsSink(registry), client, (host, port), task)
        task.cancel()


@pytest.fixture
async def served(clock: Clock) -> AsyncIterator[Served]:
    async with serving(clock) as served:
        yield served


async def test_health_is_told_with_words(served: Served) -> None:
    response = await served.client.get("/healthz")

    assert (response.status_code, response.text) == (200, "all is well\n")


async def test_bad_health_is_a_503_with_the_reason(served: Served) -> None:
    served.health.alive = Check(ok=False, text="the last round that ended well was 31 s ago")

    response = await served.client.get("/healthz")

    assert (response.status_code, response.json()) == (503, {"error": "the last round that ended well was 31 s ago"})


async def test_readiness_is_asked_for_each_time(served: Served) -> None:
    served.health.ready = Check(ok=False, text="the gateway is down of models/llama")
    before = await served.client.get("/readyz")
    served.health.ready = Check(ok=True, text="1 models, all decided for")

    after = await served.client.get("/readyz")

    assert (before.status_code, before.json()) == (503, {"error": "the gateway is down of models/llama"})
    assert (after.status_code, after.text) == (200, "1 models, all decided for\n")


async def test_metrics_are_text_or_open_metrics(served: Served) -> None:
    served.tell()

    plain = await served.client.get("/metrics")
    asked = await served.client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})

    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    for families in (text_format(plain.text), openmetrics(asked.text)):
        values = {family.name: [sample.value for sample in family.samples] for family in families}
        assert values["beamlit_offload_percentage"] == [100]


async def test_a_lost_metric_has_no_series_in_the_next_scrape(served: Served) -> None:
    served.tell()
    assert "beamlit_metric_value{" in (await served.client.get("/metrics")).text

    served.tell(value=None)

    assert "beamlit_metric_value{" not in (await served.client.get("/metrics")).text


async def test_models_are_json(served: Served) -> None:
    served.tell("a")
    served.tell("b", value=None)

    response = await served.client.get("/models")

    assert response.headers["content-type"] == "application/json"
    assert [(model["name"], model["decision"]["reason"]) for model in response.json()["models"]] == [
        ("a", "MetricAboveTarget"),
        ("b", "MetricsUnavailable"),
    ]


async def test_one_model_is_found_by_namespace_and_name(served: Served) -> None:
    served.tell("a")
    served.tell("b")

    response = await served.client.get("/models/models/b")

    assert (response.status_code, response.json()["name"]) == (200, "b")


async def test_an_unknown_model_is_a_404_that_names_the_known(served: Served) -> None:
    served.tell("a")
    served.tell("b")

    response = await served.client.get("/models/models/c")

    assert response.status_code == 404
    assert response.json() == {"error": "no model models/c; known are: models/a, models/b"}


async def test_the_index_names_the_pages(served: Served) -> None:
    response = await served.client.get("/")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    for page in ("/healthz", "/readyz", "/metrics", "/models"):
        assert page in response.text
        assert (await served.client.get(page)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/models"])
async def test_head_is_answered_and_anything_else_refused(served: Served, path: str) -> None:
    head = await served.client.head(path)
    posted = await served.client.post(path, json={})

    assert (head.status_code, head.content) == (200, b"")
    assert (posted.status_code, posted.json()) == (405, {"error": f"POST {path}: Method Not Allowed"})
    assert set(posted.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_an_unknown_page_is_a_404_in_json(served: Served) -> None:
    response = await served.client.get("/nothing")

    assert (response.status_code, response.json()) == (404, {"error": "GET /nothing: Not Found"})


async def test_an_error_of_ours_is_a_500_in_json_and_the_log_has_more(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.site.exposition.gauge("beamlit_broken", "Raises.", lambda: 1 / 0)

    with caplog.at_level(logging.ERROR):
        response = await served.client.get("/metrics")

    assert response.status_code == 500
    assert response.json() == {"error": "unexpected: ZeroDivisionError; see the log"}
    assert "division by zero" in caplog.text
    assert (await served.client.get("/healthz")).status_code == 200


async def test_garbage_on_the_socket_harms_nobody(served: Served) -> None:
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(b"\x16\x03\x01\x00\xa5 certainly not HTTP\r\n\r\n")

    assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 400")

    writer.close()
    await writer.wait_closed()
    assert (await served.client.get("/healthz")).status_code == 200


async def test_many_scrapes_at_once_are_all_answered(served: Served) -> None:
    for number in range(50):
        served.tell(f"m{number}")

    answers = await asyncio.gather(*(served.client.get(path) for path in ("/metrics", "/models") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {200}


HALF = b"GET /healthz HTTP/1.1\r\nx: "
SCRAPE = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", HALF, SCRAPE])
async def test_who_connects_often_and_waits_keeps_nobody_away(served: Served, sent: bytes) -> None:
    held = HeldCollector()
    served.registry.register(held)
    with contextlib.ExitStack() as stack:
        stack.callback(held.let_go.set)
        opened = []
        for _ in range(2 * connections.MOST):
            opened.append(stack.enter_context(socket.create_connection(served.address)))
            opened[-1].sendall(sent)
            await asyncio.sleep(0)

        response = await served.client.get("/healthz")

        assert response.status_code == 200
        await eventually(lambda: sum(map(_has_ended, opened)) >= connections.MOST)


def _has_ended(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("begun", [b"", HALF, SCRAPE + HALF])
async def test_a_request_that_does_not_arrive_in_time_ends_its_connection(clock: Clock, begun: bytes) -> None:
    async with serving(clock, request_timeout=0.2) as served:
        with socket.create_connection(served.address) as connection:
            connection.sendall(begun)

            def drips() -> bool:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(begun[-1:])
                return _has_ended(connection)

            await eventually(drips, within=20)


async def test_a_connection_stays_open_between_requests(clock: Clock) -> None:
    async with serving(clock, request_timeout=0.01) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        answers = []

        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            answers.append(await reader.readuntil(b"well\n"))
            await asyncio.sleep(0.05)

        assert [each[:15] for each in answers] == [b"HTTP/1.1 200 OK"] * 2
        writer.close()


async def test_it_leaves_signals_to_who_runs_it(served: Served) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    await served.client.get("/healthz")

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert "uvicorn" not in repr(before)


async def test_it_ends_when_cancelled_and_gives_the_port_back(clock: Clock) -> None:
    async with serving(clock) as served:
        await served.client.get("/healthz")  # an idle connection must not hold it up

        served.task.cancel()
        await eventually(served.task.done, within=60)

        with pytest.raises(httpx2.ConnectError):
            await served.client.get("/healthz")
        with web.bind(f"127.0.0.1:{served.address[1]}"):
            pass


async def test_an_answer_under_way_is_finished_when_it_ends(clock: Clock) -> None:
    async with serving(clock) as served:
        served.tell()
        held = HeldCollector()
        served.registry.register(held)
        answer = asyncio.create_task(served.client.get("/metrics"))
        await eventually(held.begun.is_set)

        served.task.cancel()
        await eventually(lambda: is_closed(served.address))
        held.let_go.set()

        assert "beamlit_metric_value{" in (await answer).text
        assert (await answer).text.endswith("\n")


async def is_closed(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


async def test_it_closes_the_socket_when_cancelled_before_it_began(clock: Clock) -> None:
    site = WebEndpoints(Check, Check, Exposition(CollectorRegistry()), ModelsSink(clock))
    listener = web.bind("127.0.0.1:0")
    task = asyncio.create_task(web.run(site, listener))
    await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait([task])

    assert listener.fileno() == -1


@pytest.mark.parametrize("address", ["[::1]:0", "127.0.0.1:0", "localhost:0"])
async def test_it_listens_where_it_is_told(clock: Clock, address: str) -> None:
    async with serving(clock, address) as served:
        assert (await served.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("address", [":0", "[::]:0"])
async def test_without_a_host_it_listens_on_ipv4_and_ipv6(clock: Clock, address: str) -> None:
    async with serving(clock, address) as served:
        for host in ("127.0.0.1", "[::1]"):
            assert (await served.client.get(f"http://{host}:{served.address[1]}/healthz")).status_code == 200


async def test_an_ipv4_wildcard_is_ipv4_only() -> None:
    with web.bind("0.0.0.0:0") as listener:
        assert listener.family is socket.AF_INET


def test_a_taken_port_is_told_before_anything_begins() -> None:
    with web.bind("127.0.0.1:0") as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        with pytest.raises(OSError, match=f"cannot listen on {address}: Address already in use") as raised:
            web.bind(address)

        assert raised.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no-such-host.invalid:80"])
def test_an_address_that_is_not_ours_is_told(address: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {address}: "):
        web.bind(address)


@pytest.mark.parametrize("address", ["", "8080", "host:", "host:http", "::1:8080", "host:65536", "host:-1", "host:٣"])
def test_an_address_that_is_none_is_told_with_what_was_expected(address: str) -> None:
    with pytest.raises(OSError, match="expected host:port, \\[IPv6\\]:port or :port"):
        web.bind(address)
