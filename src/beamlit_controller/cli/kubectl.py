"""`kubectl offload …`: the kubectl plugin, which forwards a port to the leader and runs explain, top or history."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal

import cyclopts
from cyclopts import Parameter

from beamlit_controller.cli import inputs, output
from beamlit_controller.cli import main as everything

NAME: Final = "beamlit-controller"
"""The `app.kubernetes.io/name` of the controller's pods and of its Lease, whatever the release is called."""
PORT: Final = 8081

app = cyclopts.App(
    name="kubectl offload",
    help="Inspect and override the decisions of beamlit-controller in a cluster.",
    version=version("beamlit-controller"),
)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Reached:
    """How kubectl reaches the controller.

    Parameters
    ----------
    controller_namespace
        The namespace of the controller.
    lease
        The name of the controller's Lease, and of its Deployment, if several controllers run in that namespace.
    context
        The kubeconfig context; the current one by default.
    kubeconfig
        The kubeconfig file; kubectl's own choice by default.
    """

    controller_namespace: str = "beamlit-system"
    lease: str = ""
    context: str = ""
    kubeconfig: Path | None = None

    @property
    def command(self) -> Sequence[str]:
        """Return the kubectl command line for the controller's namespace."""
        context = (f"--context={self.context}",) if self.context else ()
        kubeconfig = (f"--kubeconfig={self.kubeconfig}",) if self.kubeconfig else ()
        return ("kubectl", *context, *kubeconfig, f"--namespace={self.controller_namespace}")


HERE: Final = Reached()


@app.command
def explain(
    name: str,
    *,
    namespace: inputs.Namespace = "",
    output: Literal["table", "json"] = "table",
    watch: Annotated[bool, Parameter(negative="")] = False,
    reached: Reached = HERE,
) -> None:
    """Show what the controller read for a model, what it decided, and why.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    namespace
        Namespace of the ModelDeployment; by default any, if only one has a model of that name.
    output
        A table for people, or JSON.
    watch
        Show it again every second.
    """
    _run(["explain", inputs.qualified(name, namespace), "--output", output, *(["--watch"] if watch else [])], reached)


@app.command
def top(*, once: Annotated[bool, Parameter(negative="")] = False, reached: Reached = HERE) -> None:
    """Show all models in one live table, those that need attention first.

    Parameters
    ----------
    once
        Print the table once and exit.
    """
    _run(["top", *(["--once"] if once else [])], reached)


@app.command
def history(name: str, *, namespace: inputs.Namespace = "", reached: Reached = HERE) -> None:
    """Print the last changes of a model's percentage, latest first, with their reasons.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    namespace
        Namespace of the ModelDeployment; by default any, if only one has a model of that name.
    """
    _run(["history", inputs.qualified(name, namespace)], reached)


app.command(everything.app["override"].default_command, name="override")


def main() -> None:
    """Run the command line."""
    with output.to_reader():
        app()


def _run(command: Sequence[str], reached: Reached) -> None:
    with _forwarded(reached) as port:
        everything.app([*command, "--address", f"127.0.0.1:{port}"])


@contextmanager
def _forwarded(reached: Reached) -> Iterator[int]:
    """Forward a free local port to the leader, and provide the port."""
    command = [*reached.command, "port-forward", _replica(reached), f":{PORT}"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - kubectl, with options of its user
    except OSError as error:
        sys.exit(f"kubectl offload: kubectl can't be run: {error.strerror}")
    try:
        yield _port(process)
    finally:
        process.terminate()
        process.wait()


def _replica(reached: Reached) -> str:
    """Return the pod that holds the Lease; without leader election there is only one replica."""
    holders = _holders(reached)
    leads = holders.get(reached.lease, "") if reached.lease else _only(holders)
    if leads:
        return f"pod/{leads}"
    replicas = _replicas(reached)
    if reached.lease and reached.lease not in replicas:
        sys.exit(
            f"kubectl offload: no controller in the namespace {reached.controller_namespace} has the Lease {reached.lease}; "
            f"there are: {', '.join(sorted({*replicas, *(name for name, holder in holders.items() if holder)})) or 'none'}"
        )
    return f"pod/{replicas[reached.lease] if reached.lease else _only(replicas)}"


def _only(controllers: Mapping[str, str]) -> str:
    """Return the pod of the only controller that has one; "" if none has."""
    pods = {name: pod for name, pod in controllers.items() if pod}
    if len(pods) > 1:
        sys.exit(
            f"kubectl offload: several controllers run in this namespace: choose one with --lease: {', '.join(sorted(pods))}"
        )
    return next(iter(pods.values()), "")


def _holders(reached: Reached) -> Mapping[str, str]:
    """Return the pod that holds each Lease; "" if none does, as after the controller's end."""
    return _listed(reached, "lease", ".metadata.name", ".spec.holderIdentity")


def _replicas(reached: Reached) -> Mapping[str, str]:
    """Return a pod of each controller, by the name of its Lease."""
    # The chart gives the ServiceAccount the name of the Lease. The pod's own name may have been cut off to make room for its suffix.
    running = _listed(
        reached, "pods", ".spec.serviceAccountName", ".metadata.name", "--field-selector=status.phase=Running"
    )
    if not running:
        sys.exit(
            f"kubectl offload: no controller is running in the namespace {reached.controller_namespace}: no pod there has the "
            f"label {_LABEL}; --controller-namespace names another namespace"
        )
    return running


_LABEL = f"app.kubernetes.io/name={NAME}"


def _listed(reached: Reached, resource: str, key: str, value: str, *options: str) -> Mapping[str, str]:
    """Return two fields of each of the controllers' objects, given as JSONPath."""
    output = f'--output=jsonpath={{range .items[*]}}{{{key}}}={{{value}}}{{"\\n"}}{{end}}'
    lines = _asked([*reached.command, "get", resource, f"--selector={_LABEL}", *options, output]).splitlines()
    return dict(line.split("=", 1) for line in lines)


def _asked(command: Sequence[str]) -> str:
    """Return what kubectl prints; on failure, kubectl has printed why."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - kubectl, with options of its user
    except OSError as error:
        sys.exit(f"kubectl offload: kubectl can't be run: {error.strerror}")
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()


def _port(process: subprocess.Popen[str]) -> int:
    """Read the chosen port from kubectl's output; on failure, kubectl has printed why."""
    said = process.stdout.readline() if process.stdout else ""
    found = re.search(r"127\.0\.0\.1:(\d+) ->", said)
    if found is None:
        sys.exit(process.wait(10) or 1)
    return int(found[1])
