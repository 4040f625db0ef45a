"""`run`: run the controller and its gateways on one machine."""

import asyncio
from pathlib import Path

from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import Format, Level, SettingsFile


def run(
    *,
    manifests: Path,
    settings: SettingsFile = None,
    state_dir: Path | None = None,
    leave_gateways: bool = False,
    log_level: Level = "info",
    log_format: Format = "auto",
) -> None:
    """Run the controller and its gateways on this machine, without a cluster.

    Parameters
    ----------
    manifests
        Directory of ModelDeployment manifests. It is watched: add, change and delete files at any time.
    settings
        The settings file: the chart's `config:` value. It is watched; while it is invalid, the last valid one stays in force.
    state_dir
        Directory for gateways and recorded decisions; by default beamlit-controller in $XDG_STATE_HOME or ~/.local/state.
    leave_gateways
        On SIGTERM leave the gateways serving with their last percentage. The next controller adopts them, so a restart loses no
        request. `beamlit-controller stop` ends them.
    log_level
        Minimum level of log messages.
    log_format
        Format of log messages; auto is console at a terminal and JSON otherwise.
    """
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import standalone as application  # noqa: PLC0415 - grpc and uvicorn are slow to import

    logs.configure(log_level, json=None if log_format == "auto" else log_format == "json")
    if not manifests.is_dir():
        inputs.fail(f"--manifests: expected a folder, got {manifests}")
    state = state_dir or inputs.default_state()
    given = application.StandaloneOptions(inputs.settings(settings), manifests, state, settings, leave_gateways)
    try:
        asyncio.run(application.standalone(given))
    except Exception as error:  # noqa: BLE001 - whatever it was, people get a sentence; the traceback is in the log
        inputs.ended(error)
