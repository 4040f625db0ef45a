"""The kinds that the fake API server serves, and how it parses paths."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

Json = dict[str, Any]
Key = tuple[str, str, str]
"""Resource such as `deployments.apps`, namespace (empty for what has none) and name."""


class RefusedError(Exception):
    """The server answers with an error status."""

    def __init__(self, code: int, reason: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def status(self) -> Json:
        """Return it as the API server writes it."""
        about: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return {**about, "message": self.message, "reason": self.reason, "code": self.code}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. `custom` is one that a CustomResourceDefinition defines; `counted` are those with a generation."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False
    counted: bool = False
    custom: bool = False
    unconditional: bool = True

    @property
    def group(self) -> str:
        """Its API group, empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """Its name with its group, as messages have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """Its kind with its group, as validation messages have it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


NAMESPACE: Final = Kind("v1", "Namespace", "namespaces", namespaced=False, has_status=True)
POD: Final = Kind("v1", "Pod", "pods", has_status=True, counted=True)
SERVICE: Final = Kind("v1", "Service", "services", has_status=True)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments", has_status=True, counted=True)
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", counted=True)
MODEL_DEPLOYMENT: Final = Kind(
    "deployment.beamlit.com/v1alpha1",
    "ModelDeployment",
    "modeldeployments",
    has_status=True,
    counted=True,
    custom=True,
    unconditional=False,
)
KINDS: Final = (
    NAMESPACE,
    POD,
    SERVICE,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    MODEL_DEPLOYMENT,
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Secret", "secrets"),
    Kind("apps/v1", "ReplicaSet", "replicasets", has_status=True, counted=True),
    Kind("apps/v1", "StatefulSet", "statefulsets", has_status=True, counted=True),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", has_status=True, counted=True),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", has_status=True),
    Kind("coordination.k8s.io/v1", "Lease", "leases", unconditional=False),
    Kind("events.k8s.io/v1", "Event", "events"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """What a path leads to: a collection without a name, else one object or a subresource of it."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Where the store has the object."""
        return self.kind.resource, self.namespace, self.name


def address(path: str) -> Address:
    """Read a path. Raises RefusedError for what is not served."""
    root, *parts = [unquote(part) for part in path.strip("/").split("/")]
    version, rest = (parts[0], parts[1:]) if root == "api" and parts else ("/".join(parts[:2]), parts[2:])
    if len(rest) > 2 and rest[0] == "namespaces":
        return _found(version, rest[2], namespace=rest[1], rest=rest[3:])
    return _found(version, rest[0] if rest else "", namespace="", rest=rest[1:])


def of(content: Json, subresource: str = "") -> Address:
    """Return the address of an object by what it says of itself."""
    about = content["metadata"]
    kind = named(content["apiVersion"], content["kind"])
    return Address(kind, about.get("namespace", "") if kind.namespaced else "", about.get("name", ""), subresource)


def named(api_version: str, kind: str) -> Kind:
    """Find a kind by its name."""
    return next(each for each in KINDS if (each.api_version, each.kind) == (api_version, kind))


def path_of(content: Json, subresource: str = "") -> str:
    """Return the path of an object, by what it says of itself."""
    kind = named(content["apiVersion"], content["kind"])
    root = "apis" if "/" in content["apiVersion"] else "api"
    about = content["metadata"]
    place = f"/namespaces/{about['namespace']}" if kind.namespaced else ""
    one = f"/{root}/{content['apiVersion']}{place}/{kind.plural}/{about['name']}"
    return f"{one}/{subresource}" if subresource else one


def collection_of(content: Json) -> str:
    """Return the path of the collection that an object is in."""
    return path_of(content).rpartition("/")[0]


def _found(version: str, plural: str, *, namespace: str, rest: list[str]) -> Address:
    kind = next((each for each in KINDS if (each.api_version, each.plural) == (version, plural)), None)
    if kind is None:
        raise RefusedError(404, "NotFound", "the server could not find the requested resource")
    name, subresource = (*rest, "", "")[:2]
    return Address(kind, namespace, name, subresource)


def not_found(at: Address) -> RefusedError:
    """Say that an object is not there."""
    return RefusedError(404, "NotFound", f'{at.kind.resource} "{at.name}" not found')


def conflict(at: Address, why: str) -> RefusedError:
    """Say that an object is not as it was taken for."""
    message = f'Operation cannot be fulfilled on {at.kind.resource} "{at.name}": {why}'
    return RefusedError(409, "Conflict", message)


MODIFIED: Final = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(at: Address, why: str) -> RefusedError:
    """Say that an object is not valid."""
    return RefusedError(422, "Invalid", f'{at.kind.qualified} "{at.name}" is invalid: {why}')
