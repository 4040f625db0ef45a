"""Metrics and targets for known model servers, so that a user can name the server instead of writing them."""

from collections.abc import Mapping
from typing import Final

from beamlit_controller.core.spec import AverageValue, MetricIdentifier, MetricSpec, PodsMetric


def metrics(preset: str, written: tuple[MetricSpec, ...]) -> tuple[MetricSpec, ...]:
    """Give the preset's metrics, without those that the user wrote with a target of their own.

    Raises KeyError for a preset that is not there.
    """
    names = {metric.metric.name for metric in written if isinstance(metric, PodsMetric)}
    return tuple(metric for metric in PRESETS[preset] if metric.metric.name not in names)


def _mean(name: str, *, milli: int) -> PodsMetric:
    return PodsMetric(MetricIdentifier(name), AverageValue(milli))


# Names as the servers' own code has them. A queue is what tells saturation first; 5 waiting requests per server and
# 80 % of the memory for keys and values are where the field's routers and autoscalers begin.
PRESETS: Final[Mapping[str, tuple[PodsMetric, ...]]] = {
    "vllm": (_mean("vllm:num_requests_waiting", milli=5000), _mean("vllm:kv_cache_usage_perc", milli=800)),
    "sglang": (_mean("sglang:num_queue_reqs", milli=5000), _mean("sglang:token_usage", milli=800)),
    "tgi": (_mean("tgi_queue_size", milli=5000),),
    "triton": (_mean("nv_inference_pending_request_count", milli=5000),),
    "ray-serve": (_mean("ray_serve_deployment_queued_queries", milli=5000),),
    "llamacpp": (_mean("llamacpp:requests_deferred", milli=1000),),
}
