"""Adjusts times in decisions and signals to a clock that was set, or to the clock of another machine."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta

from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.signals import Missing, PodSamples, Reading, Sample, Signals

AHEAD = timedelta(seconds=60)
"""The clocks of the machines that metrics come from may be ahead by this much."""


def shifted(decision: Decision, by: timedelta) -> Decision:
    """Shift all times except those of the history, so that durations stay the same by the new clock."""
    return replace(_changed(replace(decision, history=()), lambda moment: moment + by), history=decision.history)


def clamped(decision: Decision, now: datetime) -> Decision:
    """Replace future times by now, so that no window lasts longer than configured."""
    return _changed(decision, lambda moment: min(moment, now))


def bounded(signals: Signals, now: datetime) -> Signals:
    """Replace times that are further ahead than clocks may differ, such as those read before the clock was set back.

    Samples are judged once, so one from next year would be the last that is judged until then.
    """
    latest = now + AHEAD
    if all(each <= latest for each in _times(signals)):
        return signals
    readings = tuple(_bounded(each, latest) for each in signals.readings)
    flow = signals.flow
    if isinstance(flow, Flow):
        flow = replace(flow, since=min(flow.since, latest), until=min(flow.until, latest))
    return replace(signals, at=min(signals.at, latest), readings=readings, flow=flow)


def _times(signals: Signals) -> Iterator[datetime]:
    yield signals.at
    if isinstance(signals.flow, Flow):
        yield signals.flow.until
    for reading in signals.readings:
        match reading:
            case Sample():
                yield reading.at
            case PodSamples():
                yield from (each.at for each in reading.samples)
            case Missing():
                pass


def _bounded(reading: Reading, latest: datetime) -> Reading:
    match reading:
        case Sample():
            return replace(reading, at=min(reading.at, latest))
        case PodSamples():
            return replace(reading, samples=tuple(replace(each, at=min(each.at, latest)) for each in reading.samples))
        case Missing():
            return reading


def _changed(decision: Decision, change: Callable[[datetime], datetime]) -> Decision:
    changed = _mapped(decision, change)
    assert isinstance(changed, Decision)  # noqa: S101 - each value is mapped to one of its own type
    return changed


def _mapped(value: object, change: Callable[[datetime], datetime]) -> object:
    if isinstance(value, datetime):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_mapped(each, change) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _mapped(getattr(value, each.name), change) for each in fields(value)})
    return value
