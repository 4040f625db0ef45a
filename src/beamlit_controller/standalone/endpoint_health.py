"""Tells which local servers are down: those that Envoy has ejected, and those that refuse connections.

Envoy ejects a server for a few seconds only, after several failures, and learns of a failure only by a request. A server
that Envoy could not connect to, or had ejected, therefore stays down until it accepts a connection.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from beamlit_controller.controller.deadline import Deadline

TIMEOUT = 0.5
"""Seconds that a server may take to accept a connection."""
MOST_AT_ONCE = 20
"""Maximum number of connections opened at a time."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What Envoy knows of an endpoint: its IP address, the host as configured, and how many connections to it failed."""

    ip: str
    host: str
    port: int
    ejected: bool
    failed_connections: int

    @property
    def address(self) -> str:
        """Return `ip:port`, as configured if the configuration has an IP address."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def name(self) -> str:
        """Return `host:port`, as configured if the configuration has a name."""
        return f"{self.host}:{self.port}"


class EndpointHealth:
    """Follows the endpoints of one gateway."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}
        self._down: frozenset[str] = frozenset()

    async def look(self, endpoints: Sequence[EndpointStatus]) -> frozenset[str]:
        """Return the endpoints that are down, each by address and by name."""
        suspects = [each for each in endpoints if not each.ejected and self._is_suspect(each)]
        ejected = {each.address for each in endpoints if each.ejected}
        self._failed = {each.address: each.failed_connections for each in endpoints}
        self._down = frozenset(ejected | await _unreachable(suspects, self._down))
        up = {each.name for each in endpoints if each.address not in self._down}
        # A name may have several addresses; it is down once all of them are.
        return self._down | {each.name for each in endpoints if each.name not in up}

    def _is_suspect(self, endpoint: EndpointStatus) -> bool:
        failed_before = self._failed.get(endpoint.address, 0)
        return endpoint.address in self._down or endpoint.failed_connections > failed_before


async def _unreachable(endpoints: Sequence[EndpointStatus], down: frozenset[str]) -> set[str]:
    """Return the addresses that refuse connections, and those that accept none in time and were `down` before.

    A server that is busy may accept late, without being down.
    """
    slots = asyncio.Semaphore(MOST_AT_ONCE)
    accepts = await asyncio.gather(*(_accepts(each, slots) for each in endpoints))
    found = zip(endpoints, accepts, strict=True)
    return {
        each.address for each, accepted in found if accepted is False or (accepted is None and each.address in down)
    }


async def _accepts(endpoint: EndpointStatus, slots: asyncio.Semaphore) -> bool | None:
    """Return whether an endpoint accepts connections; None if it did not say so in time."""
    async with slots:
        try:
            async with Deadline(TIMEOUT):
                _, writer = await asyncio.open_connection(endpoint.ip, endpoint.port)
        except TimeoutError:
            return None
        except OSError:
            return False
        writer.close()
        return True
