"""Requests straight to an API server: what kubectl would do, for tests that look many times. Starting kubectl costs much more."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final

from kube.credentials import ADMIN

Json = dict[str, Any]

DEADLINE_SECONDS: Final = 60
DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MERGE: Final = "application/merge-patch+json"
MANAGER: Final = "kubectl-patch"
"""Who fields belong to that kubectl patches."""


class RestError(Exception):
    """The API server refused, or could not be reached; the text is as kubectl says it."""


class Rest:
    """Requests of the administrator. `server` is the API server's `host:port`."""

    def __init__(self, server: str, ca: Path) -> None:
        self._host, _, self._port = server.rpartition(":")
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._paths: dict[str, str] = {}

    def get(self, kind: str, name: str, *, namespace: str) -> Json:
        """Get an object, or with no name a list. Kinds are named as for kubectl. Raises RestError."""
        return self._request("GET", self._path(kind, name, namespace=namespace))

    def merge(
        self, kind: str, name: str, change: Mapping[str, object], *, namespace: str, subresource: str = ""
    ) -> Json:
        """Merge fields into an object. Raises RestError."""
        path = self._path(kind, name, namespace=namespace) + (f"/{subresource}" if subresource else "")
        return self._request("PATCH", f"{path}?fieldManager={MANAGER}", json.dumps(change), {"content-type": MERGE})

    def _path(self, kind: str, name: str, *, namespace: str) -> str:
        if kind not in self._paths:
            self._paths = dict(self._discovered())
        if kind not in self._paths:
            raise RestError(f'error: the server doesn\'t have a resource type "{kind}"')
        return self._paths[kind].format(namespace=namespace) + (f"/{name}" if name else "")

    def _discovered(self) -> Iterator[tuple[str, str]]:
        """Yield every name of a resource and the path of its collection; of two groups the first counts, as for kubectl."""
        found: dict[str, str] = {}
        for root in ("/api", "/apis"):
            for group in self._request("GET", root, headers={"accept": DISCOVERY})["items"]:
                where = f"{root}/{group['metadata']['name']}" if root == "/apis" else root
                for name, path in _of_group(group, where):
                    found.setdefault(name, path)
        yield from found.items()

    def _request(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] = {}) -> Json:
        connection = HTTPSConnection(self._host, int(self._port), context=self._tls, timeout=DEADLINE_SECONDS)
        try:
            with closing(connection):
                connection.request(method, path, body, {"authorization": f"Bearer {ADMIN}", **headers})
                response = connection.getresponse()
                answer: Json = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise RestError(f"{self._host}:{self._port} can't be asked: {error!r}") from error
        if response.status >= 300:
            raise RestError(f"Error from server ({answer.get('reason')}): {answer.get('message')}")
        return answer


def _of_group(group: Json, where: str) -> Iterator[tuple[str, str]]:
    version = group["versions"][0]
    for resource in version.get("resources", ()):  # none of an aggregated API that is not there
        if "responseKind" not in resource:
            continue
        plural = resource["resource"]
        scope = "/namespaces/{namespace}" if resource["scope"] == "Namespaced" else ""
        path = f"{where}/{version['version']}{scope}/{plural}"
        names = {plural, resource["singularResource"], *resource.get("shortNames", ())}
        for name in names - {""}:
            yield name, path
            yield f"{name}.{group['metadata'].get('name', '')}", path
