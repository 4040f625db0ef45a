"""Builds and connects the parts of the cluster mode. Read `build` to see what is connected to what."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from beamlit_controller.api import translate
from beamlit_controller.controller.changes import Changes
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.gateway_metrics import GatewayMetrics
from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.ports import SteadyClock
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.controller.usage_meters import UsageMeters
from beamlit_controller.envoy import config_stats, remote_stats, usage_stats
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.envoy.rtds_access import Tokens
from beamlit_controller.kubernetes import api_server
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.config_rollout import ConfigReader, ConfigRollout
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.egress import Egress
from beamlit_controller.kubernetes.endpoints import MetricEndpoints
from beamlit_controller.kubernetes.gateway_configs import GatewayConfigs
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.gateway_probe import GatewayProbe
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.last_good import LastGood
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.observation import Observer, ReachabilityProbe
from beamlit_controller.kubernetes.orphans import Orphans
from beamlit_controller.kubernetes.reconcile import GatewayPass
from beamlit_controller.kubernetes.reconciler import Reconciler
from beamlit_controller.kubernetes.remotes import GatewayStats, Remotes
from beamlit_controller.kubernetes.rendering import Rendering
from beamlit_controller.kubernetes.round_sink import Rounds
from beamlit_controller.kubernetes.scale import Workloads
from beamlit_controller.kubernetes.status_writer import StatusWriter
from beamlit_controller.kubernetes.store import Store
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.scrape.source import ScrapeSource
from beamlit_controller.telemetry import logs
from beamlit_controller.wiring import cluster_web, common, gateway_files
from beamlit_controller.wiring.cluster_options import TOKEN_KEY, ClusterOptions
from beamlit_controller.wiring.cluster_web import WebParts
from beamlit_controller.wiring.gateway_files import EnvoyFiles
from beamlit_controller.wiring.rtds_feed import RtdsFeed


@dataclass(frozen=True, slots=True)
class ReplicaParts:
    """Everything that runs in a replica."""

    clock: SteadyClock
    lease: Lease
    store: Store
    watches: Watches
    rtds_server: RtdsServer
    rtds_feed: RtdsFeed
    last_good: LastGood
    sensor: Sensor
    rounds: Rounds
    remotes: Remotes
    files: EnvoyFiles
    reconciler: Reconciler
    orphans: Orphans
    web: WebParts


@dataclass(frozen=True, slots=True)
class ExternalInputs:
    """The inputs besides the API server: clock, metrics, and stats of gateways."""

    clock: SteadyClock
    sensor: Sensor
    reach: ReachabilityProbe
    remotes: Remotes
    meters: Meters
    configs: ConfigReader


async def build(options: ClusterOptions, resources: AsyncExitStack) -> ReplicaParts:
    """Build all parts. What has to be closed is registered with `resources`."""
    server = await resources.enter_async_context(ApiServer(api_server.configuration(options.kubeconfig)))
    store = Store(partial(translate.read, settings=options.settings), Changes())
    clock = AnchoredClock()
    meters, used = Meters(clock), UsageMeters()
    path = f"/stats/prometheus?{urlencode({'filter': remote_stats.FILTER})}"
    read = remote_stats.attempts, remote_stats.traffic, meters.feed
    stats = GatewayStats(path, *read, usage_stats.usage, used.feed, used.forget)
    config_path = f"/stats/prometheus?{urlencode({'text_readouts': '', 'filter': config_stats.FILTER})}"
    held = HeldBytes()
    pages = await resources.enter_async_context(GatewayPages(held))
    inputs = ExternalInputs(
        clock=clock,
        meters=meters,
        sensor=await _sensor(options, server, store, resources, meters=meters, used=used, held=held),
        reach=await resources.enter_async_context(GatewayProbe(gateway_files.QUESTION)),
        remotes=Remotes(store.models, store.managed_objects, pages, stats, store.changes),
        configs=GatewayConfigs(pages, config_path, config_stats.read),
    )
    return compose(options, server, store, inputs)


def compose(options: ClusterOptions, server: ApiServer, store: Store, inputs: ExternalInputs) -> ReplicaParts:
    """Connect all parts to an API server, a store and the other inputs."""
    lease = Lease(server, namespace=options.namespace, name=options.lease, identity=options.identity)
    guarded = server.guarded(lease.held) if options.settings.enable_leader_election else server
    tokens = Tokens((options.shares.secrets / TOKEN_KEY).read_bytes())
    shares = RtdsServer(tokens)
    watches = store.watches(server, options.settings.namespaces)
    rounds = Rounds(store.changes)
    observer = Observer(inputs.reach, inputs.clock, rounds.last_read)
    writer = StatusWriter(
        guarded,
        inputs.clock,
        rounds=rounds,
        remotes=inputs.remotes,
        minute=inputs.meters.minute,
        identity=options.identity,
    )
    egress = Egress(options.settings.gateways.denied_networks, options.namespace)
    files = EnvoyFiles(options, tokens)
    rollout = ConfigRollout(server, inputs.configs, files)
    rendering = Rendering(files, rollout, image=options.image, pods=options.settings.gateway_pods, egress=egress)
    passes = GatewayPass(guarded, rendering, observer)
    reconciler = Reconciler(guarded, store, gateway=passes, status=writer)
    return ReplicaParts(
        clock=inputs.clock,
        lease=lease,
        store=store,
        watches=watches,
        rtds_server=shares,
        rtds_feed=RtdsFeed(store, shares),
        last_good=LastGood(server, store),
        sensor=inputs.sensor,
        rounds=rounds,
        remotes=inputs.remotes,
        files=files,
        reconciler=reconciler,
        orphans=Orphans(guarded, store),
        web=cluster_web.site(
            options,
            inputs.clock,
            cluster_web.Sources(store, reconciler, inputs.remotes, shares, watches, lease, inputs.meters),
        ),
    )


async def _sensor(
    options: ClusterOptions,
    server: ApiServer,
    store: Store,
    resources: AsyncExitStack,
    *,
    meters: Meters,
    used: UsageMeters,
    held: HeldBytes,
) -> Sensor:
    """Build the sensor with its metric sources."""
    settings = options.settings
    discovery = Discovery(server)
    workloads = Workloads(server, discovery, store.service)
    endpoints = MetricEndpoints(store)
    scrape = await resources.enter_async_context(
        ScrapeSource(
            endpoints.of,
            secrets=settings.secret_file,
            timeout=settings.direct_period * 0.6,
            held=held,
            report=logs.reading_failed,
        )
    )
    prometheus = await common.prometheus_source(settings, resources)
    apis = MetricsApis(server, discovery, workloads)
    gateways = GatewayMetrics(meters)
    sources = common.sources(scrape=scrape, gateways=gateways, prometheus=prometheus, metrics_apis=apis)
    inventory = ClusterInventory(workloads, store.pods)
    return Sensor(sources=sources, inventory=inventory, flows=meters, usage=used, report=logs.reading_failed)
