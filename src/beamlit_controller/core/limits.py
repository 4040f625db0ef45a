"""The limit of concurrent requests at the local servers."""

from fractions import Fraction

from beamlit_controller.core.spec import OffloadSpec


def in_flight(spec: OffloadSpec, cap: Fraction | None, *, ready: int, gateways: int) -> Fraction | None:
    """Return the limit of requests in flight per gateway; None if there is none.

    The limits of all gateways add up to the smaller of the spec's limit and the cap, both per ready replica. In total
    they allow at least one request, so that local is tried at all.
    """
    limits = [Fraction(each) for each in (spec.overflow.max_in_flight_per_replica, cap) if each is not None]
    return max(Fraction(1), min(limits) * ready) / max(1, gateways) if limits else None
