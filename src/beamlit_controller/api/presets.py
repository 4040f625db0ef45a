"""Metrics, targets and status codes of known model servers, so that a user can name the server instead of writing them."""

from collections.abc import Mapping
from typing import Final

from beamlit_controller.core.metric_spec import (
    Aggregation,
    AverageValue,
    MetricSpec,
    Operator,
    PodsMetric,
    Requirement,
    Selector,
    SeriesSelector,
    SlotsPage,
)

_ALL: Final = Selector()

# SGLang's --enable-priority-scheduling adds a series per priority beside the total, whose priority is empty.
_TOTAL_OF_PRIORITIES: Final = Selector((), (Requirement("priority", Operator.DOES_NOT_EXIST),))


def metrics(preset: str, written: tuple[MetricSpec, ...]) -> tuple[MetricSpec, ...]:
    """Return the preset's metrics, except those for which the user wrote a target.

    Raises KeyError if there is no such preset.
    """
    names = {metric.metric.name for metric in written if isinstance(metric, PodsMetric)}
    return tuple(metric for metric in PRESETS[preset] if not names & set(_names(metric)))


def aggregation(name: str) -> Aggregation:
    """Return the default aggregation of a metric: that of the preset with a metric of this name, otherwise the sum."""
    known = (each for preset in PRESETS.values() for each in preset if name in _names(each))
    return next((each.aggregation for each in known), Aggregation.SUM)


def queue(name: str) -> tuple[bool, SlotsPage | None]:
    """Return whether a metric of this name counts waiting requests, and where its server reports its slots."""
    known = (each for preset in PRESETS.values() for each in preset if name in _names(each))
    return next(((each.waiting, each.slots) for each in known), (False, None))


def is_added_up_fraction(name: str) -> bool:
    """Return whether a metric is a fraction whose series are summed, by its name."""
    return is_fraction(name) and aggregation(name) is Aggregation.SUM


def is_fraction(name: str) -> bool:
    """Return whether a metric is a fraction or a percentage, by its name."""
    return name.lower().endswith(_FRACTIONS)


def _names(metric: PodsMetric) -> tuple[str, ...]:
    return tuple(each.name for each in (metric.metric, *metric.alternatives))


def _queue(*names: str, milli: int, slots: SlotsPage | None = None) -> PodsMetric:
    """Return a queue metric with one target per server, for the requests waiting in all its engines."""
    return _metric(names, milli, Aggregation.SUM, waiting=True, slots=slots)


def _engine_queue(*names: str, milli: int, only: Selector = _ALL) -> PodsMetric:
    """Return a queue metric with one target per engine of the server."""
    return _metric(names, milli, Aggregation.MEAN, only, waiting=True)


def _mean(*names: str, milli: int) -> PodsMetric:
    """Return a fraction metric with one target per engine of the server."""
    return _metric(names, milli, Aggregation.MEAN)


def _metric(
    names: tuple[str, ...],
    milli: int,
    together: Aggregation,
    only: Selector = _ALL,
    *,
    waiting: bool = False,
    slots: SlotsPage | None = None,
) -> PodsMetric:
    first, *others = (SeriesSelector(name, only) for name in names)
    return PodsMetric(first, AverageValue(milli), together, tuple(others), optional=True, waiting=waiting, slots=slots)


def _labelled(name: str, label: str, value: str, *, milli: int) -> PodsMetric:
    """Return a metric whose series are selected by a label."""
    identifier = SeriesSelector(name, Selector(((label, value),)))
    return PodsMetric(identifier, AverageValue(milli), Aggregation.MEAN, optional=True)


# Names as in the servers' own code, the newest first. A queue shows saturation first. 5 waiting requests per engine and
# 80 % of the KV cache are the defaults of common inference routers and autoscalers.
PRESETS: Final[Mapping[str, tuple[PodsMetric, ...]]] = {
    "vllm": (
        _engine_queue("vllm:num_requests_waiting", milli=5000),
        _mean("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", milli=800),
    ),
    "sglang": (
        _engine_queue("sglang:num_queue_reqs", "sglang_num_queue_reqs", milli=5000, only=_TOTAL_OF_PRIORITIES),
        _mean("sglang:token_usage", "sglang_token_usage", milli=800),
    ),
    "tgi": (_queue("tgi_queue_size", milli=5000),),
    "tei": (_queue("te_queue_size", milli=5000),),
    "triton": (_queue("nv_inference_pending_request_count", milli=5000),),
    "triton-trtllm": (
        _labelled("nv_trt_llm_request_metrics", "request_type", "waiting", milli=5000),
        _labelled("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "fraction", milli=800),
    ),
    "trtllm": (
        _engine_queue("trtllm_num_requests_waiting", milli=5000),
        _mean("trtllm_kv_cache_utilization", milli=800),
    ),
    "nim": (
        _engine_queue("num_requests_waiting", "vllm:num_requests_waiting", milli=5000),
        _mean("gpu_cache_usage_perc", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", milli=800),
    ),
    "lmdeploy": (
        _engine_queue("lmdeploy:num_requests_waiting", milli=5000),
        _mean("lmdeploy:gpu_cache_usage_perc", milli=800),
    ),
    "ray-serve": (
        _metric(("ray_serve_deployment_queued_queries", "ray_serve_router_num_queued_requests"), 5000, Aggregation.SUM),
    ),
    "llamacpp": (_queue("llamacpp:requests_deferred", milli=1000, slots=SlotsPage("/props", "total_slots")),),
    "ollama": (),
    "dcgm": (_mean("DCGM_FI_DEV_GPU_UTIL", milli=95000),),
}

WITHOUT_METRICS: Final = tuple(name for name, measured in PRESETS.items() if not measured)

GAUGES: Final = frozenset(name for measured in PRESETS.values() for metric in measured for name in _names(metric))
"""Names of the presets' metrics, none of which is a counter."""

# The status with which a server rejects a request instead of queueing it. By default many queue without limit.
FULL: Final[Mapping[str, tuple[int, ...]]] = {
    "vllm": (503,),
    "sglang": (503,),
    "tgi": (429,),
    "tei": (429,),
    "triton": (503,),
    "triton-trtllm": (503,),
    "trtllm": (503,),
    "nim": (503,),
    "lmdeploy": (503,),
    "ray-serve": (429, 503),
    "llamacpp": (503,),
    "ollama": (503,),
}

_FRACTIONS: Final = ("_perc", "_percent", "_percentage", "_ratio", "_usage", "_utilization", "_util", "_fraction")
