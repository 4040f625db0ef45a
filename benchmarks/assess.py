"""What it costs to hold the metrics of many models against their targets: CPU seconds and memory, in one line.

`python -m benchmarks.assess [MODELS [PODS]]`: each model has a cpu and a Pods metric, and pods that have all been ready for long.
"""

import gc
import sys
import time
from datetime import UTC, datetime, timedelta

import psutil

from beamlit_controller.core import verdict
from beamlit_controller.core.metric_spec import AverageValue, PodsMetric, ResourceMetric, SeriesSelector, Utilization
from beamlit_controller.core.signals import (
    Container,
    LocalHealth,
    Pod,
    PodSample,
    PodSamples,
    Ready,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import ModelKey, OffloadSpec

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROUNDS = 5


def main(models: int = 10_000, pods: int = 10) -> None:
    process = psutil.Process()
    empty = rss(process)
    population = [(spec(i), signals(i, pods)) for i in range(models)]
    read = rss(process)

    seconds, verdicts = [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        verdicts = [verdict.assess(each, seen) for each, seen in population]
        seconds.append(time.process_time() - started)
    judged = rss(process)

    best = min(seconds)
    assert {len(each.metrics) for each in verdicts} == {2}
    assert all(each.ratio is not None for each in verdicts)
    print(
        f"assess {models:,} models of {pods} pods, 2 metrics each: {best:.2f} s CPU ({best / models * 1e6:.0f} us a model), "
        f"{read - empty:.0f} MiB of signals, {judged - read:.0f} MiB of verdicts"
    )


def spec(model: int) -> OffloadSpec:
    cpu = ResourceMetric("cpu", Utilization(50))
    running = PodsMetric(SeriesSelector("vllm:num_requests_running"), AverageValue(10_000))
    return OffloadSpec(ModelKey("models", f"model-{model}"), f"model-{model}", metrics=(cpu, running))


def signals(model: int, pods: int) -> Signals:
    names = [f"model-{model}-{i}" for i in range(pods)]
    started = NOW - timedelta(hours=1, seconds=model)
    ready = Ready("True", started + timedelta(seconds=40))
    containers = (Container("main", (("cpu", 1000), ("memory", 2**33 * 1000))), Container("log", (("cpu", 100),)))
    window, at = timedelta(seconds=30), NOW - timedelta(seconds=10)
    usage = PodSamples(tuple(PodSample(name, 300 + (model + i) % 500, at, window) for i, name in enumerate(names)))
    running = PodSamples(tuple(PodSample(name, 1000 * ((model + i) % 20), at) for i, name in enumerate(names)))
    return Signals(
        at=NOW,
        readings=(usage, running),
        pods=tuple(Pod(name, ready=ready, started=started, containers=containers) for name in names),
        scale=Scale(pods, pods),
        local=LocalHealth(pods, pods),
    )


def rss(process: psutil.Process) -> float:
    """Return the resident memory in MiB."""
    gc.collect()
    return process.memory_info().rss / 2**20


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
