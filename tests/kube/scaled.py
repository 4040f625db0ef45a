"""A model as a user has it, with a HorizontalPodAutoscaler: a Deployment whose pods nobody runs, made ready by hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kube.client import Client
from kube.metrics_api import Values
from waiting import patiently

Json = dict[str, Any]

NAME = "model"
LABELS = {"app": NAME, "tier": "gpu"}
DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class ScaledModel:
    """The Deployment and its autoscaler in a namespace. The autoscaler keeps the replicas that it is told."""

    client: Client
    namespace: str
    values: Values

    def create(self, metrics: Sequence[Json], *, replicas: int) -> None:
        """Create both, and make all pods ready."""
        self.client.apply(_deployment(replicas), _autoscaler(metrics, replicas), namespace=self.namespace)
        self.wait_for_pods(replicas)
        for pod in self.pods():
            self.make_ready(pod)

    def scale(self, replicas: int) -> None:
        """Let the autoscaler want another number of replicas, and wait for the pods; new ones are Pending."""
        bounds = {"minReplicas": replicas, "maxReplicas": replicas}
        self.client.patch("hpa", NAME, {"spec": bounds}, namespace=self.namespace)
        self.wait_for_pods(replicas)

    def pods(self) -> list[str]:
        """Return the names of all pods, the oldest first."""
        items = self.client.get("pods", namespace=self.namespace)["items"]
        items.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return [pod["metadata"]["name"] for pod in items]

    def make_ready(
        self, pod: str, *, phase: str = "Running", ready: str = "True", started: int = 3600, since: int = 3000
    ) -> None:
        """Let a pod run, as a kubelet would write it: started and (un)ready since so many seconds."""
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": _ago(since)}
        status = {"phase": phase, "startTime": _ago(started), "conditions": [condition]}
        self.client.set_status("pod", pod, status, namespace=self.namespace)

    @contextmanager
    def held(self, pod: str) -> Iterator[None]:
        """Keep a pod that is deleted in sight, as one that takes long to end."""
        self.client.patch("pod", pod, {"metadata": {"finalizers": ["tests/held"]}}, namespace=self.namespace)
        try:
            yield
        finally:
            self.client.patch("pod", pod, {"metadata": {"finalizers": None}}, namespace=self.namespace)

    def current_metrics(self) -> list[Json]:
        """Return what the autoscaler has computed last, without the empty entries of what it could not."""
        status = self.client.get("hpa", NAME, namespace=self.namespace).get("status", {})
        return [each for each in status.get("currentMetrics") or () if each["type"]]

    def conditions(self) -> dict[str, Json]:
        """Return the autoscaler's conditions by type."""
        status = self.client.get("hpa", NAME, namespace=self.namespace).get("status", {})
        return {each["type"]: each for each in status.get("conditions") or ()}

    def wait_for_pods(self, count: int) -> None:
        """Wait until there are so many pods."""
        patiently(lambda: len(self.pods()) == count, within=DEADLINE_SECONDS, what=f"{count} pods")
        self.values.labels.update(dict.fromkeys(self.pods(), LABELS))


def _deployment(replicas: int) -> Json:
    server = {"name": "server", "image": NAME, "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    sidecar = {"name": "proxy", "image": NAME, "resources": {"requests": {"cpu": "70m", "memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [server, sidecar]}},
        },
    }


def _autoscaler(metrics: Sequence[Json], replicas: int) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    bounds = {"minReplicas": replicas, "maxReplicas": replicas}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME},
        "spec": {"scaleTargetRef": target, **bounds, "metrics": list(metrics)},
    }


def _ago(seconds: int) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
