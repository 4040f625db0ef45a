"""Feeds the RTDS server from the store: the percentage and the cap that `.status` records.

Every replica runs it and reads the same status, so all replicas serve the same values, and a new leader changes
nothing.
"""

from fractions import Fraction

import structlog

from beamlit_controller.core import limits, traffic
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy.rtds import RtdsServer, RuntimeValues
from beamlit_controller.kubernetes.models import Stored
from beamlit_controller.kubernetes.store import Store

log = structlog.stdlib.get_logger(__name__)


class RtdsFeed:
    """Feeds the RTDS server from the store."""

    def __init__(self, store: Store, shares: RtdsServer) -> None:
        self._store = store
        self._shares = shares

    async def run(self) -> None:
        """Push the values of each changed model, until cancelled."""
        changes = self._store.changes.subscribe()
        try:
            for key in self._store.model_keys():
                self._guarded_push(key)
            while True:
                for key in await changes.keys():
                    self._guarded_push(key)
        finally:
            self._store.changes.unsubscribe(changes)

    def _guarded_push(self, key: ModelKey) -> None:
        try:
            self._push(key)
        except Exception as error:
            log.exception("values not pushed", model=str(key), error=repr(error)[:200])

    def _push(self, key: ModelKey) -> None:
        stored = self._store.models.get(key)
        if stored is None:
            self._shares.forget(key)
        elif stored.percentage is not None:
            self._shares.set(key, self._values(stored, stored.percentage))

    def _values(self, stored: Stored, percentage: int) -> RuntimeValues:
        model = self._store.models.models.get(stored.key)
        if model is None or model.spec is None:
            return RuntimeValues(percentage)
        by_cap = traffic.leaves_by_cap(model.spec, stored.cap, stored.reason)
        in_flight = self._in_flight(model.spec, stored.cap if by_cap else None)
        return RuntimeValues(percentage, in_flight, by_cap, stored.budget_spent)

    def _in_flight(self, spec: OffloadSpec, cap: Fraction | None) -> Fraction | None:
        gateways = sum(pod.ready for pod in self._store.managed_objects.pods(spec.key).values())
        ready = self._store.local_health(spec).ready
        return limits.in_flight(spec, cap, ready=ready, gateways=gateways)
