"""`drain`: the preStop hook of a gateway pod."""

import asyncio
from pathlib import Path


def drain(*, admin: Path, least_seconds: float = 12, most_seconds: float = 300) -> None:
    """Drain a gateway without losing a request; the preStop hook of its pod.

    Parameters
    ----------
    admin
        Envoy's admin socket.
    least_seconds
        Minimum seconds to keep serving, until no client sends to it any more.
    most_seconds
        Maximum seconds to wait for requests in flight.
    """
    from beamlit_controller.standalone import drain as draining  # noqa: PLC0415 - the HTTP client is slow to import

    asyncio.run(draining.drain(admin, least=least_seconds, most=most_seconds))
