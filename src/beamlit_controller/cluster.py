"""The composition root of the cluster mode: read `cluster` to see what talks to what.

Every replica watches, serves the gateways and answers probes. One, the leader, reads metrics, decides, records the
decisions in `.status` and keeps the gateways as they should be. What the gateways are told is always what the watch
brings back of `.status`, so that a new leader and all replicas tell the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import prometheus_client
import structlog

from beamlit_controller import app
from beamlit_controller.api import effect, translate
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller import supervisor
from beamlit_controller.controller.clock import SteadyClock
from beamlit_controller.controller.loop import Parts
from beamlit_controller.controller.ports import Source
from beamlit_controller.controller.sensor import Route, Sensor
from beamlit_controller.core import limits
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import ExternalMetric, MetricSpec, ModelKey, OffloadSpec, PodsMetric, Rejected
from beamlit_controller.envoy import addresses, config, remote_stats, routes
from beamlit_controller.envoy.place import Place
from beamlit_controller.envoy.share_access import Certificate, Tokens
from beamlit_controller.envoy.shares import Setting, ShareServer
from beamlit_controller.kubernetes import (
    api_server,
    autoscalers,
    gateway_objects,
    gateways,
    inventory,
    models,
    owned,
    paths,
    pods,
    services,
)
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.autoscalers import Autoscalers
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.gateway_objects import Envoy, Image
from beamlit_controller.kubernetes.gateways import Gateways
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.models import Model, Models, Read, Stored
from beamlit_controller.kubernetes.owned import Owned
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.remotes import Figures, Remotes
from beamlit_controller.kubernetes.scale import Workloads
from beamlit_controller.kubernetes.services import Services
from beamlit_controller.kubernetes.statuses import Statuses, Views
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.prometheus.source import PrometheusSource
from beamlit_controller.scrape.source import ScrapeSource
from beamlit_controller.telemetry import web
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.logs import LogSink
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelsSink, Surroundings
from beamlit_controller.telemetry.pulse import Check, Pulse
from beamlit_controller.telemetry.web import Site

log = structlog.stdlib.get_logger()

LEASE = "beamlit-controller"
CERTIFICATE, KEY, AUTHORITY, TOKEN_KEY = "tls.crt", "tls.key", "ca.crt", "token.key"
REACHABLE = 30.0
BOUND_PERIOD = 2.0
SILENT = 240.0
"""With the API server answering the lease, a watch that heard nothing for so many seconds is stuck."""


@dataclass(frozen=True, slots=True)
class ShareAddress:
    """Where the share server listens, where gateways find it, and the folder with its certificate, CA and token key."""

    listen: str
    reached_at: str
    secrets: Path


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the controller is given in a cluster. `identity` is the pod's name, `domain` that of the cluster's DNS."""

    settings: Settings
    identity: str
    namespace: str
    image: Image
    shares: ShareAddress
    web_listen: str = ":8081"
    kubeconfig: Path | None = None
    domain: str = "cluster.local"


async def cluster(given: Cluster) -> None:
    """Run until SIGTERM or SIGINT; then stop deciding, give up the lease, and leave the gateways serving."""
    with app.signals() as (stop, _):
        async with AsyncExitStack() as resources:
            await _serve(given, resources, stop)
    log.info("stopped: gateways serve on with their last share")


async def _serve(given: Cluster, resources: AsyncExitStack, stop: asyncio.Event) -> None:
    """Wire the parts and run them until told to stop. A part that dies ends the process: it is started again, all anew."""
    settings, clock = given.settings, SteadyClock()
    listener = resources.enter_context(web.bind(given.web_listen))
    server = await resources.enter_async_context(ApiServer(api_server.configuration(given.kubeconfig)))
    lease = Lease(server, namespace=given.namespace, name=LEASE, identity=given.identity)
    guarded = server.guarded(lease.held) if settings.enable_leader_election else server

    tokens = Tokens((given.shares.secrets / TOKEN_KEY).read_bytes())
    shares = ShareServer(tokens)
    certificate = Certificate(given.shares.secrets / CERTIFICATE, given.shares.secrets / KEY)

    view = View(settings, shares)
    watches = view.watches(server)
    keeper = Gateways(guarded, _surroundings(given, view, tokens))
    figures = Figures(f"/stats/prometheus?{urlencode({'filter': remote_stats.FILTER})}", remote_stats.attempts)
    remotes = await resources.enter_async_context(Remotes(view.models, view.owned, figures, changed=view.changed))
    views = Views(keeper.state, view.local_health, view.autoscaler, remotes.ready, remotes.most)
    statuses = Statuses(guarded, view.models, views, clock, identity=given.identity)
    view.to_wake, view.to_tell = keeper.wake, statuses.changed

    discovery = Discovery(server)
    workloads = Workloads(server, discovery, view.services.get)
    sensor = Sensor(
        route=_route(
            await app.prometheus_source(settings, resources),
            await resources.enter_async_context(
                ScrapeSource(view.metric_endpoints, timeout=settings.direct_period * 0.6)
            ),
            MetricsApis(server, discovery, workloads),
        ),
        inventory=ClusterInventory(workloads, view.pods),
    )
    site = _site(given, clock, view, keeper, shares, watches, lease)

    async def lead() -> None:
        """Decide, record and keep, until we lead no more."""
        log.info("leading", identity=given.identity)
        await watches.wait_synced()
        parts = Parts(
            sensor, (statuses, *site.sinks, LogSink()), clock, partial(api_settings.period, settings=settings)
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.run(), name="gateways")
                group.create_task(remotes.run(), name="remotes")
                group.create_task(statuses.run(), name="statuses")
                group.create_task(supervisor.run(view.models, parts, view.models), name="models")
        finally:
            for key in view.models.models:
                for sink in site.sinks:
                    sink.forget(key)
            log.info("not leading any more", identity=given.identity)

    async with asyncio.TaskGroup() as group:
        serving = [
            group.create_task(watches.run(), name="watches"),
            group.create_task(web.run(site.site, listener), name="web"),
            group.create_task(_shares(shares, given.shares, certificate, watches), name="shares"),
            group.create_task(view.bound(), name="limits"),
        ]
        election = group.create_task(lease.run(), name="lease") if settings.enable_leader_election else None
        leading = group.create_task(_while_leading(lease, lead) if election else lead(), name="leading")
        log.info("running", identity=given.identity, namespaces=list(settings.namespaces) or "all")
        await stop.wait()
        # First nobody decides any more, then the lease may go.
        for tasks in ([leading], [election] if election else [], serving):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks) if tasks else None


def _surroundings(given: Cluster, view: "View", tokens: Tokens) -> gateways.Surroundings:
    return gateways.Surroundings(
        models=view.models,
        owned=view.owned,
        service=view.services.get,
        named_ports=view.pods.named_ports,
        render=partial(rendered, given, tokens),
        image=given.image,
        changed=view.changed,
    )


async def _while_leading(lease: Lease, lead: Callable[[], Awaitable[None]]) -> None:
    """Lead whenever the lease is ours."""
    while True:
        await lease.leading.other_than(seen=False)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_coroutine(lead))
            await lease.leading.other_than(seen=True)
            work.cancel()


async def _coroutine(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()


async def _shares(shares: ShareServer, where: ShareAddress, certificate: Certificate, watches: Watches) -> None:
    """Serve the gateways, once it is known what to tell them."""
    await watches.wait_synced()
    async with shares.serve(where.listen, certificate) as address:
        log.info("gateways are served", address=address)
        await asyncio.Event().wait()


async def release(given: Cluster, deployment: str, *, within: float) -> None:
    """Give everything back, before the controller is uninstalled: no gateway is left, and no request is lost.

    The controller's own Deployment is scaled to nothing first, and its lease taken, so that nobody builds anew what is
    removed here. Raises TimeoutError when it takes longer than `within` seconds.
    """
    async with ApiServer(api_server.configuration(given.kubeconfig)) as server, asyncio.timeout(within):
        if deployment:
            await server.merge(paths.DEPLOYMENTS.path(given.namespace, deployment, "scale"), {"spec": {"replicas": 0}})
        lease = Lease(server, namespace=given.namespace, name=LEASE, identity=given.identity)
        async with asyncio.TaskGroup() as group:
            election = group.create_task(lease.run())
            await lease.leading.other_than(seen=False)
            await _released(given, server.guarded(lease.held))
            election.cancel()


async def _released(given: Cluster, server: ApiServer) -> None:
    """Treat every model as disabled, until nothing of its gateway is there."""
    view = View(given.settings, ShareServer(), read=lambda content: _disabled(translate.read(content, given.settings)))
    watches = view.watches(server)
    keeper = Gateways(server, _surroundings(given, view, Tokens(b"")))
    view.to_wake = keeper.wake
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watches.run())
        await watches.wait_synced()
        keeping = group.create_task(keeper.run())
        for key in tuple(view.models.models):
            while not keeper.is_gone(key):
                await view.owned.changes.other_than(view.owned.changes.value)
            await _say_released(server, key)
            log.info("released", model=str(key))
        keeping.cancel()
        watching.cancel()


def read_spec(content: Mapping[str, object], settings: Settings) -> translate.Accepted | tuple[Rejected, ...]:
    """Read a resource. What has no effect yet is told, but for a dry run: to ignore that would send requests away."""
    read = translate.read(content, settings)
    if not isinstance(read, translate.Accepted):
        return read
    if read.spec.behavior.dry_run:
        return (
            Rejected("spec.offloadingConfig.behavior.dryRun", "not in this version; enabled: false keeps all requests"),
        )
    return replace(read, notices=(*read.notices, *effect.not_in_effect(read.spec, cluster=True)))


def _disabled(read: translate.Accepted | tuple[Rejected, ...]) -> translate.Accepted | tuple[Rejected, ...]:
    return replace(read, spec=replace(read.spec, enabled=False)) if isinstance(read, translate.Accepted) else read


async def _say_released(server: ApiServer, key: ModelKey) -> None:
    said = {"percentage": 0, "reason": Reason.RELEASED.value, "message": "the controller was uninstalled"}
    path = paths.MODEL_DEPLOYMENTS.path(key.namespace, key.name, "status")
    with suppress(ApiError):  # the resource may be on its way out as well
        await server.merge(path, {"status": {"offloading": said, "record": None}})


# What is seen of the cluster.


class View:
    """What the watches keep, and whom they wake."""

    def __init__(self, settings: Settings, shares: ShareServer, read: Read | None = None) -> None:
        self._settings = settings
        self._shares = shares
        self.to_wake: Callable[[ModelKey], None] = lambda _: None
        self.to_tell: Callable[[ModelKey], None] = lambda _: None
        self.models = Models(read or partial(read_spec, settings=settings), told=self._tell)
        self.owned = Owned(self._gateway_changed)
        self.services = Services(self._service_changed)
        self.pods = Pods()
        self._autoscalers = Autoscalers()

    def watches(self, server: ApiServer) -> Watches:
        """Give all watches of the controller."""
        watches = Watches(server, self._settings.namespaces)
        ours = (("labelSelector", gateway_objects.MANAGED_SELECTOR),)
        watches.add(paths.MODEL_DEPLOYMENTS, keep=models.stored, changed=self.models.changed)
        watches.add(paths.SERVICES, keep=services.parse, changed=self.services.changed)
        watches.add(paths.PODS, keep=pods.parse, changed=self.pods.changed)
        watches.add(paths.PODS, keep=owned.parse_pod, changed=self.owned.pod_changed, query=ours)
        watches.add(paths.HORIZONTAL_POD_AUTOSCALERS, keep=autoscalers.target, changed=self._autoscalers.changed)
        for resource in gateway_objects.RESOURCES:
            watches.add(resource, keep=owned.parse(resource), changed=self.owned.changed(resource), query=ours)
        return watches

    def changed(self, key: ModelKey) -> None:
        """Have the model's status looked at."""
        self.to_tell(key)

    def local_health(self, model: Model) -> LocalHealth:
        """Count the pods behind the model's Service."""
        spec = model.spec
        service = self.services.get(spec.key.namespace, spec.service.name) if spec and spec.service else None
        if spec is None or service is None or not service.selector:
            return LocalHealth(0, 0)
        return inventory.health(self.pods.select(spec.key.namespace, service.pods))

    def autoscaler(self, model: Model) -> str | None:
        """Name the autoscaler of the model's workload."""
        return self._autoscalers.of(model.spec.key, model.spec.source) if model.spec else None

    def metric_endpoints(self, spec: OffloadSpec) -> Mapping[str, str]:
        """Give the ready pods that have metrics: the name of each by its `host:port`."""
        given = spec.metric_service
        service = self.services.get(spec.key.namespace, given.name) if given else None
        if given is None or service is None or not service.selector:
            return {}
        found = self.pods.endpoints(spec.key.namespace, service.pods, given.target_port)
        return {addresses.join(host, port): name for name, host, port in found}

    def _tell(self, key: ModelKey, stored: Stored | None) -> None:
        if stored is None:
            self._shares.forget(key)
        elif stored.percentage is not None:
            self._shares.set(key, Setting(stored.percentage, self._in_flight(key)))

    async def bound(self) -> None:
        """Keep what may be in flight at local in step with the pods that are ready, on either side of it; until cancelled."""
        while True:
            await asyncio.sleep(BOUND_PERIOD)
            for key in self.models.models:
                self._tell(key, self.models.get(key))

    def _in_flight(self, key: ModelKey) -> int | None:
        model = self.models.models.get(key)
        if model is None or model.spec is None:
            return None
        gateways = sum(pod.ready for pod in self.owned.pods(key).values())
        return limits.in_flight(model.spec, ready=self.local_health(model).ready, gateways=max(1, gateways))

    def _gateway_changed(self, key: ModelKey) -> None:
        self.to_wake(key)
        self.to_tell(key)

    def _service_changed(self, namespace: str, name: str) -> None:
        for key, model in self.models.models.items():
            if key.namespace == namespace and model.spec and model.spec.service and model.spec.service.name == name:
                self.to_wake(key)


# Where metrics come from.


def _route(prometheus: PrometheusSource | None, scrape: ScrapeSource, apis: MetricsApis) -> Route:
    def route(spec: OffloadSpec, metric: MetricSpec) -> Source | Missing:
        match metric:
            case ExternalMetric() if prometheus is not None:
                return prometheus
            case PodsMetric() if spec.metric_service is not None:
                return scrape
            case _:
                return apis

    return route


# The gateways.


def rendered(given: Cluster, tokens: Tokens, spec: OffloadSpec, plan: Plan) -> Envoy:
    """Give what a gateway's Envoy reads in its pod."""
    anywhere = "[::]" if plan.ipv6 else "0.0.0.0"  # noqa: S104 - a pod's own addresses
    place = Place(
        node=str(spec.key),
        directory=gateway_objects.CONFIG_DIRECTORY,
        front=f"{anywhere}:{plan.ports.front}",
        stats=f"{anywhere}:{plan.ports.stats}",
        admin=f"unix:{gateway_objects.ADMIN_SOCKET}",
        shares=given.shares.reached_at,
        local=(f"{gateway_objects.local_name(spec.key)}.{spec.key.namespace}.svc.{given.domain}.:{plan.local_port}",),
        secrets=gateway_objects.SECRETS_DIRECTORY,
        mounted=True,
        gateways=spec.gateway.replicas,
        shares_ca=(given.shares.secrets / AUTHORITY).read_text(),
        shares_token=tokens.of(str(spec.key)),
    )
    return Envoy(config.files(spec, place), routes.PROBE_PATH, (routes.PROBE_HEADER, place.node))


# What is shown.


@dataclass(frozen=True, slots=True)
class _Shown:
    site: Site
    sinks: tuple[MetricsSink, ModelsSink, Pulse]


def _site(  # noqa: PLR0917 - the composition root hands over all it has
    given: Cluster,
    clock: SteadyClock,
    view: View,
    keeper: Gateways,
    shares: ShareServer,
    watches: Watches,
    lease: Lease,
) -> _Shown:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry)
    exposition.gauge("beamlit_leader", "Whether this replica decides.", lambda: float(lease.leading.value))
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
    return _Shown(site, (metrics, shown, pulse))


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
