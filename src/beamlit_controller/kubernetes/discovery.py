"""API discovery: the version of the custom metrics API, and the plural names of kinds. Cached."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import fields
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer

Json = dict[str, Any]

CUSTOM = "custom.metrics.k8s.io"
KNOWN_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
FRESH_SECONDS = 30.0
LASTING_SECONDS = 600.0
FAILED_SECONDS = 0.5
"""How long a failure is cached: everyone who waited for the response shares it, later callers ask again."""
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Kind:
    """A served kind: group, version and plural name."""

    group: str
    version: str
    plural: str

    @property
    def root(self) -> str:
        """The path of the group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def resource(self) -> str:
        """The resource with its group: `services`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(slots=True)
class _CachedAnswer:
    """The cached response of one path. One task requests it; all others wait and get the same result or error."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    value: Json | ApiError = field(default_factory=dict)


class Discovery:
    """Requests and caches discovery documents; a missing kind is requested again sooner."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._cache: dict[str, _CachedAnswer] = {}

    async def custom_metrics_version(self) -> str | Missing:
        """Return the version of custom.metrics.k8s.io to use. Raises ApiError."""
        groups = await self._groups()
        version = choose_version(groups)
        absent = f"{CUSTOM} is not served: install an adapter for custom metrics, such as prometheus-adapter"
        return version or Missing(Reason.METRICS_API_ABSENT, absent)

    async def serves(self, group: str) -> bool:
        """Return whether an API group is registered. Raises ApiError."""
        return any(each.get("name") == group for each in await self._groups())

    async def kind(self, api_version: str, kind: str, *, exactly: bool = False) -> Kind | Missing:
        """Find a kind by its group, with `exactly` in the given version, else in the server's preferred one. Raises ApiError."""
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
        return fields.text(fields.mapping(found.get("preferredVersion")).get("version"))

    async def _groups(self) -> Sequence[Mapping[str, Any]]:
        answer = await self._get("/apis", FRESH_SECONDS)
        return list(fields.mappings(answer.get("groups")))

    async def _resources(self, root: str) -> Sequence[Mapping[str, Any]]:
        try:
            answer = await self._get(root, LASTING_SECONDS)
        except ApiError as error:
            if error.code == 404:  # noqa: PLR2004 - Not Found: the group or version is not served
                return []
            raise
        found = fields.mappings(answer.get("resources"))
        return [each for each in found if fields.text(each.get("name")) and fields.text(each.get("kind"))]

    async def _get(self, path: str, lasting: float) -> Json:
        """Get a path from the cache or the server. A slow or failing path does not block the others."""
        if path not in self._cache and len(self._cache) >= REMEMBERED:
            self._cache = {each: cached for each, cached in self._cache.items() if cached.turn.locked()}
        cached = self._cache.setdefault(path, _CachedAnswer())
        async with cached.turn:
            age = asyncio.get_running_loop().time() - cached.at
            if age > (FAILED_SECONDS if isinstance(cached.value, ApiError) else lasting):
                cached.value = await self._answer(path)
                cached.at = asyncio.get_running_loop().time()
            if isinstance(cached.value, ApiError):
                raise cached.value
            return cached.value

    async def _answer(self, path: str) -> Json | ApiError:
        try:
            return await self._server.get(path)
        except ApiError as error:
            return error


def choose_version(groups: Sequence[Mapping[str, Any]]) -> str | None:
    """Choose the version of the custom metrics API as the HPA does: the preferred one if supported, else the first."""
    found = next((group for group in groups if group.get("name") == CUSTOM), None)
    if found is None:
        return None
    preferred = fields.mapping(found.get("preferredVersion")).get("version")
    served = [each.get("version") for each in fields.mappings(found.get("versions"))]
    return next((str(version) for version in (preferred, *served) if version in KNOWN_CUSTOM_VERSIONS), None)
