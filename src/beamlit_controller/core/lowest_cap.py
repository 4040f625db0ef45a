"""Several metrics in Adaptive mode: a cap is learned from each, and the lowest is in force.

Each metric has its own curve, noise and kind, so nothing that is learned from one is applied to another. The gateways'
counts, and the time of the last change of the cap in force, are common to all.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from beamlit_controller.core.adaptive_state import NOTHING, Learned, RatioSample

Judge = Callable[[Learned, RatioSample], Learned]
"""Learns from a sample of one metric."""


def follow(
    common: Learned, owned: tuple[Learned, ...], samples: Sequence[RatioSample | None], judge: Judge, now: datetime
) -> tuple[Learned, tuple[Learned, ...]]:
    """Learn from a sample of each metric, None if it can't be read, and return the state in force and that of each metric.

    A single metric needs no state beside the one in force.
    """
    if len(samples) == 1 and samples[0] is not None:
        return judge(common, samples[0]), ()
    if len(owned) != len(samples):
        owned = tuple(_begun(common) for _ in samples)
    judged = tuple(
        own if sample is None else replace(judge(_in_force(own, common, sample), sample), recent=())
        for own, sample in zip(owned, samples, strict=True)
    )
    lowest = min(judged, key=_limit)
    changed_at = common.changed_at if lowest.cap == common.cap else now
    return replace(lowest, recent=common.recent, changed_at=changed_at), judged


def matched(
    common: Learned, owned: tuple[Learned, ...], before: Sequence[str], metrics: Sequence[str]
) -> tuple[Learned, tuple[Learned, ...]]:
    """Return the states for the metrics of the spec, by name; `before` are the metrics that they were learned from.

    What was learned from a metric that stays is kept, unless another one has the same name. The cap in force stays until the
    metrics teach another.
    """
    if tuple(before) == tuple(metrics) or (not before and len(owned) in {0, len(metrics)}):
        return common, owned
    states = owned if len(before) > 1 else (common,)
    known = {name: own for name, own in zip(before, states, strict=False) if _is_alone(name, before, metrics)}
    found = tuple(known.get(name) or _begun(common) for name in metrics)
    if min(found, key=_limit).cap != common.cap:  # the metric whose cap is in force is gone
        found = resumed(found, common)
    return (replace(found[0], recent=common.recent), ()) if len(found) == 1 else (common, found)


def _is_alone(name: str, *lists: Sequence[str]) -> bool:
    """Return whether a name means one metric: the same metric may be given twice, and earlier versions recorded equal names."""
    return all(names.count(name) <= 1 for names in lists)


def resumed(owned: tuple[Learned, ...], common: Learned) -> tuple[Learned, ...]:
    """Return the states of the metrics with the cap in force, which follows from none of them."""
    return tuple(
        replace(own, cap=common.cap, changed_at=common.changed_at, guessed=common.guessed, rough=common.rough)
        for own in owned
    )


def _begun(common: Learned) -> Learned:
    """Return the state of a metric from which nothing was learned yet: the cap in force is its own."""
    kept = replace(NOTHING, cap=common.cap, full=common.full, changed_at=common.changed_at)
    return replace(kept, guessed=common.guessed, rough=common.rough)


def _in_force(own: Learned, common: Learned, sample: RatioSample) -> Learned:
    """Return the state of a metric with the gateways' counts. If it is over its target, its own cap is no higher than the one in force."""
    changes = [each for each in (own.changed_at, common.changed_at) if each is not None]
    cap = own.cap
    if cap is not None and common.cap is not None and sample.ratio > 1:
        cap = min(cap, common.cap)
    return replace(own, recent=common.recent, cap=cap, changed_at=max(changes, default=None))


def _limit(own: Learned) -> tuple[bool, Fraction]:
    return own.cap is None, own.cap or Fraction(0)
