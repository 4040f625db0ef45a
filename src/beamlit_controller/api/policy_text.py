"""Describes a model's policy in sentences, for `explain` and the page."""

from collections.abc import Iterator
from fractions import Fraction

from beamlit_controller.core import printable, weighted_remotes, wording
from beamlit_controller.core.metric_spec import AverageValue, MetricSpec
from beamlit_controller.core.spec import (
    Behavior,
    Mode,
    OffloadSpec,
    OnMetricsLoss,
    OnRemoteFailure,
    Overflow,
    Ramp,
    RemoteBackend,
)
from beamlit_controller.core.stickiness import CookieStickiness

LONGEST = 120
"""Maximum length of a name or query in a sentence."""
WHOLE = 100


def sentences(spec: OffloadSpec) -> tuple[str, ...]:
    """Describe when the model offloads, how much, when it releases, and which single requests leave."""
    if not spec.enabled:
        return ("The model is disabled: all requests are served locally.",)
    if spec.remote is None:
        return ("There is no remote backend: all requests are served locally.",)
    return (*_share(spec), *_overflow(spec.overflow), *_rest(spec))


def _share(spec: OffloadSpec) -> Iterator[str]:
    behavior = spec.behavior
    if behavior.dry_run:
        yield "Dry run: decisions are made and shown, but nothing is sent to the remote."
    if behavior.percentage == 0:
        yield "The metrics cause no offloading: behavior.percentage is 0."
    elif not spec.metrics:
        yield "No metric is given, so no percentage is offloaded."
    else:
        yield f"Offload {_amount(behavior)} when {_limits(spec.metrics, behavior.engage)}."
        yield _learning(behavior) if behavior.mode is Mode.ADAPTIVE else _release(behavior)
        yield _loss(behavior)


def _amount(behavior: Behavior) -> str:
    match behavior.mode:
        case Mode.FIXED:
            engage = behavior.engage
            steps = f", in steps of {engage.step_percentage} %," if engage.step_percentage < behavior.percentage else ""
            return f"{behavior.percentage} % of the requests{steps}"
        case Mode.PROPORTIONAL:
            return f"the share that keeps the metric at its target, {behavior.percentage} % at most,"
        case Mode.ADAPTIVE:
            return f"the requests above local's capacity, at most {behavior.percentage} % of all,"


def _limits(metrics: tuple[MetricSpec, ...], engage: Ramp) -> str:
    ratio = 1 + Fraction(engage.tolerance)
    limits = " or ".join(_limit(metric, ratio) for metric in metrics)
    lasting = f" for {wording.seconds(engage.stabilization_window)}" if engage.stabilization_window else ""
    return limits + lasting


def _limit(metric: MetricSpec, ratio: Fraction) -> str:
    unit = " per replica" if isinstance(metric.target, AverageValue) else ""
    target = wording.target(metric.target)
    beyond = target if ratio == 1 else f"{wording.percent(ratio)} of {target}"
    return f"{printable.short(wording.name(metric), LONGEST)} is above {beyond}{unit}"


def _learning(behavior: Behavior) -> str:
    """Describe Adaptive mode, which judges each request when it arrives and has no release."""
    rest = (
        ""
        if behavior.percentage == WHOLE
        else f" Above {behavior.percentage} % of all requests, the rest stay local and wait."
    )
    return f"The capacity is learned from the metric; every request within it stays local.{rest}"


def _release(behavior: Behavior) -> str:
    ramp = behavior.release
    low = wording.percent(1 - Fraction(ramp.tolerance))
    steps = f", in steps of {ramp.step_percentage} %" if ramp.step_percentage < WHOLE else ""
    return (
        f"Take them back when demand stays at {low} of the target or less "
        f"for {wording.seconds(ramp.stabilization_window)}{steps}."
    )


def _loss(behavior: Behavior) -> str:
    match behavior.on_metrics_loss:
        case OnMetricsLoss.HOLD:
            kept = "cap" if behavior.mode is Mode.ADAPTIVE else "share"
            return f"While no metric can be read, keep the {kept} as it is."
        case OnMetricsLoss.RELEASE:
            return f"When no metric can be read for {wording.seconds(behavior.metrics_loss)}, serve everything locally."
        case OnMetricsLoss.OFFLOAD:
            return f"When no metric can be read for {wording.seconds(behavior.metrics_loss)}, offload."


def _overflow(overflow: Overflow) -> Iterator[str]:
    if overflow.max_in_flight_per_replica is not None:
        most = overflow.max_in_flight_per_replica
        yield f"Serve at most {most} requests at once per local replica; excess requests go to the remote."
    if overflow.on_status:
        codes = " or ".join(map(str, overflow.on_status))
        yield f"A request that local servers answer with {codes} goes to the remote."
    if overflow.on_unavailable:
        yield "A request that no local server accepts goes to the remote."
    if overflow.after is not None:
        yield f"A request that local servers have not begun to answer after {wording.seconds(overflow.after)} goes to the remote."


def _remotes(remotes: tuple[RemoteBackend, ...]) -> Iterator[str]:
    if any(remote.weight is not None for remote in remotes):
        groups = weighted_remotes.groups([each.weight for each in remotes])
        chain = ", then to ".join(" and ".join(_weighted(remotes[index]) for index in group) for group in groups)
        yield f"Offloaded requests go to {chain}; a request that one fails goes to another."
    elif len(remotes) > 1:
        yield f"Offloaded requests go to the first of {', '.join(remote.name for remote in remotes)} that can serve them."
    for remote in remotes:
        if remote.max_in_flight is not None:
            yield f"Send at most {remote.max_in_flight} requests at once to {remote.name or 'the remote'} per gateway."


def _weighted(remote: RemoteBackend) -> str:
    return remote.name if remote.weight is None else f"{remote.name} (weight {remote.weight})"


def _rest(spec: OffloadSpec) -> Iterator[str]:
    yield from _remotes(spec.remotes)
    if spec.on_remote_failure is OnRemoteFailure.LOCAL:
        yield "A request that fails at the remote is served locally."
    else:
        yield "A request that fails at the remote is answered with that failure."
    if spec.stickiness is not None:
        kind, name = (
            ("cookie", spec.stickiness.cookie)
            if isinstance(spec.stickiness, CookieStickiness)
            else ("header", spec.stickiness.header)
        )
        yield f"Requests with the same {kind} {name} stay on the same side."
    if spec.allow_override:
        yield "Clients may choose the side with the header x-offload."
