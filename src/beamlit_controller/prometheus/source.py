"""The `Source` of External metrics in Prometheus: one instant query per reading, limited in concurrency."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import httpx2

from beamlit_controller.api import system_errors
from beamlit_controller.controller import response_body
from beamlit_controller.controller.deadline import HANDSHAKE, Deadline
from beamlit_controller.core.metric_spec import ExternalMetric, MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.prometheus import answer as answers
from beamlit_controller.prometheus import connection as connections
from beamlit_controller.prometheus import http_answer
from beamlit_controller.prometheus import query as queries
from beamlit_controller.prometheus.answer import Question
from beamlit_controller.prometheus.clouds import CloudCredentials
from beamlit_controller.prometheus.connection import Connection, Credentials
from beamlit_controller.prometheus.http_answer import HttpAnswer


@dataclass(frozen=True, slots=True)
class History:
    """The results of a query over a time range, in thousandths; None where it was not a number.

    Times without a value are left out. `series` is the highest number of series that were summed at one time.
    """

    values: dict[datetime, int | None]
    series: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A time range in steps, including both ends."""

    since: datetime
    until: datetime
    step: timedelta

    def pieces(self, steps: int) -> Iterator["Span"]:
        """Split it into ranges of at most `steps` steps."""
        since = self.since
        while since <= self.until:
            until = min(since + (steps - 1) * self.step, self.until)
            yield Span(since, until, self.step)
            since += steps * self.step

    @property
    def times(self) -> tuple[datetime, ...]:
        """Return the time of every step."""
        return tuple(self.since + number * self.step for number in range((self.until - self.since) // self.step + 1))


class PrometheusSource:
    """Queries one Prometheus; used as `async with`. It follows no redirect and ignores proxy settings.

    Tokens, passwords and certificates are read from their files for each query, so they can be rotated.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cloud = CloudCredentials(connection.identity) if connection.identity else None
        self._transports = _Transports(connection)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._places_of: WeakValueDictionary[ModelKey, asyncio.Semaphore] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transports.aclose()

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        """Query an External metric as of `at`; a `Missing` names the address and contains no credentials."""
        if not isinstance(metric, ExternalMetric):
            return _UNSUPPORTED
        series, stale_after = metric.metric, self._connection.stale_after
        query = queries.text(series, stale_after=stale_after)
        if isinstance(query, Missing):
            return query
        credentials = await self._credentials()
        if isinstance(credentials, Missing):
            return credentials
        parameters = {"query": queries.with_times(series, query), "time": f"{at.timestamp():.3f}"}
        connection = self._connection.asked_for(spec.key.namespace)
        request = _request(connection, connection.url, credentials, parameters)
        hide = (*credentials.secrets, *connection.secrets)
        answer = await self._exchange(spec.key, request, hide)
        times, averaged = queries.is_series(series), queries.averaged(series)
        question = Question(query, at, stale_after, averaged=averaged, times=times)
        reading = answers.read(answer, question, hide=hide) if isinstance(answer, HttpAnswer) else answer
        return self._located(reading) if isinstance(reading, Missing) else reading

    def query(self, metric: MetricSpec) -> str | Missing:
        """Return the PromQL of an External metric."""
        if not isinstance(metric, ExternalMetric):
            return _UNSUPPORTED
        return queries.text(metric.metric, stale_after=self._connection.stale_after)

    async def history(self, key: ModelKey, query: str, span: Span) -> History | Missing:
        """Query a time range.

        Prometheus returns at most 11,000 steps per query, so a long range takes several.
        """
        credentials = await self._credentials()
        if isinstance(credentials, Missing):
            return credentials
        connection = self._connection.asked_for(key.namespace)
        hide = (*credentials.secrets, *connection.secrets)
        values: dict[datetime, int | None] = {}
        series = 1
        nothing = Missing(Reason.NO_SERIES, f"there is no series for {query}")
        for piece in span.pieces(_STEPS_AT_ONCE):
            parameters = {
                "query": query,
                "start": f"{piece.since.timestamp():.3f}",
                "end": f"{piece.until.timestamp():.3f}",
                "step": f"{piece.step.total_seconds():.3f}",
            }
            request = _request(connection, connection.range_url, credentials, parameters)
            answer = await self._exchange(key, request, hide, limit=_LONGEST_HISTORY)
            found = (
                answers.read_range(answer, query=query, hide=hide, limit=_LONGEST_HISTORY)
                if isinstance(answer, HttpAnswer)
                else answer
            )
            if not isinstance(found, Missing):
                values |= {datetime.fromtimestamp(time, UTC): value for time, value in found.values.items()}
                series = max(series, found.series)
            elif found.reason is not Reason.NO_SERIES:
                return self._located(found)
        return History(values, series) if values else self._located(nothing)

    async def _credentials(self) -> Credentials | Missing:
        if self._cloud is None:
            return connections.credentials(self._connection)
        found = await self._cloud.get(within=self._connection.timeout.total_seconds())
        return self._located(found) if isinstance(found, Missing) else found

    async def _exchange(
        self, key: ModelKey, request: httpx2.Request, hide: tuple[str, ...], *, limit: int = http_answer.LIMIT
    ) -> HttpAnswer | Missing:
        timeout = self._connection.timeout.total_seconds()
        try:
            async with Deadline(timeout), self._slot(key):
                transport = await self._transports.present()
                if isinstance(transport, Missing):
                    return transport
                async with aclosing(await transport.handle_async_request(request)) as response:
                    return await _answer(response, limit)
        except response_body.EncodingError as error:
            return Missing(Reason.MALFORMED_ANSWER, http_answer.shown(str(error), hide=hide))
        except TimeoutError:
            return Missing(Reason.TIMED_OUT, f"no complete response within {timeout:g} s")
        except (httpx2.HTTPError, OSError) as error:
            return _failure(error, hide)

    @asynccontextmanager
    async def _slot(self, key: ModelKey) -> AsyncIterator[None]:
        """Wait for a slot among all queries; a model with slow queries can hold only a few slots."""
        places = self._places_of.setdefault(key, asyncio.Semaphore(_AT_ONCE_PER_MODEL))
        async with places, self._places:
            yield

    def _located(self, missing: Missing) -> Missing:
        return Missing(missing.reason, f"{self._connection.where}: {missing.message}")


def _request(
    connection: Connection, url: httpx2.URL, credentials: Credentials, parameters: dict[str, str]
) -> httpx2.Request:
    headers = [*_HEADERS, *connection.headers]
    if credentials.authorization:
        headers.append(("authorization", credentials.authorization))
    parameters = {**parameters, "timeout": queries.duration(connection.timeout)}
    extensions = _extensions(connection)
    if credentials.signer:
        form = urlencode((*connection.query_parameters, *parameters.items())).encode()
        headers += (("content-type", _FORM), *credentials.signer.headers(str(url), form, _FORM))
        return httpx2.Request("POST", url, headers=headers, content=form, extensions=extensions)
    if len(parameters["query"].encode()) > _LONGEST_IN_URL:
        url = url.copy_with(params=connection.query_parameters)
        return httpx2.Request("POST", url, headers=headers, data=parameters, extensions=extensions)
    url = url.copy_with(params=(*connection.query_parameters, *parameters.items()))
    return httpx2.Request("GET", url, headers=headers, extensions=extensions)


def _extensions(connection: Connection) -> dict[str, object]:
    # The deadline is for the whole exchange. Handshakes have a shorter timeout of their own, as the client leaves
    # the socket open when it is cancelled in the middle of one.
    timeouts = {"connect": HANDSHAKE * connection.timeout.total_seconds()}
    named = {"sni_hostname": connection.tls.server_name} if connection.tls.server_name else {}
    return {"timeout": timeouts, **named}


async def _answer(response: httpx2.Response, limit: int) -> HttpAnswer | Missing:
    """Read a response up to the limit; the body of a redirect is ignored. Raises EncodingError."""
    status, encoding = response.status_code, response.headers.get("content-encoding", "")
    if response.is_redirect:
        return HttpAnswer(status, location=response.headers.get("location", ""))
    raw = response.aiter_raw()
    if status != httpx2.codes.OK:
        return HttpAnswer(status, await response_body.beginning(raw, encoding=encoding, longest=limit + 1, gzip=True))
    try:
        return HttpAnswer(status, await response_body.whole(raw, encoding=encoding, longest=limit, gzip=True))
    except response_body.BodyTooLargeError:
        return http_answer.too_large(status, limit)


def _failure(error: Exception, hide: tuple[str, ...]) -> Missing:
    said = http_answer.shown(str(error), hide=hide)
    if isinstance(error, httpx2.TimeoutException):
        return Missing(Reason.TIMED_OUT, "can't connect in time")
    if broken := _tls_error(error):
        return Missing(Reason.TLS_FAILED, http_answer.shown(broken.reason or str(broken)) + _verification(broken))
    if isinstance(error, httpx2.LocalProtocolError):
        return Missing(Reason.CONNECTION_FAILED, "the request can't be sent as HTTP")
    if isinstance(error, httpx2.ConnectError):
        why = http_answer.shown(system_errors.message(error), hide=hide)
        return Missing(Reason.CONNECTION_FAILED, f"can't connect: {why}")
    return Missing(
        Reason.CONNECTION_FAILED,
        f"the connection broke: {said or http_answer.shown(system_errors.message(error), hide=hide)}",
    )


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _verification(error: ssl.SSLError) -> str:
    return f": {error.verify_message}" if isinstance(error, ssl.SSLCertVerificationError) else ""


@dataclass(slots=True)
class _Open:
    fingerprint: object
    transport: httpx2.AsyncHTTPTransport


class _Transports:
    """The connections. They are replaced when a certificate file changes; old ones may finish."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._present: _Open | None = None
        self._former: _Open | None = None

    async def present(self) -> httpx2.AsyncHTTPTransport | Missing:
        """Return the transport for the current certificates."""
        fingerprint = connections.fingerprint(self._connection.tls)
        if self._present and self._present.fingerprint == fingerprint:
            return self._present.transport
        context = connections.trust(self._connection.tls)
        if isinstance(context, Missing):
            return context
        transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=_LIMITS)
        oldest, self._former, self._present = self._former, self._present, _Open(fingerprint, transport)
        if oldest:
            await oldest.transport.aclose()
        return transport

    async def aclose(self) -> None:
        """Close all connections."""
        for each in (self._present, self._former):
            if each:
                await each.transport.aclose()
        self._present = self._former = None


_HEADERS = (("accept", "application/json"), response_body.PLAIN, ("user-agent", "beamlit-controller"))
_UNSUPPORTED = Missing(Reason.UNSUPPORTED_METRIC, "only External metrics are read from Prometheus")
_FORM = "application/x-www-form-urlencoded"
_LONGEST_IN_URL = 2048
_STEPS_AT_ONCE = 10_000
_LONGEST_HISTORY = 64 * 1024 * 1024
_AT_ONCE = 64
_AT_ONCE_PER_MODEL = 4

# Servers and proxies close idle connections after 5 s or more. We close them earlier, so that no query uses a closing one.
# Each query checks every idle connection, so there are only enough to keep a steady load from reconnecting.
_LIMITS = httpx2.Limits(max_connections=_AT_ONCE, max_keepalive_connections=8, keepalive_expiry=4)
