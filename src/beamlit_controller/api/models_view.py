"""The JSON of `/models`, field by field: written by `ModelsSink`, read by `explain`, `top` and other clients.

Names are in camelCase in JSON. Times are RFC 3339, durations are seconds, ratios are numbers where 1 is the target.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

MetricState = Literal["over", "between", "under", "unreadable"]
Rank = Literal["failing", "blind", "short", "offloading", "local", "disabled"]
"""How urgently a model needs attention, the most urgent first."""


class View(BaseModel):
    """A frozen part of the response. Unknown fields are ignored, so versions of server and client may differ."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True)


class MissingView(View):
    """Why there is no value. `lasts` is False while the metric has been unreadable only for some seconds."""

    reason: str
    message: str
    lasts: bool = True


class PodFailureView(View):
    """A pod without a value for a metric, and why."""

    pod: str
    reason: str
    message: str


class MetricView(View):
    """One metric: `value` and `target` as text. If it could not be read, `value` is None and `missing` has the reason."""

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
    aggregated: str = ""
    """Such as `sum of 4 series`; "" for a single series."""


class VerdictView(View):
    """The combined judgement of all metrics, and the highest ratio."""

    judgement: str
    ratio: float | None


class DecisionView(View):
    """The percentage in force, why, and since when; `demand` is None if it can't be observed.

    `cap` is the learned limit of local requests in flight per ready replica; with it, `percentage` is the maximum share that is offloaded.
    `enough` is False while a metric stays over its target with the highest share allowed.
    """

    percentage: int
    reason: str
    message: str
    since: datetime
    demand: float | None
    cap: float | None = None
    enough: bool = True


class TimersView(View):
    """Seconds until each event if nothing changes; None for events that are not pending."""

    engages_in: float | None
    releases_in: float | None
    trial_release_in: float | None
    metrics_lost_in: float | None


class TriggerView(View):
    """Whether the metrics can trigger offloading; None while that is unknown."""

    reachable: bool | None
    reason: str
    message: str


class ChangeView(View):
    """One change of the percentage; `at_most`: only the requests above a cap leave, at most that many."""

    at: datetime
    previous: int
    percentage: int
    reason: str
    message: str
    at_most: bool = False
    previous_at_most: bool = False


class FailureView(View):
    """A round that ended in an unexpected error."""

    at: datetime
    error: str


class LocalView(View):
    """Ready and total local endpoints."""

    ready: int
    total: int


class LeftView(View):
    """Fractions of all requests that went to the remote, by reason."""

    share: float
    overflow: float
    unavailable: float
    forced: float


class LatestView(View):
    """The requests of the last `seconds`: since the way in which they are answered changed, less than a minute ago.

    Fractions are of all requests.
    """

    seconds: float
    local_per_second: float
    remote_per_second: float
    sent: float
    left: LeftView
    unanswered: float
    text: str


class TrafficView(View):
    """The requests of the last minute, as counted by the gateways; `seconds` is shorter if they were not asked for as long.

    Fractions are of all requests. `in_flight_limit` is None without a cap; first-byte times are None without requests.
    `since` is when the remote began to answer some of the requests, or none; None if the controller has not seen that.
    `latest` is what is true now; it is None if nothing changed within the minute.
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
    since: datetime | None = None
    seconds: float = 60
    latest: LatestView | None = None


class HeadlineView(View):
    """Summary of the model: where requests are served and why, the effect on clients, and what to do.

    `to` has the hosts of the remotes that requests go to now, in order; "" if none leave. `since` is when
    the state began; None if that is unknown, or if the state describes something else, such as the remote.
    """

    rank: Rank
    state: str
    why: str
    effect: str = ""
    advice: str = ""
    to: str = ""
    since: datetime | None = None


class RemoteView(View):
    """One of several remotes: its name, URL and weight. Adjacent remotes with weights share requests."""

    name: str
    address: str
    weight: int | None = None


class BudgetView(View):
    """How much of a remote's budget is used in the current period, which ends at `ends`."""

    amount: str
    used: str
    unit: str
    per: str
    percentage: int
    spent: bool
    ends: datetime


class SpendingView(View):
    """What a remote answered, and what that cost at its price; amounts are decimal numbers.

    `unread` counts responses whose usage could not be read. `without_local` is what the requests of both sides would
    have cost.
    """

    name: str
    requests: int
    unread: int
    input_tokens: int
    output_tokens: int
    cost: str | None
    currency: str | None
    without_local: str | None
    budget: BudgetView | None
    text: str


class ModelView(View):
    """One model: its last round, the forecast, and the state of its servers and gateway.

    `remotes` are those of `remoteBackends`, in order; `remote` is the URL of the first one, or of the only one.
    """

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
    remotes: tuple[RemoteView, ...] = ()
    headline: HeadlineView | None = None
    spending: tuple[SpendingView, ...] = ()
    spec: dict[str, object]


class WaitingView(View):
    """A model without a successful round so far, and its last failure."""

    namespace: str
    name: str
    failure: FailureView


class ProblemView(View):
    """One mistake of a user, with the file or object and the field."""

    where: str
    field: str
    message: str


class MinuteView(View):
    """One minute: the percentage at its end, its highest ratio, and the fraction of requests that the remote answered."""

    begin: datetime
    percentage: int
    ratio: float | None
    sent: float | None = None


class HistoryView(View):
    """The last hours of one model; minutes without a round are left out."""

    minutes: tuple[MinuteView, ...]


class ModelsView(View):
    """The whole response, as of `at`."""

    at: datetime
    models: tuple[ModelView, ...]
    waiting: tuple[WaitingView, ...]
    problems: tuple[ProblemView, ...]
