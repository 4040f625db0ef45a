"""The commands of `beamlit-controller`, one module each, which is imported when its command is run."""

from importlib.metadata import version
from typing import Final

import cyclopts

from beamlit_controller.cli import output

COMMANDS: Final = {
    "run": "Run the controller and its gateways on this machine, without a cluster.",
    "stop": "End the gateways that `run --leave-gateways` has left serving on this machine; requests in flight are finished.",
    "check": "Validate manifests and settings files without running anything. Exits with 1 if there are errors.",
    "explain": "Show what the running controller read for a model, what it decided, and why.",
    "simulate": "Replay recorded metrics through the controller's own decision logic, and report what would have been offloaded.",
    "convert": "Print a HorizontalPodAutoscaler of any version, a ScaledObject (KEDA) or an older manifest as a ModelDeployment.",
    "render": "Print Envoy's files or the CRD without running anything.",
    "cluster": "Run the controller in a cluster; the Helm chart runs this command.",
    "release": "Restore all Services, point the gateways' Services at the models' pods, and remove the gateways, before an uninstallation.",
    "restore": "Restore the original selector of taken-over Services, and remove the finalizers, without a controller.",
    "override": "Set the percentage of a model regardless of its metrics: in the cluster or, with --state-dir, on this machine.",
    "envoy": "Replace this process by the Envoy of a gateway, with the files in a directory.",
    "drain": "Drain a gateway without losing a request; the preStop hook of its pod.",
    "init": "Write a manifest and settings for one model on this machine.",
    "top": "Show all models of the running controller in one live table, those that need attention first.",
    "history": "Print the last changes of a model's percentage, latest first, with their reasons.",
    "completion": "Print the completion script of a shell.",
}
"""What each command does, for the overview; the module of the same name has the full help."""

app = cyclopts.App(
    name="beamlit-controller",
    help="Serve a model on your own machines first, and send a share of its requests to a remote backend when a metric says so.",
    version=version("beamlit-controller"),
)

for name, text in COMMANDS.items():
    app.command(f"beamlit_controller.cli.{name}:{name}", help=text)


def main() -> None:
    """Run the command line."""
    with output.to_reader():
        app()
