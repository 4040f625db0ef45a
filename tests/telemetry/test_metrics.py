"""Our own metrics, read back by the parsers of Prometheus' own library."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import PodSamples, Signals
from beamlit_controller.core.spec import Behavior, Mode, ModelKey, Overflow
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.metrics import LONGEST_LABEL, MetricsSink
from builders import CPU, NOW, QUEUE, RUNNING, missing, pod_samples, sample, signals, spec

KEY = ModelKey("models", "llama")
MODEL = {"namespace": "models", "name": "llama"}
QUEUE_LABELS = MODEL | {"metric": "queue", "index": "0"}
SECOND = timedelta(seconds=1)


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_format(text) for sample in family.samples]

    def get(self, name: str, labels: Mapping[str, str]) -> float | None:
        found = [sample.value for sample in self.samples if (sample.name, sample.labels) == (name, dict(labels))]
        assert len(found) <= 1
        return found[0] if found else None

    def names(self, **labels: str) -> set[str]:
        return {sample.name for sample in self.samples if labels.items() <= sample.labels.items()}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def sink(registry: CollectorRegistry) -> MetricsSink:
    return MetricsSink(registry)


async def scrape(registry: CollectorRegistry) -> Scraped:
    body, _ = await Exposition(registry).render("")
    return Scraped(body.decode())


def one_round(read: Signals, previous: Decision | None = None, **changes: object) -> Cycle:
    return cycle.run(spec(**changes), read, previous=previous, now=read.at, took=SECOND / 100, lag=SECOND / 1000)


async def test_a_round_is_shown_as_percentage_ratios_values_and_targets(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    sink.record(one_round(signals(value="12.5"), behavior=Behavior(percentage=50)))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_models", {}) == 1
    assert scraped.get("beamlit_offload_percentage", MODEL) == 50
    assert scraped.get("beamlit_highest_metric_ratio", MODEL) == 1.25
    assert scraped.get("beamlit_demand_ratio", MODEL) == 1.25
    assert scraped.get("beamlit_demand_replicas", MODEL) == 3.75
    assert scraped.get("beamlit_metric_value", QUEUE_LABELS) == 12.5
    assert scraped.get("beamlit_metric_target", QUEUE_LABELS) == 10
    assert scraped.get("beamlit_metric_ratio", QUEUE_LABELS) == 1.25


async def test_what_is_offloaded_is_added_to_the_value_that_an_autoscaler_sees(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    engaged = one_round(signals(value=20), behavior=Behavior(percentage=50))
    later = NOW + timedelta(minutes=2)
    sink.record(one_round(signals(value=8, at=later), engaged.decision, behavior=Behavior(percentage=50)))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_metric_value", QUEUE_LABELS) == 8
    assert scraped.get("beamlit_metric_demand", QUEUE_LABELS) == 16
    assert scraped.get("beamlit_demand_ratio", MODEL) == 1.6


async def test_demand_under_a_cap_counts_what_was_sent_away(registry: CollectorRegistry, sink: MetricsSink) -> None:
    """The cap keeps the queue empty, while half of the requests leave: an autoscaler has to see twice what local bears."""
    adaptive = Behavior(percentage=100, mode=Mode.ADAPTIVE)
    full = Overflow(max_in_flight_per_replica=4)
    flow = Flow(NOW - 15 * SECOND, NOW, in_flight=12, most_in_flight=12, served=30, sent=30, overflowed=30)
    sink.record(one_round(replace(signals(value=0), flow=flow), behavior=adaptive, overflow=full))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_metric_demand", QUEUE_LABELS) == 20
    assert scraped.get("beamlit_demand_ratio", MODEL) == 2
    assert scraped.get("beamlit_demand_replicas", MODEL) == 6
    assert scraped.get("beamlit_local_in_flight_limit", MODEL) == 12


async def test_demand_counts_a_share_that_leaves_for_lack_of_the_gateways_counts(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    """An autoscaler would remove replicas as soon as the share relieves them."""
    adaptive = Behavior(percentage=50, mode=Mode.ADAPTIVE)
    previous = None
    for seconds, value in ((0, 20), (35, 20), (120, 8)):
        read = replace(signals(value=value, at=NOW + seconds * SECOND), flow=missing())
        record = one_round(read, previous, behavior=adaptive)
        previous = record.decision
        sink.record(record)

    scraped = await scrape(registry)

    assert scraped.get("beamlit_offload_percentage", MODEL) == 50
    assert scraped.get("beamlit_metric_demand", QUEUE_LABELS) == 16
    assert scraped.get("beamlit_demand_ratio", MODEL) == 1.6


async def test_values_are_in_the_unit_of_their_target(registry: CollectorRegistry, sink: MetricsSink) -> None:
    sink.record(one_round(signals(pod_samples("0.7", "0.8", "0.6"), pod_samples(1, 2, 3)), metrics=(CPU, RUNNING)))

    scraped = await scrape(registry)

    cpu = MODEL | {"metric": "cpu", "index": "0"}
    running = MODEL | {"metric": "vllm:num_requests_running", "index": "1"}
    assert (scraped.get("beamlit_metric_value", cpu), scraped.get("beamlit_metric_target", cpu)) == (70, 50)
    assert (scraped.get("beamlit_metric_value", running), scraped.get("beamlit_metric_target", running)) == (2, 10)


async def test_a_metric_that_can_not_be_read_has_no_series_and_counts_as_a_source_error(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    metrics = (QUEUE, CPU)
    first = one_round(signals(sample(5), pod_samples("0.1")), metrics=metrics)
    sink.record(first)
    assert (await scrape(registry)).get("beamlit_metric_value", QUEUE_LABELS) == 5

    sink.record(one_round(signals(missing(), pod_samples("0.1")), first.decision, metrics=metrics))

    scraped = await scrape(registry)
    assert scraped.names(metric="queue") == set()
    assert scraped.names(metric="cpu") == {
        "beamlit_metric_value",
        "beamlit_metric_target",
        "beamlit_metric_ratio",
        "beamlit_metric_demand",
    }
    assert scraped.get("beamlit_highest_metric_ratio", MODEL) == 0.2
    assert scraped.get("beamlit_demand_ratio", MODEL) is None
    assert scraped.get("beamlit_demand_replicas", MODEL) is None
    assert scraped.get("beamlit_source_errors_total", MODEL | {"reason": "ConnectionFailed"}) == 1


async def test_nothing_read_leaves_only_the_percentage(registry: CollectorRegistry, sink: MetricsSink) -> None:
    sink.record(one_round(signals(value=20)))
    sink.record(one_round(signals(missing(), at=NOW + SECOND), one_round(signals(value=20)).decision))

    scraped = await scrape(registry)

    gauges = {name for name in scraped.names(**MODEL) if not name.endswith("_total")}
    assert gauges == {"beamlit_offload_percentage"}
    assert scraped.get("beamlit_offload_percentage", MODEL) == 100


async def test_pods_that_could_not_be_read_count_each_while_their_metric_keeps_its_value(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    failures = (("worker-1", missing()), ("worker-2", missing(Reason.TIMED_OUT)))
    sink.record(one_round(signals(PodSamples(pod_samples(4).samples, failures)), metrics=(RUNNING,)))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_source_errors_total", MODEL | {"reason": "ConnectionFailed"}) == 1
    assert scraped.get("beamlit_source_errors_total", MODEL | {"reason": "TimedOut"}) == 1
    assert scraped.names(metric="vllm:num_requests_running") >= {"beamlit_metric_value"}


async def test_a_failed_round_takes_the_old_readings_away_and_is_counted(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    sink.record(one_round(signals(value=20)))
    sink.failed(KEY, RuntimeError("unexpected"))

    scraped = await scrape(registry)
    assert scraped.names(metric="queue") == set()
    assert scraped.get("beamlit_highest_metric_ratio", MODEL) is None
    assert scraped.get("beamlit_offload_percentage", MODEL) == 100
    assert scraped.get("beamlit_rounds_failed_total", MODEL) == 1

    sink.record(one_round(signals(value=20), one_round(signals(value=20)).decision))
    assert (await scrape(registry)).get("beamlit_metric_value", QUEUE_LABELS) == 20


async def test_a_forgotten_model_has_no_series_and_others_keep_theirs(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    other = ModelKey("elsewhere", "llama")
    for key in (KEY, other):
        sink.record(one_round(signals(value=20), key=key))
        sink.record(one_round(signals(missing()), key=key))
        sink.failed(key, RuntimeError("unexpected"))

    sink.forget(KEY)

    scraped = await scrape(registry)
    assert scraped.names(namespace="models") == set()
    assert scraped.names(namespace="elsewhere", name="llama") >= {
        "beamlit_offload_percentage",
        "beamlit_decision_changes_total",
        "beamlit_source_errors_total",
        "beamlit_rounds_failed_total",
    }


async def test_long_queries_are_cut_and_told_apart_by_their_index(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    query = f'sum(rate(requests{{path="{"x" * 5000}"}}[1m]))'
    metrics = tuple(ExternalMetric(SeriesSelector(f"{query} > {n}"), Value(1000)) for n in range(2))
    sink.record(one_round(signals(sample(1), sample(2)), metrics=metrics))

    scraped = await scrape(registry)

    values = [sample for sample in scraped.samples if sample.name == "beamlit_metric_value"]
    assert {sample.labels["index"]: sample.value for sample in values} == {"0": 1, "1": 2}
    assert {len(sample.labels["metric"]) for sample in values} == {LONGEST_LABEL}


async def test_changes_are_counted_by_their_new_reason_and_steady_rounds_are_not(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    previous = None
    for second, value in enumerate((20, 20, 20, 5, 5)):
        at = NOW + second * SECOND
        record = one_round(signals(value=value, at=at, window=timedelta(0)), previous)
        sink.record(record)
        previous = record.decision

    scraped = await scrape(registry)

    counts = {
        sample.labels["reason"]: sample.value
        for sample in scraped.samples
        if sample.name == "beamlit_decision_changes_total"
    }
    assert counts == {"MetricAboveTarget": 1, "DemandUnknown": 1}


async def test_duration_and_lag_of_rounds_are_histograms_over_all_models(
    registry: CollectorRegistry, sink: MetricsSink
) -> None:
    for name in ("a", "b", "c"):
        sink.record(one_round(signals(), key=ModelKey("models", name)))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_evaluation_duration_seconds_count", {}) == 3
    assert scraped.get("beamlit_evaluation_duration_seconds_sum", {}) == pytest.approx(0.03)
    assert scraped.get("beamlit_evaluation_duration_seconds_bucket", {"le": "0.005"}) == 0
    assert scraped.get("beamlit_evaluation_duration_seconds_bucket", {"le": "0.01"}) == 3
    assert scraped.get("beamlit_evaluation_lag_seconds_sum", {}) == pytest.approx(0.003)


async def test_figures_of_others_are_asked_for_at_every_scrape(registry: CollectorRegistry) -> None:
    restarts = {KEY: 2, ModelKey("models", "mistral"): 1}
    connected = 2
    exposition = Exposition(registry)
    exposition.gauge("beamlit_gateways_connected", "Open streams.", lambda: connected)
    exposition.counter("beamlit_gateway_restarts", "Restarts.", lambda: restarts)

    first = Scraped((await exposition.render(""))[0].decode())
    connected = 1
    del restarts[KEY]
    second = Scraped((await exposition.render(""))[0].decode())

    assert (first.get("beamlit_gateways_connected", {}), second.get("beamlit_gateways_connected", {})) == (2, 1)
    assert first.get("beamlit_gateway_restarts_total", MODEL) == 2
    assert second.get("beamlit_gateway_restarts_total", MODEL) is None
    assert second.get("beamlit_gateway_restarts_total", MODEL | {"name": "mistral"}) == 1


async def test_open_metrics_is_spoken_to_who_asks_for_it(registry: CollectorRegistry, sink: MetricsSink) -> None:
    sink.record(one_round(signals(value=20)))

    body, content_type = await Exposition(registry).render(
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in openmetrics(body.decode())}
    assert families["beamlit_decision_changes"].type == "counter"
    assert families["beamlit_offload_percentage"].samples[0].value == 100


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/openmetrics-text;version=none", "x" * 9000])
async def test_whatever_else_is_asked_for_gets_the_text_format(
    registry: CollectorRegistry, sink: MetricsSink, accept: str
) -> None:
    sink.record(one_round(signals(value=20)))

    body, content_type = await Exposition(registry).render(accept)

    assert content_type.startswith("text/plain; version=0.0.4")
    assert Scraped(body.decode()).get("beamlit_offload_percentage", MODEL) == 100


async def test_what_came_of_the_requests_is_told_per_side_and_by_why_they_left(registry: CollectorRegistry) -> None:
    seen = Minute(
        timedelta(seconds=50),
        RequestCounters(
            in_flight=3, local=65, overflow=25, unanswered=10, remote_first_bytes=5, remote_first_byte_ms=10_000
        ),
    )
    sink = MetricsSink(registry, lambda _: seen)
    sink.record(one_round(signals(value=2)))

    scraped = await scrape(registry)

    assert scraped.get("beamlit_requests_per_second", MODEL | {"side": "local"}) == 1.3
    assert scraped.get("beamlit_requests_per_second", MODEL | {"side": "remote"}) == 0.5
    assert scraped.get("beamlit_sent_ratio", MODEL | {"reason": "overflow"}) == 0.25
    assert scraped.get("beamlit_unanswered_ratio", MODEL) == 0.1
    assert scraped.get("beamlit_first_byte_seconds", MODEL | {"side": "remote"}) == 2
    assert scraped.get("beamlit_first_byte_seconds", MODEL | {"side": "local"}) is None
    assert scraped.get("beamlit_local_in_flight", MODEL) == 3
    assert scraped.get("beamlit_local_in_flight_limit", MODEL) is None
