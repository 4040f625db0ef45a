"""`restore`: restore taken-over Services when no controller is running."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beamlit_controller.cli import inputs


def restore(
    *,
    namespace: Annotated[str, Parameter(alias="-n")] = "",
    all_namespaces: Annotated[bool, Parameter(name="--all", negative="")] = False,
    kubeconfig: Path | None = None,
) -> None:
    """Restore the original selector of taken-over Services, and remove the finalizers, without a controller.

    Stop the controller first, otherwise it takes them over again.

    Parameters
    ----------
    namespace
        Restore the Services of this namespace.
    all_namespaces
        Restore the Services of all namespaces.
    kubeconfig
        Kubeconfig file; by default the pod's service account, $KUBECONFIG or ~/.kube/config.
    """
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import restore as restoring  # noqa: PLC0415 - the HTTP client is slow to import

    if bool(namespace) == all_namespaces:
        inputs.fail("expected --namespace NAME or --all, and not both")
    try:
        said = asyncio.run(restoring.restore(namespace or None, kubeconfig))
    except ApiError as error:
        inputs.fail(error.message)
    for well, text in said:
        inputs.say(text, file=sys.stdout if well else sys.stderr)
    if not said:
        print(f"no Service {f'of {namespace} ' if namespace else ''}is taken over")
    if not all(well for well, _ in said):
        sys.exit(1)
