"""A model server whose metrics a test sets; it answers requests with its name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fakes.upstream import Exchange, Upstream, upstream


@dataclass
class ModelServer:
    """A server with a page of metrics: `metrics` has the lines."""

    metrics: dict[str, float] = field(default_factory=dict)
    server: Upstream | None = None

    @property
    def address(self) -> str:
        """Return its `host:port`."""
        assert self.server is not None
        return self.server.address

    async def answer(self, exchange: Exchange) -> None:
        """Answer with the metrics, or with who answers."""
        if exchange.request.line[1] == "/metrics":
            page = "".join(f"{name} {value}\n" for name, value in self.metrics.items())
            await exchange.respond(page.encode(), headers=[("content-type", "text/plain; version=0.0.4")])
        else:
            await exchange.respond(b"local")


@asynccontextmanager
async def model_server(**metrics: float) -> AsyncIterator[ModelServer]:
    """Run a model server."""
    model = ModelServer({name.replace("__", ":"): value for name, value in metrics.items()})
    async with upstream("local", model.answer) as model.server:
        yield model
