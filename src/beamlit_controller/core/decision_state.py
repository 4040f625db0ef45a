"""The decision as a value: the percentage and cap in force, why, and the history that the next decision needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from beamlit_controller.core import demand, release_backoff
from beamlit_controller.core.adaptive_state import NOTHING, Learned
from beamlit_controller.core.demand import Share
from beamlit_controller.core.ledger import EMPTY, Ledger
from beamlit_controller.core.load import UNKNOWN, KnownLoad
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.release_backoff import UNRESTRAINED, Restraint
from beamlit_controller.core.shortfall import Shortfall
from beamlit_controller.core.trend import Trend
from beamlit_controller.core.trigger import ObservedDemands
from beamlit_controller.core.value_age import ValueAge

__all__ = ["LONGEST_WHY", "REMEMBERED", "Change", "Decision", "Restraint", "Timers", "begin", "moved"]

REMEMBERED = 20
"""Maximum number of changes in the history."""
LONGEST_WHY = 200
"""Maximum length of a change's message in the history."""


@dataclass(frozen=True, slots=True)
class Timers:
    """Since when each condition has held; None while it does not."""

    over_since: datetime | None = None
    under_since: datetime | None = None
    stuck_since: datetime | None = None
    unread_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the percentage, and why. A percentage of which only the requests above a cap leave is `at_most`.

    In Adaptive mode, an override may change only that.
    """

    at: datetime
    previous: int
    percentage: int
    reason: Reason
    message: str
    at_most: bool = False
    previous_at_most: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The percentage in force, why, and since when, with the state that the next decision needs.

    `history` has the most recent changes, the latest last, and `sight` the observed demand; both are informational.
    With `dry` it is what would be in force: nothing is sent to the remote, and `shares` are 0. In Adaptive mode
    `percentage` is the maximum share of requests for the remote, `cap` the limit of local requests in flight per ready
    replica (None: unlimited), and `learned` the state from which the next cap is derived; with several metrics, `by_metric` has the state of
    each. `learned_from` has their names. In the other modes `load` is the arrival rate, which is used if nothing is
    served locally, and `shortfall` tells whether the highest share is too low. `ledger` has the cost of the remotes, and
    `ages` tells when the values of queries changed. During an override, `before_override` is the percentage before it.
    """

    percentage: int
    reason: Reason
    message: str
    since: datetime
    shares: tuple[Share, ...]
    demand: Fraction | None = None
    timers: Timers = Timers()
    restraint: Restraint = UNRESTRAINED
    trend: Trend | None = None
    dry: bool = False
    history: tuple[Change, ...] = ()
    sight: ObservedDemands | None = None
    cap: Fraction | None = None
    learned: Learned = NOTHING
    by_metric: tuple[Learned, ...] = ()
    learned_from: tuple[str, ...] = ()
    load: KnownLoad = UNKNOWN
    shortfall: Shortfall | None = None
    ledger: Ledger = EMPTY
    ages: tuple[ValueAge, ...] = ()
    before_override: int | None = None

    @property
    def sent(self) -> int:
        """Return the percentage that is sent to the remote: 0 in a dry run."""
        return 0 if self.dry else self.percentage


def begin(now: datetime) -> Decision:
    """Return the state before the first decision: everything is served locally."""
    return Decision(0, Reason.METRIC_BELOW_TARGET, "nothing has been read yet", now, (Share(now, 0),))


def moved(
    held: Decision, percentage: int, now: datetime, reason: Reason, why: str, *, trial: bool | None = None
) -> Decision:
    """Put another percentage in force. `trial` is None unless the move is a release; then it tells whether that is a trial."""
    said = replace(held, reason=reason, message=why)
    if percentage == held.percentage:
        return said
    return replace(
        said,
        percentage=percentage,
        since=now,
        shares=demand.remember(held.shares, now, 0 if held.dry else percentage),
        timers=replace(held.timers, under_since=None, stuck_since=None),
        restraint=_noted(held, now, trial=trial),
        history=(*held.history, _change_of(held, percentage, now, reason, why))[-REMEMBERED:],
    )


def recorded(before: Decision, decided: Decision, now: datetime) -> Decision:
    """Complete the history: tell which percentages are maximums, and record a change of only that."""
    was, then = _is_at_most(before), _is_at_most(decided)
    made = _since(before.history, decided.history)
    if not made and was != then and decided.percentage:
        made = (_change_of(before, decided.percentage, now, decided.reason, decided.message),)
        decided = replace(decided, since=now, history=(*decided.history, *made)[-REMEMBERED:])
    if not made or not (was or then):
        return decided
    made = (replace(made[0], previous_at_most=was and bool(made[0].previous)), *made[1:])
    made = (*made[:-1], replace(made[-1], at_most=then and bool(made[-1].percentage)))
    return replace(decided, history=(*decided.history[: -len(made)], *made))


def _since(before: Sequence[Change], history: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes that were made after the last one of before."""
    last = before[-1] if before else None
    known = next((place for place, each in reversed(tuple(enumerate(history, 1))) if each is last), 0)
    return history[known:]


def _is_at_most(decision: Decision) -> bool:
    return bool(decision.cap)


def _noted(held: Decision, now: datetime, *, trial: bool | None) -> Restraint:
    if trial is None:
        return release_backoff.after_other_change(held.restraint)
    return release_backoff.after_release(held.restraint, held.percentage, now, trial=trial)


def _change_of(held: Decision, percentage: int, now: datetime, reason: Reason, why: str) -> Change:
    said = why if len(why) <= LONGEST_WHY else f"{why[:LONGEST_WHY]}…"
    return Change(now, held.percentage, percentage, reason, said)
