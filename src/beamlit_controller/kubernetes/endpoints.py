"""The addresses of the model servers' own metrics endpoints: the ready pods behind `metricServiceRef`."""

from collections.abc import Mapping, Sequence
from itertools import islice

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes.pods import KnownPod
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.store import Store


class MetricEndpoints:
    """The ready pods behind each model's `metricServiceRef`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, spec: OffloadSpec) -> Mapping[str, str] | Missing:
        """Return the pod name of each endpoint, by `host:port`; if there is none, why."""
        given = spec.metric_service
        if given is None:
            return {}
        namespace, name = spec.key.namespace, given.name
        service = self._store.service(namespace, name)
        if service is None or not service.selector:
            return _missing(namespace, name, _no_selector(service))
        found = self._store.pods.endpoints(
            namespace, service.pod_selector, given.target_port, families=service.families
        )
        endpoints = {f"[{host}]:{port}" if ":" in host else f"{host}:{port}": pod for pod, host, port in found}
        if endpoints:
            return endpoints
        pods = self._store.pods.known(namespace, service.pod_selector)
        return _missing(namespace, name, _no_endpoint(service, pods, given.target_port))


def _missing(namespace: str, name: str, why: str) -> Missing:
    return Missing(Reason.NO_PODS, f"metricServiceRef: Service {namespace}/{name} {why}")


def _no_selector(service: Service | None) -> str:
    if service is None:
        return "does not exist"
    if service.selector_unknown:
        return "is taken over, and the selector that its user wrote is unknown"
    if service.type == "ExternalName":
        return "is of type ExternalName: expected one that selects the model's pods"
    return "has no selector: expected one that selects the model's pods"


def _no_endpoint(service: Service, pods: Sequence[KnownPod], port: int | str) -> str:
    if not pods:
        selector = ",".join(f"{key}={value}" for key, value in islice(service.selector, _SHOWN))
        return f"has no endpoint for port {port}: no pod matches its selector {selector}"
    ready = [each for each in pods if each.ready and each.ip]
    if not ready:
        return f"has no endpoint for port {port}: none of its pods is ready ({len(pods)} not ready)"
    return f"has no endpoint for port {port}: no ready pod has a port of this name; {_instead(service, ready, port)}"


def _instead(service: Service, ready: Sequence[KnownPod], port: int | str) -> str:
    """Return which port to write: a name may be that of the Service's port, and `targetPort` is one of the pods."""
    target = next((each.target for each in service.ports if each.name == port), port)
    if target != port:
        return f"it is a port of the Service, whose targetPort is {target}"
    names = sorted({name for each in ready for name, _ in each.ports})
    return f"they have {', '.join(names[:_SHOWN])}" if names else "they have no named ports"


_SHOWN = 5
