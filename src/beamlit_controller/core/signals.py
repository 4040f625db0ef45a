"""The signals of a round: samples, or why there are none. A failed read is a value, never an exception, and never 0."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.ledger import NO_USAGE, UsageReading
from beamlit_controller.core.reason import Reason


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no value."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value in thousandths, for an Object or External metric. It covers at most `window` before `at`.

    `series` is the number of series summed. An `undated` value is that of a query, which was evaluated at `at`: it is not
    known when within `window` its samples were scraped. The query covers the time `averaged` before each. If it is
    `scattered`, it is no mean over the window: its series are each of one moment within it.
    """

    milli: int
    at: datetime
    window: timedelta = timedelta(0)
    series: int = 1
    undated: bool = False
    averaged: timedelta = timedelta(0)
    scattered: bool = False


@dataclass(frozen=True, slots=True)
class PodSample:
    """One pod's value in thousandths; `series` is how many of its series were aggregated, and `undated` is as in `Sample`."""

    pod: str
    milli: int
    at: datetime
    window: timedelta = timedelta(0)
    series: int = field(default=1, compare=False)
    undated: bool = False


@dataclass(frozen=True, slots=True)
class PodSamples:
    """The values of the pods that have one; `failures` has the reason of each pod without one.

    `slots` is how many requests each server processes concurrently, if the servers report it.
    """

    samples: tuple[PodSample, ...]
    failures: tuple[tuple[str, Missing], ...] = ()
    slots: int | None = None


Reading = Sample | PodSamples | Missing

NOT_ASKED = Missing(Reason.NO_SERIES, "no gateway was polled")


@dataclass(frozen=True, slots=True)
class Ready:
    """A pod's Ready condition: its status ("True", "False", "Unknown") and when it last changed."""

    status: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container's requests and limits in thousandths, by resource. `restartable` marks an init container that keeps running."""

    name: str
    requests: tuple[tuple[str, int], ...] = ()
    restartable: bool = False
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """The fields of a pod that the HPA's rules use. A plain endpoint of a standalone model is a running, ready pod without requests."""

    name: str
    phase: str = "Running"
    deleting: bool = False
    ready: Ready | None = Ready("True")
    started: datetime | None = None
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    requests: tuple[tuple[str, int], ...] = ()
    overhead: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """Replicas of the scale subresource: desired and current."""

    spec_replicas: int
    status_replicas: int


@dataclass(frozen=True, slots=True)
class LocalHealth:
    """Ready and total local endpoints."""

    ready: int
    total: int


@dataclass(frozen=True, slots=True)
class Signals:
    """Everything read in one round: `readings` has one entry per metric of the spec, in order.

    Pods or a scale that can't be read are Missing, which affects only the metrics that need them. `flow` has the
    requests since the previous round, and `usage` that of the remotes, both as counted by the gateways.
    """

    at: datetime
    readings: tuple[Reading, ...]
    pods: tuple[Pod, ...] | Missing
    scale: Scale | Missing
    local: LocalHealth
    flow: Flow | Missing = NOT_ASKED
    usage: UsageReading = NO_USAGE

    @property
    def slots(self) -> int | None:
        """Return how many requests each local server processes concurrently, if the servers report it."""
        reported = (each.slots for each in self.readings if isinstance(each, PodSamples))
        return next((each for each in reported if each is not None), None)
