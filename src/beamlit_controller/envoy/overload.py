"""Envoy's overload manager: connection and memory limits."""

from beamlit_controller.core import quantity
from beamlit_controller.core.gateway_spec import DEFAULT_MEMORY_LIMIT, GatewaySpec
from beamlit_controller.envoy.messages import Message, extension, typed

DEFAULT_HEAP = 1024**3
LEAST_SPARE = 96 * 1024**2
"""Bytes of a container's memory limit that are no heap: code, stacks, and what comes before Envoy notices, about 1 GB/s.

A fifth of the limit if that is more, and at most half of it.
"""

# Far more than a gateway has, far fewer than would starve it.
MOST_CONNECTIONS = 50_000
SPARE = 200
"""Descriptors that are not connections of clients or for them: listeners, files, probes, whoever watches."""


# Streams that hold 64 KiB or more are the ones to end first.
TRACKED_FROM = 16


SHORTEST_SILENCE = "15s"


def manager(gateway: GatewaySpec, *, in_container: bool, descriptors: int = 0) -> Message:
    """Return the OverloadManager.

    First it gives memory back and shortens idle timeouts, then it ends what holds most or sends more: streams
    of HTTP/2 by what they hold, connections of HTTP/1 by what they send. Last it answers 503 and takes no connections.
    """
    return {
        "refresh_interval": "0.05s",
        "resource_monitors": [_heap(heap(gateway, in_container=in_container)), _connections(descriptors)],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED_FROM},
        "actions": [
            _above(0.80, "envoy.overload_actions.shrink_heap"),
            _scaled(0.80, 0.88, "envoy.overload_actions.reduce_timeouts", typed_config=_impatience()),
            _scaled(0.85, 0.95, "envoy.overload_actions.reset_high_memory_stream"),
            _above(0.90, "envoy.overload_actions.disable_http_keepalive"),
            _above(0.95, "envoy.overload_actions.stop_accepting_requests"),
            _above(0.98, "envoy.overload_actions.stop_accepting_connections"),
        ],
        # Envoy can't end streams of HTTP/1 by what they hold: bodies that are under way end where they send more.
        "loadshed_points": [_above(0.90, "envoy.load_shed_points.http1_server_abort_dispatch")],
    }


def heap(gateway: GatewaySpec, *, in_container: bool) -> int:
    """Return the bytes that Envoy may use: what its container's limit leaves; outside of one and without a limit, 1 GiB."""
    given = [amount for which, name, amount in gateway.resources if (which, name) == ("limits", "memory")]
    limits = given or ([DEFAULT_MEMORY_LIMIT] if in_container else [])
    if not limits:
        return DEFAULT_HEAP
    limit = quantity.parse(limits[0]).milli // 1000
    return limit - min(max(limit // 5, LEAST_SPARE), limit // 2)


def _heap(most: int) -> Message:
    return extension(
        "envoy.resource_monitors.fixed_heap",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=most,
    )


def most_connections(descriptors: int) -> int:
    """Return how many clients may be connected at once: each may take a second descriptor, for its request's server."""
    return min(MOST_CONNECTIONS, max(1, (descriptors - SPARE) // 2)) if descriptors > 0 else MOST_CONNECTIONS


def _connections(descriptors: int) -> Message:
    return extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=most_connections(descriptors),
    )


def _above(part: float, action: str) -> Message:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": part}}
    return {"name": action, "triggers": [trigger]}


def _scaled(start: float, full: float, action: str, **config: Message) -> Message:
    """Do more of it the closer the heap comes to `full`."""
    scaled = {"scaling_threshold": start, "saturation_threshold": full}
    return {"name": action, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "scaled": scaled}], **config}


def _impatience() -> Message:
    """Return how long silence lasts at most when memory is short: what a stalled upload holds comes back."""
    timers = ("HTTP_DOWNSTREAM_STREAM_IDLE", "HTTP_DOWNSTREAM_CONNECTION_IDLE")
    return typed(
        "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        timer_scale_factors=[{"timer": timer, "min_timeout": SHORTEST_SILENCE} for timer in timers],
    )
