"""Translates `metrics` to `core.metric_spec` values: which target field applies, and its value in thousandths."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.api import first_byte_queries, metrics, presets
from beamlit_controller.api.histograms import HistogramQuantile
from beamlit_controller.api.metrics import MetricTarget
from beamlit_controller.api.problems import Notice
from beamlit_controller.core import metric_spec, quantity
from beamlit_controller.core.metric_spec import AverageValue, Utilization, Value


def metric(given: metrics.MetricSpec) -> metric_spec.MetricSpec:
    """Translate a validated MetricSpec."""
    if given.resource:
        return metric_spec.ResourceMetric(given.resource.name, _per_pod(given.resource.target))
    if given.container_resource:
        source = given.container_resource
        return metric_spec.ContainerResourceMetric(source.name, source.container, _per_pod(source.target))
    if given.pods:
        name, chosen = given.pods.metric.name, given.pods.metric.aggregation
        aggregation = metric_spec.Aggregation(chosen) if chosen else presets.aggregation(name)
        target = AverageValue(_milli(given.pods.target.average_value))
        histogram = _quantile(given.pods.metric.histogram)
        identifier, (waiting, slots) = _identifier(given.pods.metric), presets.queue(name)
        return metric_spec.PodsMetric(
            identifier,
            target,
            aggregation,
            quantile=histogram,
            waiting=waiting and histogram is None,
            slots=slots,
            first_byte=_first_byte(identifier, histogram),
        )
    if given.object:
        reference = given.object.described_object
        described = metric_spec.ObjectReference(reference.api_version or "v1", reference.kind, reference.name)
        identifier = _identifier(given.object.metric)
        first_byte = first_byte_queries.of_name(identifier.name, identifier.selector.match_labels)
        return metric_spec.ObjectMetric(identifier, described, _by_type(given.object.target), first_byte)
    if given.external:
        identifier = _identifier(given.external.metric)
        first_byte = first_byte_queries.of_query(identifier.name, identifier.selector.match_labels)
        return metric_spec.ExternalMetric(identifier, _total(given.external.chosen_target), first_byte)
    if given.gateway:
        figure = metric_spec.GatewayFigure(given.gateway.metric.name)
        return metric_spec.GatewayMetric(figure, _total(given.gateway.target))
    raise AssertionError("a checked MetricSpec has the member of its type")


def field(given: metrics.MetricSpec) -> str:
    """Return the target field that applies, with its path below the metric."""
    return f"{_target(given)[0]}.{_counting(metric(given).target)}"


def notices(given: metrics.MetricSpec, field: str) -> Iterator[Notice]:
    """Yield notices about targets that are rounded, or target fields that have no effect."""
    path, target = _target(given)
    counts = _counting(metric(given).target)
    for name, text in (("value", target.value), ("averageValue", target.average_value)):
        if text is not None and name == counts:
            yield from _rounded(f"{field}.{path}.{name}", text)
        elif text is not None:
            yield Notice(f"{field}.{path}.{name}", f"ignored: {counts} takes precedence")
    if target.average_utilization is not None and counts != "averageUtilization":
        yield Notice(f"{field}.{path}.averageUtilization", f"ignored: {counts} takes precedence")


def _quantile(given: HistogramQuantile | None) -> metric_spec.Quantile | None:
    if given is None:
        return None
    return metric_spec.Quantile(_milli(given.quantile), timedelta(seconds=given.window_seconds))


def _first_byte(
    identifier: metric_spec.SeriesSelector, histogram: metric_spec.Quantile | None
) -> metric_spec.FirstByte | None:
    known = first_byte_queries.of_name(identifier.name, identifier.selector.match_labels)
    return replace(known, quantile=Fraction(histogram.milli, 1000)) if known and histogram else known


def _per_pod(target: MetricTarget) -> Utilization | AverageValue:
    """Take averageValue if set, else averageUtilization; `type` is ignored, as in the HPA."""
    if target.average_value is not None:
        return AverageValue(_milli(target.average_value))
    return Utilization(target.average_utilization or 0)


def _by_type(target: MetricTarget) -> Value | AverageValue:
    return Value(_milli(target.value)) if target.type == "Value" else AverageValue(_milli(target.average_value))


def _total(target: MetricTarget) -> Value | AverageValue:
    """Take averageValue if set, else value; `type` is ignored, as in the HPA."""
    if target.average_value is not None:
        return AverageValue(_milli(target.average_value))
    return Value(_milli(target.value))


def _milli(text: str | None) -> int:
    return quantity.parse(text or "0").milli


def _counting(target: metric_spec.Target) -> str:
    match target:
        case Utilization():
            return "averageUtilization"
        case AverageValue():
            return "averageValue"
        case Value():
            return "value"


def _rounded(field: str, text: str) -> Iterator[Notice]:
    exact = quantity.parse(text)
    if exact.nano != exact.milli * 10**6:
        yield Notice(field, f"{text} has more than three decimals; rounded to {quantity.format_milli(exact.milli)}")


def _target(given: metrics.MetricSpec) -> tuple[str, MetricTarget]:
    """Return the target and its path below the metric."""
    if given.external:
        beside = given.external.target is not None
        return "external.target" if beside else "external.metric.target", given.external.chosen_target
    for name, source in (
        ("resource", given.resource),
        ("containerResource", given.container_resource),
        ("pods", given.pods),
        ("object", given.object),
        ("gateway", given.gateway),
    ):
        if source:
            return f"{name}.target", source.target
    raise AssertionError("a checked MetricSpec has the member of its type")


def _identifier(given: metrics.MetricIdentifier | metrics.ExternalMetricIdentifier) -> metric_spec.SeriesSelector:
    return metric_spec.SeriesSelector(
        given.name, _selector(given.selector) if given.selector else metric_spec.Selector()
    )


def _selector(given: metrics.LabelSelector) -> metric_spec.Selector:
    return metric_spec.Selector(
        tuple(sorted(given.match_labels.items())),
        tuple(
            metric_spec.Requirement(each.key, metric_spec.Operator(each.operator), tuple(each.values))
            for each in given.match_expressions
        ),
    )
