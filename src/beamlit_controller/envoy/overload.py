"""Envoy's overload manager: connection and memory limits.

Envoy's heap is bounded by the container's memory limit. Before it is exhausted, Envoy degrades in steps, so that it is
not killed with all its streams.
"""

from beamlit_controller.core import quantity
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.envoy.messages import Message, extension, typed

DEFAULT_HEAP = 1024**3
LEAST_SPARE = 96 * 1024**2
"""Bytes of a container's memory limit reserved for code, stacks, and what arrives (about 1 GB/s) before Envoy reacts.

A fifth of the limit if that is more, and at most half of it.
"""

# Far more than a gateway needs, but not enough to exhaust its memory.
MOST_CONNECTIONS = 50_000
SPARE = 200
"""Descriptors for everything but client and upstream connections: listeners, files, probes, metrics."""

FEW_CONNECTIONS = 10_000
FIRST_BYTE = "10s"
IDLE, IDLE_OF_FEW = "3600s", "120s"

# 2^16: streams that hold 64 KiB or more are ended first.
TRACKED_FROM = 16


SHORTEST_SILENCE = "15s"


def manager(gateway: GatewaySpec, *, in_container: bool, descriptors: int = 0) -> Message:
    """Return the OverloadManager.

    As memory runs out, it first frees memory and shortens idle timeouts. Then it ends the largest streams (HTTP/2), or
    connections that send more (HTTP/1). Finally it answers 503 and accepts no connections.
    """
    return {
        "refresh_interval": "0.05s",
        "resource_monitors": [_heap(heap(gateway, in_container=in_container)), _connections(descriptors)],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED_FROM},
        "actions": [
            _above(0.80, "envoy.overload_actions.shrink_heap"),
            _scaled(0.80, 0.88, "envoy.overload_actions.reduce_timeouts", typed_config=_shortest_timeouts()),
            _scaled(0.85, 0.95, "envoy.overload_actions.reset_high_memory_stream"),
            _above(0.90, "envoy.overload_actions.disable_http_keepalive"),
            _above(0.95, "envoy.overload_actions.stop_accepting_requests"),
            _above(0.98, "envoy.overload_actions.stop_accepting_connections"),
        ],
        # Envoy can't end HTTP/1 streams by their size, so it aborts request bodies that keep arriving.
        "loadshed_points": [_above(0.90, "envoy.load_shed_points.http1_server_abort_dispatch")],
    }


def heap(gateway: GatewaySpec, *, in_container: bool) -> int:
    """Return the bytes that Envoy may use, by its container's memory limit; 1 GiB outside of a container without a limit."""
    given = gateway.container_memory_limit if in_container else gateway.amount("limits", "memory")
    if given is None:
        return DEFAULT_HEAP
    limit = quantity.parse(given).milli // 1000
    return limit - min(max(limit // 5, LEAST_SPARE), limit // 2)


def _heap(most: int) -> Message:
    return extension(
        "envoy.resource_monitors.fixed_heap",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=most,
    )


def most_connections(descriptors: int) -> int:
    """Return the maximum number of client connections; each may need a second descriptor, for the upstream connection."""
    return min(MOST_CONNECTIONS, max(1, (descriptors - SPARE) // 2)) if descriptors > 0 else MOST_CONNECTIONS


def longest_idle(descriptors: int) -> str:
    """Return how long a connection of a client may wait for a next request: less where there can't be many."""
    return IDLE_OF_FEW if most_connections(descriptors) < FEW_CONNECTIONS else IDLE


def first_byte_in_time() -> Message:
    """Return the fields of a Listener by which a connection ends that says nothing at first.

    Whatever its first bytes are, the inspector has seen enough. Envoy's other timeouts begin with a request.
    """
    inspector = extension(
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    )
    return {"listener_filters": [inspector], "listener_filters_timeout": FIRST_BYTE}


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
    """Apply the action gradually, fully when the heap reaches `full`."""
    scaled = {"scaling_threshold": start, "saturation_threshold": full}
    return {"name": action, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "scaled": scaled}], **config}


def _shortest_timeouts() -> Message:
    """Return the shortest idle timeouts, used when memory is short, to free what stalled uploads hold."""
    timers = ("HTTP_DOWNSTREAM_STREAM_IDLE", "HTTP_DOWNSTREAM_CONNECTION_IDLE")
    return typed(
        "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        timer_scale_factors=[{"timer": timer, "min_timeout": SHORTEST_SILENCE} for timer in timers],
    )
