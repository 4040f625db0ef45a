"""The sink that puts decisions in force."""

from beamlit_controller.core import limits
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.shares import Setting, ShareServer


class ShareSink:
    """Tells the share server every decision; an equal one is no news there. Gateways share the limit of what is at local."""

    def __init__(self, shares: ShareServer) -> None:
        self._shares = shares

    def record(self, cycle: Cycle) -> None:
        """Make the decision's percentage the model's share, and bound what is at local by what is ready there."""
        spec = cycle.spec
        in_flight = limits.in_flight(
            spec, ready=cycle.signals.local.ready, gateways=max(1, self._shares.connected(spec.key))
        )
        self._shares.set(spec.key, Setting(cycle.decision.percentage, in_flight))

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the last share."""

    def forget(self, key: ModelKey) -> None:
        """Know the model's share no more."""
        self._shares.forget(key)
