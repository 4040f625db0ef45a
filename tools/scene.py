"""Six models over four hours, for the pictures in the documentation: made-up servers, decided for by the real code."""

import math
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from beamlit_controller.api import settings, translate
from beamlit_controller.core import cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Ready,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink

BEGIN = datetime(2026, 6, 1, 10, 0, tzinfo=UTC)
HOURS, ROUND, MINUTE = timedelta(hours=4), timedelta(seconds=15), timedelta(seconds=60)
REPLICAS, SLOTS, TAKES = 3, 4, 4.0
"""Servers of a model, requests that each works on at a time, and seconds that a request takes."""
SERVERS = tuple(f"127.0.0.1:{8001 + number}" for number in range(REPLICAS))
PODS = tuple(Pod(server, ready=Ready("True", BEGIN), started=BEGIN) for server in SERVERS)
ANSWERS = {
    "status": "True",
    "reason": "RemoteAnswers",
    "message": "api.example.com answered the last requests: 12 of 12",
}
REFUSES = {
    "status": "False",
    "reason": "RemoteRefusesCredential",
    "message": "api.example.com answers 401; 9 of the last 9 requests failed",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One model: its load, 1 being what its servers bear, at the beginning and at the peak."""

    name: str
    low: float
    high: float
    behavior: dict[str, Any]
    remote: dict[str, str]
    annotations: dict[str, str]
    blind_after: timedelta = HOURS


def _scenario(name: str, low: float, high: float, **more: Any) -> Scenario:  # noqa: ANN401 - fields of Scenario
    given: dict[str, Any] = {"behavior": {}, "remote": ANSWERS, "annotations": {}, **more}
    return Scenario(name, low, high, **given)


BY_HAND = {
    "offloading.beamlit.com/override": "25",
    "offloading.beamlit.com/override-author": "ana",
    "offloading.beamlit.com/override-until": "2026-06-01T18:00:00Z",
    "offloading.beamlit.com/override-reason": "a GPU is repaired",
}
SCENARIOS = (
    _scenario("chat", 0.4, 1.6),
    _scenario("code", 0.5, 1.3, remote=REFUSES),
    _scenario("rerank", 0.3, 0.5, blind_after=HOURS - timedelta(minutes=7)),
    _scenario("summaries", 0.6, 1.5, behavior={"mode": "Fixed", "percentage": 20}),
    _scenario("vision", 0.3, 0.6, annotations=BY_HAND),
    _scenario("embed", 0.2, 0.4, remote={"status": "Unknown", "reason": "RemoteNotAsked", "message": "not asked yet"}),
)


@dataclass
class Clock:
    """The time of the scene."""

    at: datetime = BEGIN

    def now(self) -> datetime:
        """Return the time."""
        return self.at


class World:
    """The servers, and what the controller remembers of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._served: dict[ModelKey, Served] = {}
        self.models = ModelsSink(self.clock, ModelDetails(gateway=self._gateway, minute=self._minute))

    def play(self) -> "World":
        """Play the four hours."""
        served = [Served(scenario) for scenario in SCENARIOS]
        self._served = {each.spec.key: each for each in served}
        while self.clock.at < BEGIN + HOURS:
            self.clock.at += ROUND
            for each in served:
                self.models.record(each.round(self.clock.at))
        self.clock.at += timedelta(seconds=1)
        return self

    def _gateway(self, key: ModelKey) -> dict[str, object]:
        remote = self._served[key].scenario.remote
        return {"pid": 4242, "ready": True, "restarts": 0, "connected": True, "remote": remote}

    def _minute(self, key: ModelKey) -> Minute | None:
        return self._served[key].minute


class Served:
    """The servers of one model as a flow: what comes, what is in flight, and what has waited."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.spec = scenario, _spec(scenario)
        self.minute: Minute | None = None
        self._drawn = random.Random(scenario.name)  # noqa: S311 - the same picture each time
        self._waiting = 0.0
        self._last: Decision | None = None

    def round(self, at: datetime) -> cycle.Cycle:
        """Let the servers go on for one round, and decide."""
        arrivals = self._load(at) * REPLICAS * SLOTS / TAKES
        local = self._local(arrivals)
        flow = Flow(at - ROUND, at, local, local, self._split.local // 4, self._split.remote // 4, self._over)
        record = cycle.run(
            self.spec, _signals(self._readings(at), flow, at), previous=self._last, now=at, took=ROUND / 800
        )
        self._last = record.decision
        self.minute = Minute(MINUTE, self._split)
        return record

    def _load(self, at: datetime) -> float:
        part = (at - BEGIN) / HOURS
        wave = 0.5 - 0.5 * math.cos(2 * math.pi * 1.45 * part)
        return self.scenario.low + (self.scenario.high - self.scenario.low) * wave + self._drawn.gauss(0, 0.03)

    def _local(self, arrivals: float) -> int:
        """Share out what came; give how many requests are in flight at the servers."""
        bears, cap = REPLICAS * SLOTS / TAKES, self._cap()
        reached = self.scenario.remote is not REFUSES
        share = 0.0 if cap is not None or self._last is None or not reached else self._last.percentage / 100
        stays = arrivals * (1 - share)
        room = math.inf if cap is None or not reached else max(cap - REPLICAS * SLOTS, 0.0)
        self._waiting = min(max(self._waiting + (stays - bears) * ROUND.total_seconds(), 0.0), 60.0)
        lost = max(self._waiting - room, 0.0)
        self._waiting -= lost
        over = lost / ROUND.total_seconds()
        self._over = round(lost)
        at_local = max(stays - over, 0.0)
        in_flight = round(min(at_local * TAKES, REPLICAS * SLOTS) + self._waiting)
        self._split = RequestCounters(
            in_flight=in_flight,
            local=round(60 * at_local),
            share=round(60 * arrivals * share),
            overflow=round(60 * over),
        )
        return in_flight

    def _cap(self) -> float | None:
        cap = self._last.cap if self._last else None
        by_hand = self._last is not None and self._last.reason is Reason.OVERRIDDEN
        return None if cap is None or by_hand else float(cap) * REPLICAS

    def _readings(self, at: datetime) -> tuple[Reading, ...]:
        if at > BEGIN + self.scenario.blind_after:
            lost = Missing(Reason.HTTP_ERROR, "127.0.0.1:8001: expected status 200, got 503; it says: loading model")
            return (lost, lost)
        waiting = round(max(self._waiting + self._drawn.gauss(0, 1), 0) / REPLICAS)
        cache = round(min(self._load(at), 1) * 0.6, 2)
        return tuple(_samples(value, at) for value in (waiting, cache))


def _samples(value: float, at: datetime) -> PodSamples:
    return PodSamples(tuple(PodSample(server, round(1000 * value), at, timedelta(0)) for server in SERVERS))


def _signals(readings: tuple[Reading, ...], flow: Flow, at: datetime) -> Signals:
    scale = Scale(REPLICAS, REPLICAS)
    return Signals(at=at, readings=readings, pods=PODS, scale=scale, local=LocalHealth(REPLICAS, REPLICAS), flow=flow)


def _spec(scenario: Scenario) -> OffloadSpec:
    """Parse the model's manifest as the controller does."""
    return replace(_parsed(_manifest(scenario)), generation=1)


def _parsed(manifest: dict[str, Any]) -> OffloadSpec:
    found = translate.read(manifest, settings=settings.Settings())
    if not isinstance(found, translate.Accepted):
        raise TypeError("; ".join(map(str, found)))
    return found.spec


def _manifest(scenario: Scenario) -> dict[str, Any]:
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": scenario.name, "namespace": "models", "annotations": scenario.annotations},
        "spec": {
            "serviceRef": {"name": scenario.name, "targetPort": 8000},
            "metricServiceRef": {"name": scenario.name, "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "https", "host": "api.example.com"},
                "preset": "vllm",
                "behavior": scenario.behavior,
            },
        },
    }
