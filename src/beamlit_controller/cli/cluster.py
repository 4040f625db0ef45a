"""`cluster`: the controller in a cluster, as the chart runs it."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import Format, Level


def cluster(  # each is a separate option, and all but two have a default
    *,
    settings: Path,
    shares_address: Annotated[str, Parameter(env_var="SHARES_ADDRESS")],
    gateway_image: Annotated[str, Parameter(env_var="GATEWAY_IMAGE")],
    gateway_image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Parameter(env_var="GATEWAY_IMAGE_PULL_POLICY")
    ] = "IfNotPresent",
    name: Annotated[str, Parameter(env_var="POD_NAME")] = "",
    namespace: Annotated[str, Parameter(env_var="POD_NAMESPACE")] = "default",
    lease: str = "beamlit-controller",
    shares_listen: str = "[::]:18000",
    shares_secrets: Path = Path("/etc/beamlit/shares"),
    web_listen: str = ":8081",
    cluster_domain: Annotated[str, Parameter(env_var="CLUSTER_DOMAIN")] = "",
    kubeconfig: Path | None = None,
    log_level: Level = "info",
    log_format: Format = "auto",
) -> None:
    """Run the controller in a cluster; the Helm chart runs this command.

    Parameters
    ----------
    settings
        The settings file: the chart's `config:` value.
    shares_address
        Address of the RTDS server for gateways, as NAME.NAMESPACE.svc:PORT; its certificate must have that name.
    gateway_image
        The image that gateways run: the controller's own.
    gateway_image_pull_policy
        Image pull policy of the gateways.
    name
        Identity in the leader election; by default the host name.
    namespace
        Namespace of the Lease.
    lease
        Name of the Lease. Controllers in the same namespace need different ones, because only one of each name leads.
    shares_listen
        Listen address of the RTDS server.
    shares_secrets
        Directory with `tls.crt`, `tls.key`, `ca.crt` and `token.key` of the RTDS server.
    web_listen
        Listen address of /healthz, /readyz, /metrics and /models.
    cluster_domain
        Domain of the cluster's DNS; by default the one in /etc/resolv.conf.
    kubeconfig
        Kubeconfig file; by default the pod's service account, $KUBECONFIG or ~/.kube/config.
    log_level
        Minimum level of log messages.
    log_format
        Format of log messages; auto is console at a terminal and JSON otherwise.
    """
    from beamlit_controller.kubernetes.gateway_objects import Image  # noqa: PLC0415 - the same
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import cluster as cluster_mode  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.wiring.cluster_options import ClusterOptions, RtdsAddress  # noqa: PLC0415 - the same

    logs.configure(log_level, json=None if log_format == "auto" else log_format == "json")
    options = ClusterOptions(
        settings=inputs.settings(settings),
        identity=name or os.uname().nodename,
        namespace=namespace,
        lease=lease,
        image=Image(gateway_image, gateway_image_pull_policy),
        shares=RtdsAddress(shares_listen, shares_address, shares_secrets),
        web_listen=web_listen,
        kubeconfig=kubeconfig,
        domain=cluster_domain or _domain(Path("/etc/resolv.conf")),
    )
    inputs.run(cluster_mode.cluster(options))


def _domain(resolv_conf: Path) -> str:
    """Return the cluster's DNS domain, from the kubelet's search entry `svc.DOMAIN`; by default `cluster.local`."""
    try:
        text = resolv_conf.read_text(encoding="utf-8")
    except OSError:
        text = ""
    searched = [word for line in text.splitlines() if line.startswith("search") for word in line.split()[1:]]
    return next(
        (word.removeprefix("svc.").rstrip(".") for word in searched if word.startswith("svc.")), "cluster.local"
    )
