"""Fetches a page of a model server, bounded in time, in size, and in memory over all pages that are being read."""

import ssl
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

import httpx2

from beamlit_controller.api import system_errors
from beamlit_controller.controller import response_body
from beamlit_controller.controller.deadline import HANDSHAKE, Deadline
from beamlit_controller.controller.held_bytes import Holding
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape import page as pages
from beamlit_controller.scrape.access import Access
from beamlit_controller.scrape.page import Page

LIMIT = 8 * 1024 * 1024
"""Maximum size in bytes of a decompressed page."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The maximum time for a page and its maximum size in bytes; `held` counts it among all pages that are being read."""

    timeout: timedelta
    held: Holding
    size: int = LIMIT


async def page(transport: httpx2.AsyncHTTPTransport, endpoint: str, how: Access, bounds: Bounds) -> Page | Missing:
    """Return the page, or why there is none."""
    timeout = bounds.timeout.total_seconds()
    try:
        async with Deadline(timeout):
            extensions: dict[str, object] = {"timeout": {"connect": HANDSHAKE * timeout}}
            if how.server_name:
                extensions["sni_hostname"] = how.server_name
            headers = (*_HEADERS, *how.headers)
            request = httpx2.Request("GET", how.url(endpoint), headers=headers, extensions=extensions)
            async with aclosing(await transport.handle_async_request(request)) as response:
                return await _page(response, how.hide, bounds)
    except (TimeoutError, httpx2.TimeoutException):
        return Missing(Reason.TIMED_OUT, f"no complete page within {timeout:g} s")
    except response_body.EncodingError as error:
        return Missing(Reason.MALFORMED_ANSWER, pages.shown(str(error), hide=how.hide))
    except response_body.BodyTooLargeError:
        return Missing(Reason.ANSWER_TOO_LARGE, f"expected at most {bounds.size} bytes, and more came")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return _not_connected(error, how.hide)


def _not_connected(error: Exception, hide: tuple[str, ...]) -> Missing:
    if broken := _tls_error(error):
        return Missing(Reason.TLS_FAILED, pages.shown(broken.reason or str(broken)) + _verification(broken))
    return Missing(Reason.CONNECTION_FAILED, pages.shown(system_errors.message(error), hide=hide))


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _verification(error: ssl.SSLError) -> str:
    return f": {error.verify_message}" if isinstance(error, ssl.SSLCertVerificationError) else ""


async def _page(response: httpx2.Response, hide: tuple[str, ...], bounds: Bounds) -> Page | Missing:
    if 300 <= response.status_code < 400:  # noqa: PLR2004 # the class of redirects, RFC 9110 section 15.4
        return Missing(Reason.REDIRECTED, f"answered {response.status_code}: redirects are never followed")
    if response.status_code != 200:  # noqa: PLR2004 # OK
        hint = _HINTS.get(response.status_code, "")
        said = await _said(response, hide)
        why = "".join(f"; {each}" for each in (hint, f"it says: {said}" if said else "") if each)
        return Missing(Reason.HTTP_ERROR, f"expected status 200, got {response.status_code}{why}")
    return await _content(response, hide, bounds)


def _encoding(response: httpx2.Response) -> str:
    return response.headers.get("content-encoding", "")


async def _content(response: httpx2.Response, hide: tuple[str, ...], bounds: Bounds) -> Page | Missing:
    """Read the page. Raises EncodingError or BodyTooLargeError."""
    body = bytearray()
    received = response_body.pieces(response.aiter_raw(), encoding=_encoding(response), longest=bounds.size, gzip=True)
    async with aclosing(received) as pieces:
        async for piece in pieces:
            if not bounds.held.take(len(piece)):
                bounds.held.give_back()
                return NO_ROOM
            body += piece
    return Page(bytes(body), response.headers.get("content-type", ""), hide)


async def _said(response: httpx2.Response, hide: tuple[str, ...]) -> str:
    """Return the beginning of a server's error message, with our secrets removed."""
    body = await response_body.beginning(
        response.aiter_raw(), encoding=_encoding(response), longest=_LONGEST_EXCUSE, gzip=True
    )
    return pages.shown(body.decode(errors="replace"), hide=hide)


# Only the text format is requested: it is parsed faster, and in others prometheus-client renames metrics with ":".
_HEADERS = (
    ("accept", "text/plain;version=0.0.4,*/*;q=0.1"),
    response_body.PLAIN,
    ("user-agent", "beamlit-controller"),
)
_LONGEST_EXCUSE = 1024
NO_ROOM = Missing(
    Reason.ANSWER_TOO_LARGE, "the pages of the model's servers that are being read take too much memory together"
)
_HINTS = {
    401: "it requires a credential: see metricServiceRef.bearerTokenSecretRef and basicAuth",
    403: "it rejects the credential: see metricServiceRef.bearerTokenSecretRef and basicAuth",
}
