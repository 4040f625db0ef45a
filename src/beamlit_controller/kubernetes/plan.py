"""Where a model's gateway stands between its Service and its pods, or why it can't stand anywhere. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.gateway_objects import Ports
from beamlit_controller.kubernetes.services import Service

STATS_PORT = 9902


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom the gateway serves: the labels and the port of the model's pods, and the ports of its own."""

    selector: Mapping[str, str]
    local_port: int
    ports: Ports
    ipv6: bool


NamedPorts = Iterable[Mapping[str, int]]
"""The named ports of each pod behind the Service."""


def plan(spec: OffloadSpec, service: Service | None, named_ports: NamedPorts) -> Plan | Missing:
    """Find the gateway's place."""
    refusal = _refusal(spec, service)
    if refusal is not None or service is None or spec.service is None:
        return refusal or Missing(Reason.SERVICE_NOT_FOUND, "spec.serviceRef: expected the Service that clients use")
    wanted = spec.service.target_port
    port = wanted if isinstance(wanted, int) else _numbered(wanted, named_ports)
    if isinstance(port, Missing):
        return port
    stats = STATS_PORT if port != STATS_PORT else STATS_PORT + 1
    ports = Ports(front=port, stats=stats, service=_service_port(service, {wanted, port}) or port)
    return Plan(dict(service.selector), port, ports, service.ipv6)


def _refusal(spec: OffloadSpec, service: Service | None) -> Missing | None:
    if spec.routing is not RoutingMode.SERVICE:
        expected = "spec.routing.mode: expected Service, this version does not take Services over yet"
        return Missing(Reason.ROUTING_NOT_SUPPORTED, f"{expected}; got {spec.routing}")
    if spec.service is None:
        return Missing(Reason.SERVICE_NOT_FOUND, "spec.serviceRef: expected the Service that clients use, got none")
    where = f"spec.serviceRef: Service {spec.key.namespace}/{spec.service.name}"
    if service is None:
        return Missing(Reason.SERVICE_NOT_FOUND, f"{where} is not there")
    unsuitable = _unsuitable(spec, service)
    return Missing(Reason.SERVICE_UNSUITABLE, f"{where} {unsuitable}") if unsuitable else None


def _unsuitable(spec: OffloadSpec, service: Service) -> str:
    """Say why no gateway can stand before the Service's pods; "" if one can."""
    if service.type == "ExternalName":
        return "is an ExternalName: expected one that selects pods"
    if not service.selector:
        return "has no selector: expected one that selects pods"
    if service.pods.matches(gateway_objects.pod_labels(spec.key)):
        selector = ",".join(f"{key}={value}" for key, value in service.selector)
        return f"selects {selector}, which gateways have too: requests would go round"
    return ""


def _numbered(name: str, pods: NamedPorts) -> int | Missing:
    """Give the number that all pods have for the name."""
    numbers = sorted({ports[name] for ports in pods if name in ports})
    if not numbers:
        return Missing(Reason.NO_PODS, f"spec.serviceRef.targetPort: no pod has a port named {name} yet")
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        message = f"spec.serviceRef.targetPort: expected one number for port {name} in all pods, got {listed}"
        return Missing(Reason.SERVICE_UNSUITABLE, message)
    return numbers[0]


def _service_port(service: Service, targets: set[int | str]) -> int | None:
    return next((port.port for port in service.ports if port.target in targets), None)
