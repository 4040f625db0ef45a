"""Asking the metrics APIs: what stands in the way is told so that a user can mend it, and never a number."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

import builders
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ExternalMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    PodsMetric,
    SeriesSelector,
    Value,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing, PodSamples, Reading, Sample, Scale
from beamlit_controller.core.spec import LocalService, OffloadSpec
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.scale import Workloads
from beamlit_controller.kubernetes.services import Service
from fakes import http
from waiting import eventually

Answers = Mapping[str, http.Respond]

AT = "2026-06-01T12:00:00Z"
LATE, PATIENT = 5, 60
"""Seconds for what never answers, and for what does, however busy the machine is."""
SOURCE = ObjectReference("apps/v1", "Deployment", "llama")
SPEC = builders.spec(source=SOURCE, metrics=(builders.CPU,))
RUNNING = PodsMetric(SeriesSelector("running"), AverageValue(1000))
OF_SERVICE = ObjectMetric(SeriesSelector("hits"), ObjectReference("v1", "Service", "llama"), Value(1000))
QUEUE = ExternalMetric(SeriesSelector("Queue Depth|x"), Value(1000))
SCALE = "/apis/apps/v1/namespaces/models/deployments/llama/scale"
POD_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/models/pods?labelSelector=app%3Dllama"


def groups(*names: str) -> http.Respond:
    listed = [
        {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}
        for name, _, version in (each.partition("/") for each in names)
    ]
    return http.json({"groups": listed})


ALL = groups("apps/v1", "metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1")
WORKLOAD: Answers = {
    "/apis": ALL,
    "/apis/apps/v1": http.json(
        {"resources": [{"name": "deployments", "kind": "Deployment"}, {"name": "deployments/scale", "kind": "Scale"}]}
    ),
    "/api/v1": http.json({"resources": [{"name": "services", "kind": "Service"}]}),
    SCALE: http.json({"spec": {"replicas": 2}, "status": {"replicas": 2, "selector": "app=llama"}}),
}
USAGE = http.json(
    {
        "items": [
            {
                "metadata": {"name": "one"},
                "timestamp": AT,
                "window": "15s",
                "containers": [{"name": "a", "usage": {"cpu": "1"}}],
            }
        ]
    }
)


def status(code: int, reason: str = "", message: str = "no") -> http.Respond:
    return http.json({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


@asynccontextmanager
async def discovery(answers: Answers, *, within: float = PATIENT) -> AsyncIterator[Discovery]:
    async with connected(answers, within=within) as (_, client):
        yield Discovery(client)


@asynccontextmanager
async def serving(
    answers: Answers, service: Service | None = None, *, within: float = PATIENT
) -> AsyncIterator[tuple[http.Server, MetricsApis, Workloads]]:
    async with connected(answers, within=within) as (server, client):
        found = Discovery(client)
        workloads = Workloads(client, found, lambda _namespace, _name: service)
        yield server, MetricsApis(client, found, workloads), workloads


@asynccontextmanager
async def connected(answers: Answers, *, within: float = PATIENT) -> AsyncIterator[tuple[http.Server, ApiServer]]:
    async def respond(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        await answers.get(request.target, status(404, "NotFound", "the server could not find the requested resource"))(
            request, writer
        )

    async with http.serve(respond) as server:
        config = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{server.address}", insecure=True), user=User()
        ).get()
        async with ApiServer(config, timeout=within) as client:
            yield server, client


async def read(
    answers: Answers, metric: MetricSpec = builders.CPU, *, spec: OffloadSpec = SPEC, within: float = PATIENT
) -> Reading:
    async with serving(answers, within=within) as (_, source, _):
        return await source.read(spec, metric, at=builders.NOW)


def missing(reading: Reading, reason: Reason, *words: str) -> None:
    assert isinstance(reading, Missing)
    assert reading.reason is reason
    for word in words:
        assert word in reading.message


async def test_names_are_written_as_the_hpas_clients_write_them() -> None:
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/models/queue%20depth%7Cx"
    item = {"metricName": "q", "timestamp": AT, "value": "3"}

    assert isinstance(await read({**WORKLOAD, path: http.json({"items": [item]})}, QUEUE), Sample)


@pytest.mark.parametrize(
    ("metric", "path", "words"),
    [
        (builders.CPU, POD_METRICS, ('"list"', '"pods"', '"metrics.k8s.io"')),
        (
            RUNNING,
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/models/pods/%2A/running?labelSelector=app%3Dllama",
            ('"get"', '"pods/running"', '"custom.metrics.k8s.io"'),
        ),
        (
            OF_SERVICE,
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/models/services/llama/hits",
            ('"get"', '"services/hits"', '"custom.metrics.k8s.io"'),
        ),
        (
            QUEUE,
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/models/queue%20depth%7Cx",
            ('"list"', '"queue depth|x"', '"external.metrics.k8s.io"'),
        ),
    ],
)
async def test_a_right_that_is_missing_is_named(metric: MetricSpec, path: str, words: tuple[str, ...]) -> None:
    missing(await read({**WORKLOAD, path: status(403, "Forbidden")}, metric), Reason.FORBIDDEN, *words)


async def test_an_api_that_is_not_there_is_told_with_what_to_install() -> None:
    without = {**WORKLOAD, "/apis": groups("apps/v1")}

    missing(await read(without), Reason.METRICS_API_ABSENT, "metrics.k8s.io", "metrics-server")
    missing(await read(without, RUNNING), Reason.METRICS_API_ABSENT, "custom.metrics.k8s.io", "adapter")
    missing(await read(without, QUEUE), Reason.METRICS_API_ABSENT, "external.metrics.k8s.io", "prometheus")


async def test_an_api_behind_which_nobody_answers_differs_from_one_that_is_not_there() -> None:
    down = {**WORKLOAD, POD_METRICS: status(503, "ServiceUnavailable", "the server is currently unable")}

    missing(await read(down), Reason.METRICS_API_UNAVAILABLE, "kubectl get apiservices")


async def test_a_metric_that_the_adapter_does_not_know_differs_from_both() -> None:
    missing(await read(WORKLOAD, QUEUE), Reason.METRIC_NOT_FOUND, "queue depth|x")


async def test_a_kind_that_is_not_served_is_told() -> None:
    described = ObjectReference("example.com/v1", "Pool", "a")

    missing(
        await read(WORKLOAD, ObjectMetric(SeriesSelector("hits"), described, Value(1))), Reason.KIND_UNKNOWN, "Pool"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http.silence, Reason.TIMED_OUT),
        (http.hang_up, Reason.CONNECTION_FAILED),
        (http.garbage, Reason.CONNECTION_FAILED),
        (http.page("<html>login</html>"), Reason.MALFORMED_ANSWER),
        (http.json([]), Reason.MALFORMED_ANSWER),
        (http.redirect("/elsewhere"), Reason.HTTP_ERROR),
        (status(500), Reason.HTTP_ERROR),
    ],
    ids=["silence", "hang up", "garbage", "a page", "a list", "a redirect", "an error"],
)
async def test_whatever_comes_instead_of_values_is_no_value(answer: http.Respond, reason: Reason) -> None:
    within = LATE if reason is Reason.TIMED_OUT else PATIENT

    missing(await read({**WORKLOAD, POD_METRICS: answer}, within=within), reason)


async def test_one_list_serves_all_who_ask_at_once_and_one_who_gives_up_breaks_no_other() -> None:
    held = asyncio.Event()

    async def slow(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        await held.wait()
        await USAGE(request, writer)

    async with serving({**WORKLOAD, POD_METRICS: slow}) as (server, source, _):
        first, *others = [asyncio.ensure_future(source.read(SPEC, builders.CPU, at=builders.NOW)) for _ in range(5)]
        await eventually(lambda: [each for each in server.requests if each.target == POD_METRICS])
        first.cancel()
        held.set()

        readings = await asyncio.gather(*others)

        asked = [each for each in server.requests if each.target == POD_METRICS]
    assert all(isinstance(reading, PodSamples) for reading in readings)
    assert len(asked) == 2  # the one that was given up, and one for all others


# The workload.


async def snapshot_of(answers: Answers, spec: OffloadSpec = SPEC, service: Service | None = None) -> Any:  # noqa: ANN401 - a Population
    async with serving(answers, service) as (_, _, workloads):
        return await ClusterInventory(workloads, Pods()).snapshot_of(spec)


async def test_the_scale_tells_replicas() -> None:
    population = await snapshot_of(WORKLOAD)

    assert (population.pods, population.scale, population.local) == ((), Scale(2, 2), LocalHealth(0, 0))


@pytest.mark.parametrize(
    ("answer", "reason", "word"),
    [
        (status(404, "NotFound"), Reason.NO_WORKLOAD, "there is no Deployment models/llama"),
        (status(403, "Forbidden"), Reason.FORBIDDEN, "RBAC"),
        (http.json({"status": {"selector": ""}}), Reason.INVALID_SELECTOR, "no selector"),
        (http.json({"status": {"selector": "a in b"}}), Reason.INVALID_SELECTOR, "can't be read"),
        (http.json({}), Reason.INVALID_SELECTOR, "no selector"),
    ],
    ids=["not there", "forbidden", "without a selector", "with a broken one", "empty"],
)
async def test_a_scale_that_can_not_be_used_is_told_with_its_field(
    answer: http.Respond, reason: Reason, word: str
) -> None:
    population = await snapshot_of({**WORKLOAD, SCALE: answer})

    missing(population.pods, reason, "spec.modelSourceRef", word)
    missing(population.scale, reason, "spec.modelSourceRef", word)


async def test_a_workload_of_a_kind_that_is_not_served_is_told() -> None:
    other = builders.spec(source=ObjectReference("example.com/v1", "Pool", "llama"))

    missing(
        (await snapshot_of(WORKLOAD, other)).pods, Reason.KIND_UNKNOWN, "spec.modelSourceRef", "Pool", "example.com/v1"
    )


async def test_without_a_workload_the_pods_are_those_of_the_service_and_replicas_are_not_known() -> None:
    service = Service("models", "llama", "u", (("app", "llama"),), ())

    population = await snapshot_of(WORKLOAD, builders.spec(service=LocalService("llama", 8000)), service)

    assert population.pods == ()
    missing(population.scale, Reason.NO_WORKLOAD, "spec.modelSourceRef")


async def test_without_either_it_is_told_what_to_write() -> None:
    missing((await snapshot_of(WORKLOAD, builders.spec())).pods, Reason.NO_WORKLOAD, "spec.modelSourceRef")


async def test_one_path_of_discovery_that_hangs_holds_up_no_other() -> None:
    async def hang(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        await asyncio.Event().wait()

    async with discovery({**WORKLOAD, "/apis": hang}, within=LATE) as found, asyncio.TaskGroup() as group:
        hanging = [group.create_task(_failure(found.serves("x"))) for _ in range(20)]
        kind = await found.kind("apps/v1", "Deployment", exactly=True)
        assert not any(each.done() for each in hanging)

    assert not isinstance(kind, Missing)
    assert [each.result() for each in hanging] == ["Timeout"] * 20


@pytest.mark.parametrize("failure", [status(500), status(403, "Forbidden")], ids=[500, 403])
async def test_all_who_wait_for_discovery_share_one_failure(failure: http.Respond) -> None:
    asked: list[str] = []

    async def fail(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        asked.append(request.target)
        await failure(request, writer)

    async with discovery({"/apis": fail}) as found:
        await asyncio.gather(*(_failure(found.serves("x")) for _ in range(20)))

    assert asked == ["/apis"]


async def _failure(asked: Any) -> str:  # noqa: ANN401 - an awaitable
    try:
        await asked
    except ApiError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    "odd",
    [
        {"status": [], "spec": 7},
        {"status": {"selector": "app=llama", "replicas": "many"}, "spec": {"replicas": None}},
        {"status": {"selector": "app=llama", "replicas": 10**400}, "spec": {"replicas": -1}},
        {"status": {"selector": "app in (" + ",".join(map(str, range(30_000))) + ")"}},
        {"status": {"selector": ["app=llama"]}},
    ],
    ids=range(5),
)
async def test_an_odd_scale_is_no_replicas_or_is_told(odd: object) -> None:
    found = await snapshot_of({**WORKLOAD, SCALE: http.json(odd)})

    assert isinstance(found.scale, Missing) or found.scale == Scale(0, 0)


@pytest.mark.parametrize(
    "odd",
    [
        {"groups": "many"},
        {"groups": [1, None, {"name": 5}, {"name": "custom.metrics.k8s.io", "versions": 3, "preferredVersion": []}]},
    ],
    ids=range(2),
)
async def test_odd_groups_are_none(odd: object) -> None:
    reading = await read({**WORKLOAD, "/apis": http.json(odd)}, RUNNING)

    missing(reading, Reason.METRICS_API_ABSENT)
