"""What the plays are played in, and the objects that they are about."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, LEASES, MODEL_DEPLOYMENTS, SERVICES, Resource


@dataclass(frozen=True, slots=True)
class World:
    """A server, as one manager sees it, and a namespace of one's own."""

    api: ApiServer
    namespace: str
    kubectl_apply: Callable[[Json], Awaitable[None]]

    def path(self, resource: Resource, name: str = "a", subresource: str = "") -> str:
        """Return the path of an object."""
        return resource.path(self.namespace, name, subresource)

    async def create(self, resource: Resource, name: str = "a", **content: Any) -> Json:  # noqa: ANN401 - its fields
        """Create an object of a good default."""
        return await self.api.create(resource.collection(self.namespace), made(resource, name, **content))

    async def get(self, resource: Resource, name: str = "a") -> Json:
        """Get an object."""
        return await self.api.get(self.path(resource, name))

    async def merge(self, resource: Resource, patch: Json, subresource: str = "") -> Json:
        """Merge fields into an object."""
        return await self.api.merge(self.path(resource, subresource=subresource), patch)

    async def apply(
        self,
        resource: Resource,
        content: Json,
        manager: str = "me",
        *,
        force: bool = False,
        subresource: str = "",
    ) -> Json:
        """Apply fields of an object as a manager."""
        about = {"name": "a", **content.get("metadata", {})}
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **content, "metadata": about}
        query = [("fieldManager", manager), *([("force", "true")] if force else [])]
        path = self.path(resource, subresource=subresource)
        sent = self.api._exchange("PATCH", path, query, whole, kind="application/apply-patch+yaml")  # noqa: SLF001 - for another manager
        return await sent


@dataclass(frozen=True, slots=True)
class Play:
    """One thing that is to be so."""

    so: str
    play: Callable[[World], Awaitable[object]]
    gives: object


def made(resource: Resource, name: str, **content: Any) -> Json:  # noqa: ANN401 - its fields
    """Return an object of a good default."""
    about = {"name": name, **content.pop("metadata", {})}
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": about}
    return {**whole, **GOOD.get(resource, {}), **content}


CONTAINER = {"name": "c", "image": "i"}


GOOD: dict[Resource, Json] = {
    SERVICES: {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}},
    DEPLOYMENTS: {
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "replicas": 0,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [CONTAINER]}},
        }
    },
    MODEL_DEPLOYMENTS: {
        "spec": {
            "offloadingConfig": {
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ]
            }
        }
    },
    CONFIG_MAPS: {"data": {"x": "1"}},
    LEASES: {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}},
}


async def refusal(world: World, awaited: Awaitable[object]) -> tuple[int, str, str]:
    """Return the error that came, with the namespace and what is drawn by lot left out."""
    try:
        await awaited
    except ApiError as error:
        said = error.message.replace(world.namespace, "NAMESPACE")
        return error.code, error.reason, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d{2,}\b", "#", said)
    return 0, "", "not refused"


async def let_go(world: World, resource: Resource = CONFIG_MAPS) -> None:
    """Take all finalizers off."""
    await world.merge(resource, {"metadata": {"finalizers": None}})


def port_numbers(ports: Iterable[Json]) -> list[int]:
    """Return the ports in order."""
    return sorted(each["port"] for each in ports)


INVALID = (422, "Invalid")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
WELL = (0, "", "not refused")
MODEL = "ModelDeployment.deployment.beamlit.com"
MODELS = "modeldeployments.deployment.beamlit.com"
REFUSED = "Operation cannot be fulfilled on"
