"""A model that runs: a Deployment of the tests' model server and the Service that clients use."""

from typing import Any

from kube.node import MODEL

Json = dict[str, Any]

NAME = "model"
LABELS = {"app": NAME}
PORT = 8000


def deployment(*, replicas: int = 2, cpu: str = "100m", arguments: tuple[str, ...] = ()) -> Json:
    """Return a Deployment; `arguments` are the model server's, such as `-burn=20ms`."""
    server = {
        "name": "server",
        "image": MODEL,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": cpu, "memory": "32Mi"}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [server], "terminationGracePeriodSeconds": 30},
            },
        },
    }


def once(name: str, *, image: str, arguments: list[str]) -> Json:
    """Return a pod that does something once, with no more rights than the strictest policy grants."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "args": arguments,
        "securityContext": security,
    }
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def service(name: str = NAME, *, headless: bool = False) -> Json:
    """Return a Service for its pods, on port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"selector": LABELS, "ports": ports, **({"clusterIP": "None"} if headless else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def autoscaler(*, percent: int, replicas: int = 2) -> Json:
    """Return an autoscaler on CPU that keeps the replicas."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}
    bounds = {"minReplicas": replicas, "maxReplicas": replicas}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME},
        "spec": {"scaleTargetRef": target, **bounds, "metrics": [{"type": "Resource", "resource": cpu}]},
    }
