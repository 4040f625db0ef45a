"""`offloadingConfig` as users write it: when to offload, how much, and where to."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from beamlit_controller.api import requests
from beamlit_controller.api.metrics import MetricSpec
from beamlit_controller.api.model import Model
from beamlit_controller.api.remote import RemoteBackend
from beamlit_controller.api.requests import LeavingRequests, Requests
from beamlit_controller.api.rules import ExactlyOne, Mistake, Rule
from beamlit_controller.api.scalars import AtLeastOne, Percentage, Quantity, Token, Window


class Ramp(Model):
    """How fast the share may go one way."""

    stabilization_window_seconds: Window = Field(
        description="The metric must agree for so long before anything changes."
    )
    tolerance: Quantity = Field(description="So far beyond the target, as a fraction of it, nothing changes yet.")
    step_percentage: Annotated[int, Field(ge=1, le=100)] = Field(
        default=100, description="At most so many points at once; 100 is all at once."
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(default=15, description="The time between two steps.")


class Engage(Ramp):
    """How the share rises."""

    stabilization_window_seconds: Window = Field(
        default=0, description="The metric must be above its target for so long before the share rises from 0."
    )
    tolerance: Quantity = Field(
        default="0", description="So far above the target, as a fraction of it, nothing happens yet: 0.1 is 10 %."
    )


class Release(Ramp):
    """How the share falls."""

    stabilization_window_seconds: Window = Field(
        default=60, description="Demand must be low enough for so long before the share falls."
    )
    tolerance: Quantity = Field(
        default="0.1", description="Demand must be so far below the target, as a fraction of it: 0.1 is 10 %."
    )


class Behavior(Model):
    """How much is offloaded, and the rules for going there and back."""

    percentage: Percentage = Field(
        default=100, description="The percentage of requests to offload when a metric is above its target."
    )
    mode: Literal["Fixed", "Proportional", "Adaptive"] = Field(
        default="Fixed",
        description="Fixed: all of `percentage`. Proportional: the share that keeps the metric at its target, at most `percentage`. Adaptive: the metric sizes how many requests local has in flight, and the excess leaves, at most `percentage` of all.",
    )
    engage: Engage = Field(default=Engage(), description="How the share rises.")
    release: Release = Field(default=Release(), description="How the share falls.")
    on_metrics_loss: Literal["Hold", "Release", "Offload"] = Field(
        default="Hold", description="What to do when no metric can be read for `metricsLossSeconds`."
    )
    metrics_loss_seconds: Window = Field(default=60, description="How long no metric can be read before that is done.")
    dry_run: bool = Field(default=False, description="Decide and show everything, send nothing to the remote.")


class Overflow(Model):
    """When a single request that the local servers could not take is answered by the remote."""

    on_status: list[Annotated[int, Field(ge=400, le=599)]] = Field(
        default=[],
        max_length=50,
        description="Local answers that mean `full`, such as 429 and 503.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    on_unavailable: bool = Field(
        default=True, description="When the connection is refused, or no local server is ready."
    )
    on_reset: bool = Field(
        default=True, description="When local closed the request before answering. It may have begun to work on it."
    )
    max_in_flight_per_replica: AtLeastOne | None = Field(
        default=None, description="So many requests at once per local server; the next one goes to the remote."
    )
    after_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        default=None,
        description="When no byte of an answer has come from local for so long; local is told to stop. Off without it.",
    )
    max_request_bytes: Annotated[int, Field(ge=0, le=2**30)] = Field(
        default=2**20, description="Requests with a larger body are not sent a second time."
    )


class Stickiness(Model):
    """How the requests of one session are told, so that they stay on one side."""

    rules: ClassVar[tuple[Rule, ...]] = (ExactlyOne(("header", "cookie")),)
    header: Token | None = Field(default=None, description="A request header.")
    cookie: Token | None = Field(default=None, description="A cookie.")


class OffloadingConfig(Model):
    """When to offload, how much, and where to."""

    remote_backend: RemoteBackend | None = Field(
        default=None, description="Where the share of requests goes; `defaultRemoteBackend` of the settings without it."
    )
    preset: (
        Literal[
            "vllm",
            "sglang",
            "tgi",
            "tei",
            "triton",
            "triton-trtllm",
            "trtllm",
            "nim",
            "lmdeploy",
            "ray-serve",
            "llamacpp",
            "dcgm",
        ]
        | None
    ) = Field(
        default=None,
        description="Metrics and targets for a known model server, instead of or beside `metrics`; "
        "one of the same name there goes before. They are read from the servers: `metricServiceRef` says where.",
    )
    metrics: list[MetricSpec] = Field(
        default=[],
        max_length=50,
        description="Metrics and targets in the format of the HorizontalPodAutoscaler. Above any of them, requests are offloaded.",
    )
    behavior: Behavior = Field(
        default=Behavior(), description="How much is offloaded, and the rules for going there and back."
    )
    overflow: Overflow = Field(
        default=Overflow(),
        description="When a single request that the local servers could not take goes to the remote.",
    )
    on_remote_failure: Literal["Local", "Fail"] = Field(
        default="Local", description="Whether local answers a request that the remote failed before its first byte."
    )
    keep_local: list[Requests] = Field(
        default=[],
        max_length=100,
        description="Requests that never leave, whatever happens. They add to those that stay by default: every method but POST, "
        "and the health, operator, administration and stateful paths of model servers.",
    )
    may_leave: list[LeavingRequests] = Field(
        default=[],
        max_length=100,
        description="If there are any, only such requests leave, and only if all values of the header are named here. "
        "A path that stays by default, or another method, leaves if a rule names it. `keepLocal` goes before.",
    )
    stickiness: Stickiness | None = Field(
        default=None, description="How the requests of one session are told, so that they stay on one side."
    )
    allow_override: bool = Field(
        default=False, description="Honour the request header `x-offload: local` or `x-offload: remote`."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Add the rules for requests, where they are too many for Envoy."""
        yield from super().mistakes(given)
        yield from requests.too_long(given, "keepLocal")
        yield from requests.too_long(given, "mayLeave")
