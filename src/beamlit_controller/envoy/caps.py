"""The limit of concurrent local requests, as a ladder of routes of which at most two are active.

A route can't take a number at run time, but the fraction of requests that it matches can be set. There is one route per
step of the ladder, and the RTDS server enables the two steps around the limit, each for a fraction of the requests. The
number in flight therefore stays at or below the upper step.
"""

from fractions import Fraction

from beamlit_controller.core.spec import Mode, OffloadSpec
from beamlit_controller.envoy import lua
from beamlit_controller.envoy.failover import LOCAL, LOCAL_ANYWAY
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension

LADDER: tuple[int, ...] = (
    *range(1, 8),
    *(part * 2**power for power in range(1, 4) for part in range(4, 8)),
    *(part * 2**power for power in range(3, 7) for part in range(8, 16)),
    *(part * 2**power for power in range(8, 10) for part in range(4, 8)),
    4096,
)
"""The steps: each is at most a fourth above the previous one, and from 64 to 1024 an eighth.

Servers with many slots are common there, and the queue that a target allows is a small part of what is in flight. Each
step costs a Lua state per worker, about 60 KiB.
"""

WHOLE = 100
PERCENT = 10_000
"""A hundredth, in millionths."""

# Envoy's workers read the same counter, and each may let one more request through.
CHOICE = """
function envoy_on_route(handle)
  local here, kept = handle:getCluster({local_}), handle:getCluster({anyway})
  if here:numRequests() + here:numPendingRequests() + kept:numRequests() + kept:numPendingRequests() >= {limit} then
    return {full}
  end
  return {free}
end
"""


def numerators(most: Fraction | None, *, first: int, last: int) -> dict[int, int]:
    """Return the runtime numerator (out of a million) of every route, by its number; route 0 sends requests away.

    Envoy draws one random number per request and compares it with each route in turn. Requests below `first` leave.
    Those up to `last` are judged by the two steps around `most`, in proportion to its position between them. The others
    are not judged. Below the first step, some requests leave without being judged.
    """
    off = {0: first, **dict.fromkeys(LADDER, 0)}
    if most is None:
        return off
    low, high = around(most)
    part = (most - low) / (high - low) if high > low else Fraction(0)
    middle = last - round((last - first) * part)
    return off | {low: middle} | ({high: last} if part else {})


def around(most: Fraction) -> tuple[int, int]:
    """Return the highest step that is not above the number, and the next one; twice the last step if there is no next one."""
    low = max(number for number in (0, *LADDER) if number <= most) if most > 0 else 0
    return low, next((number for number in LADDER if number > low), low)


def key(number: int) -> str:
    """Return the runtime key that enables the route of this number."""
    return f"offload.in_flight.{number}"


def at_first(spec: OffloadSpec, params: GatewayParams) -> dict[int, int]:
    """Return the numerators in force until an RTDS server sends others: the user's limit, if the servers are known."""
    each = spec.overflow.max_in_flight_per_replica
    known = Fraction(max(1, each * params.servers // params.gateways)) if each is not None and params.servers else None
    return numerators(known, first=0, last=_most_that_leave(spec) * PERCENT)


def are_needed(spec: OffloadSpec) -> bool:
    """Return whether local requests in flight are limited by this spec, or may come to be."""
    return spec.overflow.max_in_flight_per_replica is not None or spec.behavior.mode is Mode.ADAPTIVE


def _most_that_leave(spec: OffloadSpec) -> int:
    return spec.behavior.percentage if spec.behavior.mode is Mode.ADAPTIVE else WHOLE


def choice(limit: int, *, free: str, full: str) -> Message:
    """Return the cluster specifier plugin that chooses a cluster for each request."""
    here, anyway = lua.text(LOCAL), lua.text(LOCAL_ANYWAY)
    source = CHOICE.format(local_=here, anyway=anyway, limit=limit, free=lua.text(free), full=lua.text(full))
    return {
        "extension": extension(
            "envoy.router.cluster_specifier_plugin.lua",
            "envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig",
            source_code={"inline_string": source.strip() + "\n"},
            default_cluster=free,
        )
    }
