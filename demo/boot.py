"""Starting the processes of the demo, each as a user would from a shell, and waiting until it answers."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from demo import children, ports
from demo.engine import Capacity
from demo.place import Place
from demo.plan import LOCAL, MODEL, REMOTE
from demo.ports import Ports

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.1
REMOTE_PATH = f"/default/{MODEL}"
"""What the example's `pathPrefix` comes to: the namespace, and the model."""
CONTROLLER = Path(sys.executable).parent / "beamlit-controller"


class NotUpError(Exception):
    """A process that was started does not answer."""


class Boot:
    """Starts processes; the stack ends them, and one that ends too early ends what runs alongside."""

    def __init__(
        self,
        place: Place,
        chosen: Ports,
        *,
        client: httpx2.AsyncClient,
        processes: AsyncExitStack,
        alongside: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._place = place
        self._ports = chosen
        self._client = client
        self._processes = processes
        self._alongside = alongside

    async def servers(self) -> None:
        """Start the local model servers and the remotes."""
        tls = ("--certificate", str(self._place.tls.certificate), "--key", str(self._place.tls.key))
        for number, port in enumerate(self._ports.local, start=1):
            await self._start(f"local-{number}", _server(port, LOCAL))
        for name, port in self._ports.remotes.items():
            await self._start(name, (*_server(port, REMOTE), "--path-prefix", REMOTE_PATH, *tls))
        for port in self._ports.local:
            await self._answers(f"{ports.url(port)}/health")
        for port in self._ports.remotes.values():
            await self._answers(f"https://localhost:{port}{REMOTE_PATH}/health")

    async def controller(self) -> None:
        """Start the controller, which starts the gateway, as users run it."""
        place = self._place
        where = ("--manifests", place.manifests, "--settings", place.settings, "--state-dir", place.state)
        await self._start("controller", (str(CONTROLLER), "run", *map(str, where)))
        await self._answers(f"{ports.url(self._ports.web)}/readyz")
        await self._answers(f"{ports.url(self._ports.gateway)}/v1/models")

    async def _start(self, name: str, command: Sequence[str]) -> None:
        child = await self._processes.enter_async_context(children.running(name, command, logs=self._place.logs))
        self._alongside(child.stays())

    async def _answers(self, url: str) -> None:
        answer = "no answer"
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (answer := await self._answer(url)) != "200":  # noqa: ASYNC110 - a process has no event to wait for
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            waited = f"{url} did not answer with 200 within {PATIENCE_SECONDS:.0f} s, the last answer was: {answer}"
            raise NotUpError(f"{waited}; logs are in {self._place.logs}") from None

    async def _answer(self, url: str) -> str:
        try:
            return str((await self._client.get(url)).status_code)
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}"


def _server(port: int, capacity: Capacity) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "demo.server", "--model", MODEL),
        *("--port", str(port)),
        *("--slots", str(capacity.slots)),
        *("--tokens-per-second", str(capacity.tokens_per_second)),
        *("--prefill-seconds", str(capacity.prefill_seconds)),
    )
