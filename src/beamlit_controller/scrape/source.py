"""The `Source` of Pods metrics that scrapes the model servers, all servers concurrently, each page once per round."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from types import TracebackType
from typing import Self

import httpx2

from beamlit_controller.controller import containment
from beamlit_controller.controller.containment import Containment, Report
from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.core.metric_spec import MetricSpec, PodsMetric, Quantile
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading
from beamlit_controller.core.spec import MetricService, ModelKey, OffloadSpec
from beamlit_controller.scrape import access as accesses
from beamlit_controller.scrape import exposition, fetch, histogram, slots
from beamlit_controller.scrape.access import Access, SecretFile, Trust
from beamlit_controller.scrape.exposition import Total
from beamlit_controller.scrape.fetch import Bounds
from beamlit_controller.scrape.page import Page, ParsingBudget
from beamlit_controller.scrape.slots import ReportedSlots
from beamlit_controller.scrape.windows import Windows


class ScrapeSource:
    """Scrapes the servers; used as `async with`. It follows no redirect and ignores proxy settings.

    `endpoints` returns a model's servers as a mapping of `host:port` to pod name, or why there are none. A server that
    has not answered completely within `timeout` has no sample. A series whose timestamp is older than `stale_after` has no value.
    `held` limits the memory of all pages that are being read. An unexpected error ends at its server and goes to `report`.
    `secrets` returns the file of a Secret key; the files are read each round, so they can be rotated. Each page is
    fetched once per round, however many metrics need it.
    """

    def __init__(
        self,
        endpoints: Callable[[OffloadSpec], Mapping[str, str] | Missing],
        *,
        secrets: SecretFile = lambda _key, _secret: None,
        timeout: timedelta = timedelta(milliseconds=600),
        stale_after: timedelta = timedelta(seconds=90),
        held: HeldBytes | None = None,
        report: Report = containment.unreported,
    ) -> None:
        self._endpoints = endpoints
        self._secrets = secrets
        self._timeout = timeout
        self._stale_after = stale_after
        self._held = held or HeldBytes()
        self._remembered = HeldBytes(floor=_REMEMBERED_ANYWAY)
        self._contained = Containment(report).run
        self._models: dict[ModelKey, _ScrapedModel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in self._models.values():
            await model.keep(())
        self._models.clear()

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        """Read a Pods metric from every server of the model; servers without a value are listed with the reason."""
        if not isinstance(metric, PodsMetric) or spec.metric_service is None:
            message = "expected a Pods metric of a model with metricServiceRef"
            return Missing(Reason.UNSUPPORTED_METRIC, message)
        model = await self._model(spec.key, at)
        async with model.turn:
            if model.round != (spec, at) or metric not in model.readings:
                model.readings = await self._round(model, spec, spec.metric_service, metric, at)
                model.round = (spec, at)
            return model.readings[metric]

    async def _model(self, key: ModelKey, at: datetime) -> "_ScrapedModel":
        if key not in self._models:
            self._models[key] = _ScrapedModel(key, Windows(self._remembered, key), seen=at)
            await self._forget_before(at - _FORGOTTEN_AFTER)
        model = self._models[key]
        model.seen = at
        return model

    async def _forget_before(self, when: datetime) -> None:
        """Drop models that have not been read since."""
        for key, model in tuple(self._models.items()):
            if model.seen < when and not model.turn.locked():
                del self._models[key]
                await model.keep(())

    async def _round(
        self, model: "_ScrapedModel", spec: OffloadSpec, service: MetricService, metric: PodsMetric, at: datetime
    ) -> Mapping[PodsMetric, Reading]:
        """Fetch all pages, and read all metrics of the model from them."""
        metrics = dict.fromkeys((metric, *(each for each in spec.metrics if isinstance(each, PodsMetric))))
        endpoints = self._endpoints(spec)
        if not isinstance(endpoints, Missing) and not endpoints:
            endpoints = Missing(Reason.NO_PODS, f"metricServiceRef: {spec.key.namespace}/{service.name} has no servers")
        await model.keep(() if isinstance(endpoints, Missing) else endpoints)
        if isinstance(endpoints, Missing):
            return dict.fromkeys(metrics, endpoints)
        how = accesses.access(spec.key, service, self._secrets)
        if isinstance(how, Missing):
            return dict.fromkeys(metrics, how)
        trust = accesses.trust(spec.key, service, self._secrets, before=model.trust)
        if isinstance(trust, Missing):
            return dict.fromkeys(metrics, trust)
        await model.rely_on(trust)
        model.budget = ParsingBudget(_PARSED_PER_ROUND + len(endpoints) * _PARSED_PER_SERVER)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._server(model, endpoint, spec, how, tuple(metrics), at=at))
                for endpoint in endpoints
            ]
        values = dict(zip(endpoints.values(), (task.result() for task in tasks), strict=True))
        samples = {each: _samples({pod: found[each] for pod, found in values.items()}, at) for each in metrics}
        return {each: replace(found, slots=model.slots.fewest()) for each, found in samples.items()}

    async def _server(
        self,
        model: "_ScrapedModel",
        endpoint: str,
        spec: OffloadSpec,
        how: Access,
        metrics: tuple[PodsMetric, ...],
        *,
        at: datetime,
    ) -> Mapping[PodsMetric, Total | Missing]:
        """Read the metrics of a server, and its slots if they are due. An unexpected error is why each of its values is missing."""
        asking = self._ask_for_slots(model, endpoint, spec, at)
        async with asyncio.TaskGroup() as group:  # at the same time, for both together may take no longer than one
            group.create_task(self._contained(model.key, f"the slots of {endpoint}", asking, lambda _: None))
            values = self._values(model, endpoint, how, metrics, at)
            return await self._contained(model.key, endpoint, values, lambda why: dict.fromkeys(metrics, why))

    async def _ask_for_slots(self, model: "_ScrapedModel", endpoint: str, spec: OffloadSpec, at: datetime) -> None:
        """Ask a server for its slots if it was not asked lately, over a connection of its own and within the timeout of a page."""
        page, service = slots.page(spec), spec.metric_service
        if page is None or service is None or not model.slots.is_due(endpoint, at):
            return
        model.slots.asked_at[endpoint] = at
        path = slots.path_of(page, service.path)
        how = accesses.access(spec.key, replace(service, path=path), self._secrets)
        if isinstance(how, Missing):
            return
        async with model.new_transport() as transport:
            with self._held.of(model.key) as held:
                answer = await fetch.page(transport, endpoint, how, Bounds(self._timeout, held, slots.LARGEST))
                number = slots.read(answer.body, page.member) if isinstance(answer, Page) else None
                model.slots.report(endpoint, number, at)

    async def _values(
        self,
        model: "_ScrapedModel",
        endpoint: str,
        how: Access,
        metrics: tuple[PodsMetric, ...],
        at: datetime,
    ) -> Mapping[PodsMetric, Total | Missing]:
        with self._held.of(model.key) as held:
            bounds = Bounds(self._timeout, held)
            page = await fetch.page(model.transport(endpoint), endpoint, how, bounds)
            if page == fetch.NO_ROOM:
                page = await self._again(model, endpoint, how, bounds)
            model.slots.note(endpoint, answers=not _is_silent(page))
            if isinstance(page, Missing):
                return dict.fromkeys(metrics, page)
            async with model.parsing:
                return await self._totals(model, endpoint, page, metrics, at)

    async def _again(self, model: "_ScrapedModel", endpoint: str, how: Access, bounds: Bounds) -> Page | Missing:
        """Fetch a page for which there was no room among those of the model, one after the other, and for a limited time in all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout.total_seconds()
        page: Page | Missing = fetch.NO_ROOM
        async with model.again:
            while page == fetch.NO_ROOM and loop.time() < until:
                page = await fetch.page(model.transport(endpoint), endpoint, how, bounds)
                if page == fetch.NO_ROOM:
                    await asyncio.sleep(_ROOM_AFTER)
        return page

    async def _totals(
        self, model: "_ScrapedModel", endpoint: str, page: Page, metrics: tuple[PodsMetric, ...], at: datetime
    ) -> Mapping[PodsMetric, Total | Missing]:
        """Read all metrics from a page. The event loop goes on after each large step."""
        model.windows.keep_metrics(endpoint, metrics)
        found: dict[PodsMetric, Total | Missing] = {}
        for each in metrics:
            found[each] = self._total(model, endpoint, page, each, at)
            if model.budget.ends_step():
                await asyncio.sleep(0)
        return found

    def _total(
        self, model: "_ScrapedModel", endpoint: str, page: Page, metric: PodsMetric, at: datetime
    ) -> Total | Missing:
        if metric.quantile is not None:
            return _quantile(model, endpoint, page, metric, wanted=metric.quantile, at=at)
        names = (metric.metric, *metric.alternatives)
        return exposition.first(
            page, names, at=at, stale_after=self._stale_after, aggregation=metric.aggregation, budget=model.budget
        )


def _is_silent(page: Page | Missing) -> bool:
    """Return whether there is no server, or one that is not ready: it may be another process when it answers again."""
    return isinstance(page, Missing) and page.reason in {Reason.CONNECTION_FAILED, Reason.HTTP_ERROR}


def _quantile(
    model: "_ScrapedModel", endpoint: str, page: Page, metric: PodsMetric, *, wanted: Quantile, at: datetime
) -> Total | Missing:
    """Add the page to the histogram's earlier observations, and compute the quantile of the last window."""
    series = exposition.buckets(page, metric.metric, model.budget)
    if isinstance(series, Missing):
        return series
    window = histogram.scraped(model.windows.get(endpoint, metric), series, at, wanted.window)
    if not model.windows.put(endpoint, metric, window):
        return _TOO_MANY_COUNTS
    found = histogram.quantile(window, Fraction(wanted.milli, 1000))
    return found if isinstance(found, Missing) else Total(ceil(1000 * found.value), found.window)


def _samples(values: Mapping[str, Total | Missing], at: datetime) -> PodSamples:
    read = {pod: value for pod, value in values.items() if isinstance(value, Total)}
    return PodSamples(
        tuple(PodSample(pod, value.milli, at, value.age, value.series) for pod, value in read.items()),
        tuple((pod, value) for pod, value in values.items() if isinstance(value, Missing)),
    )


@dataclass(slots=True)
class _ScrapedModel:
    """What is kept of a model: the readings of the last round, and a connection to each server."""

    key: ModelKey
    windows: Windows
    seen: datetime
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    round: tuple[OffloadSpec, datetime] | None = None
    readings: Mapping[PodsMetric, Reading] = field(default_factory=dict)
    transports: dict[str, httpx2.AsyncHTTPTransport] = field(default_factory=dict)
    trust: Trust | None = None
    budget: ParsingBudget = field(default_factory=lambda: ParsingBudget(_PARSED_PER_ROUND))
    parsing: asyncio.Lock = field(default_factory=asyncio.Lock)
    again: asyncio.Lock = field(default_factory=asyncio.Lock)
    slots: ReportedSlots = field(default_factory=ReportedSlots)

    async def rely_on(self, trust: Trust) -> None:
        """Close the connections of another TLS context."""
        if self.trust is not None and trust is not self.trust:
            await self.keep(())
        self.trust = trust

    def transport(self, endpoint: str) -> httpx2.AsyncHTTPTransport:
        """Return a server's own transport: in a shared one, each request would check every idle connection."""
        if endpoint not in self.transports:
            self.transports[endpoint] = self.new_transport()
        return self.transports[endpoint]

    def new_transport(self) -> httpx2.AsyncHTTPTransport:
        """Return a transport with the model's trust."""
        assert self.trust is not None, "relied on before"  # noqa: S101 - states the order for the type checker
        return httpx2.AsyncHTTPTransport(verify=self.trust.context, trust_env=False, limits=_LIMITS)

    async def keep(self, endpoints: Collection[str]) -> None:
        """Close the connections to all other servers."""
        for endpoint in self.transports.keys() - set(endpoints):
            await self.transports.pop(endpoint).aclose()
        self.windows.keep(endpoints)
        self.slots.keep(endpoints)


_FORGOTTEN_AFTER = timedelta(minutes=10)
_PARSED_PER_ROUND = 2 * 1024 * 1024
_PARSED_PER_SERVER = 32 * 1024
"""Added for each server."""
_ROOM_AFTER = 0.02
"""Seconds after which a page is fetched again for which there was no room."""
_REMEMBERED_ANYWAY = 1024 * 1024
"""Number of bytes that the histogram windows of each model may take, however many models there are."""
_TOO_MANY_COUNTS = Missing(
    Reason.ANSWER_TOO_LARGE, "the histograms of the model's servers take too much memory together: use fewer buckets"
)

# uvicorn, and so vLLM, closes idle connections after 5 s. We close them earlier, so that no request uses a closing one.
_LIMITS = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=4)
