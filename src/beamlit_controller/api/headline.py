"""Summarizes one model: where requests are served, what is wrong, the effect on clients, and what to do.

The page, `top` and `explain` show the same text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from beamlit_controller.api import advice, destination, effects, recent
from beamlit_controller.api.models_view import HeadlineView, ModelView, Rank
from beamlit_controller.core.reason import Reason

LATE: Final = 60
"""Age in seconds from which a round is reported as late."""
KEEPS: Final = "the gateway keeps its last cap and percentage"

STRAIGHT: Final = "clients reach the local pods directly, and nothing is offloaded"
NO_ANSWER: Final = "clients of its address get no response"
ALL_LEAVE: Final = "requests that may leave go to the remote, others get 503"
SOME_503: Final = "clients get 503 for these"


@dataclass(frozen=True, slots=True)
class _Finding:
    rank: Rank
    why: str
    state: str = ""
    effect: str = ""
    advice: str = ""
    stays: bool = False
    """Nothing goes to the remote now, even if something did shortly before."""


def of(model: ModelView, now: datetime) -> HeadlineView:
    """Return the headline of a model."""
    for look in _LOOKS:
        found = look(model, now)
        if found is not None:
            return HeadlineView(
                rank=found.rank,
                state=found.state or _state(model),
                why=found.why,
                effect=found.effect,
                advice=found.advice,
                to="" if found.stays else _to(model),
                since=_since(model) if found.rank == "disabled" or found.why == _decided(model) else None,
            )
    return HeadlineView(rank=_rank(model), state=_state(model), why=_why(model), to=_to(model), since=_since(model))


# Possible problems, the worst first.


def _round(model: ModelView, now: datetime) -> _Finding | None:
    if model.failure:
        why, effect = (
            f"the last round failed: {model.failure.error}",
            f"{KEEPS}; values are from the last good round",
        )
        return _Finding("failing", why, effect=effect, advice=advice.BUG)
    late = (now - model.at).total_seconds()
    if late > LATE:
        return _Finding("failing", f"no round for {span(late)}", effect=KEEPS, advice=advice.LATE)
    return None


def _gateway(model: ModelView, _: datetime) -> _Finding | None:
    known = model.gateway or {}
    problem, ready, wanted = str(known.get("problem") or ""), known.get("ready"), known.get("wanted")
    if known.get("bypassed"):
        return _Finding("failing", problem, "Bypassed, all local", STRAIGHT, _gateway_advice(known), stays=True)
    if ready is not None and not ready and wanted != 0:
        effect = NO_ANSWER if wanted is None else f"{STRAIGHT}; with routing.mode Service they get no answer"
        why = problem or "the gateway is not ready"
        return _Finding("failing", why, "Gateway down", effect, _gateway_advice(known), stays=True)
    if problem:
        return _Finding("failing", problem, advice=_gateway_advice(known))
    if known.get("connected") is False and wanted != 0:
        return _Finding("failing", "the gateway is not connected", effect=KEEPS, advice=advice.NOT_CONNECTED)
    return None


def _gateway_advice(known: Mapping[str, object]) -> str:
    return advice.of(str(known.get("reason") or "")) or advice.gateway(str(known.get("problem") or ""))


def _local(model: ModelView, _: datetime) -> _Finding | None:
    unanswered = recent.unanswered(model)
    if (model.local.ready and not recent.local_fails(model)) or not model.local.total:
        return None
    if model.local.ready and unanswered and _all_start_at_remote(model) and _returns_failures(model):
        return None  # local may be well
    remote = _remote_condition(model)
    why = f"{model.local.ready} of {model.local.total} local servers ready"
    if model.local.ready:
        why = f"no local server answered in {recent.period(model)}"
    if remote.get("status") == "False":
        why = f"{why}; {remote['reason']}: {remote['message']}"
    if model.remote is None or remote.get("status") == "False" or _all_spent(model) or unanswered >= recent.ALMOST_ALL:
        return _Finding("failing", why, "Down", "clients get 503", advice.LOCAL, stays=True)
    effect = f"{ALL_LEAVE}{effects.and_unanswered(model)}"
    return _Finding("failing", why, "Local down, remote answers", effect, advice.LOCAL)


def _remote(model: ModelView, _: datetime) -> _Finding | None:
    known = _remote_condition(model)
    if known.get("status") != "False":
        return None
    reason = str(known.get("reason"))
    why, state = f"{reason}: {known.get('message')}", f"Remote {_REMOTE.get(reason, 'down')}"
    none = effects.unanswered(model)
    if _returns_failures(model):
        effect = f"a request that goes to the remote gets its failure{none and f'; {none}'}"
        return _Finding("failing", why, state, effect, advice.of(reason), stays=True)
    if none:
        return _Finding("failing", why, state, none, advice.of(reason), stays=True)
    effect = f"local takes every request{effects.and_they_wait(model)}"
    return _Finding("failing", why, f"{state}, local answers", effect, advice.of(reason), stays=True)


def _unanswered(model: ModelView, _: datetime) -> _Finding | None:
    if not recent.some_unanswered(model):
        return None
    return _Finding("failing", effects.unanswered(model), f"{_state(model)}, some unanswered", SOME_503, advice.LOCAL)


def _returns_failures(model: ModelView) -> bool:
    return model.spec.get("onRemoteFailure") == "Fail"


def _all_start_at_remote(model: ModelView) -> bool:
    return model.decision.percentage == 100 and not by_cap(model)  # noqa: PLR2004 - the whole


_REMOTE: Final[Mapping[str, str]] = {
    Reason.REMOTE_THROTTLES: "throttles",
    Reason.REMOTE_REFUSES_CREDENTIAL: "refuses the key",
    Reason.CREDENTIALS_UNREADABLE: "without a key",
    Reason.REMOTE_FAILS: "fails",
}
"""The state of the remote in a word, by reason; others are "down"."""


def _disabled(model: ModelView, _: datetime) -> _Finding | None:
    return None if model.enabled else _Finding("disabled", _decided(model), "Disabled, all local", stays=True)


def _budget(model: ModelView, _: datetime) -> _Finding | None:
    spent = destination.spent(model)
    if not _all_spent(model):
        return None
    used = "; ".join(f"{name and f'{name}: '}{destination.used(budget)}" for name, budget in spent.items())
    until = min(budget.ends for budget in spent.values()).astimezone(UTC)
    effect = f"local takes every request until {until:%Y-%m-%d %H:%MZ}{effects.and_they_wait(model)}"
    why, todo = f"{Reason.BUDGET_SPENT}: {used}", advice.of(Reason.BUDGET_SPENT)
    return _Finding("short", why, "Budget spent, local answers", effect, todo, stays=True)


def _all_spent(model: ModelView) -> bool:
    spent = destination.spent(model)
    return bool(spent) and len(spent) >= len(model.remotes)


def _metrics(model: ModelView, _: datetime) -> _Finding | None:
    missing = [metric for metric in model.metrics if metric.missing and metric.missing.lasts]
    if not missing or missing[0].missing is None:
        return None
    why = f"{missing[0].missing.reason}: {missing[0].name}: {missing[0].missing.message}"
    lost = "metrics lost" if len(missing) == len(model.metrics) else "a metric lost"
    todo = advice.METRIC_LATER if model.decision.reason == Reason.OVERRIDDEN else advice.METRIC
    return _Finding("blind", why, f"{_state(model)}, {lost}", _without_metrics(model), todo)


def _without_metrics(model: ModelView) -> str:
    decided = model.decision
    if any(not metric.missing for metric in model.metrics) and model.verdict.judgement != "unknown":
        return "the other metrics decide"
    if decided.reason == Reason.OVERRIDDEN:
        return f"the override keeps {decided.percentage} %"
    if decided.cap is not None:
        return f"the cap stays at {decided.cap:.4g} requests in flight per replica"
    if decided.percentage:
        return f"{decided.percentage} % of the requests are offloaded"
    only = "only what local fails or refuses" if recent.sent(model) else "nothing"
    return f"{only} is offloaded, however full local is"


def _shortage(model: ModelView, _: datetime) -> _Finding | None:
    if model.decision.enough:
        return None
    effect = f"requests wait at local: {effects.waiting(model) or 'the metric is over its target'}"
    return _Finding("short", _decided(model), f"{_state(model)}, not enough", effect, advice.SHORT)


_LOOKS: Final[tuple[Callable[[ModelView, datetime], _Finding | None], ...]] = (
    _round,
    _gateway,
    _local,
    _remote,
    _unanswered,
    _disabled,
    _budget,
    _metrics,
    _shortage,
)


# Where requests are served.


def _state(model: ModelView) -> str:
    decided = model.decision
    if not model.enabled:
        return "Disabled"
    if model.dry_run:
        return _dry_run(model)
    if decided.reason == Reason.OVERRIDDEN:
        return f"Offloading {decided.percentage} % by hand" if decided.percentage else "Local by hand"
    if decided.percentage and not by_cap(model):
        return f"Offloading {decided.percentage} %"
    part = recent.sent(model)
    if part >= recent.ALMOST_ALL:
        return "Remote answers all"
    return f"Offloading {100 * part:.2g} %" if part else "Local"


def _since(model: ModelView) -> datetime | None:
    """Return when the state began; None if it began before the controller could see it.

    Under a cap the decision stays the same for as long as there is a cap, so only the counts tell.
    """
    decided, counted = model.decision, model.traffic.since if model.traffic else None
    by_decision = not model.enabled or model.dry_run or decided.reason == Reason.OVERRIDDEN
    if by_decision or (decided.percentage and not by_cap(model)):
        return decided.since
    return counted if by_cap(model) or recent.sent(model) else max(decided.since, counted or decided.since)


def _dry_run(model: ModelView) -> str:
    decided = model.decision
    if by_cap(model):
        return f"Dry run, would cap at {decided.cap:.4g}"
    return f"Dry run, would send {decided.percentage} %" if decided.percentage else "Dry run, local"


def _to(model: ModelView) -> str:
    """Return the hosts that requests go to; "" if none leave."""
    by_share = model.decision.percentage and not by_cap(model)
    return destination.hosts(model) if by_share or recent.sent(model) else ""


def _rank(model: ModelView) -> Rank:
    by_share = model.decision.percentage and not by_cap(model) and not model.dry_run
    return "offloading" if by_share or recent.sent(model) else "local"


def by_cap(model: ModelView) -> bool:
    """Return whether requests leave only above the cap, so that the percentage is an upper limit."""
    return bool(model.decision.cap) and model.decision.reason != Reason.OVERRIDDEN


def _why(model: ModelView) -> str:
    """Describe why requests left, if the decision itself doesn't tell, and the decision."""
    seen = recent.requests(model)
    left = seen.left.model_dump() if seen else {}
    most = max(left, key=left.__getitem__, default="") if recent.sent(model) else ""
    beyond = {
        "unavailable": f"local failed or refused them in {recent.period(model)}",
        "forced": "clients asked for the remote",
    }
    beyond["overflow"] = "above overflow.maxInFlightPerReplica"
    if by_cap(model):
        few = f", {model.local.ready} of {model.local.total} ready" if model.local.ready < model.local.total else ""
        beyond["overflow"] = f"above the cap of {model.decision.cap:.4g} in flight per replica{few}"
    if most not in beyond or model.decision.reason == Reason.OVERRIDDEN:
        return _decided(model)
    return f"{beyond[most]}; {_decided(model)}"


def _decided(model: ModelView) -> str:
    return f"{model.decision.reason}: {model.decision.message}"


# Helpers.


def _remote_condition(model: ModelView) -> Mapping[str, object]:
    known = (model.gateway or {}).get("remote")
    return known if isinstance(known, Mapping) else {}


def span(seconds: float) -> str:
    """Format a duration in its largest unit: `38 s`, `3 min`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
