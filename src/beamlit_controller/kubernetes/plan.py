"""Decides how a gateway fits between a Service and its pods: selector, ports, labels; or why it can't. Pure.

`plan` returns `Missing` for a Service in front of which a gateway would lose requests or loop, such as a headless one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import gateway_objects, service_patches
from beamlit_controller.kubernetes.gateway_objects import STATS_NAME, Ports
from beamlit_controller.kubernetes.pod_addresses import IPV6
from beamlit_controller.kubernetes.services import Service

STATS_PORT = 9902
POD_TEMPLATE_HASH: Final = "pod-template-hash"
"""The label that a Deployment sets on each of its pods, over one of the template."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the gateway fits in: the labels and port of the model's pods, and its own ports.

    With `ipv6` the gateway listens on IPv6 too; with `only_ipv6` the Service leads clients to the pods' IPv6 addresses
    alone. With `client_ip_affinity` all requests of a client go to the same pod. `labels` are extra labels of the
    gateway's pods.
    """

    selector: Mapping[str, str]
    local_port: int
    ports: Ports
    ipv6: bool
    client_ip_affinity: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    only_ipv6: bool = False


NamedPorts = Iterable[Mapping[str, int]]
"""The named ports of each pod behind the Service."""

NOT_YET = frozenset({Reason.NO_PODS})
"""Reasons that may go away by themselves: no plan can be made yet."""


def plan(
    spec: OffloadSpec,
    service: Service | None,
    named_ports: NamedPorts,
    *,
    owner: str = "",
    pods_have_ipv6: bool = False,
) -> Plan | Missing:
    """Plan the gateway; Missing if that is not possible. `owner` is the model's uid.

    A gateway listens on IPv6 wherever pods have it, even if the Service does not: the kubelet's probes go to the primary
    address of a pod, and NAME-gateway has both families.
    """
    refusal = _refusal(spec, service)
    if refusal is not None or service is None or spec.service is None:
        return refusal or Missing(Reason.SERVICE_NOT_FOUND, "spec.serviceRef: expected the Service that clients use")
    pods = tuple(named_ports)
    wanted = spec.service.target_port
    port = _number(wanted, pods, "spec.serviceRef.targetPort")
    if isinstance(port, Missing):
        return port
    # They exist in either mode, so that a change of the mode restarts no pod.
    labels = service_patches.taken_over_selector(service.selector, service_patches.gateway_value(owner))
    selector = dict(service.selector)
    ipv6, only_ipv6 = pods_have_ipv6 or IPV6 in service.families, service.families == (IPV6,)
    if spec.routing is RoutingMode.SERVICE:
        ports = Ports(front=port, stats=_free({port}), service=_service_port(service, {wanted, port}) or port)
        return Plan(selector, port, ports, ipv6, labels=labels, only_ipv6=only_ipv6)
    taken = _taken_ports(service, port, pods)
    if isinstance(taken, Missing):
        return taken
    return Plan(selector, port, taken, ipv6, service.client_ip_affinity, labels, only_ipv6)


def _refusal(spec: OffloadSpec, service: Service | None) -> Missing | None:
    if spec.service is None:
        return Missing(Reason.SERVICE_NOT_FOUND, "spec.serviceRef: expected the Service that clients use, got none")
    where = f"spec.serviceRef: Service {spec.key.namespace}/{spec.service.name}"
    if service is None:
        return Missing(Reason.SERVICE_NOT_FOUND, f"{where} does not exist")
    unsuitable = _unsuitable(spec, service)
    if not unsuitable and spec.routing is RoutingMode.TAKEOVER:
        unsuitable = next(_against_taking(spec, service), "")
    return Missing(Reason.SERVICE_UNSUITABLE, f"{where} {unsuitable}") if unsuitable else None


def _unsuitable(spec: OffloadSpec, service: Service) -> str:
    """Return the reason why no gateway can be put in front of the Service's pods; "" if one can."""
    if service.type == "ExternalName":
        return "is an ExternalName: expected one that selects pods"
    if service.selector_unknown:
        return "selects a gateway, and its original selector is unknown: set its spec.selector"
    if not service.selector:
        return "has no selector: expected one that selects pods"
    if service.pod_selector.matches(gateway_objects.pod_labels(spec.key)):
        selector = ",".join(f"{key}={value}" for key, value in service.selector)
        return f"selects {selector}, which gateways have too: requests would loop"
    return ""


OTHERWISE = "or routing.mode: Service, which leaves it alone"


def _against_taking(spec: OffloadSpec, service: Service) -> Iterator[str]:
    """Yield the reason why the Service can't be taken over safely."""
    if service.headless:
        yield f"is headless, so clients choose among its pods themselves: expected one with an address, {OTHERWISE}"
    if service.local_traffic_policy:
        field = service.local_traffic_policy
        yield (
            f"has {field}: Local, and a node without a gateway would drop its requests: expected Cluster, {OTHERWISE}"
        )
    if service.publish_not_ready_addresses:
        yield f"has publishNotReadyAddresses: true, so gateways would be asked before they are ready: expected false, {OTHERWISE}"
    odd = next((port for port in service.ports if port.protocol != "TCP"), None)
    if odd is not None:
        yield f"has the port {odd.port} of protocol {odd.protocol}, which a gateway does not pass: expected TCP, {OTHERWISE}"
    template_hash = dict(service.selector).get(POD_TEMPLATE_HASH)
    if template_hash is not None:
        yield (
            f"selects by {POD_TEMPLATE_HASH}={template_hash}, which the gateway's Deployment sets on its pods itself, so the "
            f"Service could never select them: expected a spec.selector without it, {OTHERWISE}"
        )
    if gateway_objects.GATEWAY_LABEL in dict(service.selector):
        yield f"selects by {gateway_objects.GATEWAY_LABEL}, a label of ours: expected another one, {OTHERWISE}"
    itself = next((remote.host for remote in spec.remotes if _names(remote.host, service)), None)
    if itself is not None:
        yield f"is the remote itself ({itself}): requests would loop; expected another remote"


def _names(host: str, service: Service) -> bool:
    """Return whether a host is the Service: one of its addresses, or a name that the cluster's DNS resolves to it."""
    labels = host.rstrip(".").lower().split(".")
    dns = [service.name, service.namespace, "svc"]
    return host in service.addresses or labels in ([service.name], dns[:2]) or labels[: len(dns)] == dns


def _number(wanted: int | str, pods: Iterable[Mapping[str, int]], where: str) -> int | Missing:
    """Return the number of a port; for a named port, the number that all pods agree on."""
    if isinstance(wanted, int):
        return wanted
    numbers = sorted({ports[wanted] for ports in pods if wanted in ports})
    if not numbers:
        return Missing(Reason.NO_PODS, f"{where}: no pod has a port named {wanted} yet")
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        message = f"{where}: expected one number for port {wanted} in all pods, got {listed}"
        return Missing(Reason.SERVICE_UNSUITABLE, message)
    return numbers[0]


def _taken_ports(service: Service, front: int, pods: Iterable[Mapping[str, int]]) -> Ports | Missing:
    """Return the gateway's ports: the offloaded one, and every other port of the Service as TCP passthrough."""
    numbers: dict[int | str, int] = {}
    for port in service.ports:
        number = _number(port.target, pods, f"Service {service.name}, port {port.port}, targetPort")
        if isinstance(number, Missing):
            return number
        numbers[port.target] = number
    wrong = _wrong(service, front, numbers)
    if wrong is not None:
        return wrong
    names = {number: target for target, number in numbers.items() if isinstance(target, str)}
    tcp_passthrough = tuple((names.get(number, ""), number) for number in sorted(set(numbers.values()) - {front}))
    clients = next(port.port for port in service.ports if numbers[port.target] == front)
    stats = _free(set(numbers.values()))
    return Ports(
        front, stats, clients, front_name=names.get(front, _other_than(names.values())), tcp_passthrough=tcp_passthrough
    )


def _wrong(service: Service, front: int, numbers: Mapping[int | str, int]) -> Missing | None:
    where = f"Service {service.namespace}/{service.name}"
    if front not in numbers.values():
        listed = ", ".join(f"{port.port} to {port.target}" for port in service.ports)
        message = f"spec.serviceRef.targetPort: {where} has no port that leads to {front}, only {listed}"
        return Missing(Reason.SERVICE_UNSUITABLE, message)
    twice = next(_twice(numbers), None)
    if twice is not None:
        message = (
            f"spec.serviceRef: {where} leads to port {twice} of the pods under two names: expected one, {OTHERWISE}"
        )
        return Missing(Reason.SERVICE_UNSUITABLE, message)
    if STATS_NAME in numbers:
        message = f"spec.serviceRef: {where} leads to a port named {STATS_NAME}, which is ours: expected another name"
        return Missing(Reason.SERVICE_UNSUITABLE, message)
    return None


def _twice(numbers: Mapping[int | str, int]) -> Iterator[int]:
    """Yield the ports with more than one name; a container port can have only one."""
    named = [number for target, number in numbers.items() if isinstance(target, str)]
    yield from (number for number in named if named.count(number) > 1)


def _other_than(names: Collection[str]) -> str:
    """Choose a name for the client port if the Service has none, avoiding the names of the other ports."""
    return next(name for name in ("http", "front", "gateway") if name not in names)


def _free(taken: set[int]) -> int:
    return next(port for port in count(STATS_PORT) if port not in taken)


def _service_port(service: Service, targets: set[int | str]) -> int | None:
    return next((port.port for port in service.ports if port.target in targets), None)


def is_refused(planned: Plan | Missing) -> bool:
    """Return whether a gateway is impossible until the Service or the spec changes, so that waiting does not help."""
    return isinstance(planned, Missing) and planned.reason not in NOT_YET
