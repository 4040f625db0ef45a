"""The state of every model for people: the last cycle, the last changes, gateway, notices and problems.

It is served as `/models`; `api/models_view.py` describes the JSON.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from beamlit_controller.api import model_view
from beamlit_controller.api.model_view import KnownModelState
from beamlit_controller.api.models_view import (
    FailureView,
    HistoryView,
    MinuteView,
    ModelsView,
    ProblemView,
    WaitingView,
)
from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core import spending, traffic_change, traffic_summary
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.verdict import Assessed, Unread
from beamlit_controller.telemetry.history import ShareHistory

LASTING: Final = timedelta(seconds=10)
"""How long a metric has to be unreadable, from the first failure to the last, to be reported as lost."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """Where the other details come from: gateway state, notices, requests, and problems in manifests and settings.

    All are called on the event loop. The gateway state is a mapping, {} if there is none.
    """

    gateway: Callable[[ModelKey], Mapping[str, object]] = lambda _: {}
    notices: Callable[[ModelKey], Sequence[str]] = lambda _: ()
    problems: Callable[[], Sequence[Problem]] = lambda: ()
    minute: Callable[[ModelKey], Minute | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class _Leaving:
    """Whether the remote answers any requests, and since when; None if the controller has not seen it begin."""

    leaves: bool
    since: datetime | None = None


@dataclass(slots=True)
class _LastRound:
    cycle: Cycle | None = None
    failure: FailureView | None = None
    history: ShareHistory = field(default_factory=ShareHistory)
    missing: Mapping[MetricSpec, datetime] = field(default_factory=dict)
    """The unreadable metrics, each with the time of the first failure; NEVER if it has never been read."""
    leaving: _Leaving | None = None


@dataclass(frozen=True, slots=True)
class ModelsSnapshot:
    """The state of all models at one moment, as values that another thread can serialize."""

    at: datetime
    known: Sequence[KnownModelState]
    waiting: Sequence[WaitingView]
    problems: Sequence[Problem]


class ModelsSink:
    """A `Sink` that keeps each model's last cycle in memory; the last changes are part of the decision."""

    def __init__(self, clock: Clock, details: ModelDetails | None = None) -> None:
        self._clock = clock
        self._details = details or ModelDetails()
        self._models: dict[ModelKey, _LastRound] = {}

    def record(self, cycle: Cycle) -> None:
        """Keep the cycle."""
        before = self._models.get(cycle.spec.key, _LastRound())
        minute = self._details.minute(cycle.spec.key)
        before.history.record(cycle, traffic_summary.summarize(minute).sent if minute else None)
        missing, leaving = dict(_missing(cycle, before)), _leaving(before.leaving, minute, cycle.at)
        self._models[cycle.spec.key] = _LastRound(cycle, history=before.history, missing=missing, leaving=leaving)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the error next to the last cycle."""
        model = self._models.setdefault(key, _LastRound())
        model.failure = FailureView(at=self._clock.now(), error=repr(error))

    def forget(self, key: ModelKey) -> None:
        """Drop the model."""
        self._models.pop(key, None)

    def keys(self) -> Sequence[ModelKey]:
        """Return the keys of all known models, sorted."""
        return sorted(self._models)

    def budget_spent(self, key: ModelKey) -> tuple[str, ...]:
        """Return the names of a model's remotes whose budget is spent, as of its last round."""
        last = self._models.get(key)
        cycle = last.cycle if last else None
        return spending.budget_spent(cycle.decision.ledger.accounts, cycle.spec.remotes) if cycle else ()

    def history(self, key: ModelKey) -> HistoryView:
        """Return the last hours of a known model."""
        known = self._models[key].history.minutes
        return HistoryView(
            minutes=tuple(
                MinuteView(begin=each.begin, percentage=each.percentage, ratio=each.ratio, sent=each.sent)
                for each in known
            )
        )

    def snapshot(self, only: ModelKey | None = None) -> ModelsSnapshot:
        """Take a snapshot of all models or of one. Call it on the event loop."""
        chosen = sorted(self._models.items()) if only is None else [(only, self._models[only])]
        return ModelsSnapshot(
            at=self._clock.now(),
            known=[self._known(key, model, model.cycle) for key, model in chosen if model.cycle],
            waiting=[_waiting(key, model.failure) for key, model in chosen if not model.cycle and model.failure],
            problems=list(self._details.problems()),
        )

    def _known(self, key: ModelKey, model: _LastRound, cycle: Cycle) -> KnownModelState:
        around = self._details
        just_missed = frozenset(metric for metric, since in model.missing.items() if cycle.at - since < LASTING)
        return KnownModelState(
            cycle,
            model.failure,
            around.gateway(key),
            around.notices(key),
            around.minute(key),
            just_missed,
            model.leaving.since if model.leaving else None,
        )


def _leaving(before: _Leaving | None, minute: Minute | None, now: datetime) -> _Leaving | None:
    if minute is None:
        return before
    leaves = traffic_change.latest(minute).counted.remote > 0
    if before is None:
        return _Leaving(leaves)
    return before if before.leaves == leaves else _Leaving(leaves, now)


def _missing(cycle: Cycle, before: _LastRound) -> Iterator[tuple[MetricSpec, datetime]]:
    last = before.cycle.verdict.metrics if before.cycle else ()
    read = {each.metric for each in last if isinstance(each, Assessed)}
    for each in cycle.verdict.metrics:
        if isinstance(each, Unread):
            yield each.metric, cycle.at if each.metric in read else before.missing.get(each.metric, NEVER)


def as_json(snapshot: ModelsSnapshot) -> bytes:
    """Return the JSON of `/models`."""
    return view(snapshot).model_dump_json().encode()


def one_as_json(snapshot: ModelsSnapshot) -> bytes:
    """Return the JSON of the single model in the snapshot."""
    whole = view(snapshot)
    return (*whole.models, *whole.waiting)[0].model_dump_json().encode()


def view(snapshot: ModelsSnapshot) -> ModelsView:
    """Convert the snapshot to views."""
    return ModelsView(
        at=snapshot.at,
        models=tuple(model_view.model(known, snapshot.at) for known in snapshot.known),
        waiting=tuple(snapshot.waiting),
        problems=tuple(
            ProblemView(where=problem.where, field=problem.field, message=problem.message)
            for problem in snapshot.problems
        ),
    )


def _waiting(key: ModelKey, failure: FailureView) -> WaitingView:
    return WaitingView(namespace=key.namespace, name=key.name, failure=failure)
