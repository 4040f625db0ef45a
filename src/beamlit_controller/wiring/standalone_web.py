"""What the controller of a machine shows of itself: health, metrics and models."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import prometheus_client

from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.meters import Meters
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.standalone.folder import Folder
from beamlit_controller.standalone.gateways import Gateways
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check, Liveness
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from beamlit_controller.telemetry.page import PageAccess
from beamlit_controller.telemetry.web import WebEndpoints
from beamlit_controller.wiring import common


@dataclass(frozen=True, slots=True)
class StandaloneWeb:
    """The endpoints, and the sinks that feed them."""

    site: WebEndpoints
    sinks: tuple[MetricsSink, ModelsSink, Liveness]


@dataclass(frozen=True, slots=True)
class Shown:
    """What knows what is shown."""

    folder: Folder
    gateways: Gateways
    meters: Meters
    shares: RtdsServer
    problems: Callable[[], Sequence[Problem]]

    @property
    def models(self) -> Collection[ModelKey]:
        """Return the models whose manifests are valid."""
        return self.folder.manifests.specs.keys()


def endpoints(settings: Settings, clock: AnchoredClock, shown: Shown) -> StandaloneWeb:
    """Connect what is shown with what knows it."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry, shown.meters.minute)
    _expose(exposition, shown)
    models = ModelsSink(
        clock,
        ModelDetails(
            gateway=lambda key: _gateway(shown.gateways, shown.shares, key),
            notices=lambda key: shown.folder.manifests.notices.get(key, ()),
            minute=shown.meters.minute,
            problems=shown.problems,
        ),
    )
    pulse = Liveness(clock, max(common.STUCK, settings.period * 10))
    site = WebEndpoints(
        alive=pulse.alive,
        ready=lambda: _ready(pulse, shown.folder, shown.gateways),
        exposition=exposition,
        models=models,
        access=PageAccess(settings.page, (settings.standalone.web_listen.host, *settings.page_hosts)),
    )
    return StandaloneWeb(site, (metrics, models, pulse))


def _expose(exposition: Exposition, shown: Shown) -> None:
    exposition.gauge(
        "beamlit_manifest_problems",
        "Mistakes in manifests; the last good version of each model stays in force.",
        lambda: len(shown.folder.manifests.problems),
    )
    exposition.gauge(
        "beamlit_gateways_connected",
        "Gateways connected to the RTDS server for this model.",
        lambda: {key: shown.shares.connected(key) for key in shown.models},
    )
    exposition.gauge(
        "beamlit_gateways_ready",
        "Whether the model's gateway serves.",
        lambda: {key: float(bool(shown.gateways.state(key).get("ready"))) for key in shown.models},
    )
    exposition.gauge(
        "beamlit_remote_ready",
        "Whether the remote is usable; absent until a request was sent to it.",
        lambda: common.remotes_ready(
            (key, shown.gateways.state(key).get("remote", {}).get("status", "")) for key in shown.models
        ),
    )
    exposition.counter(
        "beamlit_gateway_restarts_total",
        "Restarts of the model's gateway.",
        lambda: {key: shown.gateways.state(key).get("restarts", 0) for key in shown.models},
    )
    exposition.counter(
        "beamlit_gateway_faults_total",
        "Faults of the model's gateway, including each failed retry; /models has the messages.",
        lambda: {key: shown.gateways.faults(key) for key in shown.models},
    )


def _ready(pulse: Liveness, folder: Folder, gateways: Gateways) -> Check:
    """Return whether all valid models are served; mistakes in manifests are counted in the text, and in a metric."""
    check = pulse.ready(folder.manifests.specs.keys(), gateways_down=gateways.waiting())
    mistakes = len(folder.manifests.problems)
    return Check(check.ok, f"{check.text}; mistakes in manifests: {mistakes}, see /models") if mistakes else check


def _gateway(gateways: Gateways, shares: RtdsServer, key: ModelKey) -> dict[str, Any]:
    known = gateways.state(key)
    return {**known, "connected": shares.connected(key) > 0} if known else {}
