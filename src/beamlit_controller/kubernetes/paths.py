"""The kinds of objects that the controller uses, and their paths at the API server."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind: its `apiVersion`, `kind` and plural name."""

    api_version: str
    kind: str
    plural: str

    def collection(self, namespace: str | None = None) -> str:
        """Return the path of all objects, in one namespace or in all."""
        root = "/api" if "/" not in self.api_version else "/apis"
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"{root}/{self.api_version}{place}/{self.plural}"

    def path(self, namespace: str | None, name: str, subresource: str = "") -> str:
        """Return the path of one object, or of a subresource of it."""
        one = f"{self.collection(namespace)}/{quote(name, safe='')}"
        return f"{one}/{subresource}" if subresource else one


CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
EVENTS = Resource("events.k8s.io/v1", "Event", "events")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
MODEL_DEPLOYMENTS = Resource("deployment.beamlit.com/v1alpha1", "ModelDeployment", "modeldeployments")
NAMESPACES = Resource("v1", "Namespace", "namespaces")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
