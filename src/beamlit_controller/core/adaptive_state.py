"""The state of Adaptive mode for one model: the cap, the estimates it is based on, and the gateways' recent counts."""

from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from beamlit_controller.core import in_flight_span
from beamlit_controller.core.climb import Climb
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.in_flight_span import SPANS, InFlightSpan

MOST_FALLS, MOST_CLIMBS = 4, 5
COUNTED = 24
"""The maximum weight of a mean, in samples."""
PROPORTIONAL = 8
"""The maximum weight of a proportion, in samples."""
LEAST, MOST = Fraction(1, 2), Fraction(100_000)
"""The bounds of a cap."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the load curve: a ratio, and the number of requests in flight per replica while it was measured."""

    in_flight: Fraction
    ratio: Fraction


@dataclass(frozen=True, slots=True)
class Mean:
    """A running mean of points, in which each new point weighs at least 1/`COUNTED`."""

    count: int = 0
    ratio: Fraction = Fraction(0)
    in_flight: Fraction = Fraction(0)

    @property
    def possible(self) -> bool:
        """Return whether the values are plausible; a recorded state may be corrupt."""
        return 0 <= self.count <= COUNTED and 0 <= self.ratio <= MOST and 0 <= self.in_flight <= MOST

    def with_(self, point: Point) -> "Mean":
        """Add a point."""
        count = min(self.count + 1, COUNTED)
        return Mean(
            count,
            thousandths(self.ratio + (min(MOST, point.ratio) - self.ratio) / count),
            thousandths(self.in_flight + (min(MOST, point.in_flight) - self.in_flight) / count),
        )


@dataclass(frozen=True, slots=True)
class Proportion:
    """How a quantity relates to the ratio: its value at a ratio of 1, and by how much samples differ from that, as a fraction."""

    count: int = 0
    value: Fraction = Fraction(0)
    off: Fraction = Fraction(0)

    @property
    def possible(self) -> bool:
        """Return whether the values are plausible; a recorded state may be corrupt."""
        return 0 <= self.count <= COUNTED and 0 <= self.value <= MOST and 0 <= self.off <= 1

    def with_(self, quantity: Fraction, ratio: Fraction, *, least: Fraction, most: int = COUNTED) -> "Proportion":
        """Add a sample. A ratio up to `least` is not proportional to anything. A sample weighs at least 1/`most`."""
        count = min(self.count + 1, COUNTED)
        if ratio <= least:
            return Proportion(count, self.value, self._off(Fraction(1), count))
        found = min(MOST, quantity / ratio)
        value = self.value or found
        off = abs(found - value) / (max(found, value) or 1)
        return Proportion(count, thousandths(value + (found - value) / min(count, most)), self._off(off, count))

    def _off(self, off: Fraction, count: int) -> Fraction:
        return thousandths(self.off + (off - self.off) / min(count, PROPORTIONAL))


@dataclass(frozen=True, slots=True)
class RatioSample:
    """The ratio of a metric to its target, and the time that it covers. `worst` is true if no other metric has a higher one.

    `slope` is by how much one more request in flight per replica raises the ratio, for metrics that count waiting
    requests. `slots` is the number of slots of each server, if they report it. `waited` is the target in seconds if the metric
    is a time to first byte, else None; `at_end` is true if it is counted when requests end, as the gateways do.
    A `scattered` sample is not a mean over that time, but of moments in it.
    """

    ratio: Fraction
    since: datetime
    until: datetime
    slope: Fraction | None = None
    slots: int | None = None
    waited: Fraction | None = None
    at_end: bool = False
    scattered: bool = False
    worst: bool = True


@dataclass(frozen=True, slots=True)
class Learned:
    """The state from which the next cap is derived."""

    cap: Fraction | None = None
    """None until the metric was over its target for the first time, unless the cap is guessed or the spec gives one."""
    guessed: bool = False
    """The cap follows from a backlog that the gateways reported, and no sample has confirmed it yet."""
    rate: Fraction | None = None
    """The completions per second and replica during that backlog."""
    rough: bool = False
    """The cap is the first one: samples from before it may still correct it."""
    changed_at: datetime | None = None
    """When the cap last changed."""
    judged_until: datetime | None = None
    """The end of the last sample that was judged."""
    pending: RatioSample | None = None
    """A sample newer than the gateways' last report; it is judged once they have reported for that time."""
    climbs: int = 0
    """Raises since the cap was last lowered."""
    over: Fraction | None = None
    """The ratio at which the cap was last lowered; None once the ratio came down to the target."""
    falls: int = 0
    """How many reductions in a row did not lower the ratio."""
    full: Fraction | None = None
    """The estimated number in flight per replica at which the metric is at its target."""
    off: Fraction = Fraction(0)
    """By how much the last ratio was above the expected one; negative if it was below."""
    noise: Fraction = Fraction(0)
    """The mean amount by which `off` differs from sample to sample."""
    slope: Fraction | None = None
    """By how much the ratio grows with one more request in flight per replica."""
    last: Point | None = None
    calm: Point | None = None
    """The highest recent number in flight at which the ratio was within the target, with that ratio."""
    base: Fraction | None = None
    """The ratio that remains when nothing is queued, such as the duration of a request on its own; None until it was within the target."""
    height: Fraction | None = None
    """How close the curve is to a straight line through zero: 1 means that the ratio is proportional to the load."""
    maximum: Fraction | None = None
    """The highest ratio that the metric can have, such as that of all slots in use; None if it is not known to have one."""
    latest: Fraction | None = None
    """The ratio of the last sample."""
    jitter: Fraction = Fraction(0)
    """By how much the ratio differs from sample to sample."""
    any_load: Mean = Mean()
    full_load: Mean = Mean()
    """The mean of the samples since the cap last changed: all, and those during which the cap was reached."""
    apart: Mean = Mean()
    """The mean of the last samples in a row that differ from `full_load` on the same side."""
    streak: Mean = Mean()
    """The mean of the samples over the target since the last one that was not."""
    idle: int = 0
    """How many samples in a row found nothing waiting although the cap was reached."""
    fair: Mean = Mean()
    """The mean of the last samples within the target that are not near zero, under any cap."""
    climb: Climb | None = None
    """Where the raises of the cap began; None while the metric is at its target."""
    is_duration: bool = False
    """The metric is proportional to the duration of requests, and to nothing else. After a restart the proportion is measured again."""
    by_duration: Proportion = Proportion()
    """The duration of requests, in seconds, at which the metric is at its target."""
    by_level: Proportion = Proportion()
    """The number in flight per replica at which the metric is at its target, if it were proportional to it."""
    by_nothing: Proportion = Proportion()
    """By how much the ratio varies by itself."""
    first_byte_match: Proportion = Proportion()
    """The time to first byte that the gateways count, in seconds, at which a metric of that time is at its target."""
    matched_until: datetime | None = None
    """The end of the last sample that was held against it."""
    by_gateways: bool = False
    """The last sample was replaced by what the gateways count."""
    recent: tuple[InFlightSpan, ...] = ()


NOTHING = Learned()
"""Nothing has been learned yet."""


def lasting(learned: Learned) -> Learned:
    """Return the part worth keeping across a restart, without what changes in every round."""
    if learned is NOTHING:
        return learned
    return replace(
        learned,
        judged_until=None,
        pending=None,
        last=None,
        calm=None,
        off=Fraction(0),
        noise=Fraction(0),
        base=None,
        height=None if learned.height is None else Fraction(round(learned.height)),
        latest=None,
        jitter=Fraction(0),
        any_load=Mean(),
        full_load=Mean(),
        apart=Mean(),
        streak=Mean(),
        idle=0,
        fair=Mean(),
        climb=None,
        by_duration=Proportion(),
        by_level=Proportion(),
        by_nothing=Proportion(),
        first_byte_match=Proportion(),
        matched_until=None,
        by_gateways=False,
        recent=(),
    )


def changed(learned: Learned, cap: Fraction, now: datetime) -> Learned:
    """Set the cap, and begin the means anew if it is another one."""
    cap = min(MOST, max(LEAST, rounded(cap)))
    if cap == learned.cap:
        return learned
    begun = replace(learned, any_load=Mean(), full_load=Mean(), apart=Mean(), streak=Mean(), idle=0)
    return replace(begun, cap=cap, rough=learned.cap is None, changed_at=now)


def bounded(learned: Learned, most: Fraction, before: Learned) -> Learned:
    """Bound the cap. A raise beyond a bound that was reached before is no change: nothing of it is kept or recorded."""
    if learned.cap is None or learned.cap <= most:
        return learned
    if before.cap != most:
        return replace(learned, cap=most)
    undone = replace(learned, cap=most, changed_at=before.changed_at, rough=before.rough, guessed=before.guessed)
    undone = replace(undone, full=before.full, climbs=before.climbs, idle=before.idle)
    return replace(
        undone, any_load=before.any_load, full_load=before.full_load, apart=before.apart, streak=before.streak
    )


def trusted(learned: Learned) -> Learned:
    """Return the recalled state if its values are plausible, else `NOTHING`."""
    numbers = (learned.rate, learned.slope, learned.over, learned.full, learned.maximum)
    signed = (learned.off, learned.noise, learned.jitter, learned.height or Fraction(0), learned.base or Fraction(0))
    wild = max(map(abs, signed)) > MOST
    possible = all(number is None or 0 < number <= 2 * MOST for number in numbers)
    counted = 0 <= learned.climbs <= MOST_CLIMBS and 0 <= learned.falls <= MOST_FALLS
    counted = counted and all(
        each.possible for each in (learned.any_load, learned.full_load, learned.apart, learned.streak, learned.fair)
    )
    proportions = (learned.by_duration, learned.by_level, learned.by_nothing, learned.first_byte_match)
    counted = counted and all(each.possible for each in proportions)
    counted = counted and 0 <= learned.idle <= COUNTED
    within = learned.cap is None or LEAST <= learned.cap <= MOST
    return learned if possible and not wild and counted and within and len(learned.recent) <= SPANS else NOTHING


def saw(learned: Learned, flow: Flow, *, ready: int) -> Learned:
    """Add the gateways' counts since the previous round."""
    return replace(learned, recent=in_flight_span.added(learned.recent, flow, ready=ready))


def thousandths(number: Fraction) -> Fraction:
    """Round to three decimal places."""
    return Fraction(round(number * 1000), 1000)


def rounded(number: Fraction) -> Fraction:
    """Round to two decimal places, so that the recorded state stays short."""
    return Fraction(round(number * 100), 100)
