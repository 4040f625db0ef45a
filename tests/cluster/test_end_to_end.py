"""The whole of it, as a user has it: the chart on a real node, a model, load, a remote outside of the cluster."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes import client
from fakes.load import SERVED_BY
from kube import chart, model_service, monitoring, project_image
from kube.netns import ADDRESS
from kube.node import Node
from kube.traffic import Traffic, flowing
from waiting import eventually

pytestmark = pytest.mark.alone

Json = dict[str, Any]

PATIENCE = 240
OUTAGE = 120
QUIET, BUSY = 4, 100
"""Requests a second: of 3 ms of CPU each, for two pods that request 100m, that is 6 % and 150 %."""
BURN = "-burn=3ms"
REMOTE_PORT = 9000


@pytest.fixture(scope="module", autouse=True)
def _image(node: Node) -> None:
    node.bring(project_image.need())


@pytest.fixture
def remote(node: Node) -> Iterator[str]:
    with node.model_beside("remote", port=REMOTE_PORT) as address:
        yield address


def model(namespace: str, **config: Any) -> Json:  # noqa: ANN401 - whatever an offloadingConfig has
    """Give the users' example with where its requests go."""
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": model_service.NAME, "namespace": namespace},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model_service.NAME},
            "serviceRef": {"name": model_service.NAME, "targetPort": "http"},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": f"{ADDRESS}:{REMOTE_PORT}"},
                "behavior": {"percentage": 50},
                "metrics": [cpu],
                **config,
            },
        },
    }


async def off_loop(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
    return await asyncio.to_thread(work)


async def status(node: Node, namespace: str) -> Json:
    found = await off_loop(lambda: node.client.get("modeldeployment", model_service.NAME, namespace=namespace))
    given: Json = found.get("status") or {}
    return given


async def reaches(node: Node, namespace: str, percentage: int) -> None:
    async def reached() -> bool:
        return ((await status(node, namespace)).get("offloading") or {}).get("percentage") == percentage

    await eventually(reached, within=PATIENCE, every=1, what=f"{percentage} % is decided")


async def ready(node: Node, namespace: str) -> None:
    """Wait as a user does."""
    wait = (
        "wait",
        "--for=condition=Ready",
        f"modeldeployment/{model_service.NAME}",
        "-n",
        namespace,
        f"--timeout={PATIENCE}s",
    )
    await off_loop(lambda: node.client.kubectl(*wait, within=PATIENCE + 10))
    await off_loop(lambda: node.client.rolled_out(f"deployment/{model_service.NAME}-gateway", namespace=namespace))


async def entrance(node: Node, namespace: str) -> str:
    """Give where clients find the model: its Service, which is theirs."""
    address: str = await off_loop(lambda: node.entrance(model_service.NAME, namespace))
    await eventually(lambda: serves(address), within=PATIENCE)
    return address


async def deployed(node: Node, namespace: str) -> str:
    """Have the model there as it was before, and give where clients find it."""
    await off_loop(
        lambda: node.client.apply(
            model_service.deployment(arguments=(BURN,)), model_service.service(), namespace=namespace
        )
    )
    await off_loop(lambda: node.client.rolled_out(f"deployment/{model_service.NAME}", namespace=namespace))
    # From here on only pods that need no privilege are let in: the gateway's.
    restricted = "pod-security.kubernetes.io/enforce=restricted"
    await off_loop(lambda: node.client.kubectl("label", "namespace", namespace, restricted))
    return await entrance(node, namespace)


async def connects(address: str) -> bool:
    try:
        async with client.connect(address):
            return True
    except OSError:
        return False


@asynccontextmanager
async def applied(node: Node, namespace: str, **config: Any) -> AsyncIterator[str]:  # noqa: ANN401 - as `model` takes it
    """Have a model and its gateway there, and give where clients find it."""
    address = await deployed(node, namespace)
    node.client.apply(model(namespace, **config))
    await ready(node, namespace)
    yield address


async def settled_share(traffic: Traffic, expected: float, *, within: float, count: int = 5_000) -> float:
    """Give the remote's percentage of so many requests. A machine that stalls loses connections to local for a moment, and
    what local can't take leaves as well: then it is measured again, three times at most.
    """
    share = 0.0
    for _ in range(3):
        before = traffic.answered.copy()
        await answered(traffic, count)
        share = traffic.share(before)
        if abs(share - expected) <= within:
            break
    return share


async def answered(traffic: Traffic, count: int) -> None:
    before = sum(traffic.answered.values())
    await eventually(lambda: sum(traffic.answered.values()) - before >= count, within=PATIENCE, every=0.5)


async def patched(node: Node, namespace: str, spec: Json) -> None:
    await off_loop(lambda: node.client.patch("md", model_service.NAME, {"spec": spec}, namespace=namespace))


async def restarted(node: Node, deployment: str, namespace: str) -> None:
    """Roll a Deployment over, and wait until the last old pod is gone."""
    before = await off_loop(lambda: pods(node, deployment, namespace))
    await off_loop(lambda: node.client.kubectl("rollout", "restart", f"deployment/{deployment}", "-n", namespace))
    await off_loop(lambda: node.client.rolled_out(f"deployment/{deployment}", namespace=namespace))

    async def gone() -> bool:
        return not before & await off_loop(lambda: pods(node, deployment, namespace))

    await eventually(gone, within=PATIENCE, every=1, what=f"the old pods of {deployment} are gone")


def pods(node: Node, deployment: str, namespace: str) -> set[str]:
    listed = node.client.get("pods", namespace=namespace)["items"]
    return {each["metadata"]["name"] for each in listed if each["metadata"]["name"].startswith(f"{deployment}-")}


def leader(node: Node) -> str:
    lease: Json = node.client.get("lease", chart.NAME, namespace=chart.NAMESPACE)
    return str(lease["spec"]["holderIdentity"])


async def utilizations(node: Node, namespace: str) -> tuple[int | None, int | None]:
    """Give what the real autoscaler sees of the cpu, and what we see."""
    autoscaler = await off_loop(lambda: node.client.get("hpa", model_service.NAME, namespace=namespace))
    theirs = (autoscaler.get("status") or {}).get("currentMetrics") or [{}]
    ours = (await status(node, namespace)).get("currentMetrics") or [{}]
    return tuple(
        (each[0].get("resource") or {}).get("current", {}).get("averageUtilization") for each in (theirs, ours)
    )


async def test_a_busy_model_is_offloaded_by_half_and_taken_back_and_no_request_fails(
    node: Node, node_namespace: str, remote: str
) -> None:
    address = await deployed(node, node_namespace)
    async with flowing(address, rate=QUIET) as all_along:
        await chart.install(node)
        node.client.apply(model(node_namespace), model_service.autoscaler(percent=1000), namespace=node_namespace)
        await ready(node, node_namespace)
        # Connections from before go on past the gateway, so what is measured comes over others.
        async with flowing(address, rate=QUIET) as traffic:
            await answered(traffic, 100)
            assert traffic.by("remote") == 0

            traffic.rate = BUSY
            await reaches(node, node_namespace, 50)
            await answered(traffic, 200)
            share = await settled_share(traffic, 50, within=2)

            async def agree() -> bool:
                theirs, ours = await utilizations(node, node_namespace)
                return theirs is not None and theirs == ours

            await eventually(agree, within=PATIENCE, every=1, what="the autoscaler's figure and ours are the same")
            traffic.rate = QUIET
            await reaches(node, node_namespace, 0)
            await answered(traffic, 10)
            after = traffic.answered.copy()
            await answered(traffic, 40)
            logged = chart.said(node)
            await chart.uninstall(node)
            await answered(traffic, 40)

        left = await off_loop(lambda: pods(node, f"{model_service.NAME}-gateway", node_namespace))
        service = await off_loop(lambda: node.client.get("service", model_service.NAME, namespace=node_namespace))
        kept = await off_loop(lambda: node.client.get("md", model_service.NAME, namespace=node_namespace))

    assert all_along.failed == traffic.failed == [], logged
    assert abs(share - 50) <= 2
    assert traffic.share(after) == 0
    assert left == set()
    assert service["spec"]["selector"] == model_service.LABELS
    assert not kept["metadata"].get("finalizers")


USERS_VALUES = {
    "config": {"metricInformer": {"type": "prometheus", "prometheus": {"address": "my-local-prom:9090"}}},
}


async def test_the_same_by_a_metric_in_prometheus_with_the_users_values(
    node: Node, node_namespace: str, remote: str
) -> None:
    in_flight = {
        "type": "External",
        "external": {
            "metric": {
                "name": "model_requests_in_flight",
                "selector": {"matchLabels": {"job": "pods"}},
                "target": {"type": "Value", "value": 2},
            }
        },
    }
    async with chart.installed(node, USERS_VALUES):
        with monitoring.prometheus(
            node, scrape=f"{model_service.NAME}-local.{node_namespace}", port=model_service.PORT
        ):
            node.expose("my-local-prom", chart.NAMESPACE, port=9090, target=monitoring.PORT)
            async with applied(node, node_namespace, metrics=[in_flight]) as address:
                async with flowing(address, rate=20) as quiet:
                    await answered(quiet, 100)
                    assert quiet.by("remote") == 0
                async with flowing(address, rate=20, streams=8) as busy:
                    await reaches(node, node_namespace, 50)
                    before = busy.answered.copy()
                    await answered(busy, 400)
                    share = busy.share(before)
                await reaches(node, node_namespace, 0)
                logged = chart.said(node)

    assert quiet.failed == busy.failed == [], logged
    assert busy.streams >= 8
    assert abs(share - 50) <= 12  # of 400, that is five standard deviations


ALWAYS_OVER = {
    "type": "Resource",
    "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1"}},
}


async def test_rollouts_a_moved_remote_and_a_killed_leader_cost_no_request_and_no_stream(
    node: Node, node_namespace: str, remote: str
) -> None:
    with node.model_beside("other-remote", port=REMOTE_PORT + 1) as moved:
        there = node.reach(moved)
        await eventually(lambda: connects(there), within=PATIENCE)
        async with chart.installed(node), applied(node, node_namespace, metrics=[ALWAYS_OVER]) as address:
            await reaches(node, node_namespace, 50)
            async with flowing(address, rate=20, streams=6) as traffic:
                await answered(traffic, 50)
                await restarted(node, f"{model_service.NAME}-gateway", node_namespace)

                await patched(node, node_namespace, {"offloadingConfig": {"remoteBackend": {"host": moved}}})
                await eventually(lambda: asked(there), within=PATIENCE, every=0.5, what="the other remote is asked")

                await restarted(node, chart.NAME, chart.NAMESPACE)
                await answered(traffic, 50)

                killed = await off_loop(lambda: leader(node))
                await off_loop(lambda: node.crash(killed, namespace=chart.NAMESPACE))
                await patched(node, node_namespace, {"offloadingConfig": {"behavior": {"percentage": 40}}})
                await reaches(node, node_namespace, 40)
                await answered(traffic, 50)
            logged = chart.said(node)

    assert traffic.failed == [], logged
    assert traffic.streams >= 12


async def asked(entrance: str) -> bool:
    """Tell whether a model server has answered anything."""
    answer = await client.get(entrance, "/metrics")
    return b"model_requests_total 0\n" not in answer.body.content


async def test_without_the_api_server_traffic_goes_on_and_a_restarted_gateway_serves(
    node: Node, node_namespace: str, remote: str
) -> None:
    async with chart.installed(node), applied(node, node_namespace, metrics=[ALWAYS_OVER]) as address:
        await reaches(node, node_namespace, 50)
        gateways = await off_loop(lambda: node.client.get("pods", namespace=node_namespace))
        one = next(each for each in gateways["items"] if "gateway" in each["metadata"]["name"])
        direct = node.reach(f"{one['status']['podIP']}:{model_service.PORT}")
        containers = [each["containerID"].removeprefix("containerd://") for each in one["status"]["containerStatuses"]]
        await off_loop(node.control_plane.stop_api_server)
        down_since = asyncio.get_running_loop().time()
        try:
            async with flowing(address, rate=20, streams=2) as traffic:
                await answered(traffic, 600)
            share = traffic.share(Counter())
            for container in containers:
                await off_loop(lambda each=container: node.ctr("tasks", "kill", "--all", "--signal=SIGKILL", each))
            await eventually(lambda: serves(direct), within=60, every=0.5, what="the killed gateway serves again")
            async with flowing(direct, rate=20) as restarted_one:
                await answered(restarted_one, 200)
                now = asyncio.get_running_loop().time
                await eventually(
                    lambda: now() - down_since >= OUTAGE, within=PATIENCE, every=1, what="two minutes without it"
                )
        finally:
            await off_loop(node.control_plane.start_api_server)
        await patched(node, node_namespace, {"offloadingConfig": {"behavior": {"percentage": 30}}})
        await reaches(node, node_namespace, 30)
        logged = chart.said(node)

    assert traffic.failed == restarted_one.failed == [], logged
    assert abs(share - 50) <= 10  # of 600, that is five standard deviations


async def serves(address: str) -> bool:
    try:
        return (await client.ask(address)).line[1] == "200"
    except (OSError, IndexError):
        return False


API_KEY = {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "remote", "key": "apiKey"}}}


def secret(key: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "remote"}, "stringData": {"apiKey": key}}


async def test_a_credential_that_comes_late_and_is_exchanged_goes_to_the_remote_alone(
    node: Node, node_namespace: str, remote: str
) -> None:
    backend = {"scheme": "http", "host": f"{ADDRESS}:{REMOTE_PORT}", "authConfig": API_KEY}
    config = {"metrics": [ALWAYS_OVER], "remoteBackend": backend}
    async with chart.installed(node), applied(node, node_namespace, **config) as address:
        await reaches(node, node_namespace, 50)
        async with flowing(address, rate=20) as traffic:
            await answered(traffic, 200)
            assert traffic.by("remote") == 0
            await eventually(lambda: told(node, node_namespace, "CredentialsUnreadable"), within=PATIENCE, every=1)

            node.client.apply(secret("first"), namespace=node_namespace)
            await eventually(lambda: shown(address, "Bearer first"), within=PATIENCE, every=0.5)
            await eventually(lambda: told(node, node_namespace, "RemoteAnswers"), within=PATIENCE, every=1)
            node.client.apply(secret("second"), namespace=node_namespace)
            await eventually(lambda: shown(address, "Bearer second"), within=PATIENCE, every=0.5)
            await answered(traffic, 200)
            logged = chart.said(node)

    assert traffic.failed == [], logged
    assert traffic.by("remote") > 0


async def told(node: Node, namespace: str, reason: str) -> bool:
    found = (await status(node, namespace)).get("conditions") or ()
    return any(each["type"] == "RemoteReady" and each["reason"] == reason for each in found)


async def shown(address: str, authorization: str) -> bool:
    """Ask some times, and tell whether the remote answers and is shown this; the local side is shown the client's."""
    for _ in range(20):
        answer = await client.ask(address, headers=[("authorization", "Bearer of-the-client")])
        seen = json.loads(answer.body.content)["headers"].get("Authorization")
        if answer.header(SERVED_BY) == "remote":
            return seen == [authorization]
        assert seen == ["Bearer of-the-client"]
    return False


TIMES = 50


async def test_fifty_times_taken_over_and_given_back_under_load_and_no_request_fails(
    node: Node, node_namespace: str, remote: str
) -> None:
    async with chart.installed(node), applied(node, node_namespace, metrics=[ALWAYS_OVER]) as address:
        await reaches(node, node_namespace, 50)
        async with flowing(address, rate=40, streams=2) as traffic:
            for _ in range(TIMES):
                await routed(node, node_namespace, "Service", taken=False)
                await routed(node, node_namespace, "Takeover", taken=True)
            await answered(traffic, 100)
        logged = chart.said(node)

    assert traffic.failed == [], logged
    assert traffic.by("remote") > 0


async def routed(node: Node, namespace: str, mode: str, *, taken: bool) -> None:
    """Choose a mode, and wait until the Service's endpoints are the gateway's or the model's."""
    await patched(node, namespace, {"routing": {"mode": mode}})
    await eventually(lambda: is_taken(node, namespace, taken=taken), within=PATIENCE, every=0.05)
    await eventually(lambda: leads_to_gateways(node, namespace, taken=taken), within=PATIENCE, every=0.1)


async def is_taken(node: Node, namespace: str, *, taken: bool = True) -> bool:
    service = await off_loop(lambda: node.client.get("service", model_service.NAME, namespace=namespace))
    return bool(service["spec"]["selector"] == model_service.LABELS) != taken


async def leads_to_gateways(node: Node, namespace: str, *, taken: bool) -> bool:
    """Tell whether the Service leads to gateways and to nobody else, or to the model and to nobody else."""
    of_service = ("-l", f"kubernetes.io/service-name={model_service.NAME}", "-o", "json")
    listed = await off_loop(lambda: node.client.kubectl("get", "endpointslices", "-n", namespace, *of_service))
    endpoints = [each for slice_ in json.loads(listed)["items"] for each in slice_.get("endpoints") or ()]
    led = {"-gateway-" in each["targetRef"]["name"] for each in endpoints if each["conditions"]["ready"]}
    return led == {taken}


async def test_without_any_gateway_pod_the_service_is_given_back_and_taken_again(
    node: Node, node_namespace: str, remote: str
) -> None:
    async with chart.installed(node), applied(node, node_namespace, metrics=[ALWAYS_OVER]) as address:
        gateways = await off_loop(lambda: pods(node, f"{model_service.NAME}-gateway", node_namespace))
        # Nothing can be started here any more: the gateways that go do not come back.
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-pods"},
            "spec": {"hard": {"pods": "0"}},
        }
        await off_loop(lambda: node.client.apply(quota, namespace=node_namespace))
        forced = ("delete", "pod", "-n", node_namespace, "--force", "--grace-period=0", *gateways)
        await off_loop(lambda: node.client.kubectl(*forced))
        await eventually(lambda: is_taken(node, node_namespace, taken=False), within=PATIENCE, every=0.1)
        await eventually(lambda: serves(address), within=PATIENCE)
        async with flowing(address, rate=40) as traffic:
            await answered(traffic, 100)
            await off_loop(lambda: node.client.kubectl("delete", "resourcequota", "no-pods", "-n", node_namespace))
            await eventually(lambda: is_taken(node, node_namespace), within=PATIENCE, every=1)
            await answered(traffic, 100)
        logged = chart.said(node)

    assert traffic.failed == [], logged


async def test_uninstalled_in_any_order_nothing_is_left_and_traffic_never_stops(
    node: Node, node_namespace: str, remote: str
) -> None:
    async def resource_first() -> None:
        await off_loop(
            lambda: node.client.kubectl("delete", "md", model_service.NAME, "-n", node_namespace, within=PATIENCE)
        )
        await chart.uninstall(node)

    async def definition_first() -> None:
        crd = "crd/modeldeployments.deployment.beamlit.com"
        await off_loop(lambda: node.client.kubectl("delete", crd, f"--timeout={PATIENCE}s", within=PATIENCE + 10))
        await chart.uninstall(node)

    address = await deployed(node, node_namespace)
    async with flowing(address, rate=40, streams=1) as traffic:
        for order in (resource_first, definition_first):
            await chart.install(node)
            node.client.apply(model(node_namespace, metrics=[ALWAYS_OVER]))
            await ready(node, node_namespace)
            await order()
            await eventually(lambda: nothing_left(node, node_namespace), within=PATIENCE, every=1, what=order.__name__)
        await answered(traffic, 100)

        # The namespace last of all: it goes even though something of it is still taken over.
        await chart.install(node)
        node.client.apply(model(node_namespace, metrics=[ALWAYS_OVER]))
        await ready(node, node_namespace)
    gone = ("delete", "namespace", node_namespace, f"--timeout={PATIENCE}s")
    await off_loop(lambda: node.client.kubectl(*gone, within=PATIENCE + 10))
    await chart.uninstall(node)

    assert traffic.failed == []


async def nothing_left(node: Node, namespace: str) -> bool:
    """Tell whether nothing of ours is in the namespace, and the Service is as it was."""
    kinds = "deployment,configmap,service,pod,networkpolicy,poddisruptionbudget"
    ours = ("get", kinds, "-n", namespace, "-l", "deployment.beamlit.com/gateway", "-o", "name")
    left = await off_loop(lambda: node.client.kubectl(*ours))
    service = await off_loop(lambda: node.client.get("service", model_service.NAME, namespace=namespace))
    marks = service["metadata"].get("annotations") or {}
    return (
        not left.strip()
        and service["spec"]["selector"] == model_service.LABELS
        and not any("beamlit" in each for each in marks)
    )
