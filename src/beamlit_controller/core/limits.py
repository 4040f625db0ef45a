"""How many requests may be at the local servers at once."""

from beamlit_controller.core.spec import OffloadSpec


def in_flight(spec: OffloadSpec, *, ready: int, gateways: int) -> int | None:
    """Give the most for each gateway, so that all together it is about the spec's number for every ready server.

    None where the spec sets no limit. Each gateway lets at least one through, for it counts by itself.
    """
    each = spec.overflow.max_in_flight_per_replica
    return None if each is None else max(1, each * ready // max(1, gateways))
