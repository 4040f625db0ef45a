"""A time to first byte that is read from the servers, in Adaptive mode, held against the one that the gateways count.

Both tell of the same requests, unless some do not pass the gateways, so a mean is equal to their own, and a quantile about
proportional. While that holds, the gateways' own takes the place of a metric that is later: a query may be a minute old,
whereas Envoy counts a first byte as soon as its request has ended.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import gradual_metric
from beamlit_controller.core.adaptive_state import Learned, Proportion, RatioSample
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.metric_kind import NONE

SHORTEST, LONGEST = timedelta(seconds=15), timedelta(seconds=60)
"""First bytes are counted over a longer time if they are few, and over at most this time."""
ENOUGH, AMPLE = 8, 20
"""First bytes from which a mean is held against a sample, and from which it takes the place of one."""
KNOWN = 4
"""The number of samples that have to agree."""
CLOSE = Fraction(35, 100)
"""They agree if they differ by no more than this fraction in the mean."""
MOST_APART = 4
"""The highest factor between the two: a high quantile is a few times the mean, another unit is further away."""


def compared(learned: Learned, sample: RatioSample) -> Learned:
    """Hold a sample against what the gateways counted of the same requests, once these have ended."""
    if sample.waited is None or sample.at_end or sample.until == learned.matched_until:
        return learned
    lasting = gradual_metric.pace(learned)
    if not _have_ended(learned, sample, lasting):
        return learned
    spans = _counted(learned.recent, sample.since + lasting, sample.until + lasting, enough=ENOUGH, longest=SHORTEST)
    mean = _mean(spans, least=ENOUGH)
    if mean is None:
        return learned
    match = learned.first_byte_match.with_(mean, sample.ratio, least=NONE)
    return replace(learned, first_byte_match=match, matched_until=sample.until)


def latest(learned: Learned, sample: RatioSample) -> RatioSample:
    """Return the gateways' own time to first byte if samples agree with it and it is of later requests, else the sample."""
    match = learned.first_byte_match
    if sample.waited is None or sample.at_end or not _agrees(match, sample.waited):
        return sample
    if not _have_ended(learned, sample, gradual_metric.pace(learned)):
        return sample
    until = learned.recent[-1].until
    spans = _counted(learned.recent, until - SHORTEST, until, enough=AMPLE, longest=LONGEST)
    mean = _mean(spans, least=1)
    if mean is None:
        return sample
    lasting = min(LONGEST, gradual_metric.pace(replace(learned, recent=spans)))
    ratio, since = mean / match.value, spans[0].since - lasting
    return replace(sample, ratio=ratio, since=since, until=until, waited=match.value, at_end=True, scattered=False)


def _agrees(match: Proportion, seconds: Fraction) -> bool:
    """Return whether a metric whose target is so many seconds is proportional to the time that the gateways count."""
    alike = seconds < MOST_APART * match.value < MOST_APART**2 * seconds
    return alike and match.count >= KNOWN and match.off <= CLOSE


def _have_ended(learned: Learned, sample: RatioSample, lasting: timedelta) -> bool:
    """Return whether the gateways have counted the requests of a sample."""
    return bool(learned.recent) and sample.until + lasting <= learned.recent[-1].until


def _counted(
    recent: Sequence[InFlightSpan], since: datetime, until: datetime, *, enough: int, longest: timedelta
) -> tuple[InFlightSpan, ...]:
    """Return the spans of a time, and earlier ones until enough first bytes were counted or the longest time is over."""
    found: list[InFlightSpan] = []
    for each in reversed(recent):
        if each.since >= until:
            continue
        if each.until <= since and (_first_bytes(found) >= enough or until - each.until >= longest):
            break
        found.append(each)
    return tuple(reversed(found))


def _first_bytes(spans: Sequence[InFlightSpan]) -> int:
    return sum(each.first_bytes for each in spans)


def _mean(spans: Sequence[InFlightSpan], *, least: int) -> Fraction | None:
    """Return the mean seconds to the first byte; None if fewer were counted."""
    count = _first_bytes(spans)
    return Fraction(sum(each.first_byte_ms for each in spans), 1000 * count) if count >= least else None
