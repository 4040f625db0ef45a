"""The screen of `explain`: one model at a glance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from beamlit_controller.api import destination, headline
from beamlit_controller.api.models_view import (
    HeadlineView,
    MetricView,
    MissingView,
    ModelsView,
    ModelView,
    PodFailureView,
    ProblemView,
    RemoteView,
    TrafficView,
    TriggerView,
    WaitingView,
)
from beamlit_controller.cli import changes, top_table
from beamlit_controller.core import printable
from beamlit_controller.core.reason import Reason

BAR = 10
"""Cells of a ratio's bar; its left half is full when the target is reached."""
LONGEST = 100
"""Length to which a name, or a past reason, is cut."""
SHOWN = 5
"""Number of problems shown; `/models` has all."""
SHOWN_ELSEWHERE = {"remote", "remotes", "problem", "reason", "bypassed"}
DOUBTFUL = {"MetricNeverSeen", "TargetNeverReached", "TargetOutOfReach"}
STATES = {"over": "bold yellow", "between": "cyan", "under": "green", "unreadable": "bold red"}


def show(answer: ModelsView, model: ModelView | WaitingView) -> RenderableType:
    """Render one model of the response."""
    parts = _waiting(answer, model) if isinstance(model, WaitingView) else _known(answer, model)
    return Group(*parts)


def _known(answer: ModelsView, model: ModelView) -> Iterator[RenderableType]:
    yield from _head(model, answer.at)
    if model.metrics:
        yield Text()
        yield _table(model.metrics)
        yield from _losses(model.metrics, said=model.decision.message)
    yield from _section("What would change it", _points(model.outlook))
    yield from _section("What the remote costs", _points(tuple(each.text for each in model.spending)))
    yield from _trigger(model.trigger)
    yield from _section(_title(model.remotes), _remotes(model))
    yield from _section("Gateway", [_gateway(model.gateway)] if model.gateway else ())
    yield from _section("Notices", _points(model.notices))
    yield from _section("Mistakes in manifests and settings", _problems(answer.problems))
    # The longest section comes last, so that a short screen only loses the oldest changes.
    yield from _section("Last changes", _changes(model, answer.at))


def _waiting(answer: ModelsView, model: WaitingView) -> Iterator[RenderableType]:
    failure = model.failure
    yield _line((f"{model.namespace}/{model.name}", "bold"))
    yield _line(("NO ROUND HAS SUCCEEDED YET", "bold red"), f"  the last one ended {_ago(failure.at, answer.at)}")
    yield _line(failure.error)
    yield from _section("Mistakes in manifests and settings", _problems(answer.problems))


# The state, and why.


def _head(model: ModelView, now: datetime) -> Iterator[Text]:
    decision, seen = model.decision, headline.of(model, now)
    yield _line((f"{model.namespace}/{model.name}", "bold"), (f"  model {model.model}", "dim"))
    state, style = f"{seen.state.upper()}{seen.to and f' → {seen.to}'}", top_table.WORDS[seen.rank][1]
    yield _line((state, style), f" since {_time(seen.since, now)}, {_ago(seen.since, now)}" if seen.since else "")
    if seen.rank in top_table.NEEDS_A_PERSON:
        yield from _trouble(seen, style)
    cause = seen.why.removesuffix(f"{decision.reason}: {decision.message}")
    leaves = cause if cause != seen.why else ""
    yield _line(leaves, (decision.reason, "bold"), f": {decision.message}")
    if model.traffic is not None:
        yield from _requests(model.traffic)
    late = (now - model.at).total_seconds() > headline.LATE
    yield _line((f"decided {_ago(model.at, now)}", "bold yellow" if late else "dim"), (_facts(model), "dim"))


def _requests(traffic: TrafficView) -> Iterator[Text]:
    """Show the requests since they have been answered as they are now, if that began within the minute, and those of the minute."""
    if traffic.latest is not None:
        yield _line((f"last {traffic.latest.seconds:.0f} s", "bold"), f": {traffic.latest.text}")
    yield _line(("last minute", "bold"), f": {traffic.text}")


def _trouble(seen: HeadlineView, style: str) -> Iterator[Text]:
    if seen.rank != "blind" and not seen.since:  # other problems are shown with the decision and below the metrics
        yield _line((seen.why, style))
    if seen.effect:
        yield _line(("means", "bold"), f": {seen.effect}")
    if seen.advice:
        yield _line(("to do", "bold"), f": {seen.advice}")


def _facts(model: ModelView) -> str:
    took = f", reading took {model.took_seconds * 1000:.0f} ms"
    ready = f", {model.local.ready} of {model.local.total} local endpoints ready"
    if not (model.enabled and model.metrics):
        return took + ready
    demand = model.decision.demand
    return took + ready + (", demand unknown" if demand is None else f", demand {demand:.0%} of the target")


# The metrics.


def _table(metrics: Sequence[MetricView]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    table.add_column("METRIC", overflow="fold")
    table.add_column("VALUE", justify="right", no_wrap=True)
    table.add_column("TARGET", justify="right", no_wrap=True)
    table.add_column("RATIO", no_wrap=True)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for metric in metrics:
        style = STATES[metric.state]
        table.add_row(
            _line(printable.short(_named(metric), LONGEST)),
            _line(metric.value if metric.value is not None else "-"),
            _line(f"{metric.target}/pod" if metric.target_type == "AverageValue" else metric.target),
            Text("-") if metric.ratio is None else Text(f"{_bar(metric.ratio)} {metric.ratio:.0%}", style),
            _line("-" if metric.age_seconds is None else _span(metric.age_seconds, units=1)),
            _line((metric.state, style)),
        )
    return table


def _named(metric: MetricView) -> str:
    name = f"{metric.name}{{{metric.selector}}}" if metric.selector else metric.name
    return f"{name} ({metric.aggregated})" if metric.aggregated else name


def _bar(ratio: float) -> str:
    filled = min(max(int(ratio * BAR / 2), 0), BAR)
    cells = "█" * filled + "·" * (BAR - filled)
    return f"{cells[: BAR // 2]}|{cells[BAR // 2 :]}"


def _losses(metrics: Sequence[MetricView], said: str) -> Iterator[RenderableType]:
    """Say why values are missing: the reason of each, and its message unless that was `said` already."""
    for metric in metrics:
        if metric.missing is not None:
            why = (
                metric.missing.model_copy(update={"message": ""}) if metric.missing.message in said else metric.missing
            )
            yield _loss(metric.name, why, style="red" if why.lasts else "yellow")
        for pod in metric.pod_failures:
            if (
                metric.missing is not None
                and pod.reason == metric.missing.reason
                and pod.message in metric.missing.message
            ):
                continue  # shown already
            yield _loss(f"{metric.name} without {pod.pod}", pod)


def _loss(what: str, why: MissingView | PodFailureView, *, style: str = "red") -> RenderableType:
    message = f": {why.message}" if why.message else ""
    return _hanging("!", _line((f"{printable.short(what, LONGEST)}: {why.reason}", style), message))


def _trigger(trigger: TriggerView | None) -> Iterator[RenderableType]:
    """Describe a trigger that can't fire, or may never."""
    if trigger is None or trigger.reason not in DOUBTFUL:
        return
    style = "red" if trigger.reachable is False else "yellow"
    yield Text()
    yield _hanging("!", _line((trigger.reason, style), f": {trigger.message}"))


# Further sections.


def _section(title: str, body: Iterable[RenderableType]) -> Iterator[RenderableType]:
    lines = tuple(body)
    if lines:
        yield Text()
        yield Text(title, "bold")
        yield from lines


def _points(sentences: Iterable[str]) -> Iterator[RenderableType]:
    return (_hanging("-", _line(sentence)) for sentence in sentences)


def _changes(model: ModelView, now: datetime) -> Iterator[RenderableType]:
    if not model.changes:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for change in model.changes:
        share = Text(changes.shares(change), "yellow" if change.percentage else "green")
        why = _line((change.reason, "bold"), f": {printable.short(change.message, LONGEST)}")
        table.add_row(Text(f"  {_time(change.at, now)}"), Text(_ago(change.at, now), "dim"), share, why)
    yield table


def _title(remotes: Sequence[RemoteView]) -> str:
    if any(each.weight is not None for each in remotes):
        return "Remotes"
    return "Remotes, in order" if remotes else "Remote"


def _remotes(model: ModelView) -> Iterator[RenderableType]:
    """Describe each remote, with its state if the gateway reports it, or that its budget is spent."""
    gateway, spent = model.gateway or {}, destination.spent(model)
    conditions = gateway.get("remotes") if model.remotes else {"": gateway.get("remote")}
    only = RemoteView(name="", address=model.remote or "")
    for each in model.remotes or ((only,) if gateway.get("remote") and model.remote else ()):
        known = conditions.get(each.name) if isinstance(conditions, Mapping) else None
        reason, message = (known.get("reason"), known.get("message")) if isinstance(known, Mapping) else ("", "")
        style = "bold red" if isinstance(known, Mapping) and known.get("status") == "False" else "bold"
        if each.name in spent:
            reason, message, style = Reason.BUDGET_SPENT, destination.used(spent[each.name]), "bold red"
        state = ((f"  {reason}", style), f": {message}") if reason else ()
        weight = f" (weight {each.weight})" if each.weight is not None else ""
        name = ((each.name, "bold"), f"{weight}  ") if each.name else ()
        yield _hanging("-", _line(*name, each.address, *state))


def _gateway(facts: Mapping[str, object]) -> RenderableType:
    shown = ((name, value) for name, value in facts.items() if name not in SHOWN_ELSEWHERE)
    said = ", ".join(_fact(name, value) for name, value in shown if value is not None and value != "")
    down = False in {facts.get("ready"), facts.get("connected")}
    return _hanging(" ", _line((said, "bold red" if down else "")))


def _fact(name: str, value: object) -> str:
    match value:
        case bool():
            return name if value else f"not {name}"
        case Mapping():
            return f"{name} {', '.join(_fact(str(part), inner) for part, inner in value.items())}"
        case _:
            return f"{name} {value}"


def _problems(problems: Sequence[ProblemView]) -> Iterator[RenderableType]:
    for problem in problems[:SHOWN]:
        label = ": ".join(filter(None, (problem.where, problem.field)))
        yield _hanging("!", _line((label, "red"), f": {problem.message}"))
    if len(problems) > SHOWN:
        yield _hanging(" ", Text(f"and {len(problems) - SHOWN} more"))


# Formatting.


def _hanging(mark: str, text: Text) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(f"  {mark}"), text)
    return row


def _line(*parts: str | tuple[str, str]) -> Text:
    """Remove markup and control characters."""
    styled = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((printable.line(text), style) for text, style in styled))


def _time(moment: datetime, now: datetime) -> str:
    """Format a time: `12:00:00Z` today, otherwise with the date."""
    day = "" if moment.date() == now.date() else "%Y-%m-%d "
    return moment.strftime(f"{day}%H:%M:%SZ")


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_span((now - moment).total_seconds())} ago"


def _span(seconds: float, *, units: int = 2) -> str:
    """Format a duration in its two largest units: `0.4 s`, `38 s`, `3 min 20 s`, `2 d 4 h`."""
    if seconds < 1:
        return f"{int(max(seconds, 0) * 10) / 10} s"
    left, said = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        said.append((count, unit))
    first = next(index for index, (count, _) in enumerate(said) if count)
    return " ".join(f"{count} {unit}" for count, unit in said[first : first + units] if count)
