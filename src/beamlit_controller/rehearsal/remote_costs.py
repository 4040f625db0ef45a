"""Computes which remote would have answered each offloaded request, and at what cost: in order, each while its budget lasts.

The live code keeps the accounts, with counts as a gateway would have reported them. They are updated once per sample,
so a budget is exceeded by at most what one sample sends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from beamlit_controller.core import spending, weighted_remotes
from beamlit_controller.core.price import BudgetUnit
from beamlit_controller.core.replay import Replay
from beamlit_controller.core.spec import OffloadSpec, RemoteBackend
from beamlit_controller.core.spending import Account, Accounts
from beamlit_controller.core.usage import Usage

GATEWAY = "recorded"


@dataclass(frozen=True, slots=True)
class MeanTokens:
    """The mean number of tokens of a request."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


NO_TOKENS = MeanTokens()


@dataclass(frozen=True, slots=True)
class RemoteCost:
    """What one remote would have answered and cost, and for how many seconds its budget would have been spent."""

    name: str
    requests: float
    cost: Decimal | None
    currency: str | None
    spent_seconds: float


@dataclass(frozen=True, slots=True)
class RemoteCosts:
    """The remotes in order, and the number of requests that would have stayed local because no budget was left."""

    remotes: tuple[RemoteCost, ...]
    kept: float


def of(spec: OffloadSpec, course: Replay, tokens: MeanTokens) -> RemoteCosts | None:
    """Send the offloaded requests to the remotes; None if the number of requests was not recorded."""
    if not course.recording.rates or not spec.remotes:
        return None
    played = _Allocation(spec, tokens)
    for at, seconds, requests in _rows(course):
        played.send(at, seconds, requests)
    return played.costs(course.recording.times[-1])


def needs_tokens(spec: OffloadSpec) -> Iterator[str]:
    """Return the names of the remotes whose cost or budget depends on the number of tokens."""
    for remote in spec.remotes:
        price, budget = remote.price, remote.budget
        by_tokens = price is not None and (price.input_per_million or price.output_per_million)
        if by_tokens or (budget is not None and budget.unit is BudgetUnit.TOKENS):
            yield name_of(remote)


def name_of(remote: RemoteBackend) -> str:
    """Return the name of a remote; the only one of `remoteBackend` is called by its host."""
    return remote.name or remote.host


def _rows(course: Replay) -> Iterator[tuple[datetime, float, float]]:
    """Return for each sample its time, the seconds that it counts for, and the requests that leave in that time."""
    recording = course.recording
    rows = zip(recording.times, recording.lasting, recording.rates, course.percentages, strict=True)
    return ((at, seconds, (rate or 0) * seconds * share / 100) for at, seconds, rate, share in rows)


class _Allocation:
    """The requests sent to each remote so far, and the remotes' accounts."""

    def __init__(self, spec: OffloadSpec, tokens: MeanTokens) -> None:
        self._spec = spec
        self._tokens = tokens
        self._sent = {each.name: 0.0 for each in spec.remotes}
        self._spent_seconds = dict.fromkeys(self._sent, 0.0)
        self._accounts: Accounts = ()
        self._out: tuple[str, ...] = ()
        self._kept = 0.0
        self._is_new = True

    def send(self, at: datetime, seconds: float, requests: float) -> None:
        """Send the requests of a sample to the remotes whose budgets are not spent at its beginning."""
        if self._is_new or self._out:
            self._enter(at)
        for name in self._out:
            self._spent_seconds[name] += seconds
        left = requests
        for remote in self._spec.remotes if requests else ():
            if remote.name not in self._out:
                taken = left * _part(self._spec, remote)
                self._sent[remote.name] += taken
                left -= taken
        self._kept += left
        self._is_new = requests > 0

    def costs(self, at: datetime) -> RemoteCosts:
        """Return the totals."""
        self._enter(at)
        known = {each.remote: each for each in self._accounts}
        return RemoteCosts(tuple(self._of(each, known.get(each.name)) for each in self._spec.remotes), self._kept)

    def _enter(self, at: datetime) -> None:
        # An account is opened with the first reading, which has no usage.
        counts = {name: _usage(requests, self._tokens) for name, requests in self._sent.items()}
        readings = {GATEWAY: counts if self._accounts else {}}
        self._accounts = spending.counted(self._accounts, self._spec.remotes, readings, at)
        self._out = spending.budget_spent(self._accounts, self._spec.remotes)

    def _of(self, remote: RemoteBackend, account: Account | None) -> RemoteCost:
        priced = account if remote.price is not None else None
        return RemoteCost(
            name=name_of(remote),
            requests=self._sent[remote.name],
            cost=priced.cost if priced else None,
            currency=priced.currency if priced else None,
            spent_seconds=self._spent_seconds[remote.name],
        )


def _part(spec: OffloadSpec, remote: RemoteBackend) -> float:
    """Return the fraction that a remote takes of the requests that reach it; the rest is for the weighted remotes after it."""
    others = weighted_remotes.weight_after(spec, remote)
    return 1.0 if not others else (remote.weight or 0) / ((remote.weight or 0) + others)


def _usage(requests: float, tokens: MeanTokens) -> Usage:
    whole = int(requests)
    return Usage(whole, int(whole * tokens.input), int(whole * tokens.output))
