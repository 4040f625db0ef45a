"""The Prometheus metrics of a model's requests in the last minute: rates per side, reasons, requests in flight."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from beamlit_controller.core import traffic_summary
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.traffic_summary import TrafficSummary
from beamlit_controller.telemetry.exposition import MODEL_LABELS

Row = tuple[ModelKey, Cycle, Minute | None]


def series(rows: Iterable[Row]) -> Iterator[Metric]:
    """Create the series; unknown values have none."""
    known = list(rows)
    summaries = [
        ((key.namespace, key.name), traffic_summary.summarize(seen)) for key, _, seen in known if seen is not None
    ]
    return iter(
        (
            _rates(summaries),
            _left(summaries),
            _unanswered(summaries),
            _first_bytes(summaries),
            _in_flight(summaries),
            _caps(known),
            _limits(known),
        )
    )


def _rates(summaries: list[tuple[tuple[str, str], TrafficSummary]]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_requests_per_second",
        "Requests per second answered by each side in the last minute.",
        labels=(*MODEL_LABELS, "side"),
    )
    for labels, summary in summaries:
        family.add_metric((*labels, "local"), summary.local)
        family.add_metric((*labels, "remote"), summary.remote)
    return family


def _left(summaries: list[tuple[tuple[str, str], TrafficSummary]]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_sent_ratio",
        "Fraction of all requests of the last minute that the remote answered, by reason.",
        labels=(*MODEL_LABELS, "reason"),
    )
    for labels, summary in summaries:
        for why, part in summary.left:
            family.add_metric((*labels, why), part)
    return family


def _unanswered(summaries: list[tuple[tuple[str, str], TrafficSummary]]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_unanswered_ratio",
        "Fraction of all requests of the last minute that neither side answered; the gateway's own error was returned.",
        labels=MODEL_LABELS,
    )
    for labels, summary in summaries:
        family.add_metric(labels, summary.unanswered)
    return family


def _first_bytes(summaries: list[tuple[tuple[str, str], TrafficSummary]]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_first_byte_seconds",
        "Mean time to the first byte of the response body in the last minute, per side; local-only requests excluded.",
        labels=(*MODEL_LABELS, "side"),
    )
    for labels, summary in summaries:
        for side, took in (("local", summary.local_first_byte_ms), ("remote", summary.remote_first_byte_ms)):
            if took is not None:
                family.add_metric((*labels, side), took / 1000)
    return family


def _in_flight(summaries: list[tuple[tuple[str, str], TrafficSummary]]) -> Metric:
    family = GaugeMetricFamily("beamlit_local_in_flight", "Local requests in flight.", labels=MODEL_LABELS)
    for labels, summary in summaries:
        family.add_metric(labels, summary.in_flight)
    return family


def _caps(rows: list[Row]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_in_flight_cap",
        "In Adaptive mode: maximum local requests in flight per ready replica; absent while there is no limit.",
        labels=MODEL_LABELS,
    )
    for key, cycle, _ in rows:
        if cycle.decision.cap is not None:
            family.add_metric((key.namespace, key.name), float(cycle.decision.cap))
    return family


def _limits(rows: list[Row]) -> Metric:
    family = GaugeMetricFamily(
        "beamlit_local_in_flight_limit",
        "Maximum local requests in flight over all ready servers; absent while there is no limit.",
        labels=MODEL_LABELS,
    )
    for key, cycle, _ in rows:
        most = traffic_summary.limit(cycle)
        if most is not None:
            family.add_metric((key.namespace, key.name), float(most))
    return family
