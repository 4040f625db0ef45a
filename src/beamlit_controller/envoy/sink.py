"""The sink that puts decisions in force."""

from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.shares import ShareServer


class ShareSink:
    """Tells the share server every decision; an equal one is no news there."""

    def __init__(self, shares: ShareServer) -> None:
        self._shares = shares

    def record(self, cycle: Cycle) -> None:
        """Make the decision's percentage the model's share."""
        self._shares.set(cycle.spec.key, cycle.decision.percentage)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the last share."""

    def forget(self, key: ModelKey) -> None:
        """Know the model's share no more."""
        self._shares.forget(key)
