"""Renders the Envoy files of a gateway pod."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from beamlit_controller.core.gateway_config import ConfigInForce, ConfigStep, Files
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.envoy import config, config_stats, make_before_break, routes
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.rtds_access import Tokens
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.gateway_objects import Envoy
from beamlit_controller.kubernetes.gateway_probe import ProbeRequest
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.wiring.cluster_options import AUTHORITY, ClusterOptions

log = structlog.stdlib.get_logger(__name__)

CA_PERIOD: Final = 10.0
"""Seconds between reads of the CA's file, which the kubelet updates within a minute or two."""

QUESTION = ProbeRequest(routes.REACH_PATH, routes.REACHED)
"""The request with which a gateway is probed whether it reaches the model."""


def oversized(spec: OffloadSpec) -> str | None:
    """Return what to change if a gateway's files would not fit into a ConfigMap, whatever the cluster."""
    anywhere = "0.0.0.0"  # noqa: S104 - a pod's own addresses
    params = GatewayParams(
        node=str(spec.key),
        directory=gateway_objects.CONFIG_DIRECTORY,
        front=f"{anywhere}:8080",
        stats=f"{anywhere}:8081",
        admin=f"unix:{gateway_objects.ADMIN_SOCKET}",
        shares="controller:8082",
        local=(f"{gateway_objects.local_name(spec.key)}:80",),
    )
    return gateway_objects.oversized(config.files(spec, params))


class EnvoyFiles:
    """Renders the files of gateways."""

    def __init__(self, options: ClusterOptions, tokens: Tokens) -> None:
        self._options = options
        self._tokens = tokens
        self._ca_file = options.shares.secrets / AUTHORITY
        self._ca = self._ca_file.read_text()

    async def follow_ca(self) -> None:
        """Read the CA periodically, until cancelled. While its file can't be read, the last CA is used."""
        while True:
            await asyncio.sleep(CA_PERIOD)
            try:
                # In a thread: a file on a busy disk can take a second to open, and would block the event loop.
                self._ca = await asyncio.to_thread(self._ca_file.read_text)
            except (OSError, ValueError) as error:
                log.warning("CA not readable, the last one is used", error=str(error))

    def revision(self) -> str:
        """Return the CA with which gateways verify the RTDS server; it may be rotated at run time."""
        return self._ca

    def render(self, spec: OffloadSpec, plan: Plan) -> Envoy:
        """Render the files of one gateway."""
        params = self._params(spec, plan)
        files: Mapping[str, str] = config.files(spec, params)
        return Envoy(files, routes.PROBE_PATH, (routes.PROBE_HEADER, params.node))

    def next_step(self, present: Files, requested: Files, seen: Sequence[ConfigInForce]) -> ConfigStep:
        """Return the files to give next, by what the gateway's pods report."""
        return make_before_break.next_step(present, requested, seen)

    def missing(self, files: Files, seen: ConfigInForce) -> tuple[str, ...]:
        """Return the names of the files whose current version a gateway does not have in force."""
        return config_stats.missing(files, seen)

    def _params(self, spec: OffloadSpec, plan: Plan) -> GatewayParams:
        anywhere = "[::]" if plan.ipv6 else "0.0.0.0"  # noqa: S104 - a pod's own addresses
        local = f"{gateway_objects.local_name(spec.key)}.{spec.key.namespace}.svc.{self._options.domain}."
        return GatewayParams(
            node=str(spec.key),
            directory=gateway_objects.CONFIG_DIRECTORY,
            front=f"{anywhere}:{plan.ports.front}",
            stats=f"{anywhere}:{plan.ports.stats}",
            admin=f"unix:{gateway_objects.ADMIN_SOCKET}",
            shares=self._options.shares.reached_at,
            local=(f"{local}:{plan.local_port}",),
            tcp_passthrough=tuple(
                (f"{anywhere}:{number}", f"{local}:{number}") for _, number in plan.ports.tcp_passthrough
            ),
            client_ip_affinity=plan.client_ip_affinity,
            secrets=gateway_objects.SECRETS_DIRECTORY,
            mounted=True,
            gateways=spec.gateway.replicas,
            otlp=self._options.settings.otlp,
            shares_ca=self._ca,
            shares_token=self._tokens.token_of(str(spec.key)),
            local_ipv6=plan.only_ipv6,
        )
