"""Checks against the history in a Prometheus whether triggers can fire, for `check --prometheus`."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.api.settings import PrometheusSettings
from beamlit_controller.core import replay, wording
from beamlit_controller.core.metric_spec import AverageValue, ExternalMetric, Selector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.replay import Recording
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec, Rejected
from beamlit_controller.prometheus.source import History, PrometheusSource, Span
from beamlit_controller.wiring import common

METRICS = "spec.offloadingConfig.metrics"
Column = dict[datetime, int | None]


@dataclass(frozen=True, slots=True)
class Findings:
    """Mistakes and notices."""

    mistakes: tuple[Rejected, ...] = ()
    notices: tuple[Rejected, ...] = ()


async def look(spec: OffloadSpec, given: PrometheusSettings, span: Span) -> Findings:
    """Query the history of a model's metrics and compare it with their targets."""
    async with AsyncExitStack() as resources:
        source = await resources.enter_async_context(PrometheusSource(common.connection(given)))
        columns = [await _column(source, spec, number, span) for number in range(len(spec.metrics))]
    mistakes = tuple(column for column in columns if isinstance(column, Rejected))
    known = {number: column for number, column in enumerate(columns) if isinstance(column, History)}
    skipped = tuple(_skipped(spec, number) for number, column in enumerate(columns) if column is None)
    notes = (*skipped, *(_added_up(spec, number, each.series) for number, each in known.items() if each.series > 1))
    if mistakes or not known:
        return Findings(mistakes, notes)
    tried = replace(spec, metrics=tuple(spec.metrics[number] for number in known))
    return _rehearsed(tried, tuple(each.values for each in known.values()), given.stale_after, span, notes)


def _added_up(spec: OffloadSpec, number: int, series: int) -> Rejected:
    name = wording.name(spec.metrics[number])
    message = f"{series} series of {name} are added up; if that is not meant, aggregate in the query: max(…), avg(…)"
    return Rejected(f"{METRICS}[{number}]", message)


def _skipped(spec: OffloadSpec, number: int) -> Rejected:
    metric = spec.metrics[number]
    why = "held against an average per replica" if isinstance(metric, ExternalMetric) else "no External metric"
    message = f"{wording.name(metric)} is {why}: Prometheus was not asked for it; see `simulate`"
    return Rejected(f"{METRICS}[{number}]", message)


async def _column(source: PrometheusSource, spec: OffloadSpec, number: int, span: Span) -> History | Rejected | None:
    """Return the values of a metric, what is wrong with it, or None if Prometheus can't provide it."""
    metric, field = spec.metrics[number], f"{METRICS}[{number}]"
    if not isinstance(metric, ExternalMetric) or isinstance(metric.target, AverageValue):
        return None
    query = source.query(metric)
    found = query if isinstance(query, Missing) else await source.history(spec.key, query, span)
    if not isinstance(found, Missing):
        numbers = any(value is not None for value in found.values.values())
        return found if numbers else Rejected(field, f"{wording.name(metric)} was never a number in {_said(span)}")
    if found.reason is not Reason.NO_SERIES:
        return Rejected(field, found.message)
    bare = replace(metric, metric=replace(metric.metric, selector=Selector()))
    unselected = source.query(bare)
    if metric.metric.selector and isinstance(unselected, str):
        others = await source.history(spec.key, unselected, span)
        if not isinstance(others, Missing):
            return Rejected(field, f"the selector matches no series of {metric.metric.name}, which has others: {query}")
    return Rejected(field, f"never seen in {_said(span)}: {query}")


def _rehearsed(
    spec: OffloadSpec, columns: tuple[Column, ...], window: timedelta, span: Span, skipped: tuple[Rejected, ...]
) -> Findings:
    values = tuple(tuple(column.get(at) for column in columns) for at in span.times)
    recording = Recording(span.times, values)
    highest = max((demand for demand in replay.demands(spec, recording) if demand is not None), default=0.0)
    said = f"the highest in {_said(span)} was {wording.percent(Fraction(highest))} of the target"
    engage = spec.behavior.engage
    if highest <= 1 + engage.tolerance:
        beyond = f" (with engage.tolerance {engage.tolerance})" if engage.tolerance else ""
        message = f"{said}{beyond}: nothing would have been offloaded"
        return Findings(notices=(*skipped, Rejected(METRICS, message)))
    course = replay.rehearse(spec, recording, window=window)
    if not course.changes and spec.behavior.percentage:
        lasting = wording.seconds(engage.stabilization_window)
        message = f"{said}, but it was never above it for {lasting}: nothing would have been offloaded"
        return Findings(
            (Rejected("spec.offloadingConfig.behavior.engage.stabilizationWindowSeconds", message),), skipped
        )
    return Findings(notices=skipped)


def _said(span: Span) -> str:
    minutes = (span.until - span.since) // timedelta(minutes=1)
    if minutes % 60:
        return f"{minutes} min"
    return f"{minutes // 1440} d" if minutes % 1440 == 0 else f"{minutes // 60} h"
