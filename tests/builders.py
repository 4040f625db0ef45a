"""Values for tests, complete and plausible, so that a test names only what matters to it."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any

from beamlit_controller.core import traffic
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ExternalMetric,
    PodsMetric,
    ResourceMetric,
    SeriesSelector,
    Utilization,
    Value,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    Container,
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Ready,
    Sample,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import CountersAt, Minute, RequestCounters
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from beamlit_controller.envoy.identity import NAMED

Number = int | str | Decimal | Fraction

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
AGE = timedelta(0)
WINDOW = timedelta(seconds=30)

QUEUE = ExternalMetric(SeriesSelector("queue"), Value(10_000))
RUNNING = PodsMetric(SeriesSelector("vllm:num_requests_running"), AverageValue(10_000))
CPU = ResourceMetric("cpu", Utilization(50))


def spec(**changes: Any) -> OffloadSpec:  # noqa: ANN401 - whatever the fields of OffloadSpec take
    """Return a spec with one External metric, `queue`, whose target is the value 10."""
    return replace(OffloadSpec(key=ModelKey("models", "llama"), model="llama", metrics=(QUEUE,)), **changes)


def without_ids(files: Mapping[str, str]) -> dict[str, str]:
    """Return Envoy's files with names of kinds alone: what a name is made of is not for golden files to say."""

    def without(text: str) -> str:
        return _IN_LUA.sub("", NAMED.sub(r"\g<kind>", text))

    return {without(name): without(text) for name, text in files.items()}


def indented(text: str) -> str:
    """Return one of Envoy's files as it can be read and compared: indented, and without its version."""
    content = {name: each for name, each in json.loads(text).items() if name != "version_info"}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


_IN_LUA = re.compile(r"\\\\095[0-9a-f]{12}\b")


def sample(value: Number = 5, *, at: datetime = NOW, age: timedelta = AGE, window: timedelta = WINDOW) -> Sample:
    """Return a sample of a value in whole units; it ended `age` before `at` and covers the `window` before that."""
    return Sample(milli(value), at - age, window)


def pod_samples(*values: Number, at: datetime = NOW, age: timedelta = AGE, window: timedelta = WINDOW) -> PodSamples:
    """Return one sample, in whole units, for each of worker-0, worker-1, …"""
    return PodSamples(tuple(PodSample(f"worker-{i}", milli(value), at - age, window) for i, value in enumerate(values)))


def missing(
    reason: Reason = Reason.CONNECTION_FAILED, message: str = "prometheus:9090 refused the connection"
) -> Missing:
    """Return a reading that failed."""
    return Missing(reason, message)


def pod(name: str = "worker-0", **changes: Any) -> Pod:  # noqa: ANN401 - whatever the fields of Pod take
    """Return a pod that runs, has been ready for an hour, and requests one cpu and 1 Gi of memory."""
    base = Pod(
        name,
        ready=Ready("True", NOW - timedelta(hours=1)),
        started=NOW - timedelta(hours=1, seconds=30),
        containers=(container(),),
    )
    return replace(base, **changes)


def container(name: str = "main", *, restartable: bool = False, **requests: Number) -> Container:
    """Return a container with requests in whole units: one cpu and 1 Gi of memory if none are named."""
    wanted = requests or {"cpu": 1, "memory": 2**30}
    return Container(name, tuple((resource, milli(value)) for resource, value in wanted.items()), restartable)


def pods(count: int = 3) -> tuple[Pod, ...]:
    """Return worker-0, worker-1, … as `pod` makes them."""
    return tuple(pod(f"worker-{i}") for i in range(count))


def signals(
    *readings: Reading,
    value: Number = 5,
    cpu: Number | None = None,
    ready: int = 3,
    total: int | None = None,
    at: datetime = NOW,
    age: timedelta = AGE,
    window: timedelta = WINDOW,
    **changes: Any,  # noqa: ANN401 - whatever the fields of Signals take
) -> Signals:
    """Return signals with these readings; without any, one External `value`, or with `cpu` that percentage of each ready pod's one cpu."""
    total = ready if total is None else total
    usage = pod_samples(*[Fraction(cpu) / 100] * ready, at=at, age=age, window=window) if cpu is not None else None
    base = Signals(
        at=at,
        readings=readings or (usage or sample(value, at=at, age=age, window=window),),
        pods=pods(total),
        scale=Scale(total, total),
        local=LocalHealth(ready, total),
    )
    return replace(base, **changes)


def verdict(
    ratio: Number | float | None = 1,
    judgement: Judgement | None = None,
    *,
    at: datetime = NOW,
    age: timedelta = AGE,
    window: timedelta = WINDOW,
) -> Verdict:
    """Return a verdict on `queue` at a ratio, read `age` before `at`; without a ratio the metric is unread.

    Without a judgement it is the one of the default behavior: over above 1, under up to 0.9.
    """
    if ratio is None:
        return Verdict(judgement or Judgement.UNKNOWN, None, (Unread(QUEUE, missing()),))
    exact = Fraction(str(ratio)) if isinstance(ratio, float) else Fraction(ratio)
    current = Current(value=int(exact * 10_000))
    assessed = Assessed(QUEUE, current, exact, since=at - age - window, until=at - age)
    return Verdict(judgement or _judgement(exact), exact, (assessed,))


def milli(value: Number) -> int:
    """Return a value in thousandths; it must be whole thousandths."""
    exact = Fraction(value) * 1000
    if exact.denominator != 1:
        raise ValueError(f"expected whole thousandths, got {value}")
    return int(exact)


def _judgement(ratio: Fraction) -> Judgement:
    if ratio > 1:
        return Judgement.OVER
    return Judgement.UNDER if ratio <= Fraction(9, 10) else Judgement.BETWEEN


def plus(one: RequestCounters, other: RequestCounters) -> RequestCounters:
    """Add up what was counted."""
    names = (each.name for each in fields(RequestCounters))
    return RequestCounters(**{name: getattr(one, name) + getattr(other, name) for name in names})


def minute(*reports: RequestCounters, every: timedelta = timedelta(seconds=5)) -> Minute:
    """Return the last minute until `NOW`, from reports of what the gateways counted since the report before."""
    sums = tuple(accumulate((RequestCounters(), *reports), plus))
    moments = (CountersAt(NOW + every * (index + 1 - len(sums)), counted) for index, counted in enumerate(sums))
    return traffic.between(tuple(each for each in moments if each.at >= NOW - traffic.MINUTE))
