"""`drain`: what a gateway's pod runs before it is stopped."""

import asyncio
from pathlib import Path


def drain(*, admin: Path, least_seconds: float = 12, most_seconds: float = 300) -> None:
    """Let a gateway come to its end without a lost request: what a pod runs before it is stopped.

    Parameters
    ----------
    admin
        Envoy's admin socket.
    least_seconds
        How long it goes on serving at least: until nobody sends to it any more.
    most_seconds
        How long it waits at most for requests that go on.
    """
    from beamlit_controller.standalone import drain as draining  # noqa: PLC0415 - the HTTP client is slow to import

    asyncio.run(draining.drain(admin, least=least_seconds, most=most_seconds))
