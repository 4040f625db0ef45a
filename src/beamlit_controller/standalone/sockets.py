"""Unix sockets however deep their folder lies: the system allows 107 bytes of path, and state folders can be longer."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def reachable(socket: Path) -> Iterator[str]:
    """Give a short path to a socket, to be made or there already, that holds while in the context."""
    folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)
