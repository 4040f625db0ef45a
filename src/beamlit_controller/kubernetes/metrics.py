"""The `Source` for the Kubernetes metrics APIs: sends the same requests as the HPA's own clients.

One PodMetrics list serves all metrics that need the same pods within a round, and concurrent requests are limited.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    SeriesSelector,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes import failures, metrics_answers, pod_selector
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Query
from beamlit_controller.kubernetes.discovery import CUSTOM, Discovery
from beamlit_controller.kubernetes.failures import NOT_FOUND, UNAVAILABLE, RbacRule
from beamlit_controller.kubernetes.scale import FRESH_SECONDS, Workloads

Json = dict[str, Any]

RESOURCE = "metrics.k8s.io"
EXTERNAL = "external.metrics.k8s.io"
AT_ONCE = 32
REMEMBERED = 4096


class MetricsApis:
    """Reads from metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io."""

    def __init__(self, server: ApiServer, discovery: Discovery, workloads: Workloads) -> None:
        self._server = server
        self._discovery = discovery
        self._workloads = workloads
        # Each API has a limit of its own, so that one that hangs does not block the others.
        self._places = {group: asyncio.Semaphore(AT_ONCE) for group in (RESOURCE, CUSTOM, EXTERNAL)}
        self._lists: dict[tuple[str, str], _Shared] = {}

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        """Read any metric type of autoscaling/v2. `at` is the time of values to which the API gives none."""
        try:
            return await self._read(spec, metric, at)
        except ApiError as error:
            return failures.missing(error, doing="API discovery")

    async def _read(self, spec: OffloadSpec, metric: MetricSpec, at: datetime) -> Reading:
        match metric:
            case ResourceMetric():
                return await self._resource(spec, metric.name, None, at=at)
            case ContainerResourceMetric():
                return await self._resource(spec, metric.name, metric.container, at=at)
            case PodsMetric():
                return await self._pods(spec, metric.metric, at)
            case ObjectMetric():
                return await self._object(spec, metric, at)
            case ExternalMetric():
                return await self._external(spec, metric.metric, at)
            case GatewayMetric():
                return Missing(Reason.UNSUPPORTED_METRIC, "the metrics APIs have no Gateway metrics")

    # metrics.k8s.io

    async def _resource(self, spec: OffloadSpec, name: str, container: str | None, *, at: datetime) -> Reading:
        workload = await self._workloads.of(spec)
        if isinstance(workload, Missing):
            return workload
        answer = await self._pod_metrics(spec.key.namespace, workload.pods.text)
        return answer if isinstance(answer, Missing) else metrics_answers.resource(answer, name, container, at=at)

    async def _pod_metrics(self, namespace: str, selector: str) -> Json | Missing:
        """Get the PodMetrics list, or reuse one requested a moment ago."""
        key = (namespace, selector)
        if key not in self._lists and len(self._lists) >= REMEMBERED:
            self._lists = {each: shared for each, shared in self._lists.items() if shared.turn.locked()}
        shared = self._lists.setdefault(key, _Shared())
        path = f"/apis/{RESOURCE}/v1beta1/namespaces/{_segment(namespace)}/pods"
        right = RbacRule("list", RESOURCE, "pods")
        return await shared.get(lambda: self._ask(path, (("labelSelector", selector),), right))

    # custom.metrics.k8s.io

    async def _pods(self, spec: OffloadSpec, metric: SeriesSelector, at: datetime) -> Reading:
        workload = await self._workloads.of(spec)
        if isinstance(workload, Missing):
            return workload
        root = await self._custom(spec)
        if isinstance(root, Missing):
            return root
        path = f"{root}/pods/%2A/{_segment(metric.name)}"
        query = (("labelSelector", workload.pods.text), *_metric_selector(metric))
        answer = await self._ask(path, query, RbacRule("get", CUSTOM, f"pods/{metric.name}"))
        return answer if isinstance(answer, Missing) else metrics_answers.pods(answer, at=at)

    async def _object(self, spec: OffloadSpec, metric: ObjectMetric, at: datetime) -> Reading:
        root = await self._custom(spec)
        if isinstance(root, Missing):
            return root
        described = metric.described_object
        name = metric.metric.name
        if described.kind == "Namespace" and "/" not in described.api_version:
            path, resource = f"{root}/metrics/{_segment(name)}", "metrics"
        else:
            kind = await self._discovery.kind(described.api_version, described.kind)
            if isinstance(kind, Missing):
                return kind
            path = f"{root}/{_segment(kind.resource)}/{_segment(described.name)}/{_segment(name)}"
            resource = f"{kind.resource}/{name}"
        answer = await self._ask(path, _metric_selector(metric.metric), RbacRule("get", CUSTOM, resource))
        return answer if isinstance(answer, Missing) else metrics_answers.one_object(answer, at=at)

    async def _custom(self, spec: OffloadSpec) -> str | Missing:
        version = await self._discovery.custom_metrics_version()
        if isinstance(version, Missing):
            return version
        return f"/apis/{CUSTOM}/{version}/namespaces/{_segment(spec.key.namespace)}"

    # external.metrics.k8s.io

    async def _external(self, spec: OffloadSpec, metric: SeriesSelector, at: datetime) -> Reading:
        name = metric.name.lower()  # as client-go, which passes the name as a resource, does
        path = f"/apis/{EXTERNAL}/v1beta1/namespaces/{_segment(spec.key.namespace)}/{_segment(name)}"
        selector = pod_selector.write(metric.selector)
        query = (("labelSelector", selector),) if selector else ()
        answer = await self._ask(path, query, RbacRule("list", EXTERNAL, name))
        return answer if isinstance(answer, Missing) else metrics_answers.external(answer, at=at)

    # Requests.

    async def _ask(self, path: str, query: Query, right: RbacRule) -> Json | Missing:
        try:
            async with self._places[right.group]:
                return await self._server.get(path, query)
        except ApiError as error:
            return await self._failure(error, right)

    async def _failure(self, error: ApiError, right: RbacRule) -> Missing:
        """Distinguish an API that is not installed from a metric that it lacks."""
        if error.code == UNAVAILABLE:
            return failures.unavailable(right.group, error)
        if error.code == NOT_FOUND and not await self._discovery.serves(right.group):
            return failures.absent(right.group)
        if error.code == NOT_FOUND:
            return Missing(Reason.METRIC_NOT_FOUND, f"{right.group} has no {right.resource}: {error.message}")
        return failures.missing(error, doing=f"reading {right.resource} of {right.group}", right=right)


class _Shared:
    """One response, shared by all callers within a short time."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._at = float("-inf")
        self._answer: Json | Missing = {}

    async def get(self, ask: Callable[[], Awaitable[Json | Missing]]) -> Json | Missing:
        async with self.turn:
            if asyncio.get_running_loop().time() - self._at > FRESH_SECONDS:
                self._answer = await ask()
                self._at = asyncio.get_running_loop().time()
            return self._answer


def _metric_selector(metric: SeriesSelector) -> Query:
    selector = pod_selector.write(metric.selector)
    return (("metricLabelSelector", selector),) if selector else ()


def _segment(text: str) -> str:
    """Escape a path segment as Go's net/url does, including slashes."""
    return quote(text, safe="$&+,:;=@")
