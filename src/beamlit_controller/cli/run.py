"""`run`: the controller and its gateways on one machine."""

import asyncio
import os
from pathlib import Path
from typing import NoReturn

import structlog

from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import Format, Level, SettingsFile


def run(
    *,
    manifests: Path,
    settings: SettingsFile = None,
    state_dir: Path | None = None,
    log_level: Level = "info",
    log_format: Format = "auto",
) -> None:
    """Run the controller and its gateways on this machine, without a cluster.

    Parameters
    ----------
    manifests
        The folder of ModelDeployment manifests. It is watched: add, change and delete files as you like.
    settings
        The settings file: the chart's `config:` value. It is watched too: while a change is wrong, the last good one is in force.
    state_dir
        Where gateways and the last decisions are kept. Default: beamlit-controller in $XDG_STATE_HOME or ~/.local/state.
    log_level
        The least severe messages to print.
    log_format
        How messages are printed; auto is console at a terminal and JSON elsewhere.
    """
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import standalone as application  # noqa: PLC0415 - grpc and uvicorn are slow to import

    logs.configure(log_level, json=None if log_format == "auto" else log_format == "json")
    if not manifests.is_dir():
        inputs.fail(f"--manifests: expected a folder, got {manifests}")
    given = application.StandaloneOptions(inputs.settings(settings), manifests, state_dir or _default_state(), settings)
    try:
        asyncio.run(application.standalone(given))
    except Exception as error:  # noqa: BLE001 - whatever it was, people get a sentence; the traceback is in the log
        _ended(error)


def _default_state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "beamlit-controller"


def _ended(error: Exception) -> NoReturn:
    """Say in one line what ended the controller; what nobody expected has its traceback in the log."""
    from beamlit_controller.standalone import faults  # noqa: PLC0415 - only for this
    from beamlit_controller.standalone.state_folder import StateError  # noqa: PLC0415 - only for this

    if not isinstance(error, StateError | OSError):
        structlog.get_logger().error("ended by an error that nobody expected", exc_info=error)
    inputs.fail(faults.said(error))
