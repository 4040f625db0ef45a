"""What a replica shows of itself: health, metrics and models."""

from dataclasses import dataclass

import prometheus_client

from beamlit_controller import app
from beamlit_controller.cluster.given import Cluster
from beamlit_controller.cluster.view import View
from beamlit_controller.controller.clock import SteadyClock
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.shares import ShareServer
from beamlit_controller.kubernetes.gateways import Gateways
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelsSink, Surroundings
from beamlit_controller.telemetry.pulse import Check, Pulse
from beamlit_controller.telemetry.web import Site

REACHABLE = 30.0
SILENT = 240.0
"""With the API server answering the lease, a watch that heard nothing for so many seconds is stuck."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The endpoints, and the sinks that feed them."""

    site: Site
    sinks: tuple[MetricsSink, ModelsSink, Pulse]


def site(  # noqa: PLR0917 - the composition root hands over all it has
    given: Cluster,
    clock: SteadyClock,
    view: View,
    keeper: Gateways,
    shares: ShareServer,
    watches: Watches,
    lease: Lease,
) -> Shown:
    """Wire what is shown."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry)
    exposition.gauge(
        "beamlit_leader",
        "Whether this replica decides.",
        lambda: float(lease.leading.value or not given.settings.enable_leader_election),
    )
    exposition.gauge(
        "beamlit_gateways_connected",
        "Gateways that listen here for the model's share.",
        lambda: {key: shares.connected(key) for key in view.models.models},
    )
    exposition.gauge(
        "beamlit_gateways_ready",
        "Ready pods of the model's gateway.",
        lambda: {key: state.ready for key in view.models.models if (state := keeper.state(key)).wanted},
    )
    exposition.gauge("beamlit_watch_age_seconds", "Since the quietest watch last heard something.", watches.age)
    surroundings = Surroundings(
        gateway=lambda key: _gateway(keeper, shares, key),
        notices=lambda key: view.models.models[key].notices if key in view.models.models else (),
    )
    shown = ModelsSink(clock, surroundings)
    pulse = Pulse(clock, max(app.STUCK, given.settings.period * 10))
    site = Site(
        alive=lambda: _alive(pulse, watches, lease),
        ready=lambda: _ready(watches),
        exposition=exposition,
        models=shown,
    )
    return Shown(site, (metrics, shown, pulse))


def _gateway(keeper: Gateways, shares: ShareServer, key: ModelKey) -> dict[str, object]:
    state = keeper.state(key)
    return {"wanted": state.wanted, "ready": state.ready, "connected": shares.connected(key) > 0}


def _alive(pulse: Pulse, watches: Watches, lease: Lease) -> Check:
    """Tell whether something useful was done lately. An API server that does not answer is no reason to start again."""
    if lease.heard_within(REACHABLE) and watches.synced() and watches.age() > SILENT:
        return Check(
            ok=False, text=f"a watch has heard nothing for {watches.age():.0f} s, though the API server answers"
        )
    return pulse.alive()


def _ready(watches: Watches) -> Check:
    if not watches.synced():
        return Check(ok=False, text="not everything has been listed yet")
    return Check(ok=True, text="all is watched, and gateways are served")
