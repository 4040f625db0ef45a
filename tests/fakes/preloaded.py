"""The command line in a process that has loaded it, and forks for each command that a line of JSON on its stdin names.

Started as a script, so that nothing of the tests is on its path.
"""

import importlib
import json
import os
import signal
import sys
from typing import Any

from beamlit_controller.cli import main as cli

WITHIN = 300
"""Seconds after which a command is broken, not slow."""


def serve() -> None:
    """Run commands one after another, and answer each with a line that has its exit code."""
    for name in cli.COMMANDS:
        importlib.import_module(f"beamlit_controller.cli.{name}")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            sys.exit(cli.main())
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def become(command: dict[str, Any]) -> None:
    """Be a process as if started for the command."""
    signal.alarm(WITHIN)
    for number, (path, flags) in enumerate(command["files"]):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    sys.argv = command["words"]


if __name__ == "__main__":
    serve()
