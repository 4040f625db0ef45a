"""The liveness and readiness of the controller: whether rounds succeed, and whether every model has a gateway."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from beamlit_controller.core import wording
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey

NAMED = 5
"""Maximum number of models named in a sentence; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a health check, and its text."""

    ok: bool
    text: str


class Liveness:
    """Records when a round last succeeded, and which models have had a round.

    If no round has succeeded for `bound`, the controller is considered stuck. `bound` should be several periods. It is
    measured by the event loop's monotonic clock: a step of the wall clock neither fails the check nor hides a stuck
    controller.
    """

    def __init__(self, bound: timedelta) -> None:
        self._bound = bound
        self._beat: float | None = None
        self._expected_since: float | None = None
        self._begun: set[ModelKey] = set()
        self._known: set[ModelKey] = set()

    def record(self, cycle: Cycle) -> None:
        """Record a successful round."""
        self._expect(cycle.spec.key)
        self._begun.add(cycle.spec.key)
        self._beat = _now()

    def failed(self, key: ModelKey, error: Exception) -> None:  # noqa: ARG002 - the port's signature; logs tell the error
        """Record that the model had a round, which failed."""
        self._expect(key)

    def forget(self, key: ModelKey) -> None:
        """Expect no more rounds of the model."""
        self._begun.discard(key)
        self._known.discard(key)
        if not self._known:
            self._beat = self._expected_since = None

    def alive(self) -> Check:
        """Return whether a round succeeded within `bound`; always True without models."""
        if self._expected_since is None:
            return Check(ok=True, text="no models")
        age = timedelta(seconds=_now() - (self._expected_since if self._beat is None else self._beat))
        said = f"the last successful round was {wording.seconds(age)} ago"
        if self._beat is None:
            said = f"no round has succeeded in the {wording.seconds(age)} since the first one began"
        if age > self._bound:
            return Check(ok=False, text=f"{said}; at most {wording.seconds(self._bound)} are expected")
        return Check(ok=True, text=said)

    def ready(self, models: Collection[ModelKey], *, gateways_down: Iterable[ModelKey] = ()) -> Check:
        """Return whether each of these models has had its first round, and no gateway is down."""
        waiting = [key for key in models if key not in self._begun]
        lacking = [
            *([f"no evaluation has succeeded yet for {_list(waiting)}"] if waiting else []),
            *([f"the gateway is down for {_list(down)}"] if (down := list(gateways_down)) else []),
        ]
        return Check(ok=not lacking, text="; ".join(lacking) or _evaluated(len(models)))

    def _expect(self, key: ModelKey) -> None:
        self._known.add(key)
        if self._expected_since is None:
            self._expected_since = _now()


def _evaluated(models: int) -> str:
    return "1 model, evaluated" if models == 1 else f"{models} models, all evaluated"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _list(keys: Collection[ModelKey]) -> str:
    named = ", ".join(str(key) for key in sorted(keys)[:NAMED])
    return named if len(keys) <= NAMED else f"{named} and {len(keys) - NAMED} more"
