"""Raises of the cap that have no effect, in Adaptive mode: the metric can't reach its target any more.

The servers have fewer slots than the target allows for, or something else limits them. The metric then stays at a maximum
below its target, however many requests are in flight, and what is more in flight only waits.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import gradual_metric
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.climb import Climb
from beamlit_controller.core.metric_kind import FLAT, SOME, TELLING

CLIMBED = Fraction(14, 10)
"""With so many times the number in flight, a higher cap has had its effect."""
EFFECT = Fraction(10, 100)
"""A raise had an effect if the metric or the completion rate rose by more than this fraction."""
ENOUGH = 30
"""Completions from which their rate is known."""
NEAR = Fraction(94, 100)
"""The ratio from which the cap is not raised for long."""
RETRY = timedelta(minutes=10)
"""The time after which a cap is raised again whose raises had no effect."""


def effective(cap: Fraction, wanted: Fraction, learned: Learned, now: datetime) -> tuple[Fraction, Learned]:
    """Return the wanted cap, unless it is higher and raises have no effect, and the updated state.

    The cap then returns to where the raises began. It is raised again after `RETRY`, or once the metric differs.
    """
    climb, ratio = learned.climb, learned.full_load.ratio
    if wanted <= cap or ratio < TELLING:
        ended = wanted < cap or ratio >= NEAR
        return wanted, replace(learned, climb=None) if ended else learned
    if climb is not None and climb.flat:
        if _is_still(climb, learned, now):
            return cap, learned
        climb = None
    if climb is None:
        return wanted, replace(learned, climb=_begun(cap, learned))
    return _raised(cap, wanted, climb, learned)


def _is_still(climb: Climb, learned: Learned, now: datetime) -> bool:
    """Return whether the metric is what it was when raises had no effect, and that is not long ago."""
    mean, since = learned.full_load, learned.changed_at
    same = abs(mean.ratio - climb.ratio) <= FLAT + 2 * gradual_metric.uncertainty(mean, learned)
    return same and since is not None and now - since < RETRY


def _raised(cap: Fraction, wanted: Fraction, climb: Climb, learned: Learned) -> tuple[Fraction, Learned]:
    """Raise the cap further if that has an effect; wait for more samples or completions if it seems to have none."""
    mean, begun = learned.full_load, _begun(cap, learned)
    few = min(begun.ended, climb.ended) < ENOUGH
    far = CLIMBED**2 if few and not gradual_metric.is_straight(learned) else CLIMBED
    if mean.in_flight < far * climb.in_flight:
        return wanted, learned
    risen = mean.ratio > climb.ratio * (1 + EFFECT)
    if few and mean.count < 2 * SOME:
        return wanted if risen else cap, learned
    if few or risen or begun.rate > climb.rate * (1 + EFFECT):
        return wanted, replace(learned, climb=begun)
    if mean.count < SOME:
        return cap, learned
    return min(cap, climb.cap), replace(learned, climb=replace(climb, flat=True))


def _begun(cap: Fraction, learned: Learned) -> Climb:
    """Return what was observed under the present cap. Completions count once the requests that began before have ended."""
    since = None if learned.changed_at is None else learned.changed_at + gradual_metric.pace(learned)
    spans = [each for each in learned.recent if since is None or each.since >= since]
    ended = sum(each.served for each in spans)
    seconds = Fraction(sum((each.until - each.since).total_seconds() for each in spans))
    rate = ended / seconds / spans[-1].ready if ended else Fraction(0)
    return Climb(cap, learned.full_load.in_flight, learned.full_load.ratio, ended, rate)
