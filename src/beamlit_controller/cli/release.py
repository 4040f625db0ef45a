"""`release`: everything is given back before the controller is uninstalled."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beamlit_controller.api.settings import Settings
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import Level


def release(
    *,
    namespace: Annotated[str, Parameter(env_var="POD_NAMESPACE")] = "default",
    deployment: str = "",
    settings: Path | None = None,
    within_seconds: float = 600,
    kubeconfig: Path | None = None,
    log_level: Level = "info",
) -> None:
    """Give everything back before the controller is uninstalled: clients are led past the gateways, which are removed.

    Parameters
    ----------
    namespace
        Where the controller is.
    deployment
        The controller's Deployment, to be scaled to nothing first.
    settings
        The settings file of the controller.
    within_seconds
        How long it may take: gateways finish the requests in flight.
    kubeconfig
        How the API server is reached from outside of the cluster.
    log_level
        The least severe messages to print.
    """
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same
    from beamlit_controller.kubernetes.gateway_objects import Image  # noqa: PLC0415 - the same
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import release as releasing  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.wiring.cluster_options import ClusterOptions, RtdsAddress  # noqa: PLC0415 - the same

    logs.configure(log_level)
    nowhere = RtdsAddress("", "", Path())
    given = ClusterOptions(
        settings=inputs.settings(settings) if settings else Settings(),
        identity=f"release-{os.uname().nodename}-{os.getpid()}",
        namespace=namespace,
        image=Image(""),
        shares=nowhere,
        kubeconfig=kubeconfig,
    )
    failure = ""
    try:
        asyncio.run(releasing.release(given, deployment, within=within_seconds))
    except* TimeoutError:
        failure = f"not everything was given back within {within_seconds:g} s; run it again"
    except* (ApiError, OSError) as errors:
        failure = inputs.said(errors)
    if failure:
        inputs.fail(failure)
