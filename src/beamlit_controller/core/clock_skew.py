"""Adjusts the times in a decision to a clock that was set, or to the clock of another machine."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta

from beamlit_controller.core.decision import Decision


def shifted(decision: Decision, by: timedelta) -> Decision:
    """Shift all times except those of the history, so that durations stay the same by the new clock."""
    return replace(_changed(replace(decision, history=()), lambda moment: moment + by), history=decision.history)


def clamped(decision: Decision, now: datetime) -> Decision:
    """Replace future times by now, so that no window lasts longer than configured."""
    return _changed(decision, lambda moment: min(moment, now))


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
