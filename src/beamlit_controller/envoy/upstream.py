"""What clusters have in common: how their servers are found, what is spoken to them, and no limits by accident."""

from collections.abc import Iterable

from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message, extension, typed

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# By default Envoy allows 1,024 requests and 3 retries at a time, and would refuse most failovers.
UNLIMITED: Message = {
    "thresholds": [
        {
            "max_connections": 1_000_000,
            "max_pending_requests": 1_000_000,
            "max_requests": 1_000_000,
            "max_retries": 1_000_000,
        }
    ]
}


def protocols(**choice: object) -> Message:
    """Give the typed_extension_protocol_options of one choice, such as `auto_config`."""
    return {HTTP_OPTIONS: typed(HTTP_OPTIONS, **choice)}


def as_the_client() -> Message:
    """Speak what the client speaks: HTTP/1.1, or HTTP/2 without TLS as gRPC does."""
    http2 = {"allow_connect": True}
    return protocols(use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": http2})


def discovery(servers: Iterable[str], **dns: object) -> Message:
    """Give how the servers are found: as they are if they have addresses, else by DNS with these fields of DnsCluster."""
    if all(addresses.is_unix(server) or addresses.is_ip(addresses.split(server)[0]) for server in servers):
        return {"type": "STATIC"}
    return {"cluster_type": extension("envoy.cluster.dns", "envoy.extensions.clusters.dns.v3.DnsCluster", **dns)}


def load_assignment(name: str, servers: Iterable[Message]) -> Message:
    """Give a ClusterLoadAssignment with these Endpoints, all alike."""
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": list(servers)}]}


def server(address: Message, *, side: str = "") -> Message:
    """Give an LbEndpoint, marked with the side that it is on."""
    marked = {"metadata": {"filter_metadata": {"offload": {"side": side}}}} if side else {}
    return {"endpoint": {"address": address}, **marked}
