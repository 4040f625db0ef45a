"""`release`: restore all Services and remove all gateways before the controller is uninstalled."""

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
    lease: str = "beamlit-controller",
    settings: Path | None = None,
    within_seconds: float = 600,
    kubeconfig: Path | None = None,
    log_level: Level = "info",
) -> None:
    """Restore all Services, point the gateways' Services at the models' pods, and remove the gateways, before an uninstallation.

    Parameters
    ----------
    namespace
        Namespace of the controller.
    deployment
        The controller's Deployment, which is scaled to 0 first.
    lease
        Name of the controller's Lease.
    settings
        The controller's settings file.
    within_seconds
        Timeout in seconds; gateways finish the requests in flight first.
    kubeconfig
        Kubeconfig file; by default the pod's service account, $KUBECONFIG or ~/.kube/config.
    log_level
        Minimum level of log messages.
    """
    from beamlit_controller.kubernetes.gateway_objects import Image  # noqa: PLC0415 - the same
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import release as releasing  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.wiring.cluster_options import ClusterOptions, RtdsAddress  # noqa: PLC0415 - the same

    logs.configure(log_level)
    options = ClusterOptions(
        settings=inputs.settings(settings) if settings else Settings(),
        identity=f"release-{os.uname().nodename}-{os.getpid()}",
        namespace=namespace,
        lease=lease,
        image=Image(""),
        shares=RtdsAddress("", "", Path()),
        kubeconfig=kubeconfig,
    )
    overdue = f"not everything was released within {within_seconds:g} s; run it again"
    inputs.run(releasing.release(options, deployment, within=within_seconds), overdue=overdue)
