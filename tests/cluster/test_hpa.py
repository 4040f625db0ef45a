"""The real HorizontalPodAutoscaler beside us: the same requests, the same figures, whatever happens to values and pods."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from kube import shadow_controller
from kube.control_plane import ControlPlane
from kube.metrics_api import CUSTOM, MetricsApis
from kube.scaled import NAME, ScaledModel
from kube.shadow_controller import Ours
from waiting import eventually

Json = dict[str, Any]


def metric(kind: str, target: Json, **source: object) -> Json:
    return {"type": kind, kind[:1].lower() + kind[1:]: {**source, "target": target}}


def average(value: str) -> Json:
    return {"type": "AverageValue", "averageValue": value}


def utilization(percent: int) -> Json:
    return {"type": "Utilization", "averageUtilization": percent}


def value(of: str) -> Json:
    return {"type": "Value", "value": of}


def described(kind: str, name: str, version: str = "v1") -> Json:
    return {"apiVersion": version, "kind": kind, "name": name}


SHARD = {
    "name": "queue_depth",
    "selector": {
        "matchLabels": {"shard": "a"},
        "matchExpressions": [{"key": "zone", "operator": "In", "values": ["y", "x"]}],
    },
}
LATENCY = {"name": "latency", "selector": {"matchLabels": {"quantile": "0.9"}}}
METRICS = [
    metric("Resource", utilization(50), name="cpu"),
    metric("Resource", average("300m"), name="cpu"),
    metric("Resource", utilization(80), name="memory"),
    metric("ContainerResource", utilization(60), name="cpu", container="server"),
    metric("ContainerResource", average("1Gi"), name="memory", container="server"),
    metric("Pods", average("10"), metric={"name": "waiting"}),
    metric("Pods", average("200m"), metric=LATENCY),
    metric("Object", value("100"), metric={"name": "requests"}, describedObject=described("Service", "model")),
    metric(
        "Object",
        average("7"),
        metric={"name": "requests"},
        describedObject=described("Deployment", "gateway", "apps/v1"),
    ),
    metric("Object", value("3"), metric={"name": "users"}, describedObject=described("Namespace", "any")),
    metric("External", value("30"), metric={"name": "Queue_Depth"}),
    metric("External", average("4"), metric=SHARD),
]


AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"


@pytest.fixture
async def ours(model: ScaledModel) -> AsyncIterator[Ours]:
    """Provide our view of the same model."""
    async with shadow_controller.looking(model.client, model.namespace, NAME, METRICS) as looking:
        yield looking


@pytest.fixture
def model(control_plane: ControlPlane, metrics_apis: MetricsApis, namespace: str) -> ScaledModel:
    """Return a model of three ready pods with every kind of metric."""
    made = ScaledModel(control_plane.client, namespace, metrics_apis.values(namespace))
    made.create(METRICS, replicas=3)
    values = made.values
    for number, pod in enumerate(made.pods()):
        values.usage[pod] = usage(number)
    values.pods |= {
        "waiting": per_pod(made, "3", "8500m", "12"),
        "latency{quantile=0.9}": per_pod(made, "150m", "1", "7u"),
    }
    values.objects |= {
        ("services/model", "requests"): "123456m",
        ("deployments.apps/gateway", "requests"): "20",
        ("namespace", "users"): "1k",
    }
    values.external |= {"queue_depth": ["11", "300n", "2500m"], "queue_depth{shard=a,zone in (x,y)}": ["10"]}
    return made


def usage(number: int) -> dict[str, dict[str, str]]:
    return {
        "server": {"cpu": f"{250_000_001 + number * 33_333_333}n", "memory": f"{700 + number}Mi"},
        "proxy": {"cpu": f"{7 + number}m", "memory": "31Mi"},
    }


def per_pod(model: ScaledModel, *values: str) -> dict[str, str]:
    return dict(zip(model.pods(), values, strict=True))


async def agreed(model: ScaledModel, ours: Ours, *, unlike: list[Json] | None = None) -> list[Json]:
    """Wait until the autoscaler and we say the same, and something else than before; give it."""
    said: list[list[Json]] = [[], []]

    async def same() -> bool:
        said[:] = model.current_metrics(), await ours.current_metrics()
        return said[0] == said[1] != unlike

    with suppress(AssertionError):
        await eventually(same, within=60, every=0.5)
    assert said[0] == said[1]
    assert said[0] != unlike
    return said[0]


async def test_every_source_and_target_is_read_alike(model: ScaledModel, ours: Ours) -> None:
    said = await agreed(model, ours, unlike=[])

    assert [each["type"] for each in said] == [each["type"] for each in METRICS]


async def test_what_changes_is_read_alike(model: ScaledModel, ours: Ours) -> None:
    before = await agreed(model, ours, unlike=[])

    for number, pod in enumerate(model.pods()):
        model.values.usage[pod] = usage(10 + number)
    model.values.pods["waiting"] = per_pod(model, "0", "-7", "1")
    model.values.objects["services/model", "requests"] = "1.5Ki"
    model.values.external["queue_depth"] = ["0"]

    after = await agreed(model, ours, unlike=before)
    assert [each["type"] for each in after] == [each["type"] for each in METRICS]


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending"},
        {"phase": "Failed"},
        {"ready": "False", "started": 60, "since": 50},
        {"ready": "True", "started": 60, "since": 5},
        {"ready": "False", "started": 3600, "since": 3590},
        {"ready": "False", "started": 3600, "since": 100},
        {"ready": "Unknown", "started": 60, "since": 50},
    ],
    ids=["pending", "failed", "starting", "just ready", "never ready", "overloaded", "lost"],
)
async def test_a_pod_that_is_not_as_the_others_is_counted_alike(
    status: dict[str, Any], model: ScaledModel, ours: Ours
) -> None:
    first = model.pods()[0]
    model.values.usage[first]["server"]["cpu"] = "3"
    before = await agreed(model, ours, unlike=[])

    model.make_ready(first, **status)
    model.values.external["queue_depth"] = [
        "1"
    ]  # a change that the autoscaler shows, whether the pod still counts or not

    await agreed(model, ours, unlike=before)


async def test_a_pod_that_goes_is_counted_alike(model: ScaledModel, ours: Ours) -> None:
    first = model.pods()[0]
    before = await agreed(model, ours, unlike=[])

    with model.held(first):
        model.client.kubectl("delete", "pod", first, "-n", model.namespace, "--wait=false")
        model.wait_for_pods(4)

        await agreed(model, ours, unlike=before)


async def test_replicas_that_come_and_go_are_counted_alike(model: ScaledModel, ours: Ours) -> None:
    before = await agreed(model, ours, unlike=[])

    model.scale(5)
    model.values.external["queue_depth"] = ["1"]
    while_pending = await agreed(model, ours, unlike=before)
    for number, pod in enumerate(model.pods()):
        model.make_ready(pod)
        model.values.usage[pod] = usage(20 + number)
    while_ready = await agreed(model, ours, unlike=while_pending)
    model.scale(1)

    await agreed(model, ours, unlike=while_ready)


async def test_a_pod_without_values_is_left_out_alike(model: ScaledModel, ours: Ours) -> None:
    first, second, _ = model.pods()
    before = await agreed(model, ours, unlike=[])

    del model.values.usage[first]["proxy"]["cpu"]
    del model.values.usage[second]
    del model.values.pods["waiting"][first]

    await agreed(model, ours, unlike=before)


async def test_metrics_that_are_not_there_are_left_out_alike(model: ScaledModel, ours: Ours) -> None:
    before = await agreed(model, ours, unlike=[])

    model.values.usage.clear()
    del model.values.objects["services/model", "requests"]
    del model.values.external["queue_depth"]

    after = await agreed(model, ours, unlike=before)
    assert [each["type"] for each in after] == ["Pods", "Pods", "Object", "Object", "External"]


async def test_the_older_custom_metrics_are_read_alike(model: ScaledModel, metrics_apis: MetricsApis) -> None:
    """The autoscaler finds out in its own time; what it shows until then may be of the newer ones."""

    def asks_the_older() -> bool:
        asked = metrics_apis.requests(AUTOSCALER, model.namespace)
        return any("/custom.metrics.k8s.io/v1beta1/" in each for each in asked)

    with metrics_apis.without(CUSTOM):
        async with shadow_controller.looking(model.client, model.namespace, NAME, METRICS) as ours:
            await eventually(asks_the_older, within=90, every=0.5, what="the autoscaler asks for the older metrics")
            said = await agreed(model, ours, unlike=[])

    assert [each["type"] for each in said] == [each["type"] for each in METRICS]


async def test_the_same_requests_are_made(model: ScaledModel, metrics_apis: MetricsApis, ours: Ours) -> None:
    await agreed(model, ours, unlike=[])

    asked = metrics_apis.requests(AUTOSCALER, model.namespace)

    assert metrics_apis.requests("admin", model.namespace) == asked
    assert len(asked) == 8
