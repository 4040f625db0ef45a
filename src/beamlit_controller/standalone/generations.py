"""The processes of one gateway: the one that serves, and those before it that finish what they have begun.

A new process takes over the listening sockets of the one before it (Envoy's hot restart), so that no connection is refused or
reset. That one then has its connections closed after their present request, and is ended by its successor.
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
class Generations:
    """The newest process of a gateway, and those that leave."""

    current: Process
    leaving: tuple[Process, ...]


def find(argument: str) -> Generations | None:
    """Give the gateway's processes, which have this argument; None if there is none. Raises OSError."""
    found = sorted(process.find(argument), key=lambda each: epoch(each) or 0)
    if not found:
        return None
    current, older = found[-1], found[:-1]
    for each in older:
        if epoch(each) == epoch(current):
            each.send(signal.SIGTERM)
    return Generations(current, tuple(older))


def epoch(running: Process) -> int | None:
    """Give the number of this process in its line of successors, None for one that can't have a successor."""
    return _number(running, EPOCH)


def forget(base_id: int | None) -> None:
    """Remove what Envoys of this id shared."""
    if base_id is not None:
        with contextlib.suppress(OSError):
            (SHARED_MEMORY / f"envoy_shared_memory_{base_id * 10}").unlink()


def base_id(running: Process) -> int | None:
    """Give the id that the processes of a gateway share."""
    return _number(running, BASE_ID)


def listens(admin: Path) -> bool:
    """Tell whether somebody listens at this socket: a process with a successor does not, even if that has failed."""
    with contextlib.suppress(OSError), sockets.reachable(admin) as path, socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(path)
        return True
    return False


def is_same_file(running: Process, program: str) -> bool:
    """Tell whether the process runs this program as it is now; one that can't be looked at is taken for the same."""
    try:
        return running.runs(program)
    except OSError:
        return True


def _number(running: Process, flag: str) -> int | None:
    words = running.arguments
    with contextlib.suppress(ValueError, IndexError):
        return int(words[words.index(flag) + 1])
    return None
