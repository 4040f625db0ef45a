"""The first cap in Adaptive mode: from the sample that shows the metric over its target, and what was within it before.

It is a rough estimate. The samples that were under way when it was set still show the load curve and correct it. Before a
late metric shows anything, a backlog that the gateways report gives a cap, which their counts may correct too.
"""

from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from beamlit_controller.core import backlog, gradual_metric, load_curve, metric_kind, queue_metric
from beamlit_controller.core.adaptive_state import LEAST, Learned, Point, RatioSample, changed, rounded
from beamlit_controller.core.backlog import Evidence
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.metric_kind import NONE

CLEARLY = Fraction(12, 10)
AGREEING = Fraction(50, 100)
"""Two samples agree about the curve if the second one differs from the expected ratio by no more than this."""
ALIKE = Fraction(1, 12)
"""The first cap stays if it differs from the corrected one by no more than this fraction."""


def begun(
    learned: Learned, noted: Learned, sample: RatioSample, seen: Observed, now: datetime, *, noisy: bool
) -> Learned:
    """Set the first cap once the metric is over its target; a noisy metric has to be so beyond its noise."""
    if seen.point.ratio <= 1:
        return noted
    if noisy:
        over = gradual_metric.is_over(noted) or metric_kind.is_at_maximum(noted, seen.point)
        return changed(noted, gradual_metric.first(estimated(learned.calm, seen), noted), now) if over else noted
    if learned.slope is None or sample.slope is None:
        return changed(noted, estimated(learned.calm, seen), now)
    full = queue_metric.full(seen, learned.slope)
    cap = queue_metric.aim(full, learned.slope)
    if sample.waited is not None:  # those that ended by now arrived when fewer were in flight
        cap = min(cap, rounded(estimated(learned.calm, seen)))
        full = max(LEAST, min(full, cap))
    return changed(replace(noted, full=full), cap, now)


def guessed(
    learned: Learned, now: datetime, *, slots: int | None = None, evidence: Evidence = backlog.FIRST
) -> Learned:
    """Set the first cap, or a lower one, by a backlog that the gateways report; no slot that the servers report stays free.

    A cap stays once the curve is known, since each sample then tells more than the backlog.
    """
    found = backlog.found(learned.recent, evidence)
    if found is None:
        return learned
    cap = found.cap if slots is None else max(found.cap, Fraction(slots))
    if learned.cap is not None and learned.calm is not None:
        cap = max(cap, learned.calm.in_flight)
    if learned.cap is not None and (learned.cap <= cap or load_curve.is_known(learned)):
        return learned
    rate = (
        found.rate if learned.cap is None else None
    )  # fewer completions than before show nothing if the capacity fell
    return replace(changed(learned, cap, now), guessed=True, rate=rate)


def reconsidered(learned: Learned, now: datetime) -> Learned:
    """Raise a cap that was set by a backlog, and that no sample has confirmed, if fewer requests end under it than before.

    Once, since the rate during a backlog is too high if short requests ended first.
    """
    if not learned.guessed or learned.cap is None or learned.rate is None or learned.changed_at is None:
        return learned
    cap = backlog.corrected(learned.recent, learned.cap, learned.rate, learned.changed_at)
    return learned if cap is None else replace(changed(learned, cap, now), rough=learned.rough, rate=None)


def corrected(
    learned: Learned, noted: Learned, seen: Observed, now: datetime, *, sample: RatioSample, counted: Fraction | None
) -> Learned:
    """Correct the first cap, once, by a sample that was under way when it was set: the load curve does not depend on the cap.

    Only a queue is judged so, as other metrics follow the load late. Within its target, as many fit as were in flight.
    Over it, the curve tells how many fit, if its slope is known (`counted`) or two samples agree about it. It does not
    while a backlog grew by more than the cap: nearly all that were in flight waited, and the counts are not exact enough
    to tell how many did not.
    """
    if learned.cap is None or (counted is None and (noted.base is None or noted.base > NONE)):
        return noted
    cap, in_flight = learned.cap, seen.point.in_flight
    grew = sample.waited is None and max(seen.levels) - min(seen.levels) > cap
    if counted is not None and grew and seen.point.ratio > 1:
        return noted
    wanted = max(cap, in_flight) if seen.point.ratio <= 1 else _on_curve(learned, noted, counted)
    if wanted is None or wanted > max(cap, in_flight) or abs(wanted - cap) <= ALIKE * cap:
        return noted
    return replace(changed(noted, wanted, now), rough=False, guessed=False)


def _on_curve(learned: Learned, noted: Learned, counted: Fraction | None) -> Fraction | None:
    """Return the cap that the curve tells; None if it is not known well enough."""
    if noted.slope is None or noted.full is None:
        return None
    if counted is None and (learned.full is None or abs(noted.off) > AGREEING):
        return None
    full = noted.full if counted is None else max(noted.full, queue_metric.least(counted))
    return queue_metric.aim(full, noted.slope)


def estimated(calm: Point | None, seen: Observed) -> Fraction:
    """Estimate the first cap: the number in flight, between the last good one and the excessive one, at which the target is reached.

    A curve that is flat first and then steep reaches the target later than a straight line, but at no more than about
    twice the number. If the number in flight varied, its peaks count, because they determine the ratio where the curve
    is steep.
    """
    ratio = seen.point.ratio
    mean, most = seen.point.in_flight, max(seen.levels)
    most = mean if seen.steady and most <= 2 * mean else mean + (most - mean) / 3
    root = Fraction(round(1000 * float(ratio) ** (1 / 3)), 1000)
    if calm is None or calm.in_flight >= most or calm.ratio >= ratio:
        return most / root
    straight = _straight(calm, most, ratio)
    bent = min(most / root, _straight(calm, most, CLEARLY)) if ratio > CLEARLY else straight
    return min(max(straight, bent), 2 * straight)


def _straight(calm: Point, most: Fraction, ratio: Fraction) -> Fraction:
    return calm.in_flight + (1 - calm.ratio) / (ratio - calm.ratio) * (most - calm.in_flight)
