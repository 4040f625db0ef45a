"""Where the servers' own metrics are read in a cluster, and why there may be no place to read them."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import builders
from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import MetricService
from beamlit_controller.kubernetes import pods, services
from beamlit_controller.kubernetes.endpoints import MetricEndpoints
from beamlit_controller.kubernetes.store import Store

Json = dict[str, Any]
SELECTS: Json = {"selector": {"app": "llama"}}


def pod(ready: str = "True", port: str = "metrics", ip: str = "10.1.2.3") -> Json:
    return {
        "metadata": {"name": "one", "namespace": "models", "labels": {"app": "llama"}},
        "spec": {"containers": [{"name": "main", "ports": [{"name": port, "containerPort": 8000}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
    }


def found(service: Json | None, *given: Json, port: int | str = "metrics", unknown: bool = False) -> object:
    """Return the endpoints of a model whose `metricServiceRef` names this Service."""
    store = Store(partial(translate.read, settings=Settings()), Changes())
    if service is not None:
        content = {"metadata": {"namespace": "models", "name": "llama-metrics"}, "spec": service}
        parsed = replace(services.parse(content), selector_unknown=unknown)
        store.services.changed(("models", "llama-metrics"), parsed)
    for each in given:
        store.pods.changed(("models", each["metadata"]["name"]), pods.parse(each))
    spec = builders.spec(metric_service=MetricService("llama-metrics", port))
    return MetricEndpoints(store).of(replace(spec, key=replace(spec.key, namespace="models")))


@pytest.mark.parametrize(
    ("ip", "port", "endpoint"),
    [
        ("10.1.2.3", "metrics", "10.1.2.3:8000"),
        ("10.1.2.3", 9000, "10.1.2.3:9000"),
        ("fd00::1", 8000, "[fd00::1]:8000"),
    ],
)
def test_a_ready_pod_is_an_endpoint(ip: str, port: int | str, endpoint: str) -> None:
    assert found(SELECTS, pod(ip=ip), port=port) == {endpoint: "one"}


NAMED = {"ports": [{"name": "metrics", "port": 80, "targetPort": "http"}]}
NOWHERE = {
    "no Service": (None, [], "does not exist"),
    "another name": ({"type": "ExternalName", "externalName": "a.example"}, [], "is of type ExternalName"),
    "no selector": ({"ports": [{"port": 80}]}, [pod()], "has no selector"),
    "no pod": (SELECTS, [], "has no endpoint for port metrics: no pod matches its selector app=llama"),
    "a pod that is not ready": (SELECTS, [pod("False")], "port metrics: none of its pods is ready (1 not ready)"),
    "a pod without an address": (SELECTS, [pod(ip="")], "none of its pods is ready (1 not ready)"),
    "a port of another name": (SELECTS, [pod(port="http")], "no ready pod has a port of this name; they have http"),
    "no name": (SELECTS, [pod(port="")], "no ready pod has a port of this name; they have no named ports"),
    "a port of the Service": (SELECTS | NAMED, [pod(port="http")], "a port of the Service, whose targetPort is http"),
}


@pytest.mark.parametrize(("service", "given", "said"), NOWHERE.values(), ids=NOWHERE)
def test_a_reference_that_leads_nowhere_says_why(service: Json | None, given: list[Json], said: str) -> None:
    """All of these were `metricServiceRef has no endpoints`."""
    missing = found(service, *given)

    assert isinstance(missing, Missing)
    assert missing.reason is Reason.NO_PODS
    assert missing.message.startswith("metricServiceRef: Service models/llama-metrics ")
    assert said in missing.message


def test_a_service_that_is_taken_over_with_an_unknown_selector_says_so() -> None:
    missing = found({}, pod(), unknown=True)

    assert isinstance(missing, Missing)
    assert "the selector that its user wrote is unknown" in missing.message
