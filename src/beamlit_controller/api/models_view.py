"""What `/models` answers, field by field: written by `ModelsSink`, read by `explain` and by whoever else asks.

In JSON the names are in camelCase; times are RFC 3339, time spans seconds, ratios plain numbers where 1 is the target.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

MetricState = Literal["over", "between", "under", "unreadable"]


class View(BaseModel):
    """A frozen part of the answer. Fields that a reader does not know are ignored, so that versions may differ."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True)


class MissingView(View):
    """Why there is no value."""

    reason: str
    message: str


class PodFailureView(View):
    """A pod that a metric is known without, and why."""

    pod: str
    reason: str
    message: str


class MetricView(View):
    """One metric as it was read: `value` and `target` as people say them, None or `missing` where there is nothing."""

    name: str
    selector: str
    type: str
    target_type: str
    target: str
    value: str | None
    ratio: float | None
    state: MetricState
    age_seconds: float | None
    since: datetime | None
    until: datetime | None
    missing: MissingView | None
    pod_failures: tuple[PodFailureView, ...]


class VerdictView(View):
    """What all metrics say together, and the highest ratio."""

    judgement: str
    ratio: float | None


class DecisionView(View):
    """The percentage in force, why, and since when; `demand` is None where it can't be seen.

    `cap` is the learned limit of local requests in flight per ready replica; with it, `percentage` bounds what leaves.
    """

    percentage: int
    reason: str
    message: str
    since: datetime
    demand: float | None
    cap: float | None = None


class TimersView(View):
    """Seconds until each thing happens if all stays as it is; None for what is not on its way."""

    engages_in: float | None
    releases_in: float | None
    trial_release_in: float | None
    metrics_lost_in: float | None


class TriggerView(View):
    """Whether the metrics can make the model offload at all; None while that can't be told."""

    reachable: bool | None
    reason: str
    message: str


class ChangeView(View):
    """One change of the percentage."""

    at: datetime
    previous: int
    percentage: int
    reason: str
    message: str


class FailureView(View):
    """A round that ended in an error that nobody expected."""

    at: datetime
    error: str


class LocalView(View):
    """How many local endpoints are ready, of how many."""

    ready: int
    total: int


class LeftView(View):
    """The parts of all requests that went to the remote, by why."""

    share: float
    overflow: float
    unavailable: float
    forced: float


class TrafficView(View):
    """What came of the requests in the last minute, as the gateways counted it.

    Parts are of all requests, where 1 is all. `in_flight_limit` is None where nothing limits what local has in flight, and
    first bytes are None where there was none.
    """

    local_per_second: float
    remote_per_second: float
    sent: float
    left: LeftView
    kept: float
    unanswered: float
    in_flight: int
    in_flight_limit: float | None
    local_first_byte_ms: float | None
    remote_first_byte_ms: float | None
    text: str


class ModelView(View):
    """One model: its last round, what it would take to decide otherwise, and what surrounds it."""

    namespace: str
    name: str
    model: str
    enabled: bool
    dry_run: bool
    remote: str | None
    local: LocalView
    at: datetime
    took_seconds: float
    lag_seconds: float
    metrics: tuple[MetricView, ...]
    verdict: VerdictView
    decision: DecisionView
    timers: TimersView
    outlook: tuple[str, ...]
    trigger: TriggerView | None = None
    traffic: TrafficView | None = None
    last_change: ChangeView | None
    changes: tuple[ChangeView, ...]
    failure: FailureView | None
    gateway: dict[str, object] | None
    notices: tuple[str, ...]
    policy: tuple[str, ...] = ()
    spec: dict[str, object]


class WaitingView(View):
    """A model that no round has ended well for yet, and how the last one ended."""

    namespace: str
    name: str
    failure: FailureView


class ProblemView(View):
    """One mistake in what a user wrote: in which file or object, at which field."""

    where: str
    field: str
    message: str


class MinuteView(View):
    """One minute: the percentage at its end, and the highest ratio in it."""

    begin: datetime
    percentage: int
    ratio: float | None


class HistoryView(View):
    """The last hours of one model; a minute without a round is not there."""

    minutes: tuple[MinuteView, ...]


class ModelsView(View):
    """The whole answer, as of `at`."""

    at: datetime
    models: tuple[ModelView, ...]
    waiting: tuple[WaitingView, ...]
    problems: tuple[ProblemView, ...]
