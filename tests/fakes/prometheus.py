"""A real Prometheus (Debian's package `prometheus`) on a free port of 127.0.0.1, with its data in a folder of its own.

`async with prometheus(scrape=["127.0.0.1:9101"]) as server:` waits until it is ready; its `address` and its data stay
the same over `stop()` and `start()`.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2

from absence import missing
from fakes.ports import free_port
from waiting import eventually


class Prometheus:
    """One server, which can be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers queries."""
        assert self._process is None
        binary = shutil.which("prometheus") or missing("prometheus", "make test installs it as root")
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self.address}",
                "--log.level=warn",
                stdout=log,
                stderr=log,
            )
        await eventually(self._is_ready, within=60, what="Prometheus is ready")

    async def stop(self, *, kill: bool = False) -> None:
        """End it, at once if it is to be killed."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            if kill:
                process.kill()
            else:
                process.terminate()
        try:
            async with asyncio.timeout(60):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def scraped(self, query: str = "up == 1", *, within: float = 30) -> None:
        """Wait until a query has a result: by default, until a target has been scraped."""
        await eventually(lambda: self._has(query), within=within, what=query)

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self._folder / "log").read_text()
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            with suppress(httpx2.HTTPError):
                return (await client.get(f"http://{self.address}/-/ready")).is_success
        return False

    async def _has(self, query: str) -> bool:
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
            answer = await client.get(f"http://{self.address}/api/v1/query", params={"query": query})
        return bool(answer.json()["data"]["result"])


@asynccontextmanager
async def prometheus(
    *, scrape: Sequence[str] = (), interval: str = "1s", config: str = "", history: str = ""
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes these targets; `config` is more YAML for its configuration file.

    `history` is OpenMetrics text with times: what it is to remember from before.
    """
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        if history:
            await _remember(folder, history)
        (folder / "prometheus.yml").write_text(_configuration(scrape, interval) + config)
        server = Prometheus(folder, free_port())
        try:
            await server.start()
            yield server
        finally:
            await server.stop(kill=True)


async def _remember(folder: Path, history: str) -> None:
    """Make the blocks that a Prometheus would have written."""
    (folder / "history").write_text(history)
    made = await asyncio.create_subprocess_exec(
        *("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history", folder / "data"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await made.communicate()
    assert made.returncode == 0, said.decode()


def _configuration(scrape: Sequence[str], interval: str) -> str:
    return f"""\
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
- job_name: test
  static_configs: [{{targets: {list(scrape)}}}]
"""
