"""The users' Services: selectors, ports, addresses, and whether they are taken over.

A Service is presented with the selector that its user wrote, so that only the takeover modules see the gateway's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.metric_spec import Selector
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import fields, pod_addresses, service_patches
from beamlit_controller.kubernetes.service_patches import SelectorAnnotations, SelectorLabels

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service, and the target port of the pods: a number or a name."""

    name: str
    port: int
    target: int | str
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service; one without a selector has manually managed endpoints.

    `selector` is what the user wrote, even while the Service is taken over; `current_selector` is the live selector. `selector_unknown`
    tells that the user's selector can't be determined from the Service. `takeover_annotations` are our annotations. `local_traffic_policy`
    names the traffic policy that is Local, "" if none is. `publish_not_ready_addresses` is `publishNotReadyAddresses`. `addresses` are
    the Service's own. `families` are its `ipFamilies`, the primary one first.
    """

    namespace: str
    name: str
    uid: str
    selector: SelectorLabels
    ports: tuple[ServicePort, ...]
    type: str = "ClusterIP"
    headless: bool = False
    version: str = ""
    current_selector: SelectorLabels = ()
    selector_unknown: bool = False
    takeover_annotations: SelectorAnnotations = service_patches.NO_ANNOTATIONS
    client_ip_affinity: bool = False
    local_traffic_policy: str = ""
    publish_not_ready_addresses: bool = False
    addresses: tuple[str, ...] = field(default=(), compare=False)
    families: tuple[str, ...] = ()

    @property
    def pod_selector(self) -> Selector:
        """The user's selector as a value that can be matched."""
        return Selector(match_labels=self.selector)

    @property
    def is_taken_over(self) -> bool:
        """Whether the live selector contains a gateway's value."""
        return any(service_patches.is_gateway_value(value) for _, value in self.current_selector)


def parse(content: Json) -> Service:
    """Parse a Service. An invalid field counts as missing."""
    about, spec = fields.mapping(content.get("metadata")), fields.mapping(content.get("spec"))
    present = fields.pairs(spec.get("selector"))
    noted = service_patches.read_annotations(fields.mapping(about.get("annotations")))
    meant = service_patches.effective_selector(present, noted.original)
    return Service(
        namespace=fields.text(about.get("namespace")),
        name=fields.text(about.get("name")),
        uid=fields.text(about.get("uid")),
        selector=meant or (),
        ports=tuple(port for each in fields.mappings(spec.get("ports")) if (port := _port(each)) is not None),
        type=fields.text(spec.get("type"), "ClusterIP"),
        headless=spec.get("clusterIP") == "None",
        version=fields.text(about.get("resourceVersion")),
        current_selector=present,
        selector_unknown=meant is None,
        takeover_annotations=noted,
        client_ip_affinity=spec.get("sessionAffinity") == "ClientIP",
        local_traffic_policy=next((policy for policy in _POLICIES if spec.get(policy) == "Local"), ""),
        publish_not_ready_addresses=bool(spec.get("publishNotReadyAddresses")),
        addresses=tuple(map(pod_addresses.canonical, _addresses(content))),
        families=tuple(fields.texts(spec.get("ipFamilies"))),
    )


_POLICIES = ("internalTrafficPolicy", "externalTrafficPolicy")


def _port(given: Json) -> ServicePort | None:
    number = fields.whole(given.get("port"))
    if not number:
        return None
    # The API server writes the default; an ExternalName has 0.
    target = fields.text(given.get("targetPort")) or fields.whole(given.get("targetPort")) or number
    return ServicePort(fields.text(given.get("name")), number, target, fields.text(given.get("protocol"), "TCP"))


def _addresses(content: Json) -> Iterator[str]:
    spec, status = fields.mapping(content.get("spec")), fields.mapping(content.get("status"))
    yield from fields.texts(spec.get("clusterIPs"))
    yield from fields.texts(spec.get("externalIPs"))
    for each in fields.mappings(fields.mapping(status.get("loadBalancer")).get("ingress")):
        yield from filter(None, (fields.text(each.get(name)) for name in ("ip", "hostname")))


class Services:
    """All Services. `notify` is called with the namespace and name of each one that changed."""

    def __init__(self, notify: Callable[[str, str], None]) -> None:
        self.changes: Latest[int] = Latest(0)
        self._notify = notify
        self._services: dict[tuple[str, str], Service] = {}
        self._taken: dict[tuple[str, str], dict[str, Service]] = {}

    def changed(self, namespaced_name: tuple[str, str], seen: Service | None) -> None:
        """Handle an event of the watch; None means deleted."""
        before = self._services.pop(namespaced_name, None)
        if before is not None:
            self._forget(before)
        if seen is not None:
            self._services[namespaced_name] = seen
            if seen.is_taken_over or seen.takeover_annotations.taken_by:
                self._taken.setdefault(_taken_by(seen), {})[seen.name] = seen
        if seen != before:
            self._notify(*namespaced_name)
            self.changes.set(self.changes.value + 1)

    def _forget(self, before: Service) -> None:
        """Remove a Service from those of its model, and the model with its last one: others choose what the annotation says."""
        taken = self._taken.get(_taken_by(before), {})
        taken.pop(before.name, None)
        if not taken:
            self._taken.pop(_taken_by(before), None)

    def get(self, namespace: str, name: str) -> Service | None:
        """Return a Service as last seen."""
        return self._services.get((namespace, name))

    def taken_over(self) -> tuple[Service, ...]:
        """Return all Services that are taken over, or have our annotations."""
        return tuple(each for services in self._taken.values() for each in services.values())

    def taken_by(self, key: ModelKey) -> tuple[Service, ...]:
        """Return the Services whose annotation names the model."""
        return tuple(self._taken.get((key.namespace, key.name), {}).values())


def _taken_by(service: Service) -> tuple[str, str]:
    return service.namespace, service.takeover_annotations.taken_by


def with_known_selector(service: Service, selector: Mapping[str, str]) -> Service:
    """Return a Service whose user's selector is unknown with the one known from elsewhere."""
    meant = service_patches.effective_selector(service.current_selector, tuple(sorted(selector.items())))
    return replace(service, selector=meant, selector_unknown=False) if meant else service
