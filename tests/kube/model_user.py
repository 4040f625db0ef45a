"""The user of a model on a node: what they deploy, what they ask for, and what they see of it."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from beamlit_controller.envoy.config_stats import FILTER
from beamlit_controller.kubernetes import paths
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.plan import STATS_PORT
from fakes import client
from fakes.load import SERVED_BY
from kube import chart, model_service
from kube.client import KubectlError
from kube.netns import ADDRESS
from kube.node import Node
from waiting import eventually

T = TypeVar("T")
Json = dict[str, Any]

PATIENCE = 240
CONFIG_IN_FORCE = f"/stats/prometheus?text_readouts&filter={quote(FILTER)}"
REMOTE_PORT = 9000
BURN = "-burn=3ms"
NAME = model_service.NAME
GATEWAY = f"{NAME}-gateway"
OBJECTS = "deployment,configmap,service,pod,networkpolicy,poddisruptionbudget"
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
ALWAYS_OVER = {
    "type": "Resource",
    "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1"}},
}
SOON_BACK = {"percentage": 50, "release": {"stabilizationWindowSeconds": 10}}
"""Half is offloaded, and taken back sooner than the minute that is usual."""


def model(name: str = NAME, *, gateways: int = 2, **config: Any) -> Json:  # noqa: ANN401 - whatever an offloadingConfig has
    """Return the users' example with where its requests go."""
    backend = {"scheme": "http", "host": f"{ADDRESS}:{REMOTE_PORT}"}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "serviceRef": {"name": NAME, "targetPort": "http"},
            "gateway": {"replicas": gateways},
            "offloadingConfig": {"remoteBackend": backend, "behavior": SOON_BACK, "metrics": [CPU], **config},
        },
    }


async def off_loop(work: Callable[[], T]) -> T:
    """Do something that blocks, and let the requests of the test go on meanwhile."""
    return await asyncio.to_thread(work)


async def serves(address: str) -> bool:
    """Return whether a model is served there."""
    try:
        return (await client.ask(address)).line[1] == "200"
    except (OSError, IndexError):
        return False


async def leads_to_a_gateway(address: str) -> bool:
    """Return whether a new connection to a model leads to a gateway. A busy node programs that a while after the endpoints say so."""
    try:
        return (await client.ask(address)).header(SERVED_BY) is not None
    except OSError:
        return False


@asynccontextmanager
async def a_user(node: Node) -> AsyncIterator["ModelUser"]:
    """Provide the user of a fresh namespace."""
    space = node.client.namespace()
    name = await off_loop(space.__enter__)
    try:
        async with node.client.api_server() as server:
            yield ModelUser(node, server, name)
    finally:
        await off_loop(lambda: space.__exit__(None, None, None))


class ModelUser:
    """The user of a namespace of a node; `server` is their connection to the API server."""

    def __init__(self, node: Node, server: ApiServer, namespace: str) -> None:
        self.node = node
        self.namespace = namespace
        self._server = server

    # What they do.

    async def kubectl(self, *arguments: str) -> str:
        return await off_loop(lambda: self.node.client.kubectl("-n", self.namespace, *arguments, within=PATIENCE))

    async def apply(self, *objects: Json) -> None:
        await off_loop(lambda: self.node.client.apply(*objects, namespace=self.namespace))

    async def patch(self, spec: Json) -> None:
        await off_loop(lambda: self.node.client.patch("md", NAME, {"spec": spec}, namespace=self.namespace))

    async def deploy(self) -> str:
        """Have the model there as it was before, and give where clients find it."""
        await self.apply(model_service.deployment(arguments=(BURN,)), model_service.service())
        await self._rolled_out(NAME)
        # From here on only pods that need no privilege are let in: the gateway's.
        restricted = "pod-security.kubernetes.io/enforce=restricted"
        await off_loop(lambda: self.node.client.kubectl("label", "namespace", self.namespace, restricted))
        return await self.entrance()

    async def offload(self, *, gateways: int = 2, **config: Any) -> str:  # noqa: ANN401 - as `model` takes it
        """Have the model and its gateway there, and give where clients find it."""
        address = await self.deploy()
        await self.apply(model(gateways=gateways, **config))
        await self.ready()
        await self.through_gateways(address)
        return address

    async def restart(self, deployment: str, namespace: str = "") -> None:
        """Roll a Deployment over, and wait until the last old pod is gone."""
        where = namespace or self.namespace
        before = await self.pods(deployment, where)
        await off_loop(lambda: self.node.client.kubectl("rollout", "restart", f"deployment/{deployment}", "-n", where))
        await self._rolled_out(deployment, where)

        async def gone() -> bool:
            return not before & await self.pods(deployment, where)

        await eventually(gone, within=PATIENCE, every=0.2, what=f"the old pods of {deployment} are gone")

    # What they see.

    async def entrance(self) -> str:
        """Return where clients find the model: its Service, which is theirs."""
        address: str = await off_loop(lambda: self.node.entrance(NAME, self.namespace))
        await eventually(lambda: serves(address), within=PATIENCE)
        return address

    async def ready(self) -> None:
        """Wait until the model is Ready, and all pods of its gateway are."""
        await self.kubectl("wait", "--for=condition=Ready", f"modeldeployment/{NAME}", f"--timeout={PATIENCE}s")
        await self._rolled_out(GATEWAY)

    async def through_gateways(self, address: str) -> None:
        """Wait until new connections lead to gateways."""
        await eventually(
            lambda: leads_to_a_gateway(address), within=PATIENCE, what="a new connection leads to a gateway"
        )

    async def status(self, name: str = NAME) -> Json:
        found = await self._get(paths.MODEL_DEPLOYMENTS, name)
        given: Json = found.get("status") or {}
        return given

    async def condition(self, kind: str, name: str = NAME) -> Json:
        conditions: list[Json] = (await self.status(name)).get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), {})

    async def says(self, kind: str, status: str, reason: str, name: str = NAME) -> None:
        """Wait until a condition says so."""

        async def said() -> bool:
            found = await self.condition(kind, name)
            return (found.get("status"), found.get("reason")) == (status, reason)

        await eventually(said, within=PATIENCE, every=0.2, what=f"{kind} of {name} is {status}: {reason}")

    async def reaches(self, percentage: int) -> None:
        async def reached() -> bool:
            return ((await self.status()).get("offloading") or {}).get("percentage") == percentage

        await eventually(reached, within=PATIENCE, every=0.2, what=f"{percentage} % is decided")

    async def pods(self, deployment: str = GATEWAY, namespace: str = "") -> set[str]:
        listed = await self._server.get(paths.PODS.collection(namespace or self.namespace))
        names = {each["metadata"]["name"] for each in listed["items"]}
        return {each for each in names if each.startswith(f"{deployment}-")}

    async def service(self) -> Json:
        return await self._get(paths.SERVICES, NAME)

    async def autoscaler(self) -> Json:
        return await self._get(paths.HORIZONTAL_POD_AUTOSCALERS, NAME)

    async def is_taken(self) -> bool:
        """Return whether the Service selects other pods than its user wrote."""
        return bool((await self.service())["spec"]["selector"] != model_service.LABELS)

    async def leads(self, *, through: bool) -> bool:
        """Return whether the Service leads to gateways and to nobody else, or to the model and to nobody else."""
        mine = (("labelSelector", f"kubernetes.io/service-name={NAME}"),)
        listed = await self._server.get(paths.ENDPOINT_SLICES.collection(self.namespace), mine)
        endpoints = [each for slice_ in listed["items"] for each in slice_.get("endpoints") or ()]
        led = {"-gateway-" in each["targetRef"]["name"] for each in endpoints if each["conditions"]["ready"]}
        return led == {through}

    async def nothing_left(self) -> bool:
        """Return whether nothing of ours is in the namespace, and the Service is as it was."""
        left = await self.kubectl("get", OBJECTS, "-l", "deployment.beamlit.com/gateway", "-o", "name")
        service = await self.service()
        marks = service["metadata"].get("annotations") or {}
        as_it_was = service["spec"]["selector"] == model_service.LABELS
        return not left.strip() and as_it_was and "beamlit" not in json.dumps(list(marks))

    async def is_gone(self) -> bool:
        """Return whether the namespace is no more."""
        try:
            await self._server.get(paths.NAMESPACES.path(None, self.namespace))
        except ApiError as error:
            return error.code == 404
        return False

    def account(self) -> str:
        """Return the objects of the namespace, what gateways have in force, and the controller's log, as far as they can be had."""
        objects = f"modeldeployments,{OBJECTS},endpointslices,events"
        listed = self._said("get", "pods", "-n", self.namespace, "-l", "deployment.beamlit.com/gateway", "-o", "name")
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        asked = (
            ("get", objects, "-n", self.namespace, "-o", "wide"),
            ("get", "modeldeployments,configmaps,pods,services", "-n", self.namespace, "-o", "yaml"),
            *(
                ("get", "--raw", f"{pods}/{pod.removeprefix('pod/')}:{STATS_PORT}/proxy{CONFIG_IN_FORCE}")
                for pod in listed.split()
            ),
            ("logs", "-n", chart.NAMESPACE, "-l", chart.PODS, "--prefix", "--tail=1000"),
        )
        return "\n\n".join(self._said(*arguments) for arguments in asked)

    def _said(self, *arguments: str) -> str:
        try:
            return self.node.client.kubectl(*arguments)
        except (KubectlError, subprocess.TimeoutExpired) as error:
            return str(error)

    async def _get(self, resource: paths.Resource, name: str) -> Json:
        return await self._server.get(resource.path(self.namespace, name))

    async def _rolled_out(self, deployment: str, namespace: str = "") -> None:
        where = namespace or self.namespace
        await off_loop(lambda: self.node.client.rolled_out(f"deployment/{deployment}", namespace=where))
