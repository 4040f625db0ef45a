"""The commands of `beamlit-controller`, one module each."""

from importlib.metadata import version

import cyclopts

from beamlit_controller.cli import (
    check,
    cluster,
    convert,
    drain,
    envoy,
    explain,
    override,
    release,
    render,
    restore,
    run,
    simulate,
    stop,
)

app = cyclopts.App(
    name="beamlit-controller",
    help="Serve a model on your own machines first, and send a share of its requests to a remote backend when a metric says so.",
    version=version("beamlit-controller"),
)

app.command(run.run)
app.command(stop.stop)
app.command(check.check)
app.command(explain.explain)
app.command(simulate.simulate)
app.command(convert.convert)
app.command(render.render)
app.command(cluster.cluster)
app.command(release.release)
app.command(restore.restore)
app.command(override.override)
app.command(envoy.envoy)
app.command(drain.drain)
app.command("beamlit_controller.cli.init:init", help="Write a manifest and settings for one model on this machine.")
app.command("beamlit_controller.cli.top:top", help="Show all models of the running controller in one table, live.")
app.command(
    "beamlit_controller.cli.history:history", help="Print the last changes of a model's share, each with its reason."
)
app.command("beamlit_controller.cli.completion:completion", help="Print the completion script of a shell.")


def main() -> None:
    """Run the command line."""
    app()
