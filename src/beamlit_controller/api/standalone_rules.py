"""Checks what a model needs to run outside a cluster. What only a cluster offers is rejected, with the alternative."""

from collections.abc import Iterator, Sequence

from beamlit_controller.api import listen_addresses, manifests, not_in_effect
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.problems import Problem, like
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import readable
from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
)
from beamlit_controller.core.spec import OffloadSpec, Rejected, RemoteTls

_INSTEAD = (
    "use a Pods metric with spec.metricServiceRef, an External metric (such as a PromQL query), or a Gateway metric"
)


def parse(text: str, *, settings: Settings) -> Parsed:
    """Parse manifests like `manifests.parse`, and reject what can't run outside a cluster.

    Fields without effect there are reported as notices.
    """
    parsed = manifests.parse(text, settings=settings)
    refused = {spec.key: standalone_problems(spec, settings) for spec in parsed.specs}
    problems = (Problem(str(key), each.field, each.message) for key, found in refused.items() for each in found)
    return Parsed(
        tuple(spec for spec in parsed.specs if not refused[spec.key]),
        (*parsed.problems, *problems),
        (*parsed.notices, *(notice for spec in parsed.specs for notice in _notices(spec))),
    )


def _notices(spec: OffloadSpec) -> Iterator[Problem]:
    for notice in not_in_effect.not_in_effect(spec):
        yield Problem(str(spec.key), notice.field, notice.message)


def standalone_problems(spec: OffloadSpec, settings: Settings) -> tuple[Rejected, ...]:
    """Return the reasons why the model can't run outside a cluster."""
    return (
        *_metrics(spec, settings),
        *_service(spec, settings),
        *_metric_service(spec, settings),
        *_listener(spec, settings),
        *_secrets(spec, settings),
    )


def shared_listeners(specs: Sequence[OffloadSpec], settings: Settings) -> tuple[Rejected, ...]:
    """Return the models whose listen address belongs to another model: a single `listen` address is for one model."""
    listen, stats = settings.standalone.listen, settings.standalone.stats_listen
    enough = len(specs) > 1
    return tuple(
        Rejected(f"config.standalone.{name}", f"{address} is for one model, and there are {len(specs)}; {_MAP_IT}")
        for name, address in (("listen", listen), ("statsListen", stats))
        if enough and isinstance(address, Address) and address.port
    )


_MAP_IT = "write a mapping of namespace/name to host:port"


def _metrics(spec: OffloadSpec, settings: Settings) -> Iterator[Rejected]:
    for index, metric in enumerate(spec.metrics):
        sources = readable.standalone(prometheus=settings.prometheus is not None)
        if not any(can_read(spec, metric) for can_read in sources):
            yield Rejected(f"spec.offloadingConfig.metrics[{index}]", _instead(metric))


def _instead(metric: MetricSpec) -> str:
    """Return what to do about a metric that no source can read here."""
    match metric:
        case ResourceMetric() | ContainerResourceMetric():
            return f"resources such as cpu and memory are read from the Kubernetes metrics API, which needs a cluster; {_INSTEAD}"
        case ObjectMetric():
            return f"Object metrics are read from the Kubernetes custom metrics API, which needs a cluster; {_INSTEAD}"
        case PodsMetric():
            return "without a cluster, Pods metrics are read from the servers themselves: set spec.metricServiceRef"
        case GatewayMetric():
            return "there is no gateway to measure it"
        case ExternalMetric():
            return "without a cluster, External metrics are read from Prometheus: set config.metricInformer.type: prometheus and config.metricInformer.prometheus.address"


def _service(spec: OffloadSpec, settings: Settings) -> Iterator[Rejected]:
    if spec.service is None:
        yield Rejected(
            "spec.serviceRef", "required without a cluster: it names the servers in config.standalone.services"
        )
    else:
        yield from _listed("spec.serviceRef.name", spec.key.namespace, spec.service.name, settings)


def _metric_service(spec: OffloadSpec, settings: Settings) -> Iterator[Rejected]:
    if spec.metric_service is not None:
        yield from _listed("spec.metricServiceRef.name", spec.key.namespace, spec.metric_service.name, settings)


def _listed(field: str, namespace: str, name: str, settings: Settings) -> Iterator[Rejected]:
    services = settings.standalone.services
    wanted = f"{namespace}/{name}"
    if wanted not in services:
        hint = like(wanted, services)
        yield Rejected(field, f"{wanted} is not in config.standalone.services" + (f"; {hint}" if hint else ""))


def _listener(spec: OffloadSpec, settings: Settings) -> Iterator[Rejected]:
    address = settings.standalone.listener(spec.key)
    if address is None:
        yield Rejected("metadata.name", f"config.standalone.listen has no address for {spec.key}")
        return
    stats, web = settings.standalone.stats_listener(spec.key), settings.standalone.web_listen
    name = spec.service.name if spec.service else ""
    for server in settings.standalone.endpoints(spec.key.namespace, name) or ():
        for field, own in (("listen", address), ("statsListen", stats), ("webListen", web)):
            if listen_addresses.leads_to(server, own):
                service = f"config.standalone.services[{spec.key.namespace}/{name}]"
                yield Rejected("spec.serviceRef", f"{server} in {service} is taken by config.standalone.{field}, {own}")


def _secrets(spec: OffloadSpec, settings: Settings) -> Iterator[Rejected]:
    needing = ((index, remote.tls) for index, remote in enumerate(spec.remotes) if _reads_files(remote.tls))
    for index, tls in needing if settings.standalone.secrets_directory is None else ():
        remote = f"remoteBackends[{index}]" if spec.remotes[index].name else "remoteBackend"
        yield Rejected(
            f"spec.offloadingConfig.{remote}.tls.{'caSecretRef' if tls.ca else 'certSecretRef'}",
            "without a cluster, Secrets are files: set config.standalone.secretsDirectory",
        )
    if _reads_secrets(spec) and not (settings.standalone.secrets_directory or settings.metric_secrets):
        yield Rejected(
            "spec.metricServiceRef",
            "without a cluster, Secrets are files: set config.standalone.secretsDirectory",
        )


def _reads_files(tls: RemoteTls) -> bool:
    return bool(tls.ca or tls.cert)


def _reads_secrets(spec: OffloadSpec) -> bool:
    """Return whether the controller itself needs a Secret, to read the servers' metrics."""
    service = spec.metric_service
    return service is not None and bool(service.credential or service.tls.secrets)
