"""Free ports of 127.0.0.1."""

import itertools
import os
import random
import socket
from contextlib import suppress
from typing import Final

RANGE: Final = range(15_000, 32_000)
"""Below what the system gives to outgoing connections, which would else be faster than who is to listen."""
LANES: Final = 4
WORKERS: Final = 6
"""In each lane."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_lane = int(os.environ.get("LANE", "0")) % LANES
_order = list(RANGE[WORKERS * _lane + _worker :: LANES * WORKERS])
random.shuffle(_order)
_candidates = itertools.cycle(_order)


def free_port() -> int:
    """Return a port that nobody listens on, each time another, and never one that a test at the same time is given."""
    for port in itertools.islice(_candidates, len(_order)):
        with suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise OSError(f"all of {len(_order)} ports are taken")
