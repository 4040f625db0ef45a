"""The users' Services, as far as they are looked at: whom they select, and which port leads where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beamlit_controller.core.spec import LabelSelector

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service, and the port of the pods behind it: a number or a name."""

    name: str
    port: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. Without a selector somebody else says what is behind it."""

    namespace: str
    name: str
    uid: str
    selector: tuple[tuple[str, str], ...]
    ports: tuple[ServicePort, ...]
    type: str = "ClusterIP"
    headless: bool = False
    ipv6: bool = False

    @property
    def pods(self) -> LabelSelector:
        """The selector as such."""
        return LabelSelector(match_labels=self.selector)


def parse(content: Json) -> Service:
    """Keep of a Service what is looked at."""
    about, spec = content["metadata"], content.get("spec") or {}
    return Service(
        namespace=about["namespace"],
        name=about["name"],
        uid=about["uid"],
        selector=tuple(sorted((spec.get("selector") or {}).items())),
        ports=tuple(_port(each) for each in spec.get("ports") or ()),
        type=spec.get("type", "ClusterIP"),
        headless=spec.get("clusterIP") == "None",
        ipv6="IPv6" in (spec.get("ipFamilies") or ()),
    )


def _port(given: Json) -> ServicePort:
    # The API server writes the default; 0 is what an ExternalName has.
    return ServicePort(given.get("name", ""), given["port"], given.get("targetPort") or given["port"])


class Services:
    """The present Services. `told` hears of each that changed."""

    def __init__(self, told: Callable[[str, str], None]) -> None:
        self._told = told
        self._services: dict[tuple[str, str], Service] = {}

    def changed(self, place: tuple[str, str], seen: Service | None) -> None:
        """Take note of what the watch saw."""
        before = self._services.pop(place, None)
        if seen is not None:
            self._services[place] = seen
        if seen != before:
            self._told(*place)

    def get(self, namespace: str, name: str) -> Service | None:
        """Give a Service as it was seen last."""
        return self._services.get((namespace, name))
