"""The web endpoints of the standalone controller: health, metrics and models."""

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
class StandaloneSources:
    """The parts that the endpoints read."""

    folder: Folder
    gateways: Gateways
    meters: Meters
    shares: RtdsServer
    problems: Callable[[], Sequence[Problem]]

    @property
    def models(self) -> Collection[ModelKey]:
        """Return the models whose manifests are valid."""
        return self.folder.manifests.specs.keys()


def endpoints(settings: Settings, clock: AnchoredClock, sources: StandaloneSources) -> StandaloneWeb:
    """Build the endpoints and connect them to their sources."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry, sources.meters.minute)
    models = ModelsSink(
        clock,
        ModelDetails(
            gateway=lambda key: _gateway(sources, models, key),
            notices=lambda key: sources.folder.manifests.notices.get(key, ()),
            minute=sources.meters.minute,
            problems=sources.problems,
        ),
    )
    _expose(exposition, sources, models)
    pulse = Liveness(max(common.STUCK, settings.period * 10))
    site = WebEndpoints(
        alive=pulse.alive,
        ready=lambda: _ready(pulse, sources),
        exposition=exposition,
        models=models,
        access=PageAccess(settings.page, (settings.standalone.web_listen.host, *settings.page_hosts)),
    )
    return StandaloneWeb(site, (metrics, models, pulse))


def _expose(exposition: Exposition, sources: StandaloneSources, models: ModelsSink) -> None:
    exposition.gauge(
        "beamlit_manifest_problems",
        "Mistakes in manifests; the last good version of each model stays in force.",
        lambda: len(sources.folder.manifests.problems),
    )
    exposition.gauge(
        "beamlit_gateways_connected",
        "Gateways connected to the RTDS server for this model.",
        lambda: {key: sources.shares.connected(key) for key in sources.models},
    )
    exposition.gauge(
        "beamlit_gateways_ready",
        "Whether the model's gateway serves.",
        lambda: {key: float(bool(sources.gateways.state(key).get("ready"))) for key in sources.models},
    )
    exposition.gauge(
        "beamlit_remote_ready",
        "Whether the remote is usable; absent until a request was sent to it.",
        lambda: common.remotes_ready(
            (key, _gateway(sources, models, key).get("remote", {}).get("status", "")) for key in sources.models
        ),
    )
    exposition.counter(
        "beamlit_gateway_restarts_total",
        "Restarts of the model's gateway.",
        lambda: {key: sources.gateways.state(key).get("restarts", 0) for key in sources.models},
    )
    exposition.counter(
        "beamlit_gateway_faults_total",
        "Faults of the model's gateway, including each failed retry; /models has the messages.",
        lambda: {key: sources.gateways.faults(key) for key in sources.models},
    )


def _ready(pulse: Liveness, sources: StandaloneSources) -> Check:
    """Return whether all valid models are served; the text has the number of mistakes in manifests and settings."""
    check = pulse.ready(sources.models, gateways_down=sources.gateways.waiting())
    mistakes = len(sources.problems())
    said = f"{check.text}; mistakes in manifests and settings: {mistakes}, see /models"
    return Check(check.ok, said) if mistakes else check


def _gateway(sources: StandaloneSources, models: ModelsSink, key: ModelKey) -> dict[str, Any]:
    known = sources.gateways.state(key, models.budget_spent(key))
    return {**known, "connected": sources.shares.connected(key) > 0} if known else {}
