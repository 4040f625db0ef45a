"""`release`: restore all Services and remove all gateways before the controller is uninstalled."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api import yaml_documents
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.yaml_documents import Document
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
        settings=_settings(settings) if settings else Settings(),
        identity=f"release-{os.uname().nodename}-{os.getpid()}",
        namespace=namespace,
        lease=lease,
        image=Image(""),
        shares=RtdsAddress("", "", Path()),
        kubeconfig=kubeconfig,
    )
    overdue = f"not everything was released within {within_seconds:g} s; run it again"
    inputs.run(releasing.release(options, deployment, within=within_seconds), overdue=overdue)


def _settings(path: Path) -> Settings:
    """Read the settings. Whatever else is wrong in them, the namespaces suffice: what can't be uninstalled can't be mended either."""
    text = inputs.read(path)
    given = api_settings.parse(text)
    if isinstance(given, Settings):
        return given
    for mistake in given:
        inputs.say(f"{path}: {mistake}", file=sys.stderr)
    namespaces = api_settings.read({"config": _namespaces(text)})
    if not isinstance(namespaces, Settings):
        inputs.fail(f"{path}: config.namespaces has to be known to release anything")
    return namespaces


def _namespaces(text: str) -> Mapping[str, object]:
    """Return the part of the settings that names namespaces; something invalid if they can't be read."""
    first = next(iter(yaml_documents.load(text)), None)
    content = first.content if isinstance(first, Document) else None
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping):
        return {"namespaces": None}
    return {name: each for name, each in config.items() if name == "namespaces"}
