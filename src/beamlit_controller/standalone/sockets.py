"""Unix sockets with long paths: the system allows 107 bytes, but paths of state folders can be longer."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def reachable(socket: Path) -> Iterator[str]:
    """Provide a short path to a socket, existing or not, that is valid within the context."""
    folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)
