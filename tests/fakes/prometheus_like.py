"""What speaks Prometheus' API, played by a relay before a real Prometheus: each answer as the product's code or manual has it.

`async with serving(answer, before=prometheus) as relay:`; a relay passes what is asked on, and changes what comes back.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from beamlit_controller.core.reason import Reason
from fakes import http, sigv4
from fakes.http import Request
from fakes.sigv4 import SignedRequest

Document = dict[str, Any]
Ask = Callable[[], Awaitable[Document]]
Relayed = Callable[[Request, Ask], Awaitable[http.Respond]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a product answers, and what is to be made of it: a value, or a reason with the product's own words."""

    source: str
    relayed: Relayed
    reason: Reason | None = None
    words: str = ""
    prefix: str = ""
    settings: tuple[tuple[str, Any], ...] = ()


@asynccontextmanager
async def serving(answer: Answer, *, before: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[http.Server]:
    """Serve what the Prometheus at this address answers, as the product would."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        async def ask() -> Document:
            return await _asked(before, request)

        told = (
            await answer.relayed(request, ask) if request.path.startswith(f"{answer.prefix}/api/v1/query") else _NOWHERE
        )
        await told(request, writer)

    async with http.serve(respond, tls=tls) as server:
        yield server


async def _asked(address: str, request: Request) -> Document:
    path = "/api/v1/query_range" if request.path.endswith("query_range") else "/api/v1/query"
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        answer = await client.get(f"http://{address}{path}", params=request.asked)
    document: Document = answer.json()
    return document


_NOWHERE = http.page("404 page not found\n", status=404)


# Ways to answer.


def adding(**more: object) -> Relayed:
    """Answer with what Prometheus does, and more beside `data`."""

    async def relayed(_: Request, ask: Ask) -> http.Respond:
        return http.json(await ask() | more)

    return relayed


def within_data(**more: object) -> Relayed:
    """Answer with what Prometheus does, and more in `data`."""

    async def relayed(_: Request, ask: Ask) -> http.Respond:
        document = await ask()
        return http.json(document | {"data": document["data"] | more})

    return relayed


def zipped() -> Relayed:
    """Answer gzipped, though nobody asked for it."""

    async def relayed(_: Request, ask: Ask) -> http.Respond:
        return http.zipped(json.dumps(await ask()).encode())

    return relayed


def empty(**more: object) -> Relayed:
    """Answer that there is nothing, and more."""

    async def relayed(_: Request, ask: Ask) -> http.Respond:
        document = await ask()
        return http.json(document | {"data": document["data"] | {"result": []}} | more)

    return relayed


def earlier(seconds: float) -> Relayed:
    """Answer for a time that is so much before the one that was asked for."""

    async def relayed(_: Request, ask: Ask) -> http.Respond:
        document = await ask()
        for series in document["data"]["result"]:
            if "value" in series:
                series["value"][0] -= seconds
        return http.json(document)

    return relayed


def error(status: int, kind: str, message: str) -> Relayed:
    """Refuse in the way of Prometheus."""
    return refused(status, json.dumps({"status": "error", "errorType": kind, "error": message}))


def refused(status: int, body: str, content_type: str = "text/plain") -> Relayed:
    """Refuse with this page."""

    async def relayed(_: Request, __: Ask) -> http.Respond:
        return http.page(body, status=status, content_type=content_type)

    return relayed


def wanting(header: str, value: str, otherwise: Relayed) -> Relayed:
    """Answer who sends this header, and others as told."""

    async def relayed(request: Request, ask: Ask) -> http.Respond:
        if request.headers.get(header) == value:
            return http.json(await ask())
        return await otherwise(request, ask)

    return relayed


def signed(access_key: str, secret_key: str) -> Relayed:
    """Answer who signed with these keys, as Amazon does."""

    async def relayed(request: Request, ask: Ask) -> http.Respond:
        came = SignedRequest(request.method, request.target, request.headers, request.body)
        refused = sigv4.refusal(came, access_key=access_key, secret_key=secret_key)
        return http.json({"message": refused}, status=403) if refused else http.json(await ask())

    return relayed
