"""Warns about queue metrics in Fixed and Proportional mode: a queue is empty until local is full, and by then requests wait."""

import re
from collections.abc import Iterator

from beamlit_controller.api import defaults, presets
from beamlit_controller.api.metrics import MetricSpec
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.api.problems import Notice
from beamlit_controller.core import printable, wording
from beamlit_controller.core.spec import Mode

LONGEST = 60
_WORDS = re.compile(r"(?:^|[^a-z])(?:queue[sd]?|queueing|waiting|pending|deferred|backlog)(?:$|[^a-z])")


def notices(config: OffloadingConfig) -> Iterator[Notice]:
    """Warn that requests wait in the queue if nothing limits the local requests in flight."""
    mode, cap = defaults.mode(config), config.overflow.max_in_flight_per_replica
    if mode is Mode.ADAPTIVE or cap is not None or config.behavior.percentage == 0:
        return
    name = next(filter(is_queue, _names(config)), None)
    if name is not None:
        yield Notice(
            "spec.offloadingConfig.behavior.mode",
            f"{printable.short(name, LONGEST)} is a queue: it is empty until local is full, and with mode {mode.value} requests wait in it until the percentage has risen. Mode Adaptive or overflow.maxInFlightPerReplica offloads requests that would wait",
        )


def is_queue(name: str) -> bool:
    """Return whether a metric or query seems to count waiting requests, judging by its words."""
    return _WORDS.search(name.lower().replace("_time", "time")) is not None


def _names(config: OffloadingConfig) -> Iterator[str]:
    yield from filter(None, map(_name, config.metrics))
    if config.preset is not None:
        yield from map(wording.name, presets.metrics(config.preset, ()))


def _name(metric: MetricSpec) -> str | None:
    described = metric.pods or metric.object or metric.external
    return described.metric.name if described is not None else None
