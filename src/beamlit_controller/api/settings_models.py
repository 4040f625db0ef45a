"""The settings file as users write it: the chart's value `config`, unchanged.

`settings.py` turns it into the values that the program uses; the descriptions become docs/reference/settings.md.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema

from beamlit_controller.api import addresses, gateway_bounds, listen_addresses, problems, shared_listener_models
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.gateway_bounds import ImagePattern, Network, SecretPattern
from beamlit_controller.api.gateway_pods import GatewayPodsConfig
from beamlit_controller.api.informer_models import MetricInformer
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.remotes import Remotes, UniqueNames
from beamlit_controller.api.rules import AtMostOne, Mistake, Rule
from beamlit_controller.api.scalars import DnsLabel, Quantity, Word, unique
from beamlit_controller.api.shared_listener_models import SharedListenerConfig


def _host_pattern(text: str) -> str:
    if "*" not in text:
        addresses.parse_host(text)
    elif not re.fullmatch(r"[A-Za-z0-9_.:*-]+", text, re.ASCII):
        raise ValueError(f"expected a host or a pattern such as *.example.com, got {problems.came(text)}")
    return text


def _endpoint(text: str) -> str:
    addresses.parse(text)
    return text


def _listener(text: str) -> str:
    addresses.parse(text, lowest_port=0)
    return text


_ADDRESS_SCHEMA = {"type": "string"}
Endpoint = Annotated[str, AfterValidator(_endpoint), WithJsonSchema(_ADDRESS_SCHEMA)]
Listener = Annotated[str, AfterValidator(_listener), WithJsonSchema(_ADDRESS_SCHEMA)]
Listeners = Annotated[
    JsonValue, WithJsonSchema({"anyOf": [_ADDRESS_SCHEMA, {"type": "object", "additionalProperties": _ADDRESS_SCHEMA}]})
]


class StandaloneConfig(StrictModel):
    """Servers, addresses and Secrets for `run` on a machine without a cluster."""

    services: dict[str, Annotated[list[Endpoint], Field(min_length=1, max_length=1000)]] = Field(
        default={},
        description="The servers of each Service, by `namespace/name` of the Service: a list of host:port.",
    )
    listen: Listeners | None = Field(
        default=None,
        description="Address of the gateway: host:port by `namespace/name` of the ModelDeployment, or one host:port if there is "
        "one model. Port 0 takes any free port.",
    )
    stats_listen: Listeners = Field(
        default="127.0.0.1:0",
        description="Address of the gateway's /ready and /stats/prometheus; same format as `listen`.",
    )
    web_listen: Listener = Field(
        default="127.0.0.1:8081", description="Address of the controller's /healthz, /readyz, /metrics and /models."
    )
    shared_listeners: dict[DnsLabel, SharedListenerConfig] = Field(
        default={},
        max_length=100,
        description="Listeners that several models share, by name; each request is routed to one of the models.",
    )
    secrets_directory: Word | None = Field(
        default=None,
        description="Directory of the Secrets: a Secret's key is the file DIRECTORY/NAME/KEY. Without it, credentials of remotes "
        "are read below `secrets` in the working directory; certificates and `metricServiceRef` require it.",
    )
    access_log: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="Access log of the gateways, such as /dev/stdout; off by default."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check the names of Services, and the listeners."""
        yield from super().mistakes(given)
        services = given.get("services")
        for name in services if isinstance(services, Mapping) else ():
            yield from _bad_name("services", name)
        for field in ("listen", "statsListen"):
            if field in given:
                yield from _listeners(field, given[field])
        yield from _in_the_way(given)
        yield from shared_listener_models.leads_nowhere(given.get("sharedListeners"), given.get("listen"))


def _listeners(field: str, given: object) -> Iterator[Mistake]:
    if not isinstance(given, str | Mapping):
        yield Mistake(
            (field,), f"expected host:port, or a mapping of namespace/name to host:port, got {problems.kind(given)}"
        )
    for name, text in given.items() if isinstance(given, Mapping) else [(None, given)]:
        if name is not None:
            yield from _bad_name(field, name)
        if isinstance(text, str):
            try:
                listen_addresses.parse(text)
            except ValueError as error:
                yield Mistake((field,) if name is None else (field, str(name)), str(error))
        elif name is not None:
            yield Mistake((field, str(name)), f"expected host:port, got {problems.kind(text)}")


def _in_the_way(given: Mapping[Any, object]) -> Iterator[Mistake]:
    """Yield listeners whose address is taken by an earlier one."""
    known: list[tuple[tuple[str, ...], Address]] = []
    for path, text in _all_listeners(given):
        try:
            address = addresses.parse(text, lowest_port=0)
        except ValueError:
            continue
        first = next((earlier for earlier, taken in known if listen_addresses.overlap(taken, address)), None)
        if first is not None:
            yield Mistake(
                path, f"{address} is taken by {problems.path(first)}; each listener needs an address of its own"
            )
        known.append((path, address))


def _all_listeners(given: Mapping[Any, object]) -> Iterator[tuple[tuple[str, ...], str]]:
    web = given.get("webListen", StandaloneConfig.model_fields["web_listen"].default)
    if isinstance(web, str):
        yield ("webListen",), web
    for field in ("listen", "statsListen"):
        listed = given.get(field)
        for name, text in listed.items() if isinstance(listed, Mapping) else [("", listed)]:
            if isinstance(text, str):
                yield (field, *([str(name)] if name else [])), text
    shared = given.get("sharedListeners")
    for name, listener in shared.items() if isinstance(shared, Mapping) else ():
        text = listener.get("address") if isinstance(listener, Mapping) else None
        if isinstance(text, str):
            yield ("sharedListeners", str(name), "address"), text


def _bad_name(field: str, name: object) -> Iterator[Mistake]:
    if not isinstance(name, str) or not re.fullmatch(_NAMESPACED, name, re.ASCII):
        yield Mistake((field, str(name)), "expected namespace/name, such as default/llama")


_NAMESPACED = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


class PageConfig(StrictModel):
    """The controller's read-only page at `/`."""

    enabled: bool = Field(default=True, description="Serve the page. /models is served in any case.")
    hosts: list[Annotated[str, AfterValidator(_host_pattern)]] = Field(
        default=[],
        max_length=100,
        description="Host names, or patterns such as *.example.com, under which browsers reach the page and /models. IP addresses, the machine's own name, names without a dot and names outside public DNS (*.local, *.lan, *.internal, *.svc) need not be listed; requests for any other host are rejected.",
    )


class OtlpConfig(StrictModel):
    """An OpenTelemetry collector that the gateways send spans to, by OTLP over gRPC."""

    address: Endpoint = Field(
        description="host:port of the collector's gRPC receiver, usually port 4317. The connection is not encrypted."
    )
    sample_percentage: Annotated[float, Field(ge=0, le=100)] = Field(
        default=100,
        description="Percentage of requests to trace among those that arrive without a trace context. A trace that the client started is continued if the client sampled it.",
    )
    service_name: Word = Field(default="beamlit-gateway", description="`service.name` of the spans.")


class TracingConfig(StrictModel):
    """Distributed tracing of requests in the gateways."""

    otlp: OtlpConfig | None = Field(
        default=None,
        description="Where spans are sent; by default nowhere. A change replaces the gateways' listeners, which ends open streams after the drain time.",
    )


class Config(StrictModel):
    """All settings."""

    rules: ClassVar[tuple[Rule, ...]] = (
        AtMostOne(("defaultRemoteBackend", "defaultRemoteBackends")),
        UniqueNames("defaultRemoteBackends"),
    )

    metric_informer: MetricInformer = Field(
        default=MetricInformer(), description="Where metrics are read, and how often."
    )
    default_remote_backend: RemoteBackendConfig | None = Field(
        default=None,
        description="Remote for ModelDeployments without `remoteBackend` and `remoteBackends`; same format as `remoteBackend`.",
    )
    default_remote_backends: Remotes | None = Field(
        default=None,
        description="Several remotes instead of `defaultRemoteBackend`, in order; same format as `remoteBackends`.",
    )
    namespaces: Annotated[list[DnsLabel], AfterValidator(unique)] = Field(
        default=[],
        max_length=1000,
        json_schema_extra={"uniqueItems": True},
        description="Namespaces whose ModelDeployments are managed; by default all.",
    )
    enable_leader_election: bool = Field(
        default=True, description="Elect one replica as the leader, which decides and writes. Only used in a cluster."
    )
    allowed_remote_hosts: list[Annotated[str, AfterValidator(_host_pattern)]] = Field(
        default=["*"],
        max_length=1000,
        description="The hosts that a ModelDeployment may name for its remote and its tokenUrl; `*` stands for any text. "
        "Anyone who can write a ModelDeployment can send requests, and the prompts in them, to these hosts. "
        "Loopback, link-local and metadata-service hosts, and names that only this network or cluster resolves, are "
        "rejected unless an entry without `*` names them.",
    )
    allowed_gateway_images: list[ImagePattern] = Field(
        max_length=1000,
        default=[],
        description="The images that a ModelDeployment may name for its gateway; `*` stands for any text. By default none: "
        "gateways run the controller's own image.",
    )
    max_gateway_replicas: Annotated[int, Field(ge=1, le=100)] = Field(
        default=gateway_bounds.MOST_REPLICAS,
        description="Maximum number of gateway pods that a ModelDeployment may request.",
    )
    max_gateway_resources: dict[str, Quantity] = Field(
        max_length=20,
        default=dict(gateway_bounds.MOST_RESOURCES),
        description="Maximum request and limit of each resource for a gateway's container. A resource that is not listed "
        "can't be requested.",
    )
    allowed_secret_names: list[SecretPattern] = Field(
        max_length=1000,
        default=["*"],
        description="The names of Secrets that a ModelDeployment may reference; `*` stands for any text. Anyone who can write a "
        "ModelDeployment can send these Secrets of its own namespace to its remote. With `offload-*`, the author of a "
        "Secret opts in through its name.",
    )
    denied_gateway_networks: list[Network] = Field(
        max_length=1000,
        default=list(gateway_bounds.DENIED_NETWORKS),
        description="Networks that gateways may not connect to, enforced by a NetworkPolicy per gateway. The list replaces "
        "the default; an empty list allows every network. DNS, pods in the model's namespace and the controller are "
        "always reachable.",
    )
    gateway: GatewayPodsConfig = Field(
        default=GatewayPodsConfig(),
        description="Placement, priority and pull Secrets of the pods of all gateways, as in a pod. Only used in a cluster. "
        "A change rolls the gateways.",
    )
    run_as_fixed_user: bool = Field(
        default=True,
        description="Run the pods of gateways, and those of the chart, as user and group 65532. If false, their security "
        "contexts have no runAsUser, runAsGroup and fsGroup, for clusters that assign them, such as OpenShift.",
    )
    page: PageConfig = Field(
        default=PageConfig(), description="The page that shows all models, and the host names it is served under."
    )
    tracing: TracingConfig = Field(
        default=TracingConfig(), description="Distributed tracing of requests in the gateways."
    )
    standalone: StandaloneConfig = Field(
        default=StandaloneConfig(), description="Servers, addresses and Secrets for running without a cluster."
    )


class SettingsFile(StrictModel):
    """The settings file: the chart's values, of which only `config` is read here."""

    config: Config = Field(default=Config(), description="All settings.")
