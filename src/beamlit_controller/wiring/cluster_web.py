"""The web endpoints of a replica: health, metrics and models, and the metrics of the process itself."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import prometheus_client

from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.ports import Clock, Sink
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.reconciler import Reconciler
from beamlit_controller.kubernetes.remotes import Remotes
from beamlit_controller.kubernetes.snapshot import GatewayState
from beamlit_controller.kubernetes.store import Store, notices
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check, Liveness
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from beamlit_controller.telemetry.page import PageAccess
from beamlit_controller.telemetry.web import WebEndpoints
from beamlit_controller.wiring import common
from beamlit_controller.wiring.cluster_options import ClusterOptions

REACHABLE = 30.0
SILENT = 240.0
"""A watch that has received nothing for this many seconds is stuck, if the API server answers requests for the Lease."""


@dataclass(frozen=True, slots=True)
class WebParts:
    """The endpoints, and the sinks that feed them."""

    site: WebEndpoints
    sinks: tuple[Sink, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts that the endpoints read."""

    store: Store
    reconciler: Reconciler
    remotes: Remotes
    rtds_server: RtdsServer
    watches: Watches
    lease: Lease
    meters: Meters


def site(options: ClusterOptions, clock: Clock, sources: Sources) -> WebParts:
    """Build the endpoints."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry, sources.meters.minute)
    _expose(exposition, options, sources)
    store = sources.store
    details = ModelDetails(
        gateway=lambda key: _gateway(sources, key),
        notices=lambda key: notices(store.models.models, key),
        minute=sources.meters.minute,
        problems=lambda: tuple(_problems(sources)),
    )
    shown = ModelsSink(clock, details)
    pulse = Liveness(max(common.STUCK, options.settings.period * 10))
    site = WebEndpoints(
        alive=lambda: _alive(pulse, sources.watches, sources.lease),
        ready=lambda: _ready(sources.watches),
        exposition=exposition,
        models=shown,
        access=PageAccess(options.settings.page, options.settings.page_hosts),
    )
    return WebParts(site, (metrics, shown, pulse, sources.meters))


def _expose(exposition: Exposition, options: ClusterOptions, sources: Sources) -> None:
    store, reconciler, shares = sources.store, sources.reconciler, sources.rtds_server
    elects, name = options.settings.enable_leader_election, f"{options.namespace}/{options.lease}"
    exposition.gauge(
        "beamlit_leader",
        "Whether this replica is the leader and has listed what it decides on, by its Lease, NAMESPACE/NAME.",
        lambda: _labelled([((name,), (sources.lease.leading.value or not elects) and sources.watches.synced())]),
        labels=("lease",),
    )
    exposition.gauge(
        "beamlit_gateways_connected",
        "Gateways connected to this replica's RTDS server for this model.",
        lambda: {key: shares.connected(key) for key in store.model_keys()},
    )
    exposition.gauge(
        "beamlit_gateways_ready",
        "Ready pods of the model's gateway.",
        lambda: {
            key: state.ready_replicas for key in store.model_keys() if (state := reconciler.state(key)).desired_replicas
        },
    )
    exposition.gauge(
        "beamlit_remote_ready",
        "Whether the remote is usable; absent until a request was sent to it.",
        lambda: common.remotes_ready(
            (key, known.status) for key in store.model_keys() if (known := sources.remotes.ready(key))
        ),
    )
    exposition.gauge(
        "beamlit_watch_age_seconds",
        "Seconds since the last event or response of the quietest watch.",
        sources.watches.age,
    )
    exposition.gauge(
        "beamlit_watches_refused",
        "Watches that the API server refuses, by configured namespace, or `*` if all namespaces are watched.",
        lambda: _labelled(((namespace or "*",), len(why)) for namespace, why in sources.watches.refused().items()),
        labels=("namespace",),
    )
    exposition.counter(
        "beamlit_reconcile_errors_total",
        "Failed reconcile passes, by the API server's reason or InternalError; each is retried.",
        lambda: _labelled(((reason,), count) for reason, count in reconciler.failures.items()),
        labels=("reason",),
    )
    exposition.counter(
        "beamlit_objects_skipped_total",
        "Watched objects that could not be parsed.",
        lambda: _labelled(sources.watches.skipped().items()),
        labels=("kind", "reason"),
    )


def _labelled(counts: Iterable[tuple[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    return dict(counts)


def _gateway(sources: Sources, key: ModelKey) -> dict[str, object]:
    state, remote = sources.reconciler.state(key), sources.remotes.ready(key)
    connected = sources.rtds_server.connected(key) > 0
    facts: dict[str, object] = {"wanted": state.desired_replicas, "ready": state.ready_replicas, "connected": connected}
    return {**facts, **_problem(state), **({"remote": asdict(remote)} if remote else {})}


def _problem(state: GatewayState) -> dict[str, object]:
    """Return the problem that keeps the model from its desired state; `bypassed` if clients do not go through the gateway."""
    service = state.service.why if state.service and not state.service.taken else None
    why = state.problem or (state.absent or service)
    if why is None or why.reason in _NO_PROBLEM:
        return {}
    bypassed = state.takeover and (service is not None or state.absent is not None)
    return {"problem": f"{why.reason}: {why.message}", "reason": why.reason, "bypassed": bypassed}


_NO_PROBLEM = {Reason.DISABLED, Reason.ROUTING_BY_SERVICE, Reason.SERVICE_SWITCHING}


def _problems(sources: Sources) -> Iterator[Problem]:
    """Return refused watches, mistakes in resources, and the ModelDeployments that wait for another one to release a Service."""
    for namespace, why in sources.watches.refused().items():
        yield from (Problem("config.namespaces" if namespace else "", namespace, message) for message in why[:1])
    for key, known in tuple(sources.store.models.models.items()):
        yield from (Problem(str(key), each.field, each.message) for each in known.rejected)
        if known.override_ignored is not None:
            yield Problem(str(key), known.override_ignored.field, known.override_ignored.message)
        absent = sources.reconciler.state(key).absent
        if absent is not None and absent.reason is Reason.SERVICE_HELD:
            yield Problem(str(key), "spec.serviceRef", absent.message)


def _alive(pulse: Liveness, watches: Watches, lease: Lease) -> Check:
    """Return whether any task made progress lately. An unreachable API server is no reason to restart."""
    if lease.heard_within(REACHABLE) and watches.synced() and watches.age() > SILENT:
        return Check(
            ok=False, text=f"a watch has received nothing for {watches.age():.0f} s, though the API server answers"
        )
    return pulse.alive()


def _ready(watches: Watches) -> Check:
    if not watches.synced():
        return Check(ok=False, text="not all watches have synced yet")
    return Check(ok=True, text="all watches are synced, and the RTDS server is running")
