"""The local servers without a cluster: the endpoints of `standalone.services`."""

from collections.abc import Callable, Collection, Mapping, Sequence

from beamlit_controller.controller.ports import WorkloadSnapshot
from beamlit_controller.core.signals import LocalHealth, Pod, Ready, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec


class Endpoints:
    """An `Inventory` of the settings' endpoints: each is a running pod, ready unless it is down.

    `down` returns the `host:port` of those that refuse connections, or that the gateway has ejected.
    """

    def __init__(
        self,
        services: Mapping[str, Sequence[str]],
        down: Callable[[ModelKey], Collection[str]] = lambda _: frozenset(),
    ) -> None:
        self._services = services
        self._down = down

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        """Return the endpoints as pods; their number is the number of replicas."""
        down, serving = self._down(spec.key), self.of(spec)
        pods = tuple(_pod(name, down) for name in self.metrics_of(spec) or serving)
        served = [name not in down for name in serving or (pod.name for pod in pods)]
        return WorkloadSnapshot(pods, Scale(len(pods), len(pods)), LocalHealth(sum(served), len(served)))

    def of(self, spec: OffloadSpec) -> tuple[str, ...]:
        """Return the `host:port` of every endpoint that serves requests."""
        return self._named(spec, spec.service.name if spec.service else None)

    def metrics_of(self, spec: OffloadSpec) -> tuple[str, ...]:
        """Return the `host:port` of every metrics endpoint."""
        return self._named(spec, spec.metric_service.name if spec.metric_service else None)

    def _named(self, spec: OffloadSpec, name: str | None) -> tuple[str, ...]:
        return tuple(self._services.get(f"{spec.key.namespace}/{name}", ())) if name else ()


def _pod(name: str, down: Collection[str]) -> Pod:
    return Pod(name, ready=Ready("False")) if name in down else Pod(name)
