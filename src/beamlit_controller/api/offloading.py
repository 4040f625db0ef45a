"""`offloadingConfig` as users write it: when to offload, how much, and where to."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import request_rules
from beamlit_controller.api.metrics import MetricSpec
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.remotes import ONE, SEVERAL, Remotes, UniqueNames
from beamlit_controller.api.request_rules import LeavingRequests, Requests
from beamlit_controller.api.rules import AtMostOne, ExactlyOne, Mistake, Rule
from beamlit_controller.api.scalars import AtLeastOne, Percentage, Quantity, Token, Window

Step = Annotated[int, Field(ge=1, le=100)]


class RampConfig(StrictModel):
    """How fast the percentage may change in one direction."""

    stabilization_window_seconds: Window = Field(
        description="Seconds the metric must stay past its target before the percentage changes."
    )
    tolerance: Quantity = Field(
        description="Distance from the target, as a fraction of it, within which nothing changes."
    )
    step_percentage: Step | None = Field(
        default=100, description="Maximum change per step, in percentage points; 100 means one step."
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(default=15, description="Seconds between two steps.")


class Engage(RampConfig):
    """When and how fast the percentage rises."""

    stabilization_window_seconds: Window = Field(
        default=0, description="Seconds a metric must stay above its target before offloading begins."
    )
    tolerance: Quantity = Field(
        default="0",
        description="How far a metric may exceed its target before offloading begins, as a fraction of the target: 0.1 is 10 %.",
    )
    step_percentage: Step | None = Field(
        default=None,
        description="Maximum change per step, in percentage points; 100 means one step. 100 by default, and 20 in Proportional mode.",
    )


class Release(RampConfig):
    """When and how fast the percentage falls."""

    stabilization_window_seconds: Window = Field(
        default=60, description="Seconds demand must stay low before the percentage falls."
    )
    tolerance: Quantity = Field(
        default="0.1",
        description="How far demand must be below the target before the percentage falls, as a fraction of the target: 0.1 is 10 %.",
    )


class BehaviorConfig(StrictModel):
    """How much is offloaded, and how fast the percentage rises and falls."""

    percentage: Percentage = Field(
        default=100,
        description="The percentage of requests to offload when a metric is above its target; in Proportional and Adaptive mode, the upper limit.",
    )
    mode: Literal["Fixed", "Proportional", "Adaptive"] | None = Field(
        default=None,
        description="Adaptive: the metric determines how many requests local may have in flight; the excess goes to the remote, at most `percentage` of all requests. Fixed: offload `percentage`. Proportional: offload the share that keeps the metric at its target, at most `percentage`. By default Adaptive with a `preset` that has metrics, otherwise Fixed.",
    )
    engage: Engage = Field(default=Engage(), description="When and how fast the percentage rises.")
    release: Release = Field(default=Release(), description="When and how fast the percentage falls.")
    on_metrics_loss: Literal["Hold", "Release", "Offload"] = Field(
        default="Hold",
        description="What happens when no metric could be read for `metricsLossSeconds`: Hold keeps the percentage, Release sets it to 0, Offload sets it to `percentage`.",
    )
    metrics_loss_seconds: Window = Field(
        default=60, description="Seconds without a reading of any metric before `onMetricsLoss` applies."
    )
    dry_run: bool = Field(default=False, description="Decide and report as usual, but send no request to the remote.")


class OverflowConfig(StrictModel):
    """Which requests go to the remote, regardless of the percentage, because the local servers can't serve them."""

    on_status: list[Annotated[int, Field(ge=400, le=599)]] | None = Field(
        default=None,
        max_length=50,
        description="Status codes with which a local server signals that it is full, such as 429 and 503; the request then goes to the remote. By default those of the `preset`, otherwise none.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    on_unavailable: bool = Field(
        default=True,
        description="Send a request to the remote if the connection is refused or no local server is ready.",
    )
    on_reset: bool = Field(
        default=True,
        description="Send a request to the remote if the local server closed the connection before answering. It may already have begun to process the request.",
    )
    max_in_flight_per_replica: AtLeastOne | None = Field(
        default=None,
        description="Maximum concurrent requests per local replica; excess requests go to the remote. Unlimited by default.",
    )
    after_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        default=None,
        description="Seconds to wait for the first byte of a local response; then the local request is cancelled and the remote is tried. Unlimited by default.",
    )
    max_request_bytes: Annotated[int, Field(ge=0, le=2**30)] = Field(
        default=2**20,
        description="Largest request body, in bytes, that is buffered for a retry; larger requests are not retried.",
    )


class Stickiness(StrictModel):
    """How requests of one session are recognized, so that all of them stay local or all go to the remote."""

    rules: ClassVar[tuple[Rule, ...]] = (ExactlyOne(("header", "cookie")),)
    header: Annotated[Token, AfterValidator(request_rules.matchable_header)] | None = Field(
        default=None, description="The request header that identifies a session."
    )
    cookie: Token | None = Field(default=None, description="The cookie that identifies a session.")


class OffloadingConfig(StrictModel):
    """When to offload, how much, and where to."""

    rules: ClassVar[tuple[Rule, ...]] = (AtMostOne((ONE, SEVERAL)), UniqueNames())
    remote_backend: RemoteBackendConfig | None = Field(
        default=None,
        description="Where offloaded requests go; by default `defaultRemoteBackend` or `defaultRemoteBackends` of the settings.",
    )
    remote_backends: Remotes | None = Field(
        default=None,
        description="Several remotes instead of `remoteBackend`, at most 8, tried in this order: if one rejects a request, fails it before the first byte of the response, or is at its limit, the next is tried.",
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
            "ollama",
            "dcgm",
        ]
        | None
    ) = Field(
        default=None,
        description="Metrics and targets for a known model server, instead of or in addition to `metrics`, "
        "which take precedence for a metric of the same name. They are read from the servers of `metricServiceRef`. "
        "Also sets the defaults of `behavior.mode` and `overflow.onStatus`.",
    )
    metrics: list[MetricSpec] = Field(
        default=[],
        max_length=50,
        description="Metrics and targets in the format of the HorizontalPodAutoscaler. Requests are offloaded while any metric is above its target.",
    )
    behavior: BehaviorConfig = Field(
        default=BehaviorConfig(), description="How much is offloaded, and how fast the percentage rises and falls."
    )
    overflow: OverflowConfig = Field(
        default=OverflowConfig(),
        description="Which requests go to the remote, regardless of the percentage, because the local servers can't serve them.",
    )
    on_remote_failure: Literal["Local", "Fail"] = Field(
        default="Local",
        description="What happens to a request that fails at the remote before the first byte of the response: Local retries it locally, Fail returns the failure.",
    )
    keep_local: list[Requests] = Field(
        default=[],
        max_length=100,
        description="Requests that are always served locally, in addition to those that are by default: every method except POST, "
        "and the health, operator, administration and stateful paths of model servers.",
    )
    may_leave: list[LeavingRequests] = Field(
        default=[],
        max_length=100,
        description="If set, only matching requests may go to the remote; if a header has several values, all must be listed. "
        "A rule may also allow a path or method that is local by default. `keepLocal` takes precedence.",
    )
    stickiness: Stickiness | None = Field(
        default=None,
        description="How requests of one session are recognized, so that all of them stay local or all go to the remote.",
    )
    allow_override: bool = Field(
        default=False, description="Honour the request header `x-offload: local` or `x-offload: remote`."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check the size of the request rules, which Envoy limits."""
        yield from super().mistakes(given)
        yield from request_rules.too_long(given, "keepLocal")
        yield from request_rules.too_long(given, "mayLeave")
