"""Replays recorded metrics through the live decision code, to show what would have been decided.

The recording is taken as demand: the metrics while nothing was offloaded. What the controller would have read follows
by inverting `core.demand`: the recorded value times the local fraction of requests during the time that a sample
covers. A real queue shrinks faster than that when requests leave, so a replay tends to offload too long rather than too
short.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import decision, demand, verdict
from beamlit_controller.core.decision import Change, Decision
from beamlit_controller.core.demand import Share
from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    ResourceMetric,
    Utilization,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    Container,
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Ready,
    Sample,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import Mode, OffloadSpec
from beamlit_controller.core.verdict import Judgement, Verdict

FLAP = timedelta(minutes=5)
"""A change that is reversed within this time is a flap."""
LONGEST_ROW = 10
"""A row lasts until the next one, but at most this many usual steps; the rest of a gap is not counted."""
POD = "recorded"
_REQUESTED = 1_000_000
"""What the simulated pod requests, in thousandths, so that percentages of it are exact."""
_GAP = Missing(Reason.NO_SERIES, "no value was recorded at this time")


@dataclass(frozen=True, slots=True)
class Recording:
    """What was measured: for each time, in order and at least one, a value for each metric of the spec, in thousandths or None.

    A value is what is compared with the target (a percentage for a utilization). For averageValue of an Object or
    External metric it is the total, which is still to be divided by `replicas`. `rates` are requests per second.
    """

    times: tuple[datetime, ...]
    values: tuple[tuple[int | None, ...], ...]
    rates: tuple[float | None, ...] = ()
    replicas: int = 1

    @property
    def lasting(self) -> tuple[float, ...]:
        """Return the duration of each row in seconds."""
        gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(self.times)]
        usual = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
        spans = (*(min(gap, LONGEST_ROW * usual) for gap in gaps), usual)
        return tuple(span if known else 0.0 for span, known in zip(spans, self._known(), strict=True))

    def _known(self) -> Iterator[bool]:
        """Return for each row whether it counts; of a gap without any values, only its beginning does."""
        empty = 0
        for values in self.values:
            empty = empty + 1 if all(value is None for value in values) else 0
            yield empty <= LONGEST_ROW


@dataclass(frozen=True, slots=True)
class Replay:
    """The result, one value per row; `ratios` are as the controller would have seen them, where 1 is the target."""

    recording: Recording
    percentages: tuple[int, ...]
    ratios: tuple[float | None, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class ReplayStats:
    """A replay in a few numbers. Times are in seconds; requests are None if they were not recorded."""

    seconds: float
    offloading: float
    over: float
    """Time with a metric over its target, as the controller would have seen it."""
    changes: int
    flaps: int
    most: int
    mean: float
    """Mean percentage over the whole time."""
    requests: float | None = None
    offloaded: float | None = None


def rehearse(spec: OffloadSpec, recording: Recording, *, window: timedelta, plain: bool = False) -> Replay:
    """Decide at each time of the recording. `window` is the time that one sample covers.

    The model is treated as enabled, without dry run and without an override. With `plain`, a simple rule decides, for
    comparison: the whole percentage while a metric is over its target, else nothing. Recordings don't tell what was in
    flight, so Adaptive mode is simulated with an ideal cap: exactly the excess above the target leaves.
    """
    behavior = replace(spec.behavior, dry_run=False)
    replayed = replace(spec, enabled=True, override=None, behavior=behavior)
    stage = _Stage(replayed, recording, window)
    fitted = replayed.behavior.mode is Mode.ADAPTIVE
    decide = stage.plainly if plain else stage.fitted if fitted else stage.ruled
    percentages: list[int] = []
    ratios: list[Fraction | None] = []
    changes: list[Change] = []
    before = 0
    for row, at in enumerate(recording.times):
        moved, seen = decide(row, at)
        if moved.percentage != before:
            changes.append(Change(at, before, moved.percentage, moved.reason, moved.message))
        before = moved.percentage
        percentages.append(moved.percentage)
        ratios.append(seen.ratio)
    return Replay(recording, tuple(percentages), tuple(map(_number, ratios)), tuple(changes))


def demands(spec: OffloadSpec, recording: Recording) -> tuple[float | None, ...]:
    """Return the highest ratio of each row as recorded, where 1 is the target."""
    stage = _Stage(spec, recording, timedelta(0))
    return tuple(_number(stage.recorded(row, at)) for row, at in enumerate(recording.times))


def stats_of(course: Replay) -> ReplayStats:
    """Summarize a replay."""
    lasting = course.recording.lasting
    whole = sum(lasting)
    shares = course.percentages
    rates = course.recording.rates
    served = [(rate or 0) * span for rate, span in zip(rates, lasting, strict=True)] if rates else None
    return ReplayStats(
        seconds=whole,
        offloading=sum(span for span, share in zip(lasting, shares, strict=True) if share),
        over=sum(span for span, ratio in zip(lasting, course.ratios, strict=True) if ratio is not None and ratio > 1),
        changes=len(course.changes),
        flaps=sum(_takes_back(first, second) for first, second in itertools.pairwise(course.changes)),
        most=max(shares, default=0),
        mean=sum(span * share for span, share in zip(lasting, shares, strict=True)) / whole if whole else 0.0,
        requests=None if served is None else sum(served),
        offloaded=None
        if served is None
        else sum(count * share / 100 for count, share in zip(served, shares, strict=True)),
    )


def _takes_back(first: Change, second: Change) -> bool:
    turned = (first.percentage > first.previous) != (second.percentage > second.previous)
    return turned and second.at - first.at <= FLAP


class _Stage:
    """Reads one recording as the controller would have, given the share in force."""

    def __init__(self, spec: OffloadSpec, recording: Recording, window: timedelta) -> None:
        self._spec = spec
        self._recording = recording
        self._window = window
        self._pod = _pod(spec.metrics, recording.times[0])
        self._scale = Scale(recording.replicas, recording.replicas)
        self._last: Decision | None = None
        self._shares: tuple[Share, ...] = ()

    def ruled(self, row: int, at: datetime) -> tuple[Decision, Verdict]:
        """Decide with the live code."""
        shares = self._last.shares if self._last else ()
        seen = verdict.assess(self._spec, self._signals(row, at, shares))
        self._last = decision.decide(self._spec, self._last, seen, at)
        return self._last, seen

    def fitted(self, row: int, at: datetime) -> tuple[Decision, Verdict]:
        """Offload exactly what is above the target, at most the percentage."""
        seen = verdict.assess(self._spec, self._signals(row, at, ()))
        above = 1 - 1 / seen.ratio if seen.ratio is not None and seen.ratio > 1 else Fraction(0)
        percentage = min(math.ceil(100 * above), self._spec.behavior.percentage)
        left = None if seen.ratio is None else seen.ratio * (100 - percentage) / 100
        reason = Reason.METRIC_ABOVE_TARGET if percentage else Reason.METRIC_BELOW_TARGET
        return Decision(percentage, reason, "", at, (Share(at, percentage),)), replace(seen, ratio=left)

    def plainly(self, row: int, at: datetime) -> tuple[Decision, Verdict]:
        """Decide by the simple rule."""
        seen = verdict.assess(self._spec, self._signals(row, at, self._shares))
        over = seen.judgement is Judgement.OVER
        percentage = self._spec.behavior.percentage if over else 0
        if not self._shares or self._shares[-1].percentage != percentage:
            self._shares = demand.remember(self._shares, at, percentage)
        reason = Reason.METRIC_ABOVE_TARGET if over else Reason.METRIC_BELOW_TARGET
        return Decision(percentage, reason, "", at, self._shares), seen

    def recorded(self, row: int, at: datetime) -> Fraction | None:
        """Return the highest ratio without offloading."""
        return verdict.assess(self._spec, self._signals(row, at, ())).ratio

    def _signals(self, row: int, at: datetime, shares: Sequence[Share]) -> Signals:
        local = demand.local_fraction(shares, at - self._window, at) if shares else Fraction(1)
        values = self._recording.values[row]
        readings = tuple(
            self._reading(metric, value, at, local) for metric, value in zip(self._spec.metrics, values, strict=True)
        )
        return Signals(at, readings, (self._pod,), self._scale, LocalHealth(1, 1))

    def _reading(self, metric: MetricSpec, value: int | None, at: datetime, local: Fraction) -> Reading:
        if value is None:
            return _GAP
        left = int(value * local)
        if isinstance(metric, ObjectMetric | ExternalMetric | GatewayMetric):
            return Sample(left, at, self._window)
        if isinstance(metric.target, Utilization):
            left = _used(metric, left, self._pod)
        return PodSamples((PodSample(POD, left, at, self._window),))


def _pod(metrics: Sequence[MetricSpec], began: datetime) -> Pod:
    """Return one pod that stands for all, with the containers and requests that the metrics refer to."""
    long_ago = began - timedelta(days=1)
    names = {each.container for each in metrics if isinstance(each, ContainerResourceMetric)} or {POD}
    resources = {each.name for each in metrics if isinstance(each, ResourceMetric | ContainerResourceMetric)}
    requested = tuple((resource, _REQUESTED) for resource in sorted(resources))
    return Pod(
        POD,
        ready=Ready("True", long_ago),
        started=long_ago,
        containers=tuple(Container(name, requested) for name in sorted(names)),
    )


def _used(metric: MetricSpec, milli: int, pod: Pod) -> int:
    """Convert thousandths of a percent of the requests to thousandths of the resource, rounded up because they are truncated later."""
    requesting = 1 if isinstance(metric, ContainerResourceMetric) else len(pod.containers)
    return -(-milli * requesting * _REQUESTED // 100_000)


def _number(ratio: Fraction | None) -> float | None:
    return None if ratio is None else float(ratio)
