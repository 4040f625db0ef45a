"""The whole of it, as a user has it: the chart on a real node, models, load, a remote outside of the cluster.

Each story has a namespace of its own, and mostly waits: some are played side by side.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from fakes import client
from fakes.load import SERVED_BY
from kube import chart, model_service, monitoring
from kube.model_user import ALWAYS_OVER, PATIENCE, REMOTE_PORT, ModelUser, a_user, model, off_loop, serves
from kube.netns import ADDRESS
from kube.node import Node
from kube.traffic import Traffic, flowing
from waiting import eventually

pytestmark = pytest.mark.alone

Json = dict[str, Any]
Story = Callable[[Node, ModelUser], Awaitable[None]]

AT_ONCE = 3
QUIET, BUSY = 4, 100
"""Requests a second: of 3 ms of CPU each and what the server takes besides, for two pods that request 100m; demand when quiet is far below 50 %."""
MEASURED, WITHIN = 1_500, 6
"""So many requests tell the share to so many percent: that is five standard deviations."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest, node: Node, controller: None
) -> AsyncIterator[Mapping[Story, Awaitable[None]]]:
    """Play the stories of the tests that were chosen, some at once; give what becomes of each."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def play(story: Story) -> None:
        async with at_once, a_user(node) as user:
            await story(node, user)

    stories = [each.callspec.params["story"] for each in request.session.items if each.parent is request.node]
    with node.model_beside("remote", port=REMOTE_PORT):
        playing = {story: asyncio.ensure_future(play(story)) for story in stories}
        try:
            yield playing
        finally:
            for each in playing.values():
                each.cancel()
            await asyncio.gather(*playing.values(), return_exceptions=True)


async def settled_share(traffic: Traffic, user: ModelUser, expected: float) -> float:
    """Return the remote's percentage of many requests, measured anew while a stalled machine disturbs it.

    Such a machine loses connections to local for a moment, and what local can't take leaves as well; or it sends fewer
    requests than asked, and the model is taken back because it is less busy.
    """
    share = 0.0

    async def settled() -> bool:
        nonlocal share
        await user.reaches(int(expected))
        before = traffic.answered.copy()
        await traffic.more(MEASURED)
        share = traffic.share(before)
        return abs(share - expected) <= WITHIN

    with suppress(AssertionError):
        await eventually(settled, within=PATIENCE)
    return share


async def utilizations(user: ModelUser) -> tuple[int | None, int | None]:
    """Return what the real autoscaler sees of the cpu, and what we see."""
    theirs = ((await user.autoscaler()).get("status") or {}).get("currentMetrics") or [{}]
    ours = (await user.status()).get("currentMetrics") or [{}]
    return tuple(
        (each[0].get("resource") or {}).get("current", {}).get("averageUtilization") for each in (theirs, ours)
    )


async def a_busy_model_is_offloaded_by_half_and_taken_back_and_no_request_fails(node: Node, user: ModelUser) -> None:
    address = await user.deploy()
    async with flowing(address, rate=QUIET) as all_along:
        await user.apply(model(), model_service.autoscaler(percent=1000))
        await user.ready()
        await user.through_gateways(address)
        # Connections from before go on past the gateway, so what is measured comes over others.
        async with flowing(address, rate=QUIET) as traffic:
            await traffic.more(50)
            at_first = traffic.by("remote")

            traffic.rate = BUSY
            await user.reaches(50)
            await traffic.more(200)
            share = await settled_share(traffic, user, 50)

            async def agree() -> bool:
                theirs, ours = await utilizations(user)
                return theirs is not None and theirs == ours

            await eventually(agree, within=PATIENCE, every=0.5, what="the autoscaler's figure and ours are the same")
            traffic.rate = QUIET
            await user.reaches(0)
            await traffic.more(10)
            after = traffic.answered.copy()
            await traffic.more(40)
        logged = await off_loop(lambda: chart.said(node))

    assert all_along.failed == traffic.failed == [], logged
    assert at_first == 0
    assert abs(share - 50) <= WITHIN
    assert traffic.share(after) == 0


async def the_same_by_a_metric_in_prometheus_with_the_users_values(node: Node, user: ModelUser) -> None:
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
    with monitoring.prometheus(node, scrape=f"{model_service.NAME}-local.{user.namespace}", port=model_service.PORT):
        node.expose("my-local-prom", chart.NAMESPACE, port=9090, target=monitoring.PORT)
        address = await user.offload(gateways=1, metrics=[in_flight])
        async with flowing(address, rate=40) as quiet:
            await quiet.more(100)
        async with flowing(address, rate=40, streams=8) as busy:
            await user.reaches(50)
            before = busy.answered.copy()
            await busy.more(400)
            share = busy.share(before)
        await user.reaches(0)
        logged = await off_loop(lambda: chart.said(node))

    assert quiet.failed == busy.failed == [], logged
    assert quiet.by("remote") == 0
    assert busy.streams >= 8
    assert abs(share - 50) <= 12  # of 400, that is five standard deviations


API_KEY = {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "remote", "key": "apiKey"}}}


def secret(key: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "remote"}, "stringData": {"apiKey": key}}


async def a_credential_that_comes_late_and_is_exchanged_goes_to_the_remote_alone(node: Node, user: ModelUser) -> None:
    backend = {"scheme": "http", "host": f"{ADDRESS}:{REMOTE_PORT}", "authConfig": API_KEY}
    address = await user.offload(gateways=1, metrics=[ALWAYS_OVER], remoteBackend=backend)
    await user.reaches(50)
    async with flowing(address, rate=40) as traffic:
        await traffic.more(200)
        without = traffic.by("remote")
        await user.says("RemoteReady", "False", "CredentialsUnreadable")

        await user.apply(secret("first"))
        await eventually(lambda: shown(address, "Bearer first"), within=PATIENCE, every=0.2)
        await user.says("RemoteReady", "True", "RemoteAnswers")
        await user.apply(secret("second"))
        await eventually(lambda: shown(address, "Bearer second"), within=PATIENCE, every=0.2)
        await traffic.more(200)
        logged = await off_loop(lambda: chart.said(node))

    assert traffic.failed == [], logged
    assert without == 0
    assert traffic.by("remote") > 0


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


async def fifty_times_taken_over_and_given_back_under_load_and_no_request_fails(node: Node, user: ModelUser) -> None:
    address = await user.offload(metrics=[ALWAYS_OVER])
    await user.reaches(50)
    async with flowing(address, rate=40, streams=2) as traffic:
        for _ in range(TIMES):
            await routed(user, "Service", taken=False)
            await routed(user, "Takeover", taken=True)
        await traffic.more(100)
    logged = await off_loop(lambda: chart.said(node))

    assert traffic.failed == [], logged
    assert traffic.by("remote") > 0


async def routed(user: ModelUser, mode: str, *, taken: bool) -> None:
    """Choose a mode, and wait until the Service's endpoints are the gateway's or the model's."""
    await user.patch({"routing": {"mode": mode}})
    await is_taken(user, taken=taken)
    await eventually(lambda: user.leads(through=taken), within=PATIENCE, every=0.1)


async def is_taken(user: ModelUser, *, taken: bool) -> None:
    async def seen() -> bool:
        return await user.is_taken() == taken

    await eventually(seen, within=PATIENCE, every=0.05, what=f"taken over: {taken}")


async def without_any_gateway_pod_the_service_is_given_back_and_taken_again(node: Node, user: ModelUser) -> None:
    address = await user.offload(metrics=[ALWAYS_OVER])
    gateways = await user.pods()
    # Nothing can be started here any more: the gateways that go do not come back.
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-pods"},
        "spec": {"hard": {"pods": "0"}},
    }
    await user.apply(quota)
    await user.kubectl("delete", "pod", "--force", "--grace-period=0", *gateways)
    await is_taken(user, taken=False)
    await eventually(lambda: serves(address), within=PATIENCE)
    async with flowing(address, rate=40) as traffic:
        await traffic.more(100)
        await user.kubectl("delete", "resourcequota", "no-pods")
        await is_taken(user, taken=True)
        await traffic.more(100)
    logged = await off_loop(lambda: chart.said(node))

    assert traffic.failed == [], logged


STORIES: tuple[Story, ...] = (
    a_busy_model_is_offloaded_by_half_and_taken_back_and_no_request_fails,
    the_same_by_a_metric_in_prometheus_with_the_users_values,
    a_credential_that_comes_late_and_is_exchanged_goes_to_the_remote_alone,
    fifty_times_taken_over_and_given_back_under_load_and_no_request_fails,
    without_any_gateway_pod_the_service_is_given_back_and_taken_again,
)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_on_a_node(played: Mapping[Story, Awaitable[None]], story: Story) -> None:
    await played[story]
