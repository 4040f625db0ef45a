"""A model server small enough for a demo: OpenAI's chat API, limited capacity, a real queue, vLLM's metrics.

`python -m demo.server --port 18101 --slots 6 --tokens-per-second 24`; with a certificate and a key it speaks TLS.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import uvicorn
from cyclopts import App
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from demo import chat
from demo.chat import Answer, ChatRequest
from demo.engine import Capacity, Engine, Meters

KEEP_ALIVE_SECONDS = 600
"""Longer than any client here keeps an idle connection, so that no request meets one that is just being closed."""

cli = App(help=__doc__)


@cli.default
def main(
    *,
    port: int,
    slots: int,
    tokens_per_second: float,
    prefill_seconds: float = 0.1,
    model: str = "llama-3-8b",
    path_prefix: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve on 127.0.0.1 until ended.

    Parameters
    ----------
    port
        Where to listen.
    slots
        How many requests are worked on at a time; more of them wait.
    tokens_per_second
        How fast each of them gets its tokens.
    prefill_seconds
        How long a request is worked on before its first token.
    model
        The name of the model that is served.
    path_prefix
        What stands before /v1 in every path.
    certificate
        The server's certificate (PEM), to speak TLS.
    key
        Its private key (PEM).
    """
    served = application(model, Capacity(slots, tokens_per_second, prefill_seconds), path_prefix=path_prefix)
    uvicorn.run(
        served,
        host="127.0.0.1",
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        access_log=False,
    )


def application(model: str, capacity: Capacity, *, path_prefix: str = "") -> Starlette:
    """Return the server as an ASGI application."""
    endpoints = Endpoints(model, capacity)
    routes = [
        Route("/v1/chat/completions", endpoints.complete, methods=["POST"]),
        Route("/v1/models", endpoints.models),
        Route("/health", endpoints.health),
        Route("/slots/{slots:int}", endpoints.resize, methods=["PUT"]),
        Route("/metrics", endpoints.metrics),
    ]
    return Starlette(routes=[Mount(path_prefix, routes=routes)] if path_prefix else routes)


class Endpoints:
    """What the server answers, path by path."""

    def __init__(self, model: str, capacity: Capacity) -> None:
        self._model = model
        self._context_tokens = capacity.context_tokens
        self._meters = Meters(model)
        self._engine = Engine(capacity, self._meters)

    async def complete(self, request: Request) -> Response:
        """Answer a conversation: as a stream of server-sent events, or in one piece."""
        try:
            asked = ChatRequest.model_validate_json(await request.body())
        except ValidationError as mistakes:
            return JSONResponse(chat.error(str(mistakes)), status_code=400)
        if asked.model != self._model:
            return JSONResponse(
                chat.error(f"The model `{asked.model}` does not exist.", "NotFoundError"), status_code=404
            )
        if (tokens := asked.prompt_tokens + asked.completion_tokens) > self._context_tokens:
            too_long = f"This model's maximum context length is {self._context_tokens} tokens; {tokens} were requested."
            return JSONResponse(chat.error(too_long), status_code=400)
        if asked.stream:
            return StreamingResponse(self._events(Answer(asked)), media_type="text/event-stream")
        async with aclosing(self._tokens(asked)) as tokens_given:
            text = "".join([token async for token in tokens_given])
        return JSONResponse(Answer(asked).whole(text))

    async def models(self, _: Request) -> Response:
        """List the one model."""
        model = {"id": self._model, "object": "model", "created": 0, "owned_by": "demo"}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, _: Request) -> Response:
        """Tell that the server is up."""
        return Response()

    async def resize(self, request: Request) -> Response:
        """Have another number of slots: the demo changes what local can do."""
        await self._engine.resize(max(1, request.path_params["slots"]))
        return Response(status_code=204)

    async def metrics(self, _: Request) -> Response:
        """Return the metrics page in Prometheus' text format."""
        return Response(generate_latest(self._meters.registry), media_type=CONTENT_TYPE_LATEST)

    async def _events(self, answer: Answer) -> AsyncIterator[str]:
        async with aclosing(self._tokens(answer.request)) as tokens:
            async for token in tokens:
                yield _event(answer.token(token))
        yield _event(answer.closing())
        if answer.request.stream_options.include_usage:
            yield _event(answer.usage())
        yield "data: [DONE]\n\n"

    def _tokens(self, asked: ChatRequest) -> AsyncGenerator[str, None]:
        return self._engine.generate(asked.prompt_tokens, asked.completion_tokens)


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"


if __name__ == "__main__":
    cli()
