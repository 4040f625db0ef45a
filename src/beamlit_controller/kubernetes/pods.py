"""All pods of the cluster, reduced to the fields that are needed, and indexed by their labels.

One watch serves all models, so memory matters: equal strings and containers are stored once.
"""

import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from beamlit_controller.core import quantity
from beamlit_controller.core.metric_spec import Operator, Selector
from beamlit_controller.core.signals import Container, Pod, Ready
from beamlit_controller.kubernetes import fields, pod_addresses

Json = dict[str, Any]
NamespacedName = tuple[str, str]

T = TypeVar("T", bound=Hashable)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KnownPod:
    """A pod: the fields for the HPA's rules, its labels, addresses and ports. `ip` is the primary address."""

    pod: Pod
    labels: Labels
    ip: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    other_ip: str = ""

    @property
    def ips(self) -> tuple[str, ...]:
        """All addresses of the pod: a pod of a dual-stack cluster has two."""
        return tuple(each for each in (self.ip, self.other_ip) if each)

    @property
    def ready(self) -> bool:
        """Whether a Service would send requests to it."""
        pod = self.pod
        return pod.phase == "Running" and not pod.deleting and pod.ready is not None and pod.ready.status == "True"


def parse(content: Json) -> KnownPod:
    """Parse a v1.Pod. An invalid field counts as missing."""
    about, spec, status = (fields.mapping(content.get(part)) for part in ("metadata", "spec", "status"))
    pod = Pod(
        name=fields.text(about.get("name")),
        phase=sys.intern(fields.text(status.get("phase"))),
        deleting=about.get("deletionTimestamp") is not None,
        ready=_ready(status),
        started=fields.time(status.get("startTime")),
        containers=_containers(spec.get("containers")),
        init_containers=_containers(spec.get("initContainers")),
        requests=_amounts(fields.mapping(spec.get("resources")).get("requests")),
        overhead=_amounts(spec.get("overhead")),
    )
    ip, other_ip, *_ = (*pod_addresses.parse(status), "", "")
    return KnownPod(pod, _labels(about.get("labels")), ip, _ports(spec), other_ip)


def _ready(status: Json) -> Ready | None:
    found = next((each for each in fields.mappings(status.get("conditions")) if each.get("type") == "Ready"), None)
    if found is None:
        return None
    return Ready(sys.intern(fields.text(found.get("status"))), fields.time(found.get("lastTransitionTime")))


class Pods:
    """All pods, by namespace and by each of their labels."""

    def __init__(self) -> None:
        self._pods: dict[NamespacedName, KnownPod] = {}
        self._by_label: dict[tuple[str, str, str], set[str]] = {}
        self._by_namespace: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, namespaced_name: NamespacedName) -> KnownPod | None:
        """Return a pod as last seen."""
        return self._pods.get(namespaced_name)

    def changed(self, namespaced_name: NamespacedName, seen: KnownPod | None) -> None:
        """Handle an event of the watch; None means deleted."""
        before = self._pods.pop(namespaced_name, None)
        if before is not None and (seen is None or seen.labels != before.labels):
            self._unlist(namespaced_name, before)
        if seen is not None:
            if before is None or seen.labels != before.labels:
                self._list(namespaced_name, seen)
            self._pods[namespaced_name] = seen

    def known(self, namespace: str, selector: Selector) -> tuple[KnownPod, ...]:
        """Return the pods of a namespace that the selector matches, by name."""
        found = (self._pods[namespace, name] for name in self._candidates(namespace, selector))
        matching = (known for known in found if selector.matches(dict(known.labels)))
        return tuple(sorted(matching, key=lambda known: known.pod.name))

    def select(self, namespace: str, selector: Selector) -> tuple[Pod, ...]:
        """Return the same pods as `core` values."""
        return tuple(known.pod for known in self.known(namespace, selector))

    def named_ports(self, namespace: str, selector: Selector) -> Iterator[Mapping[str, int]]:
        """Return the named ports of each matching pod that is not terminating."""
        return (dict(known.ports) for known in self.known(namespace, selector) if not known.pod.deleting)

    def have_ipv6(self, namespace: str, selector: Selector) -> bool:
        """Return whether a matching pod has an IPv6 address."""
        known = self.known(namespace, selector)
        return any(pod_addresses.family(ip) == pod_addresses.IPV6 for pod in known for ip in pod.ips)

    def endpoints(
        self, namespace: str, selector: Selector, port: int | str, *, families: Iterable[str] = ()
    ) -> Iterator[tuple[str, str, int]]:
        """Yield name, address and port number of each matching pod that is ready; one address, of the first family it has."""
        for known in self.known(namespace, selector):
            number = port if isinstance(port, int) else dict(known.ports).get(port)
            if known.ready and known.ip and number is not None:
                yield known.pod.name, pod_addresses.preferred(known.ips, families), number

    def _candidates(self, namespace: str, selector: Selector) -> Iterable[str]:
        """Return the shortest list of pod names that contains all matches."""
        pairs = [*selector.match_labels, *_single_values(selector)]
        lists = [self._by_label.get((namespace, key, value), set()) for key, value in pairs]
        return min(lists, key=len, default=self._by_namespace.get(namespace, set()))

    def _list(self, namespaced_name: NamespacedName, seen: KnownPod) -> None:
        namespace, name = namespaced_name
        self._by_namespace.setdefault(namespace, set()).add(name)
        for key, value in seen.labels:
            self._by_label.setdefault((namespace, key, value), set()).add(name)

    def _unlist(self, namespaced_name: NamespacedName, before: KnownPod) -> None:
        namespace, name = namespaced_name
        self._by_namespace[namespace].discard(name)
        for key, value in before.labels:
            names = self._by_label[namespace, key, value]
            names.discard(name)
            if not names:
                del self._by_label[namespace, key, value]


def _single_values(selector: Selector) -> Iterator[tuple[str, str]]:
    for each in selector.match_expressions:
        if each.operator is Operator.IN and len(each.values) == 1:
            yield each.key, each.values[0]


def _labels(given: object) -> Labels:
    return _once(tuple((sys.intern(key), sys.intern(value)) for key, value in fields.pairs(given)))


def _containers(given: object) -> tuple[Container, ...]:
    return _once(tuple(_container(each) for each in fields.mappings(given)))


def _container(given: Json) -> Container:
    resources = fields.mapping(given.get("resources"))
    return Container(
        sys.intern(fields.text(given.get("name"))),
        _amounts(resources.get("requests")),
        restartable=given.get("restartPolicy") == "Always",
        limits=_amounts(resources.get("limits")),
    )


def _amounts(given: object) -> tuple[tuple[str, int], ...]:
    read = ((name, _milli(amount)) for name, amount in fields.mapping(given).items())
    return tuple((sys.intern(name), milli) for name, milli in read if milli is not None)


def _milli(amount: object) -> int | None:
    """Parse a quantity; an invalid one counts as not set."""
    try:
        return quantity.stored(amount).milli if isinstance(amount, str) else fields.whole(amount) * 1000
    except ValueError:
        return None


def _ports(spec: Json) -> tuple[tuple[str, int], ...]:
    containers = (each for part in ("containers", "initContainers") for each in fields.mappings(spec.get(part)))
    listed = (port for container in containers for port in fields.mappings(container.get("ports")))
    named = ((fields.text(port.get("name")), fields.whole(port.get("containerPort"))) for port in listed)
    return _once(tuple((sys.intern(name), number) for name, number in named if name and number))


def _once(value: T) -> T:
    """Intern a value: return the first of all equal values, so that the others can be freed."""
    first: T = _first(value)
    return first


@lru_cache(maxsize=8192)
def _first(value: Hashable) -> Any:  # noqa: ANN401 - what came in
    return value
