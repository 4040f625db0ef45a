"""`envoy`: the command of a gateway's container."""

import os
from pathlib import Path

from beamlit_controller.envoy import command


def envoy(*, directory: Path, concurrency: int = 2, log_level: str = "warning") -> None:
    """Replace this process by the Envoy of a gateway, with the files in a directory.

    Parameters
    ----------
    directory
        Directory with bootstrap.json and the files that it references.
    concurrency
        Number of worker threads.
    log_level
        Envoy's log level.
    """
    line = command.command(directory, concurrency=concurrency, log_level=log_level)
    os.execv(line[0], line)  # noqa: S606 - the process becomes Envoy, which then gets the signals
