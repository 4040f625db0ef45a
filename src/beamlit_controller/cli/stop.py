"""`stop`: ends the gateways that `run --leave-gateways` has left serving on this machine."""

import asyncio
from pathlib import Path

from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import Level


def stop(*, state_dir: Path | None = None, log_level: Level = "info") -> None:
    """End the gateways that `run --leave-gateways` has left serving on this machine; requests in flight are finished.

    Parameters
    ----------
    state_dir
        State directory of `run`; by default beamlit-controller in $XDG_STATE_HOME or ~/.local/state.
    log_level
        Minimum level of log messages.
    """
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same
    from beamlit_controller.wiring import standalone as application  # noqa: PLC0415 - grpc and uvicorn are slow to import

    logs.configure(log_level)
    state = state_dir or inputs.default_state()
    if not state.is_dir():
        inputs.fail(f"--state-dir: expected the state folder of a controller, got {state}")
    try:
        asyncio.run(application.stop(state))
    except Exception as error:  # noqa: BLE001 - whatever it was, people get a sentence; the traceback is in the log
        inputs.ended(error)
