"""The limit of concurrent requests at the local servers."""

from fractions import Fraction

from beamlit_controller.core.spec import OffloadSpec


def in_flight(spec: OffloadSpec, cap: Fraction | None, *, ready: int, gateways: int) -> Fraction | None:
    """Return the most for each gateway, so that all together it is the smaller of the spec's number and the cap per ready server.

    None where neither limits anything. All gateways together let at least one through, for something has to be tried.
    """
    limits = [Fraction(each) for each in (spec.overflow.max_in_flight_per_replica, cap) if each is not None]
    return max(Fraction(1), min(limits) * ready) / max(1, gateways) if limits else None
