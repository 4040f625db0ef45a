"""Runs a rehearsal: reads the recording from Prometheus or a file, and replays every candidate."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from beamlit_controller.api import informer_models
from beamlit_controller.api.settings import PrometheusSettings, Settings
from beamlit_controller.api.status import instant
from beamlit_controller.core import replay, wording
from beamlit_controller.core.metric_spec import AverageValue, ExternalMetric, MetricSpec, ObjectMetric
from beamlit_controller.core.replay import Recording, Replay, ReplayStats
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.prometheus.source import PrometheusSource, Span
from beamlit_controller.rehearsal import candidates, recorded, remote_costs
from beamlit_controller.rehearsal.candidates import Candidate
from beamlit_controller.rehearsal.recorded import Recorded
from beamlit_controller.rehearsal.remote_costs import NO_TOKENS, MeanTokens, RemoteCosts
from beamlit_controller.wiring import common

POD_WINDOW = timedelta(seconds=30)
"""The time that a sample of the Kubernetes metrics APIs covers."""
TIMEOUT = timedelta(seconds=60)
"""Timeout of one query."""
MOST_STEPS = 500_000

Output = Literal["table", "json"]


@dataclass(frozen=True, slots=True)
class Past:
    """Where the recording comes from: a CSV file, or a Prometheus with queries for metrics that are not External."""

    csv: Path | None
    prometheus: str | None
    span: Span
    queries: Mapping[str, str]
    rate: str | None
    replicas: int | None


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate and its result; `costs` is None if the number of requests was not recorded."""

    candidate: Candidate
    replay: Replay
    stats: ReplayStats
    costs: RemoteCosts | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The result: demand as ratios, each candidate's course, and the price of a request."""

    spec: OffloadSpec
    recording: Recording
    demands: tuple[float | None, ...]
    played: tuple[CandidateResult, ...]
    price: float | None
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def alone(self) -> ReplayStats:
        """Return the statistics without offloading."""
        nothing = Replay(self.recording, (0,) * len(self.demands), self.demands, ())
        return replay.stats_of(nothing)

    @property
    def gaps(self) -> float:
        """Return the fraction of the samples that lack a value of any metric."""
        return sum(None in values for values in self.recording.values) / len(self.recording.values)

    def cost(self, figures: ReplayStats) -> float | None:
        """Return the cost of the requests at the remote, by the given price per request."""
        return None if self.price is None or figures.offloaded is None else self.price * figures.offloaded


def simulate(
    source: str,
    text: str,
    settings: Settings,
    past: Past,
    *,
    name: str | None,
    sets: list[str],
    price: float | None,
    tokens: MeanTokens = NO_TOKENS,
) -> Rehearsal:
    """Rehearse a model of the manifest `text`; messages name its `source`. Raises ValueError and OSError."""
    listed = candidates.read(source, text, _readable(settings, past), name=name, sets=sets)
    spec = listed[0].spec
    made = _recording(spec, settings, past)
    recording = made.recording
    if price is not None and not recording.rates:
        raise ValueError("--price: expected the requests per second beside it: --rate, or a column `requests` in --csv")
    window = settings.prometheus.stale_after if settings.prometheus else PrometheusSettings("").stale_after
    if not any(isinstance(metric, ExternalMetric) for metric in spec.metrics):
        window = POD_WINDOW
    played = []
    for candidate in listed:
        course = replay.rehearse(candidate.spec, recording, window=window, plain=candidate.plain)
        spent = remote_costs.of(candidate.spec, course, tokens)
        played.append(CandidateResult(candidate, course, replay.stats_of(course), spent))
    demands = replay.demands(spec, recording)
    hints = tuple(_without_tokens(spec, recording, tokens))
    return Rehearsal(spec, recording, demands, tuple(played), price, made.notes, hints)


def _without_tokens(spec: OffloadSpec, recording: Recording, tokens: MeanTokens) -> Iterator[str]:
    """Note which remotes' prices and budgets are ignored because the number of tokens per request was not given."""
    named = [*remote_costs.needs_tokens(spec)] if recording.rates and tokens == NO_TOKENS else []
    if named:
        names = ", ".join(named)
        yield f"Prices and budgets by tokens count nothing ({names}): give the mean of a request as --tokens INPUT/OUTPUT."


# The recording.


def _readable(settings: Settings, past: Past) -> Settings:
    """Return settings that accept PromQL queries as metrics, wherever the recording comes from."""
    if settings.prometheus is not None:
        return settings
    return replace(settings, prometheus=PrometheusSettings("") if past.csv else prometheus(settings, past.prometheus))


def _recording(spec: OffloadSpec, settings: Settings, past: Past) -> Recorded:
    divided = [metric for metric in spec.metrics if _is_divided(metric)]
    if divided and past.replicas is None:
        name = wording.name(divided[0])
        raise ValueError(f"--replicas: {name} is compared with an average per replica: give their number")
    names = {known for at, metric in enumerate(spec.metrics) for known in (wording.name(metric), f"metrics[{at}]")}
    unknown = sorted(past.queries.keys() - names)
    if unknown:
        raise ValueError(f"--query {unknown[0]}: expected one of the metrics {', '.join(sorted(names))}")
    replicas = past.replicas or 1
    if past.csv is not None:
        return recorded.read(past.csv, spec.metrics, replicas=replicas)
    return Recorded(asyncio.run(_asked(spec, prometheus(settings, past.prometheus), past, replicas)))


def _is_divided(metric: MetricSpec) -> bool:
    return isinstance(metric, ObjectMetric | ExternalMetric) and isinstance(metric.target, AverageValue)


def prometheus(settings: Settings, address: str | None) -> PrometheusSettings:
    """Return the connection of the settings, with another address if one is given."""
    if address is None:
        if settings.prometheus is None:
            raise ValueError("expected --prometheus ADDRESS, --csv FILE, or --settings that name a Prometheus")
        return replace(settings.prometheus, timeout=TIMEOUT)
    base = settings.prometheus or PrometheusSettings("")
    return replace(base, url=informer_models.url_of(address), timeout=TIMEOUT)


async def _asked(spec: OffloadSpec, given: PrometheusSettings, past: Past, replicas: int) -> Recording:
    async with AsyncExitStack() as resources:
        source = await resources.enter_async_context(PrometheusSource(common.connection(given)))
        queries = [_query(source, metric, at, past.queries) for at, metric in enumerate(spec.metrics)]
        columns = [await _column(source, spec, query, past.span) for query in queries]
        rates = await _column(source, spec, past.rate, past.span) if past.rate else None
    times = past.span.times
    values = tuple(tuple(column.get(at) for column in columns) for at in times)
    first = next((number for number, row in enumerate(values) if any(value is not None for value in row)), 0)
    spoken = () if rates is None else tuple(_per_second(rates.get(at)) for at in times[first:])
    return Recording(times[first:], values[first:], spoken, replicas)


async def _column(source: PrometheusSource, spec: OffloadSpec, query: str, span: Span) -> dict[datetime, int | None]:
    values = await source.history(spec.key, query, span)
    if not isinstance(values, Missing):
        return values.values
    raise ValueError(f"{values.message} ({values.reason}, from {instant(span.since)} to {instant(span.until)})")


def _query(source: PrometheusSource, metric: MetricSpec, number: int, given: Mapping[str, str]) -> str:
    name = wording.name(metric)
    chosen = given.get(f"metrics[{number}]") or given.get(name) or source.query(metric)
    if isinstance(chosen, str):
        return chosen
    raise ValueError(
        f"metrics[{number}] ({name}): {chosen.message}; say by --query '{name}=PROMQL' what its value was "
        "(for averageUtilization in percent, for averageValue per pod), or give it in --csv"
    )


def _per_second(milli: int | None) -> float | None:
    return None if milli is None else milli / 1000


_LEARNED = (
    "Adaptive: assumes a learned cap, and a metric that grows with the load. A recording doesn't tell what was in flight, so "
    "neither the time that learning takes nor the load that an empty queue hides is known."
)


def span(since: timedelta, until: datetime | None, step: timedelta) -> Span:
    """Return the time range that ends at `until` or now, in whole multiples of a step. Raises ValueError."""
    if since // step > MOST_STEPS:
        most = f"{MOST_STEPS:,} steps of {step.total_seconds():g} s"
        raise ValueError(f"--since: expected at most {most}, got {since // step:,}")
    end = until or datetime.now(UTC)
    try:
        last = datetime.fromtimestamp(end.timestamp() // step.total_seconds() * step.total_seconds(), UTC)
        return Span(last - since // step * step, last, step)
    except OverflowError:
        raise ValueError(f"--since: expected a valid date, got {since} before {end}") from None
