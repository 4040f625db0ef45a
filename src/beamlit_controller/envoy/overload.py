"""What a gateway does before it has too much: of connections, and of memory."""

from beamlit_controller.core import quantity
from beamlit_controller.core.spec import Gateway
from beamlit_controller.envoy.messages import Message, extension

DEFAULT_HEAP = 1024**3
OF_LIMIT = 9
"""Tenths of a container's memory limit that are Envoy's heap; the rest is code, stacks and buffers of the kernel."""

# Far more than a gateway has, far fewer than would starve it.
MOST_CONNECTIONS = 50_000


def manager(gateway: Gateway) -> Message:
    """Give the OverloadManager: first it gives memory back, then it keeps no connections, then it answers 503."""
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [_heap(gateway), _connections()],
        "actions": [
            _above(0.85, "envoy.overload_actions.shrink_heap"),
            _above(0.90, "envoy.overload_actions.disable_http_keepalive"),
            _above(0.95, "envoy.overload_actions.stop_accepting_requests"),
            _above(0.98, "envoy.overload_actions.stop_accepting_connections"),
        ],
    }


def heap(gateway: Gateway) -> int:
    """Give the bytes that Envoy may use: what its container's limit leaves, else 1 GiB."""
    limits = [amount for which, name, amount in gateway.resources if (which, name) == ("limits", "memory")]
    return quantity.parse(limits[0]).milli // 1000 * OF_LIMIT // 10 if limits else DEFAULT_HEAP


def _heap(gateway: Gateway) -> Message:
    return extension(
        "envoy.resource_monitors.fixed_heap",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=heap(gateway),
    )


def _connections() -> Message:
    return extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=MOST_CONNECTIONS,
    )


def _above(part: float, action: str) -> Message:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": part}}
    return {"name": action, "triggers": [trigger]}
