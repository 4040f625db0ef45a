"""Who the local servers are, where no cluster tells: the endpoints of `standalone.services`."""

from collections.abc import Mapping, Sequence

from beamlit_controller.controller.ports import Population
from beamlit_controller.core.signals import LocalHealth, Pod, Scale
from beamlit_controller.core.spec import OffloadSpec


class Endpoints:
    """An `Inventory` of the settings' endpoints: each counts as one running, ready pod."""

    def __init__(self, services: Mapping[str, Sequence[str]]) -> None:
        self._services = services

    async def survey(self, spec: OffloadSpec) -> Population:
        """Tell the endpoints as pods; their number is the number of replicas."""
        serving = self.metrics_of(spec) or self.of(spec)
        count = len(serving)
        return Population(tuple(Pod(name) for name in serving), Scale(count, count), LocalHealth(count, count))

    def of(self, spec: OffloadSpec) -> tuple[str, ...]:
        """Give the `host:port` of every endpoint that serves requests."""
        return self._named(spec, spec.service.name if spec.service else None)

    def metrics_of(self, spec: OffloadSpec) -> tuple[str, ...]:
        """Give the `host:port` of every endpoint that has metrics."""
        return self._named(spec, spec.metric_service.name if spec.metric_service else None)

    def _named(self, spec: OffloadSpec, name: str | None) -> tuple[str, ...]:
        return tuple(self._services.get(f"{spec.key.namespace}/{name}", ())) if name else ()
