"""`envoy`: what a gateway's container runs."""

import os
from pathlib import Path

from beamlit_controller.envoy import command


def envoy(*, directory: Path, concurrency: int = 2, log_level: str = "warning") -> None:
    """Become the Envoy of a gateway, which reads its files from a folder.

    Parameters
    ----------
    directory
        The folder with bootstrap.json and the files that it names.
    concurrency
        The number of worker threads.
    log_level
        Envoy's log level.
    """
    line = command.command(directory, concurrency=concurrency, log_level=log_level)
    os.execv(line[0], line)  # noqa: S606 - the process becomes Envoy, which then gets the signals
