"""A real node on which pods are replaced, the API server is away, a right is missing, or a namespace is deleted."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fakes import client
from kube import chart, model_service
from kube.model_user import ALWAYS_OVER, GATEWAY, PATIENCE, REMOTE_PORT, ModelUser, model, off_loop, serves
from kube.node import Node
from kube.traffic import flowing
from waiting import eventually

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("controller")]

Json = dict[str, Any]

OUTAGE = 40
"""Longer than a lease lasts, and than anybody waits before they try again."""


async def test_rollouts_a_moved_remote_and_a_killed_leader_cost_no_request_and_no_stream(
    node: Node, user: ModelUser, remote: str
) -> None:
    with node.model_beside("other-remote", port=REMOTE_PORT + 1) as moved:
        there = node.reach(moved)
        await eventually(lambda: connects(there), within=PATIENCE)
        address = await user.offload(metrics=[ALWAYS_OVER])
        await user.reaches(50)
        async with flowing(address, rate=20, streams=6) as traffic:
            await traffic.more(50)
            await user.restart(GATEWAY)

            await user.patch({"offloadingConfig": {"remoteBackend": {"host": moved}}})
            await eventually(lambda: asked(there), within=PATIENCE, every=0.5, what="the other remote is asked")

            await user.restart(chart.NAME, chart.NAMESPACE)
            await traffic.more(50)

            killed = await off_loop(lambda: leader(node))
            await off_loop(lambda: node.crash(killed, namespace=chart.NAMESPACE))
            await user.patch({"offloadingConfig": {"behavior": {"percentage": 40}}})
            await user.reaches(40)
            await traffic.more(50)
        logged = chart.said(node)

    assert traffic.failed == [], logged
    assert traffic.streams >= 12


async def asked(entrance: str) -> bool:
    """Return whether a model server has answered anything."""
    answer = await client.get(entrance, "/metrics")
    return b"model_requests_total 0\n" not in answer.body.content


async def connects(address: str) -> bool:
    try:
        async with client.connect(address):
            return True
    except OSError:
        return False


def leader(node: Node) -> str:
    lease: Json = node.client.get("lease", chart.NAME, namespace=chart.NAMESPACE)
    return str(lease["spec"]["holderIdentity"])


async def test_a_service_that_the_controller_may_not_write_is_said_to_be_not_taken_over(
    node: Node, user: ModelUser, remote: str
) -> None:
    address = await user.deploy()
    beside = model(gateways=1)
    await user.apply({**beside, "spec": {**beside["spec"], "routing": {"mode": "Service"}}})
    await user.ready()
    async with flowing(address, rate=20) as traffic:
        with refused(node, "services", "patch"):
            await user.patch({"routing": {"mode": "Takeover"}})
            await user.says("ServiceTaken", "False", "APIRefused")
            refusal = (await user.condition("ServiceTaken"))["message"]
            ready, taken = (await user.condition("Ready"))["status"], await user.is_taken()
        await user.says("ServiceTaken", "True", "ServiceTaken")
        await user.ready()

    assert 'cannot patch resource "services" in API group "" in the namespace' in refusal
    assert (ready, taken) == ("False", False)
    assert traffic.failed == []


@contextmanager
def refused(node: Node, resource: str, verb: str) -> Iterator[None]:
    """Take a right away from the controller until the block ends."""
    role = f"{chart.NAME}-models"
    rules: list[Json] = node.client.get("clusterrole", role)["rules"]
    _set_rules(node, role, [fewer for each in rules for fewer in without(each, resource, verb)])
    try:
        yield
    finally:
        _set_rules(node, role, rules)


def without(rule: Json, resource: str, verb: str) -> Iterator[Json]:
    """Yield what is left of a rule without a right that it grants."""
    if resource in rule["resources"]:
        yield {**rule, "resources": [resource], "verbs": [each for each in rule["verbs"] if each != verb]}
    others = [each for each in rule["resources"] if each != resource]
    if others:
        yield {**rule, "resources": others}


def _set_rules(node: Node, role: str, rules: list[Json]) -> None:
    node.client.kubectl("patch", "clusterrole", role, "--type=merge", "-p", json.dumps({"rules": rules}))


async def test_a_second_model_on_a_service_has_no_gateway_and_the_namespace_goes_within_a_minute(
    user: ModelUser, remote: str
) -> None:
    await user.offload(gateways=1, metrics=[ALWAYS_OVER])
    await user.apply(model("second", metrics=[ALWAYS_OVER]))

    await user.says("Ready", "False", "ServiceHeld", "second")
    message = (await user.condition("Ready", "second"))["message"]
    gateways = await user.pods("second-gateway")
    status = await user.status("second")
    deployments = await user.kubectl("get", "deployments", "-o", "name")

    await user.kubectl("delete", "namespace", user.namespace, "--wait=false")
    await eventually(user.is_gone, within=60, every=0.2, what="the namespace is gone")

    assert f"Service {model_service.NAME} is taken over by ModelDeployment {model_service.NAME}" in message
    assert (gateways, "second-gateway" in deployments) == (set(), False)
    assert (status.get("offloading") or {}).get("percentage") in {None, 0}


async def test_without_the_api_server_traffic_goes_on_and_a_restarted_gateway_serves(
    node: Node, user: ModelUser, remote: str
) -> None:
    """It is the last one: those who were not answered for so long ask ever more rarely."""
    address = await user.offload(metrics=[ALWAYS_OVER])
    await user.reaches(50)
    listed = await off_loop(lambda: node.client.get("pods", namespace=user.namespace))
    one = next(each for each in listed["items"] if "gateway" in each["metadata"]["name"])
    direct = node.reach(f"{one['status']['podIP']}:{model_service.PORT}")
    containers = [each["containerID"].removeprefix("containerd://") for each in one["status"]["containerStatuses"]]
    await off_loop(node.control_plane.stop_api_server)
    down_since = asyncio.get_running_loop().time()
    try:
        async with flowing(address, rate=40, streams=2) as traffic:
            await traffic.more(600)
        share = traffic.share(Counter())
        for container in containers:
            await off_loop(lambda each=container: node.ctr("tasks", "kill", "--all", "--signal=SIGKILL", each))
        await eventually(lambda: serves(direct), within=60, every=0.5, what="the killed gateway serves again")
        async with flowing(direct, rate=40) as restarted_one:
            await restarted_one.more(200)
            now = asyncio.get_running_loop().time
            await eventually(
                lambda: now() - down_since >= OUTAGE, within=PATIENCE, every=0.5, what="the outage is over"
            )
    finally:
        await off_loop(node.control_plane.start_api_server)
    await user.patch({"offloadingConfig": {"behavior": {"percentage": 30}}})
    await user.reaches(30)
    logged = chart.said(node)

    assert traffic.failed == restarted_one.failed == [], logged
    assert abs(share - 50) <= 10  # of 600, that is five standard deviations
