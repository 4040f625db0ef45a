"""Ways in which a server can fail a request."""

import asyncio

from fakes.upstream import Answer, Exchange

REASONS = {
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Site is overloaded",
}


def says(status: int, body: bytes = b"") -> Answer:
    """Answer every request with this status."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(body, status=f"{status} {REASONS[status]}")

    return answer


async def closes(exchange: Exchange) -> None:
    """Take the request, and close without an answer."""
    exchange.reset()


async def breaks_off(exchange: Exchange) -> None:
    """Begin to answer, and close in the middle."""
    await exchange.begin(length=100)
    await exchange.send_raw(b"the first bytes")
    exchange.reset()


async def hangs(exchange: Exchange) -> None:
    """Take the request, and say nothing until the other side has enough."""
    await exchange.gone()


def takes(seconds: float, body: bytes) -> Answer:
    """Answer late."""

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.respond(body)

    return answer
