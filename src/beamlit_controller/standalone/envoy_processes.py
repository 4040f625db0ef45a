"""The Envoy processes of one gateway: the one that serves, and earlier ones that are draining.

A new process takes over the listening sockets of the previous one (Envoy's hot restart), so that no connection is
refused or reset. The previous process drains its connections, and is then ended by its successor.
"""

import contextlib
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from beamlit_controller.standalone import process, sockets
from beamlit_controller.standalone.process import Process

EPOCH, BASE_ID = "--restart-epoch", "--base-id"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open(3) has it


@dataclass(frozen=True, slots=True)
class EnvoyProcesses:
    """The newest process of a gateway, and those that are draining."""

    current: Process
    leaving: tuple[Process, ...]


def find(argument: str) -> EnvoyProcesses | None:
    """Return the gateway's processes, identified by this argument; None if there are none. Raises OSError."""
    found = sorted(process.find(argument), key=lambda each: epoch(each) or 0)
    if not found:
        return None
    current, older = found[-1], found[:-1]
    for each in older:
        if epoch(each) == epoch(current):
            each.send(signal.SIGTERM)
    return EnvoyProcesses(current, tuple(older))


def epoch(running: Process) -> int | None:
    """Return the restart epoch of this process; None if it can't be hot restarted."""
    return _number(running, EPOCH)


def forget(base_id: int | None) -> None:
    """Remove the shared memory of Envoys with this base id."""
    if base_id is not None:
        with contextlib.suppress(OSError):
            (SHARED_MEMORY / f"envoy_shared_memory_{base_id * 10}").unlink()


def base_id(running: Process) -> int | None:
    """Return the base id that the processes of a gateway share."""
    return _number(running, BASE_ID)


def listens(admin: Path) -> bool:
    """Return whether a process listens on this socket: one with a successor does not, even if the successor failed."""
    with contextlib.suppress(OSError), sockets.reachable(admin) as path, socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(path)
        return True
    return False


def is_same_file(running: Process, program: str) -> bool:
    """Return whether the process runs the currently installed program; True if that can't be determined."""
    try:
        return running.runs(program)
    except OSError:
        return True


def _number(running: Process, flag: str) -> int | None:
    words = running.arguments
    with contextlib.suppress(ValueError, IndexError):
        return int(words[words.index(flag) + 1])
    return None
