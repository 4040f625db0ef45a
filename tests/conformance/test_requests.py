"""The same vectors the other way: through our client, against a server that answers just what was recorded.

What is asked has to be what the HorizontalPodAutoscaler's own clients asked, byte for byte, and what comes of it the same.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from beamlit_controller.core import verdict
from beamlit_controller.core.metric_spec import ObjectMetric, ObjectReference
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSamples, Reading, Signals
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.verdict import Assessed, Unread
from beamlit_controller.kubernetes import discovery, pods
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.scale import Workloads
from conformance import adapter, empties, judge
from conformance.adapter import Case, InexpressibleError, Json
from conformance.test_vectors import METRICS, RECORD
from fakes import http

SOURCE = ObjectReference("apps/v1", "Deployment", "llm")
METRICS_APIS = "metrics.k8s.io/"


@asynccontextmanager
async def answering(case: Case, metric: Any) -> AsyncIterator[tuple[http.Server, ApiServer]]:  # noqa: ANN401 - a MetricSpec
    """Serve what the vector recorded; beside it the scale, and what the API server says that it serves."""
    answers: dict[str, http.Respond] = {
        answer["request"].removeprefix("GET "): _recorded(answer) for answer in case.answers
    } | {path: http.json(content) for path, content in _surroundings(case, metric).items()}

    async def respond(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        await answers.get(request.target, http.json({"message": "not recorded"}, status=404))(request, writer)

    async with http.serve(respond) as server:
        config = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{server.address}", insecure=True), user=User()
        ).get()
        async with ApiServer(config) as client:
            yield server, client


def _recorded(answer: Json) -> http.Respond:
    if adapter.is_set(answer, "body"):
        return http.json(answer["body"], status=answer["code"])
    return http.page(answer.get("text") or "", status=answer["code"])


def _surroundings(case: Case, metric: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a MetricSpec
    resources: dict[str, list[Json]] = {"/apis/apps/v1": [{"name": "deployments", "kind": "Deployment"}], "/api/v1": []}
    groups = {"apps": "v1", "metrics.k8s.io": "v1beta1"}
    if isinstance(metric, ObjectMetric):
        group, _, version = metric.described_object.api_version.rpartition("/")
        plural = _plural(case) or "things"
        resources.setdefault(f"/apis/{group}/{version}" if group else "/api/v1", []).append(
            {"name": plural, "kind": metric.described_object.kind}
        )
        groups |= {group: version} if group else {}
    groups["custom.metrics.k8s.io"] = _version(case)
    scale = {
        "spec": {"replicas": case.scale.spec_replicas},
        "status": {"replicas": case.scale.status_replicas, "selector": case.selector},
    }
    listed = [
        {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}
        for name, version in groups.items()
    ]
    return {
        "/apis": {"groups": listed},
        **{root: {"resources": content} for root, content in resources.items()},
        f"/apis/apps/v1/namespaces/{case.namespace}/deployments/llm/scale": scale,
    }


def _version(case: Case) -> str:
    asked = [answer["request"] for answer in case.answers if "/apis/custom.metrics.k8s.io/" in answer["request"]]
    return asked[0].split("/")[3] if asked else "v1beta2"


def _plural(case: Case) -> str | None:
    asked = [answer["request"] for answer in case.answers if "/apis/custom.metrics.k8s.io/" in answer["request"]]
    return asked[0].split("/")[6].split(".")[0] if asked else None


def store(case: Case) -> Pods:
    """Return a store of all pods of the vector's cluster."""
    kept = Pods()
    for each in case.cluster:
        kept.changed((each["metadata"]["namespace"], each["metadata"]["name"]), pods.parse(dict(each)))
    return kept


async def read(case: Case, metric: Any) -> tuple[Reading, Assessed | Unread, Sequence[str]]:  # noqa: ANN401 - a MetricSpec
    """Read and assess a metric as the controller does, and tell what was asked of the metrics APIs."""
    spec = OffloadSpec(ModelKey(case.namespace, "llm"), "llm", metrics=(metric,), source=SOURCE)
    async with answering(case, metric) as (server, client):
        found = Discovery(client)
        workloads = Workloads(client, found, lambda _namespace, _name: None)
        population = await ClusterInventory(workloads, store(case)).snapshot_of(spec)
        reading = await MetricsApis(client, found, workloads).read(spec, metric, at=case.now)
        asked = [f"GET {each.target}" for each in server.requests if METRICS_APIS in each.target]
    signals = Signals(case.now, (reading,), population.pods, population.scale, population.local)
    (outcome,) = verdict.assess(spec, signals, case.grace).metrics
    return reading, outcome, asked


@pytest.mark.parametrize("write", [empties.as_recorded, empties.null])
@pytest.mark.parametrize(
    "vector", [vector for vector in METRICS if not judge.unjudged(vector)], ids=lambda vector: vector["id"]
)
async def test_a_metric_is_asked_for_and_computed_as_the_hpa_does(vector: Json, write: empties.Way) -> None:
    vector = write(vector)
    case, out = adapter.case(vector["in"], RECORD["defaults"]), judge.recorded(vector["out"])
    try:
        metric = adapter.metric(vector["in"]["metric"])
    except InexpressibleError:
        assert judge.failed(out)
        return

    reading, outcome, asked = await read(case, metric)

    if case.answers:
        assert asked == [answer["request"] for answer in case.answers]
    if not isinstance(reading, Missing) or not isinstance(outcome, Unread):
        judge.check_pods(metric, reading, case, out)
    judge.check_outcome(outcome, vector)


@pytest.mark.parametrize("vector", RECORD.get("discoveryVectors") or [None], ids=lambda each: each and each["note"])
def test_the_version_of_the_custom_metrics_api_is_chosen_as_the_hpa_does(vector: Json | None) -> None:
    if vector is None:
        assert not RECORD.get("discoveryVectors")
        return

    chosen = discovery.choose_version(vector.get("groups") or ())

    assert (chosen or "") == (vector.get("chosen") or "").rpartition("/")[2]


async def test_two_metrics_of_the_same_pods_share_one_list() -> None:
    vector = next(each for each in METRICS if each["in"]["metric"]["type"] == "Resource" and each["in"]["api"])
    case, metric = adapter.case(vector["in"], RECORD["defaults"]), adapter.metric(vector["in"]["metric"])
    spec = OffloadSpec(ModelKey(case.namespace, "llm"), "llm", metrics=(metric,), source=SOURCE)
    async with answering(case, metric) as (server, client):
        found = Discovery(client)
        source = MetricsApis(client, found, Workloads(client, found, lambda _namespace, _name: None))

        readings = [await source.read(spec, metric, at=case.now) for _ in range(3)]

        asked = [each.target for each in server.requests if METRICS_APIS in each.target]
    assert all(isinstance(reading, PodSamples) for reading in readings)
    assert len(asked) == 1


async def test_a_forbidden_request_names_the_right_that_is_missing() -> None:
    vector = next(each for each in METRICS if [answer["code"] for answer in each["in"]["api"]] == [403])
    case, metric = adapter.case(vector["in"], RECORD["defaults"]), adapter.metric(vector["in"]["metric"])

    reading, _, _ = await read(case, metric)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.FORBIDDEN
    for word in ('"list"', '"pods"', '"metrics.k8s.io"'):
        assert word in reading.message
