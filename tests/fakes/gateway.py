"""A real gateway: Envoy with the files that we render, in a folder of its own, on free ports."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend, Scheme
from beamlit_controller.envoy import budget, caps, command, config, config_stats, make_before_break
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.routes import SHARE_KEY
from beamlit_controller.envoy.rtds import RtdsServer, RuntimeValues
from fakes import client
from fakes.ports import free_port
from fakes.upstream import Upstream
from waiting import eventually


@dataclass
class Gateway:
    """A gateway that runs, and the RTDS server that it listens to."""

    spec: OffloadSpec
    params: GatewayParams
    folder: Path
    process: asyncio.subprocess.Process
    shares: RtdsServer = field(default_factory=RtdsServer)

    @property
    def front(self) -> str:
        """Return the address that clients use."""
        return self.params.front

    async def offload(self, percentage: int) -> None:
        """Set the share, and wait until it is in force."""
        self.shares.set(self.spec.key, percentage)
        await eventually(lambda: self._offloads(percentage))

    async def cap(self, in_flight: Fraction | int, percentage: int = 0, *, by_cap: bool = False) -> None:
        """Bound the requests at local, and wait until that is in force."""
        setting = RuntimeValues(percentage, Fraction(in_flight), by_cap)
        self.shares.set(self.spec.key, setting)
        first, last = (0, percentage) if by_cap else (percentage, caps.WHOLE)
        parts = caps.numerators(setting.in_flight, first=first * caps.PERCENT, last=last * caps.PERCENT)
        keys = {SHARE_KEY if number == 0 else caps.key(number): part for number, part in parts.items()}
        await eventually(lambda: self._are_set(keys))

    async def leaves_out(self, remotes: Iterable[str]) -> bool:
        """Return whether these remotes, and no others, are left out because their budget is spent."""
        entries = json.loads(await self.admin("/runtime"))["entries"]
        return {each for each in entries if each.startswith("offload.spent")} == set(map(budget.key, remotes))

    async def admin(self, path: str) -> str:
        """Ask the admin interface."""
        return (await client.get(self.params.admin, path)).body.content.decode()

    async def stat(self, name: str) -> int:
        """Return one of Envoy's own counters or gauges."""
        found = json.loads(await self.admin(f"/stats?format=json&filter=^{name.replace('.', '[.]')}$"))["stats"]
        return sum(stat["value"] for stat in found)

    async def requests(self) -> dict[tuple[str, str, str], int]:
        """Return how many requests were counted, by side, route and code."""
        page = await client.get(self.params.stats, "/stats/prometheus?filter=offload")
        families = text_string_to_metric_families(page.body.content.decode())
        counted: Counter[tuple[str, str, str]] = Counter()
        for family in families:
            for sample in family.samples if family.name == "envoy_offload_requests" else ():
                counted[sample.labels["side"], sample.labels["route"], sample.labels["code"]] += int(sample.value)
        return dict(counted)

    async def log(self, lines: int) -> list[dict[str, object]]:
        """Wait until the access log has this many lines, and give them."""
        path = self.folder / "access.log"
        await eventually(lambda: path.exists() and path.read_text().count("\n") >= lines)
        return [json.loads(line) for line in path.read_text().splitlines()]

    async def change(self, spec: OffloadSpec) -> None:
        """Give it the files of another spec, step by step, until nothing is left to do."""
        asked = config.files(spec, self.params)
        await eventually(lambda: self._changed(asked))

    async def _changed(self, asked: config.Files) -> bool:
        present = {path.name: path.read_text() for path in self.folder.glob("*.json")}
        page = await self.admin(f"/stats/prometheus?text_readouts&filter={quote(config_stats.FILTER)}")
        step = make_before_break.next_step(present, asked, [config_stats.read(page)])
        write(dict(step.files), self.folder)
        for path in self.folder.glob("*.json"):
            if path.name not in step.files:
                path.unlink()
        return step.settled

    async def _are_set(self, keys: Mapping[str, int]) -> bool:
        entries = json.loads(await self.admin("/runtime"))["entries"]
        # Envoy prints the fraction as protobuf's debug text, whose blanks vary on purpose.
        set_to = {key: re.search(r"number_value:\s*(\d+)", entries.get(key, {}).get("final_value", "")) for key in keys}
        return all(int(set_to[key][1] if set_to[key] else 0) == part for key, part in keys.items())

    async def _offloads(self, percentage: int) -> bool:
        entries = json.loads(await self.admin("/runtime"))["entries"]
        # Envoy prints the fraction as protobuf's debug text, whose blanks vary on purpose.
        return bool(
            re.search(rf": {percentage * 10_000}\b", entries.get("offload.percentage", {}).get("final_value", ""))
        )


@asynccontextmanager
async def gateway(
    spec: OffloadSpec,
    folder: Path,
    *,
    local: Iterable[Upstream | str] = (),
    share: int | None = 0,
    wait: float = 10,
    workers: int = 1,
    edited: Callable[[str], str] = str,
    **params: object,
) -> AsyncIterator[Gateway]:
    """Run a gateway until the block ends, with `edited` files. Without a share there is no RTDS server either."""
    async with AsyncExitStack() as stack:
        where = _params(spec, folder, local, **params)
        write({name: edited(text) for name, text in config.files(spec, where).items()}, folder)
        shares = RtdsServer()
        if share is not None:
            shares.set(spec.key, share)
            await stack.enter_async_context(shares.serve(where.shares))
        process = await stack.enter_async_context(_envoy(folder, workers))
        await eventually(lambda: ready(where.stats), within=wait, what="the gateway is ready")
        yield Gateway(spec, where, folder, process, shares)
    # Envoy lets a request pass in which a program fails, and writes a line for each.
    assert "script log" not in (folder / "envoy.log").read_text(errors="replace")


def to(server: Upstream, **changes: object) -> RemoteBackend:
    """Return a remote that is this server."""
    scheme = Scheme.HTTPS if server.tls else Scheme.HTTP
    return RemoteBackend(**{"scheme": scheme, "host": "127.0.0.1", "port": server.port, **changes})


def write(files: config.Files, folder: Path) -> None:
    """Write the files that changed, each in one rename."""
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            (folder / f".{name}").write_text(text)
            (folder / f".{name}").rename(path)


async def ready(stats: str) -> bool:
    """Return whether the gateway's own listener says that it is ready."""
    try:
        return (await client.get(stats, "/ready")).line[1] == "200"
    except OSError:
        return False


def _params(spec: OffloadSpec, folder: Path, local: Iterable[Upstream | str], **changes: object) -> GatewayParams:
    return GatewayParams(
        **{
            "node": str(spec.key),
            "directory": str(folder),
            "front": f"127.0.0.1:{free_port()}",
            "stats": f"127.0.0.1:{free_port()}",
            "admin": f"unix:{folder}/admin.sock",
            "shares": f"unix:{folder}/shares.sock",
            "local": tuple(server.address if isinstance(server, Upstream) else server for server in local),
            "secrets": str(folder),
            "access_log": str(folder / "access.log"),
            **changes,
        }
    )


@asynccontextmanager
async def _envoy(folder: Path, workers: int) -> AsyncIterator[asyncio.subprocess.Process]:
    words = command.command(folder, concurrency=workers, drain=timedelta(seconds=1))
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *words, "--file-flush-interval-msec", "50", stderr=log, cwd=folder
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
