"""The node of the tests: what the end-to-end tests may count on."""

import json

import pytest

from fakes import client, load
from kube import model_service, monitoring
from kube.configuration import DOMAIN, REMOTE
from kube.node import Node
from waiting import eventually

pytestmark = pytest.mark.alone

PATIENCE_SECONDS = 120


def start(node: Node, namespace: str, *, arguments: tuple[str, ...] = ()) -> list[str]:
    """Start a model of two pods, wait until they are ready, and give their names."""
    node.client.apply(
        model_service.deployment(arguments=arguments),
        model_service.service(),
        model_service.service("local", headless=True),
        namespace=namespace,
    )
    node.client.rolled_out("deployment/model", namespace=namespace)
    return sorted(pod["metadata"]["name"] for pod in node.client.get("pods", namespace=namespace)["items"])


async def answers(address: str) -> bool:
    try:
        return int((await client.get(address)).line[1]) < 400
    except OSError:
        return False


async def test_the_pods_behind_a_service_answer(node: Node, node_namespace: str) -> None:
    pods = start(node, node_namespace)
    address = node.entrance("model", node_namespace)
    await eventually(lambda: answers(address), within=PATIENCE_SECONDS)
    answered: set[str] = set()

    async def all_have_answered() -> bool:
        answered.add(json.loads((await client.get(address)).body.content)["served_by"])
        return answered == set(pods)

    await eventually(all_have_answered, within=PATIENCE_SECONDS)


async def test_a_headless_service_resolves_to_the_pods_and_follows_them(node: Node, node_namespace: str) -> None:
    start(node, node_namespace)

    def resolved() -> set[str]:
        found = node.inside.run("getent", "ahostsv4", f"local.{node_namespace}.svc.{DOMAIN}")
        return {line.split()[0] for line in found.splitlines()}

    def addresses() -> set[str]:
        return {pod["status"]["podIP"] for pod in node.client.get("pods", namespace=node_namespace)["items"]}

    await eventually(lambda: resolved() == addresses(), within=PATIENCE_SECONDS)
    node.client.kubectl("scale", "deployment/model", "--replicas=3", "-n", node_namespace)
    node.client.rolled_out("deployment/model", namespace=node_namespace)

    await eventually(lambda: len(resolved()) == 3 and resolved() == addresses(), within=PATIENCE_SECONDS)


async def test_the_autoscaler_reads_the_cpu_that_the_pods_use(node: Node, node_namespace: str) -> None:
    start(node, node_namespace, arguments=("-burn=10ms",))
    node.client.apply(model_service.autoscaler(percent=50), namespace=node_namespace)
    address = node.entrance("model", node_namespace)
    await eventually(lambda: answers(address), within=PATIENCE_SECONDS)

    def utilization() -> int:
        status = node.client.get("hpa", "model", namespace=node_namespace).get("status", {})
        metrics = status.get("currentMetrics") or [{}]
        return metrics[0].get("resource", {}).get("current", {}).get("averageUtilization", 0)

    async with load.asking(address, connections=4) as tally:
        await eventually(lambda: utilization() > 100, within=PATIENCE_SECONDS, every=1)

    assert not tally.failed


async def test_prometheus_beside_the_cluster_scrapes_the_pods_and_is_a_service(node: Node, node_namespace: str) -> None:
    start(node, node_namespace)

    with monitoring.prometheus(node, scrape=f"local.{node_namespace}", port=model_service.PORT):
        node.expose("my-local-prom", node_namespace, port=9090, target=monitoring.PORT)
        address = node.entrance("my-local-prom", node_namespace, port=9090)
        await eventually(lambda: answers(address), within=PATIENCE_SECONDS)

        async def scraped() -> bool:
            answer = await client.get(address, "/api/v1/query?query=model_requests_total")
            return len(json.loads(answer.body.content)["data"]["result"]) == 2

        await eventually(scraped, within=PATIENCE_SECONDS, every=0.5)


async def test_a_server_beside_the_cluster_answers_and_has_a_name(node: Node) -> None:
    with node.model_beside("remote", port=9000) as remote:
        address = node.reach(remote)
        await eventually(lambda: answers(address), within=PATIENCE_SECONDS)

        answer = json.loads((await client.get(address)).body.content)
        named = node.inside.run("getent", "ahostsv4", REMOTE)

    assert answer["served_by"] == "remote"
    assert named.split()[0] == remote.split(":")[0]


async def test_a_stream_goes_through_to_its_end(node: Node, node_namespace: str) -> None:
    start(node, node_namespace)
    address = node.entrance("model", node_namespace)
    await eventually(lambda: answers(address), within=PATIENCE_SECONDS)

    answer = await client.get(address, "/v1/completions?stream=2s")

    events = answer.body.content.decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert len(events) > 15


def test_the_room_has_no_way_out(node: Node) -> None:
    links = json.loads(node.inside.run("ip", "-json", "link"))

    assert {link["ifname"] for link in links if not link["ifname"].startswith("veth")} <= {"lo", "outside", "pods"}


async def test_the_projects_image_runs_without_rights(node: Node, node_namespace: str, project_image: str) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    node.client.kubectl("label", "namespace", node_namespace, level)

    node.client.apply(
        model_service.once("version", image=project_image, arguments=["--version"]), namespace=node_namespace
    )
    await eventually(lambda: phase(node, node_namespace) == "Succeeded", within=PATIENCE_SECONDS)

    assert node.client.kubectl("logs", "version", "-n", node_namespace).strip()


def phase(node: Node, namespace: str) -> str:
    return node.client.get("pod", "version", namespace=namespace)["status"]["phase"]
