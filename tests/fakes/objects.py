"""An object store with the API server's guarantees on versions, without network: for virtual time."""

from copy import deepcopy
from typing import Any

from beamlit_controller.kubernetes.api_server import ApiError

Json = dict[str, Any]


class Objects:
    """Objects by path. While `down` nothing answers; `writes` has every write that was accepted, in order."""

    def __init__(self) -> None:
        self.down = False
        self.writes: list[tuple[str, Json]] = []
        self._objects: dict[str, Json] = {}
        self._version = 0

    async def get(self, path: str) -> Json:
        self._answering()
        if path not in self._objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return deepcopy(self._objects[path])

    async def create(self, path: str, content: Json) -> Json:
        self._answering()
        name = f"{path}/{content['metadata']['name']}"
        if name in self._objects:
            raise ApiError(409, "AlreadyExists", f"{name} already exists")
        return self._stored(name, content)

    async def replace(self, path: str, content: Json) -> Json:
        self._answering()
        there = (await self.get(path))["metadata"]["resourceVersion"]
        if content["metadata"]["resourceVersion"] != there:
            raise ApiError(409, "Conflict", f"{path} is at {there}")
        return self._stored(path, content)

    def _answering(self) -> None:
        if self.down:
            raise ApiError(0, "ConnectionFailed", "nobody answers")

    def _stored(self, path: str, content: Json) -> Json:
        self._version += 1
        about = {**content["metadata"], "resourceVersion": str(self._version)}
        self._objects[path] = {**deepcopy(content), "metadata": about}
        self.writes.append((path, self._objects[path]))
        return deepcopy(self._objects[path])
