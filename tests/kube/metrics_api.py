"""The metrics APIs of Kubernetes, answered from values that tests set, behind real APIServices.

One HTTPS server answers metrics.k8s.io, custom.metrics.k8s.io (both versions) and external.metrics.k8s.io, as
metrics-server and an adapter do. It runs in a thread, so that it answers whatever a test is doing.
"""

import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakes.ports import free_port
from kube.client import Client
from kube.control_plane import ControlPlane
from waiting import patiently

Json = dict[str, Any]

SERVICE, NAMESPACE = "metrics-apis", "kube-system"
RESOURCE, CUSTOM, OLD_CUSTOM, EXTERNAL = (
    "v1beta1.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
)
PRIORITY: Mapping[str, int] = {RESOURCE: 100, CUSTOM: 200, OLD_CUSTOM: 100, EXTERNAL: 100}
DEADLINE_SECONDS = 60


@dataclass
class Values:
    """What one namespace's metrics are now; quantities as they stand in the answers.

    Custom and external metrics are asked with a selector of their own or without: `queue` and `queue{shard=a}` are two.
    """

    labels: dict[str, dict[str, str]] = field(default_factory=dict)  # of each pod: what selectors look at
    usage: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # pod, container, resource
    pods: dict[str, dict[str, str]] = field(default_factory=dict)  # metric, pod
    objects: dict[tuple[str, str], str] = field(default_factory=dict)  # such as ("services/llm", "requests")
    external: dict[str, list[str]] = field(default_factory=dict)  # one or more series
    age: timedelta = timedelta(seconds=5)
    window: timedelta = timedelta(seconds=15)

    @property
    def at(self) -> str:
        """Return the time that samples carry."""
        return (datetime.now(UTC) - self.age).strftime("%Y-%m-%dT%H:%M:%SZ")

    def selected(self, selector: str) -> set[str]:
        """Return the pods that a selector of equalities matches."""
        wanted = dict(each.split("=", 1) for each in selector.split(",")) if selector else {}
        return {pod for pod, labels in self.labels.items() if wanted.items() <= labels.items()}


@dataclass(frozen=True)
class Asked:
    """A request that came through the API server: who asked for what."""

    user: str
    target: str


class MetricsApis:
    """The server; `values` gives a namespace's, and `asked` is what was asked about it."""

    def __init__(self, client: Client) -> None:
        self.asked: list[Asked] = []
        self._client = client
        self._values: dict[str, Values] = {}

    def values(self, namespace: str) -> Values:
        """Return the values of a namespace, to be changed at will."""
        return self._values.setdefault(namespace, Values())

    def requests(self, user: str, namespace: str) -> set[str]:
        """Return what someone asked about a namespace."""
        return {each.target for each in self.asked if each.user == user and f"/namespaces/{namespace}/" in each.target}

    @contextmanager
    def without(self, service: str) -> Iterator[None]:
        """Take one of the APIs away for a while, as in a cluster that has it not."""
        kept = self._client.get("apiservice", service)
        self._client.kubectl("delete", "apiservice", service)
        try:
            yield
        finally:
            self._client.apply({key: kept[key] for key in ("apiVersion", "kind", "spec")} | _named(service))
            self.wait_for(service)

    def wait_for(self, service: str) -> None:
        """Wait until the API server passes requests on."""
        condition = "--for=condition=Available"
        self._client.kubectl("wait", condition, f"apiservice/{service}", f"--timeout={DEADLINE_SECONDS}s", within=90)

    def app(self) -> Starlette:
        """Return the web application."""
        custom = "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}"
        return Starlette(
            routes=[
                Route("/apis/{group}/{version}", self._resources),
                Route("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", self._usage),
                Route(f"{custom}/metrics/{{metric}}", self._of_namespace),
                Route(f"{custom}/{{resource}}/{{name}}/{{metric}}", self._custom),
                Route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", self._external),
            ]
        )

    async def _resources(self, request: Request) -> Response:
        version = f"{request.path_params['group']}/{request.path_params['version']}"
        resources = [
            {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
        ]
        listed = resources if version == "metrics.k8s.io/v1beta1" else []
        return JSONResponse(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}
        )

    async def _usage(self, request: Request) -> Response:
        values = self._noted(request)
        selected = values.selected(request.query_params.get("labelSelector", ""))
        items = [
            {
                "metadata": {"name": pod, "namespace": request.path_params["namespace"], "labels": values.labels[pod]},
                "timestamp": values.at,
                "window": f"{values.window.total_seconds():g}s",
                "containers": [{"name": name, "usage": usage} for name, usage in containers.items()],
            }
            for pod, containers in values.usage.items()
            if pod in selected
        ]
        return JSONResponse({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": items})

    async def _custom(self, request: Request) -> Response:
        values = self._noted(request)
        asked = request.path_params
        metric = _identifier(asked["metric"], request.query_params.get("metricLabelSelector"))
        if (asked["resource"], asked["name"]) == ("pods", "*"):
            selected = values.selected(request.query_params.get("labelSelector", ""))
            found = {pod: value for pod, value in values.pods.get(metric, {}).items() if pod in selected}
            return _metric_values(request, values, "Pod", found)
        value = values.objects.get((f"{asked['resource']}/{asked['name']}", metric))
        return _metric_values(request, values, "Object", {asked["name"]: value} if value is not None else {})

    async def _of_namespace(self, request: Request) -> Response:
        values = self._noted(request)
        namespace = request.path_params["namespace"]
        metric = _identifier(request.path_params["metric"], request.query_params.get("metricLabelSelector"))
        value = values.objects.get(("namespace", metric))
        return _metric_values(request, values, "Namespace", {namespace: value} if value is not None else {})

    async def _external(self, request: Request) -> Response:
        values = self._noted(request)
        metric = _identifier(request.path_params["metric"], request.query_params.get("labelSelector"))
        items = [
            {"metricName": request.path_params["metric"], "metricLabels": {}, "timestamp": values.at, "value": value}
            for value in values.external.get(metric, ())
        ]
        version = "external.metrics.k8s.io/v1beta1"
        return JSONResponse({"kind": "ExternalMetricValueList", "apiVersion": version, "items": items})

    def _noted(self, request: Request) -> Values:
        query = request.url.query
        target = request.scope["raw_path"].decode() + (f"?{query}" if query else "")
        self.asked.append(Asked(request.headers.get("x-remote-user", ""), target))
        return self.values(request.path_params["namespace"])


@contextmanager
def serving(plane: ControlPlane) -> Iterator[MetricsApis]:
    """Serve the metrics APIs of a control plane, and take them away again."""
    apis = MetricsApis(plane.client)
    port = free_port()
    pair = plane.credentials.issue(f"{SERVICE}.{NAMESPACE}.svc")
    config = uvicorn.Config(
        apis.app(), port=port, ssl_certfile=pair.cert, ssl_keyfile=str(pair.key), log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        patiently(lambda: server.started, within=DEADLINE_SECONDS, what="the metrics APIs listen")
        plane.client.apply(*_registered(port, plane.credentials.ca.read_bytes()))
        for service in PRIORITY:
            apis.wait_for(service)
        yield apis
    finally:
        plane.client.kubectl("delete", "apiservice", *PRIORITY, "--ignore-not-found")
        server.should_exit = True
        thread.join()


def _registered(port: int, ca: bytes) -> Iterator[Json]:
    """Yield the objects that put the server into the API.

    The endpoints of a Service may not be on 127.0.0.1, but the name that it stands for may be.
    """
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    for name, priority in PRIORITY.items():
        version, _, group = name.partition(".")
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "spec": {
                "group": group,
                "version": version,
                "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port},
                "caBundle": b64encode(ca).decode(),
                "groupPriorityMinimum": 100,
                "versionPriority": priority,
            },
        } | _named(name)


def _named(name: str) -> Json:
    return {"metadata": {"name": name}}


def _identifier(metric: str, selector: str | None) -> str:
    return f"{metric}{{{selector}}}" if selector else metric


def _metric_values(request: Request, values: Values, kind: str, found: Mapping[str, str]) -> Response:
    asked = request.path_params
    old = asked["version"] == "v1beta1"
    window = int(values.window.total_seconds())
    shape = (
        {"metricName": asked["metric"], "window": window}
        if old
        else {"metric": {"name": asked["metric"]}, "windowSeconds": window}
    )
    items = [
        {
            "describedObject": {"kind": kind, "namespace": asked["namespace"], "name": name},
            "timestamp": values.at,
            "value": value,
            **shape,
        }
        for name, value in found.items()
    ]
    version = f"custom.metrics.k8s.io/{asked['version']}"
    return JSONResponse({"kind": "MetricValueList", "apiVersion": version, "metadata": {}, "items": items})
