"""What the gateways are told: the percentage that `.status` records, and how many requests may be at local at once.

Every replica tells it, from what its own watch shows, so that all tell the same and a new leader changes nothing.
"""

import structlog

from beamlit_controller.core import limits
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.shares import Setting, ShareServer
from beamlit_controller.kubernetes.store import Store

log = structlog.stdlib.get_logger(__name__)


class Weights:
    """Feeds the RTDS server from the store."""

    def __init__(self, store: Store, shares: ShareServer) -> None:
        self._store = store
        self._shares = shares

    async def run(self) -> None:
        """Tell whatever changed, until cancelled."""
        changes = self._store.changes.subscribe()
        try:
            for key in self._store.model_keys():
                self._tell(key)
            while True:
                for key in await changes.keys():
                    self._tell(key)
        finally:
            self._store.changes.unsubscribe(changes)

    def _tell(self, key: ModelKey) -> None:
        try:
            self._told(key)
        except Exception as error:
            log.exception("weight not told", model=str(key), error=repr(error)[:200])

    def _told(self, key: ModelKey) -> None:
        stored = self._store.models.get(key)
        if stored is None:
            self._shares.forget(key)
        elif stored.percentage is not None:
            self._shares.set(key, Setting(stored.percentage, self._in_flight(key)))

    def _in_flight(self, key: ModelKey) -> int | None:
        model = self._store.models.models.get(key)
        if model is None or model.spec is None or model.spec.overflow.max_in_flight_per_replica is None:
            return None
        gateways = sum(pod.ready for pod in self._store.owned.pods(key).values())
        ready = self._store.local_health(model.spec).ready
        most = limits.in_flight(model.spec, None, ready=ready, gateways=max(1, gateways))
        return None if most is None else int(most)
