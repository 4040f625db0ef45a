"""`override`: set the percentage of a model by hand, in a cluster or on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beamlit_controller.cli import inputs
from beamlit_controller.core.spec import ModelKey, Override
from beamlit_controller.standalone import overrides
from beamlit_controller.standalone.state_folder import StateFolder


def override(
    name: str,
    percentage: str = "",
    *,
    namespace: inputs.Namespace = "",
    lasting: Annotated[str, Parameter(name="--for")] = "",
    reason: str = "",
    author: Annotated[str, Parameter(env_var="USER")] = "",
    clear: Annotated[bool, Parameter(negative="")] = False,
    context: str = "",
    kubeconfig: Path | None = None,
    state_dir: Path | None = None,
) -> None:
    """Set the percentage of a model regardless of its metrics: in the cluster or, with --state-dir, on this machine.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    percentage
        From 0 to 100, such as 25 or 25%.
    namespace
        Namespace of the ModelDeployment; by default that of the kubeconfig context, or `default`.
    lasting
        Duration, such as 90s, 30m, 2h or 1d; by default the override lasts until it is cleared.
    reason
        Reason, shown next to the percentage.
    author
        Author of the override; by default $USER, or the name of this user.
    clear
        Remove the override, so that the metrics decide again.
    context
        Kubeconfig context; by default the current one.
    kubeconfig
        Kubeconfig file; by default the pod's service account, $KUBECONFIG or ~/.kube/config.
    state_dir
        State directory of the controller that `run` runs on this machine.
    """
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import override as overriding  # noqa: PLC0415 - the HTTP client is slow to import

    if clear == bool(percentage):
        inputs.fail("expected a percentage or --clear, and not both")
    model = inputs.qualified(name, namespace)
    try:
        by = author or inputs.user()
        wanted = None if clear else overriding.manual_override(percentage, lasting, author=by, reason=reason)
        if state_dir is not None:
            key = _override_here(state_dir, model, wanted.as_spec if wanted else None)
        else:
            key = asyncio.run(overriding.override(model, wanted, kubeconfig=kubeconfig, context=context))
    except (ApiError, OSError, ValueError) as error:
        inputs.fail(str(error))
    inputs.say(f"{key}: {wanted or 'the metrics decide again'}")


def _override_here(state_dir: Path, model: str, override: Override | None) -> ModelKey:
    """Write the override to the state directory. Raises ValueError and OSError."""
    namespace, _, name = model.rpartition("/")
    key = ModelKey(namespace or "default", name)
    folder = StateFolder(state_dir)
    if not folder.decisions.is_dir():
        raise ValueError(f"--state-dir: expected the state folder of a controller that has decided, got {state_dir}")
    known = sorted(path.stem.replace(".", "/", 1) for path in folder.decisions.glob("*.json"))
    if str(key) not in known:
        raise ValueError(f"{state_dir}: no model {key}; there are: {', '.join(known) or 'none'}")
    overrides.put(folder.overrides, key, override)
    return key
