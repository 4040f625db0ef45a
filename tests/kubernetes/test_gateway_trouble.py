"""A gateway whose pods can't be created, scheduled or started: the status says why, in the words of Kubernetes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beamlit_controller.kubernetes import gateway_trouble
from beamlit_controller.kubernetes.gateway_trouble import LASTS, Trouble
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, gateway_pods, model, service, workload
from fakes.replica import World, world
from waiting import eventually

Json = dict[str, Any]
SINCE = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = "2026-06-01T12:00:00Z"
QUOTA = (
    'pods "llama-gateway-x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10'
)
NOT_READY = {"type": "Ready", "status": "False", "lastTransitionTime": AT}


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": AT}


def container(state: Json, **changes: Any) -> Json:  # noqa: ANN401 - whatever a container status has
    return {"name": "envoy", "ready": False, "state": state, **changes}


def waiting(reason: str, message: str = "", **changes: Any) -> Json:  # noqa: ANN401 - as `container`
    given = container({"waiting": {"reason": reason, "message": message}}, **changes)
    return {"phase": "Pending", "conditions": [NOT_READY], "containerStatuses": [given]}


def of_pod(status: Json) -> Trouble | None:
    return gateway_trouble.of_pod(
        {"metadata": {"name": "one", "creationTimestamp": "2026-06-01T11:00:00Z"}, "status": status}
    )


CRASHED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient memory.")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (waiting("ImagePullBackOff", 'Back-off pulling image "x"'), 'container envoy: ImagePullBackOff: Back-off pulling image "x"'),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), 'container envoy: CreateContainerConfigError: secret "x" not found'),
        (
            waiting("CrashLoopBackOff", "back-off 20s", lastState=CRASHED),
            "container envoy: CrashLoopBackOff: back-off 20s; it last ended with exit code 137, OOMKilled",
        ),
        (
            {"conditions": [NOT_READY], "containerStatuses": [container({"running": {}}, lastState=CRASHED)]},
            "container envoy: it last ended with exit code 137, OOMKilled",
        ),
        ({"conditions": [NOT_READY], "initContainerStatuses": [container({"waiting": {"reason": "ErrImagePull"}})]}, "container envoy: ErrImagePull"),
        ({"conditions": [UNSCHEDULABLE]}, "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory"),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_start_says_why(status: Json, message: str) -> None:
    found = of_pod(status)

    assert found is not None
    assert found.message == f"pod one: {message}"
    assert found.since == (SINCE if "conditions" in status else SINCE - timedelta(hours=1))


@pytest.mark.parametrize(
    "status",
    [
        {},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        {"conditions": [NOT_READY], "containerStatuses": [container({"running": {}})]},
        {"conditions": [{**NOT_READY, "status": "True"}], "containerStatuses": [container({"running": {}}, ready=True, lastState=CRASHED)]},
        {"conditions": 7, "containerStatuses": [None, {"state": [], "lastState": "x"}], "phase": ["Failed"]},
    ],
)  # fmt: skip
def test_a_pod_that_is_starting_or_ready_has_no_trouble(status: Json) -> None:
    assert of_pod(status) is None


def test_a_deployment_says_why_no_pod_is_created_before_that_its_rollout_is_late() -> None:
    late = condition("Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "x" has timed out progressing.')
    quota = condition("ReplicaFailure", "True", "FailedCreate", QUOTA)

    assert gateway_trouble.of_deployment({"conditions": [late, quota]}) == Trouble(f"FailedCreate: {QUOTA}", SINCE)
    found = gateway_trouble.of_deployment({"conditions": [late]})
    assert found is not None
    assert found.message == 'ProgressDeadlineExceeded: ReplicaSet "x" has timed out progressing.'
    fine = [condition("Progressing", "True", "NewReplicaSetAvailable", ""), {**quota, "status": "False"}]
    assert gateway_trouble.of_deployment({"conditions": fine}) is None


def test_foreign_text_is_one_bounded_line() -> None:
    found = of_pod(waiting("Err\x1b[2J", "evil\nWARN forged \u202e" + "\x00" * 100_000))

    assert found is not None
    assert found.message.startswith(r"pod one: container envoy: Err\x1b[2J: evil\nWARN forged \u202e\x00")
    assert len(found.message) < 600


def test_it_lasts_after_a_minute_and_never_without_a_known_time() -> None:
    assert Trouble("x", SINCE).lasts(SINCE + LASTS)
    assert not Trouble("x", SINCE).lasts(SINCE + LASTS - timedelta(seconds=1))
    assert not Trouble("x").lasts(SINCE + LASTS)
    assert not Trouble("x", SINCE).lasts(None)


# The same in a cluster.


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[World, Controllers]]:
    async with world() as given, Controllers(given.server).running() as controllers:
        for each in (workload(), service()):
            api_users.put(given.server, each)
        given.start()
        yield given, controllers


def is_gateway(content: Json) -> bool:
    return "-gateway" in content["metadata"]["name"]


def image_not_pulled(pod: Json) -> Json:
    """Return the status of a gateway pod that has not been ready since it was created."""
    unready = {"type": "Ready", "status": "False"}
    return {**waiting("ImagePullBackOff", "no such image"), "conditions": [unready]} if is_gateway(pod) else {}


def quota_exceeded(deployment: Json) -> str:
    return QUOTA if is_gateway(deployment) else ""


def warnings(seen: Seen, reason: str = "GatewayFailing") -> int:
    return seen.events.count(("Warning", reason))


@pytest.mark.looptime
@pytest.mark.parametrize("mode", ["Takeover", "Service"])
async def test_a_quota_that_refuses_the_gateways_pods_shows_in_the_status_and_in_one_event(mode: str) -> None:
    async with serving() as (given, controllers):
        controllers.refusal = quota_exceeded
        api_users.put(given.server, model(routing={"mode": mode}))
        seen = Seen(given.server)

        await asyncio.sleep(45)
        assert seen.condition("Ready") == ("False", "GatewayStarting")
        assert seen.message("Ready") == f"0 of 2 gateway pods are ready: FailedCreate: {QUOTA}"
        assert warnings(seen) == 0

        await asyncio.sleep(600)
        assert seen.condition("Ready") == seen.condition("GatewayReady") == ("False", "GatewayFailing")
        assert warnings(seen) == 1

        controllers.refusal = lambda _: ""
        controllers.look()
        await eventually(lambda: seen.ready, within=60, every=0.1)
        assert seen.message("GatewayReady") == "2 of 2 gateway pods are ready"


@pytest.mark.looptime
async def test_pods_that_never_start_show_why_and_a_restarted_controller_does_not_report_it_again() -> None:
    async with serving() as (given, controllers):
        controllers.stuck = image_not_pulled
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await asyncio.sleep(200)
        assert "container envoy: ImagePullBackOff: no such image" in seen.message("Ready")

        await given.replicas[0].end()
        given.start("two")
        await asyncio.sleep(200)

        assert seen.condition("Ready") == ("False", "GatewayFailing")
        assert warnings(seen) == 1


@pytest.mark.looptime
async def test_one_pod_too_few_keeps_the_service_from_being_taken_over_and_the_reason_is_said() -> None:
    async with serving() as (given, controllers):
        controllers.stuck = lambda pod: image_not_pulled(pod) if pod["metadata"]["name"].endswith("-0") else {}
        api_users.put(given.server, model())
        seen = Seen(given.server)

        await asyncio.sleep(200)

        assert seen.condition("GatewayReady") == ("True", "GatewayReady")
        assert seen.condition("Ready") == seen.condition("ServiceTaken") == ("False", "GatewayFailing")
        for kind in ("GatewayReady", "Ready", "ServiceTaken"):
            assert "1 of 2 gateway pods are ready" in seen.message(kind)
            assert "ImagePullBackOff: no such image" in seen.message(kind)
        assert warnings(seen) == 1


@pytest.mark.looptime
async def test_an_update_of_a_ready_gateway_that_does_not_start_is_said_where_the_gateway_is() -> None:
    async with serving() as (given, controllers):
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await eventually(lambda: seen.ready, within=120, every=0.1)
        before = {pod["metadata"]["name"] for pod in gateway_pods(given.server)}

        controllers.stuck = lambda pod: {} if pod["metadata"]["name"] in before else image_not_pulled(pod)
        api_users.merge(given.server, model(), {"spec": {"gateway": {"resources": {"limits": {"memory": "600Mi"}}}}})
        await eventually(lambda: "no such image" in seen.message("GatewayReady"), within=120, every=1)

        assert seen.condition("GatewayReady") == ("True", "GatewayReady")
        assert seen.ready
