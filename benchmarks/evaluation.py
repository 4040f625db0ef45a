"""One controller that decides for many models: how late its rounds begin, and what of a core and of memory that takes.

Everything from the supervisor to the sinks is the product's, in a process of its own. Only the source is not: it answers
after a few milliseconds, so asking Prometheus over HTTP is not part of the figures. One round in a hundred is over its
target; the RTDS server has no gateways connected (`push` measures those).
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import prometheus_client

from beamlit_controller.controller import garbage_collection, supervisor
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import readable
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import ExternalMetric, MetricSpec, SeriesSelector, Value
from beamlit_controller.core.signals import Sample
from beamlit_controller.core.spec import LocalService, ModelKey, OffloadSpec
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.envoy.rtds_sink import RtdsSink
from beamlit_controller.standalone.decision_files import DecisionFiles
from beamlit_controller.standalone.inventory import Endpoints
from beamlit_controller.telemetry import logs
from beamlit_controller.telemetry.liveness import Liveness
from beamlit_controller.telemetry.logs import LogSink
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelsSink
from benchmarks import machine

COUNTS = (1_000, 5_000)
PERIOD = timedelta(seconds=5)
WARM_UP = 8 + garbage_collection.PERIOD
SECONDS = 20

METRIC = ExternalMetric(SeriesSelector("queue"), Value(10_000))
KEPT_LAG = 0.15  # seconds, p99, at 1,000 models
KEPT_RSS = 150  # MiB, at 1,000 models


async def main() -> None:
    measured = [await _measure(count) for count in COUNTS]
    rows = (
        (
            f"{count:,}",
            f"{it['rounds'] / SECONDS:,.0f}",
            f"{it['p50'] * 1000:.1f}",
            f"{it['p99'] * 1000:.1f}",
            f"{it['p99'] / KEPT_LAG:.2f}",
            f"{it['cpu'] / SECONDS:.0%}",
            f"{it['cpu'] / it['rounds'] * 1e6:.0f}",
            f"{it['rss']:.0f}",
            f"{it['rss'] / KEPT_RSS:.2f}",
        )
        for count, it in zip(COUNTS, measured, strict=True)
    )
    gate, cap = f"of {KEPT_LAG * 1000:.0f} ms", f"of {KEPT_RSS} MiB"
    head = ("models", "rounds/s", "lag p50 ms", "p99 ms", gate, "CPU of a core", "us a round", "RSS MiB", cap)
    title = f"Evaluation, one controller, period {PERIOD.total_seconds():.0f} s ({SECONDS} s after a warm-up of {WARM_UP:.0f} s)"
    machine.table(title, head, rows)


async def _measure(count: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        words = (sys.executable, "-m", "benchmarks.evaluation", str(count), str(folder / "decisions"))
        process = await stack.enter_async_context(machine.running(*words, log=folder / "log", pipes=True))
        measured: dict[str, float] = json.loads(await machine.line(process, within=WARM_UP + SECONDS + 60))
        return measured


# The controller's process: prints its figures and ends.


class _Known:
    """A `Provider` of models that don't change."""

    def __init__(self, count: int) -> None:
        keys = [ModelKey("models", f"model-{i}") for i in range(count)]
        self._specs = {
            key: OffloadSpec(key, key.name, metrics=(METRIC,), service=LocalService("llama", 8000)) for key in keys
        }

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Yield them once."""
        yield self._specs
        await asyncio.Event().wait()


class _Answers:
    """A `Source` that answers after 2 to 8 ms."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Sample:  # noqa: ARG002 - the port's signature
        """Return a value that is seldom over the target."""
        await asyncio.sleep(random.uniform(0.002, 0.008))
        return Sample(12_000 if random.random() < 0.01 else random.randrange(8_000), at)


class _Lags:
    """A `Sink` that keeps how late the rounds began."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def record(self, cycle: Cycle) -> None:
        """Keep the lag."""
        self.seconds.append(cycle.lag.total_seconds())

    def failed(self, key: ModelKey, error: Exception) -> None:
        """End it all: a round that fails is no figure."""
        raise RuntimeError(f"the round of {key} failed") from error

    def forget(self, key: ModelKey) -> None:
        """Nothing is kept by model."""


async def _control(count: int, decisions: Path) -> None:
    clock, lags, memory = AnchoredClock(), _Lags(), DecisionFiles(decisions)
    answers, endpoints = _Answers(), Endpoints({"models/llama": ("127.0.0.1:8000", "127.0.0.1:8001")})
    pulse, models = Liveness(timedelta(minutes=1)), ModelsSink(clock)
    metrics = MetricsSink(prometheus_client.CollectorRegistry())
    sinks = (RtdsSink(RtdsServer()), memory, metrics, models, pulse, LogSink(), lags)
    parts = LoopDependencies(
        Sensor(sources=((readable.from_metrics_apis, answers),), inventory=endpoints), sinks, clock, lambda _: PERIOD
    )
    task = asyncio.create_task(supervisor.run(_Known(count), parts, memory))
    frozen = asyncio.create_task(garbage_collection.freeze_what_is_kept())
    await _unless_ended(task, WARM_UP)
    lags.seconds.clear()
    began = time.process_time()
    await _unless_ended(task, SECONDS)
    figures = {
        "cpu": time.process_time() - began,
        "rounds": len(lags.seconds),
        "p50": machine.quantile(lags.seconds, 0.5),
        "p99": machine.quantile(lags.seconds, 0.99),
        "rss": machine.rss(os.getpid()),
    }
    print(json.dumps(figures), flush=True)
    frozen.cancel()
    task.cancel()


async def _unless_ended(task: asyncio.Task[None], seconds: float) -> None:
    await asyncio.wait([task], timeout=seconds)
    if task.done():
        task.result()
        raise RuntimeError("the controller ended by itself")


if __name__ == "__main__":
    logs.configure("info", json=True)
    asyncio.run(_control(int(sys.argv[1]), Path(sys.argv[2])))
