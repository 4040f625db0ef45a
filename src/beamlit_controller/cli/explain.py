"""`explain NAME`: show what the running controller read for a model, what it decided, and why."""

import asyncio
import json
import ssl
import sys
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from beamlit_controller.api import system_errors
from beamlit_controller.api.models_view import ModelsView, ModelView, WaitingView
from beamlit_controller.cli import explain_screen, inputs
from beamlit_controller.controller import response_body
from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.core import printable

TIMEOUT = 5.0
"""Seconds in which a connection is made, and each part of the response comes."""
COMPLETE = 15.0
"""Seconds in which the whole response comes."""
LONGEST = 32 * 1024 * 1024
"""Maximum size in bytes of a response; a model has a few KiB of it."""
EVERY = 1.0
"""Seconds between two updates with --watch."""
NAMED = 30
"""Maximum number of names in a message."""

Output = Literal["table", "json"]


@dataclass(frozen=True, slots=True)
class ModelsAnswer:
    """The controller's response: as JSON, and parsed."""

    raw: dict[str, Any]
    view: ModelsView


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is nothing to show, and the exit code."""

    message: str
    code: int


def explain(
    name: str,
    *,
    namespace: inputs.Namespace = "",
    address: str = "http://127.0.0.1:8081",
    output: Output = "table",
    watch: bool = False,
) -> None:
    """Show what the running controller read for a model, what it decided, and why.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    namespace
        Namespace of the ModelDeployment; by default any, if only one has a model of that name.
    address
        Address of the controller (config.standalone.webListen).
    output
        A table for people, or JSON.
    watch
        Show it again every second.
    """
    try:
        sys.exit(asyncio.run(report(inputs.qualified(name, namespace), address, output, watch=watch)))
    except KeyboardInterrupt:
        sys.exit(130)


async def report(
    name: str, address: str, output: Output = "table", *, watch: bool = False, console: Console | None = None
) -> int:
    """Print the model `name` or `namespace/name` of the controller at `address`, and return the exit code.

    0 if it was printed, 1 if the controller did not answer, 2 if the name is unknown or ambiguous. With `watch` it
    continues until interrupted, even while the controller does not answer.
    """
    out = console or Console()
    async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        if watch:
            return await _watch(client, name, address, output=output, out=out)
        shown = await _look(client, name, address, output=output)
    _put(shown, out)
    return shown.code if isinstance(shown, Failed) else 0


async def fetch(client: httpx2.AsyncClient, address: str, *, within: float = COMPLETE) -> ModelsAnswer | Failed:
    """Get /models from a running controller, within a number of seconds."""
    if "://" in address and not address.startswith(("http://", "https://")):
        return Failed(f"--address: expected host:port or http://host:port, got {address}", 1)
    url = f"{address.rstrip('/') if '://' in address else f'http://{address}'}/models"
    try:
        _ = urlsplit(url).port  # raises errors that the client would only detect while connecting
        async with Deadline(within):
            request = client.build_request("GET", url, headers=[response_body.PLAIN])
            async with aclosing(await client.send(request, stream=True)) as response:
                return await _answer(response, url)
    except TimeoutError:
        return Failed(f"no complete answer from {url} within {within:g} s", 1)
    except response_body.EncodingError as error:
        return _not_ours(url, str(error))
    except response_body.BodyTooLargeError:
        return _not_ours(url, f"it has more than {LONGEST} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, ValueError) as error:
        return Failed(
            f"no answer from {url}: {system_errors.message(error)}; is the controller running, and is this its address?",
            1,
        )


async def _answer(response: httpx2.Response, url: str) -> ModelsAnswer | Failed:
    """Read a response. Raises EncodingError or BodyTooLargeError."""
    encoding = response.headers.get("content-encoding", "")
    if response.status_code != httpx2.codes.OK:
        begins = await response_body.beginning(response.aiter_raw(), encoding=encoding, longest=_EXCERPT)
        said = begins.decode(errors="replace")[:200]
        return Failed(f"expected the models from {url}, got status {response.status_code}: {said}", 1)
    body = await response_body.whole(response.aiter_raw(), encoding=encoding, longest=LONGEST)
    try:
        view = ModelsView.model_validate_json(body)  # before the other parser, which needs more memory and stack
        return ModelsAnswer(json.loads(body), view)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return _not_ours(url, ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"]))))
    except (ValueError, RecursionError):
        return _not_ours(url, "the response is not JSON")


def _not_ours(url: str, why: str) -> Failed:
    return Failed(f"expected a beamlit-controller at {url}, got another server's response: {why}", 1)


def pick(view: ModelsView, name: str) -> ModelView | WaitingView | Failed:
    """Find a model by `name` or `namespace/name`."""
    everything: list[ModelView | WaitingView] = [*view.models, *view.waiting]
    found = [each for each in everything if name in {each.name, _key(each)}]
    if len(found) == 1:
        return found[0]
    if found:
        return Failed(f"{name} is the name of several models: {_listed(found)}; give NAMESPACE/NAME", 2)
    return Failed(f"no model {name}; the controller knows: {_listed(everything) or 'none'}", 2)


async def _look(client: httpx2.AsyncClient, name: str, address: str, *, output: Output) -> RenderableType | Failed:
    answer = await fetch(client, address)
    if isinstance(answer, Failed):
        return answer
    model = pick(answer.view, name)
    if isinstance(model, Failed):
        return model
    return _as_json(answer, model) if output == "json" else explain_screen.show(answer.view, model)


async def _watch(client: httpx2.AsyncClient, name: str, address: str, *, output: Output, out: Console) -> int:
    if output == "json" or not out.is_terminal:
        while True:
            _put(await _look(client, name, address, output=output), out)
            await asyncio.sleep(EVERY)
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            shown = await _look(client, name, address, output=output)
            live.update(
                Text(printable.line(shown.message), "bold red") if isinstance(shown, Failed) else shown, refresh=True
            )
            await asyncio.sleep(EVERY)


def _put(shown: RenderableType | Failed, out: Console) -> None:
    match shown:
        case Failed():
            Console(stderr=True).print(Text(printable.line(shown.message)), soft_wrap=True)
        case str():
            print(shown, file=out.file, flush=True)
        case _:
            out.print(shown)


def _as_json(answer: ModelsAnswer, model: ModelView | WaitingView) -> str:
    """Return the model's JSON, including fields unknown to this version, and all problems."""
    raw = next(
        each
        for each in (*answer.raw["models"], *answer.raw["waiting"])
        if (each["namespace"], each["name"]) == (model.namespace, model.name)
    )
    return json.dumps(raw | {"problems": answer.raw["problems"]}, indent=2)


def _key(model: ModelView | WaitingView) -> str:
    return f"{model.namespace}/{model.name}"


def _listed(models: list[ModelView | WaitingView]) -> str:
    names = sorted(_key(model) for model in models)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


_EXCERPT = 1024
