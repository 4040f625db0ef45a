"""The most requests that are at the local servers at once, as routes of which one is in force.

A number can't be told to Envoy's routes while they run, but whether a route is in force can: there is one for each step
of a ladder, and the share server turns one of them on.
"""

from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.envoy import lua
from beamlit_controller.envoy.failover import LOCAL
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.place import Place

LADDER: tuple[int, ...] = (*range(1, 8), *(part * 2**power for power in range(1, 10) for part in range(4, 8)), 4096)
"""The numbers there are: none is more than a fourth above the one before."""

# Envoy's workers look at the same number, and each may let one more through.
CHOICE = """
function envoy_on_route(handle)
  local here = handle:getCluster({local_})
  if here:numRequests() + here:numPendingRequests() >= {limit} then
    return {full}
  end
  return {free}
end
"""


def step(most: int) -> int:
    """Give the largest number of the ladder that is not above this one."""
    return max(number for number in LADDER if number <= max(1, most))


def key(number: int) -> str:
    """Give the runtime key that turns the route of this number on."""
    return f"offload.in_flight.{number}"


def at_first(spec: OffloadSpec, place: Place) -> int | None:
    """Give the number that holds until a share server tells another: known where the servers are."""
    each = spec.overflow.max_in_flight_per_replica
    return step(max(1, each * place.servers // place.gateways)) if each is not None and place.servers else None


def choice(limit: int, *, free: str, full: str) -> Message:
    """Give the plugin that chooses a cluster for each request."""
    source = CHOICE.format(local_=lua.text(LOCAL), limit=limit, free=lua.text(free), full=lua.text(full))
    return {
        "extension": extension(
            "envoy.router.cluster_specifier_plugin.lua",
            "envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig",
            source_code={"inline_string": source.strip() + "\n"},
            default_cluster=free,
        )
    }
