"""What the API server serves: the version of the custom metrics API, and the plural names of kinds."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer

Json = dict[str, Any]

CUSTOM = "custom.metrics.k8s.io"
KNOWN_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
FRESH_SECONDS = 30.0
LASTING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is served: where, and its plural name."""

    group: str
    version: str
    plural: str

    @property
    def root(self) -> str:
        """The path below which it is."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def resource(self) -> str:
        """Its name as a resource with its group: `services`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float
    value: Any


class Discovery:
    """Asks what is served, and remembers it for a while; what is not found is asked for again sooner."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._kept: dict[str, _Kept] = {}
        self._turn = asyncio.Lock()

    async def custom_metrics_version(self) -> str | Missing:
        """Give the version of custom.metrics.k8s.io to ask. Raises ApiError."""
        groups = await self._groups()
        version = choose_version(groups)
        absent = f"{CUSTOM} is not served: install an adapter for custom metrics, such as prometheus-adapter"
        return version or Missing(Reason.METRICS_API_ABSENT, absent)

    async def serves(self, group: str) -> bool:
        """Tell whether an API group is registered. Raises ApiError."""
        return any(each.get("name") == group for each in await self._groups())

    async def kind(self, api_version: str, kind: str, *, exactly: bool = False) -> Kind | Missing:
        """Find a kind by its group; `exactly` in the version that is given, else in the one that the server prefers.

        Raises ApiError.
        """
        group, _, version = api_version.rpartition("/")
        version = version if exactly or not group else await self._preferred(group)
        root = f"/apis/{group}/{version}" if group else "/api/v1"
        resources = await self._resources(root) if version or not group else []
        plural = next((each["name"] for each in resources if each["kind"] == kind and "/" not in each["name"]), None)
        if plural is None:
            where = f"{group}/{version}" if group and version else group or "v1"
            return Missing(Reason.KIND_UNKNOWN, f"the API server serves no kind {kind} in {where}")
        return Kind(group, version if group else "v1", plural)

    async def _preferred(self, group: str) -> str:
        found = next((each for each in await self._groups() if each.get("name") == group), {})
        return str((found.get("preferredVersion") or {}).get("version") or "")

    async def _groups(self) -> Sequence[Mapping[str, Any]]:
        answer = await self._get("/apis", FRESH_SECONDS)
        groups = answer.get("groups")
        return groups if isinstance(groups, list) else []

    async def _resources(self, root: str) -> Sequence[Mapping[str, Any]]:
        try:
            answer = await self._get(root, LASTING_SECONDS)
        except ApiError as error:
            if error.code == 404:  # noqa: PLR2004 - Not Found: the group or version is not served
                return []
            raise
        return [each for each in answer.get("resources") or () if "name" in each and "kind" in each]

    async def _get(self, path: str, lasting: float) -> Json:
        async with self._turn:
            now = asyncio.get_running_loop().time()
            kept = self._kept.get(path)
            if kept is None or now - kept.at > lasting:
                kept = self._kept[path] = _Kept(now, await self._server.get(path))
            value: Json = kept.value
            return value


def choose_version(groups: Sequence[Mapping[str, Any]]) -> str | None:
    """Choose the version of the custom metrics API as the HPA does: the preferred one if known, else the first that is."""
    found = next((group for group in groups if group.get("name") == CUSTOM), None)
    if found is None:
        return None
    preferred = (found.get("preferredVersion") or {}).get("version")
    served = [each.get("version") for each in found.get("versions") or ()]
    return next((str(version) for version in (preferred, *served) if version in KNOWN_CUSTOM_VERSIONS), None)
