"""The `Sink` that pushes decisions to the gateways."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from beamlit_controller.core import limits, remote_health, spending, throttle, traffic
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy.rtds import RtdsServer, RuntimeValues

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _ThrottleState:
    """The limit of the percentage while the remote answers 429, and the counters up to which it is known."""

    percentage_limit: int = throttle.WHOLE
    attempts: Attempts = remote_health.NOTHING


class RtdsSink:
    """Sends every decision to the RTDS server; equal values are not sent again.

    Gateways share the limit of local requests in flight. `attempts` are those of all gateways of a model together: a
    remote that answers 429 gets a smaller share than decided until it accepts requests again.
    """

    def __init__(
        self, shares: RtdsServer, attempts: Callable[[ModelKey], Attempts] = lambda _: remote_health.NOTHING
    ) -> None:
        self._shares = shares
        self._attempts = attempts
        self._seen: dict[ModelKey, _ThrottleState] = {}
        self._budget_spent: dict[ModelKey, tuple[str, ...]] = {}

    def record(self, cycle: Cycle) -> None:
        """Set the decision's percentage and caps as the model's values, by the number of ready local servers."""
        self._shares.set(cycle.spec.key, self._values(cycle.spec, cycle.decision, ready=cycle.signals.local.ready))

    def _values(self, spec: OffloadSpec, decided: Decision, *, ready: int) -> RuntimeValues:
        by_cap = traffic.leaves_by_cap(spec, decided.cap, decided.reason)
        gateways = max(1, self._shares.connected(spec.key))
        in_flight = limits.in_flight(spec, decided.cap if by_cap else None, ready=ready, gateways=gateways)
        budget_spent = self._log_budgets(spec, spending.budget_spent(decided.ledger.accounts, spec.remotes))
        return RuntimeValues(min(decided.sent, self._most(spec.key, decided.sent)), in_flight, by_cap, budget_spent)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the last values."""

    def forget(self, key: ModelKey) -> None:
        """Forget the model's values."""
        self._seen.pop(key, None)
        self._budget_spent.pop(key, None)
        self._shares.forget(key)

    def _log_budgets(self, spec: OffloadSpec, budget_spent: tuple[str, ...]) -> tuple[str, ...]:
        before = self._budget_spent.get(spec.key, ())
        if budget_spent != before:
            log.info(
                "budget spent" if budget_spent else "budget reset", model=str(spec.key), remotes=list(budget_spent)
            )
        self._budget_spent[spec.key] = budget_spent
        return budget_spent

    def _most(self, key: ModelKey, percentage: int) -> int:
        before, attempts = self._seen.get(key, _ThrottleState()), self._attempts(key)
        most = throttle.most(before.percentage_limit, percentage=percentage, before=before.attempts, after=attempts)
        if most < before.percentage_limit:
            log.warning("remote answers 429, less is offloaded", model=str(key), most=most, decided=percentage)
        self._seen[key] = _ThrottleState(most, attempts)
        return most
