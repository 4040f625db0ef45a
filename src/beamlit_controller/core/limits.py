"""How many requests may be at the local servers at once."""

from fractions import Fraction

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import Mode, OffloadSpec


def in_flight(spec: OffloadSpec, cap: Fraction | None, *, ready: int, gateways: int) -> Fraction | None:
    """Give the most for each gateway, so that all together it is the smaller of the spec's number and the cap per ready server.

    None where neither limits anything. All gateways together let at least one through, for something has to be tried.
    """
    limits = [Fraction(each) for each in (spec.overflow.max_in_flight_per_replica, cap) if each is not None]
    return max(Fraction(1), min(limits) * ready) / max(1, gateways) if limits else None


def leaves_by_cap(spec: OffloadSpec, cap: Fraction | None, reason: str) -> bool:
    """Tell whether requests leave only because of the cap, so that the percentage is the most that may.

    Otherwise the percentage leaves in any case: in the other modes, by hand, or where nothing may be in flight.
    """
    return spec.behavior.mode is Mode.ADAPTIVE and reason != Reason.OVERRIDDEN and cap != 0
