"""`metrics`: MetricSpec of autoscaling/v2, and what is our own about it."""

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import metric_spec, wording
from beamlit_controller.core.metric_spec import AverageValue, FirstByte, MetricSpec, Utilization, Value

Mistakes = Callable[..., dict[str, str]]
Read = Callable[..., Parsed]


def resource(**target: object) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def container(**target: object) -> dict[str, Any]:
    source = {"name": "memory", "container": "main", "target": target}
    return {"type": "ContainerResource", "containerResource": source}


def pods(**target: object) -> dict[str, Any]:
    return {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": target}}


def object_metric(**target: object) -> dict[str, Any]:
    described = {"kind": "Service", "name": "llm"}
    return {"type": "Object", "object": {"describedObject": described, "metric": {"name": "q"}, "target": target}}


def external(name: str = "q", selector: object = None, **target: object) -> dict[str, Any]:
    identifier = {"name": name, **({"selector": selector} if selector is not None else {})}
    return {"type": "External", "external": {"metric": identifier, "target": target}}


def gateway(name: str = "local_requests_in_flight", **target: object) -> dict[str, Any]:
    return {"type": "Gateway", "gateway": {"metric": {"name": name}, "target": target}}


def quantile(name: str = "ttft_seconds", quantile: object = "0.95", **more: object) -> dict[str, Any]:
    identifier = {"name": name, "histogram": {"quantile": quantile, "windowSeconds": 30}, **more}
    return {"type": "Pods", "pods": {"metric": identifier, "target": {"type": "AverageValue", "averageValue": 2}}}


SCRAPED = {"metricServiceRef": {"name": "llama", "targetPort": 8000}}


def test_a_histogram_is_read_as_a_quantile_over_a_window(read: Read) -> None:
    metric = only(read({"metrics": [quantile()]}, spec=SCRAPED))

    assert isinstance(metric, metric_spec.PodsMetric)
    assert metric.quantile == metric_spec.Quantile(950, timedelta(seconds=30))
    assert wording.name(metric) == "p95 of ttft_seconds"


def described(name: str) -> dict[str, Any]:
    metric = object_metric(type="Value", value=2)
    metric["object"]["metric"]["name"] = name
    return metric


@pytest.mark.parametrize(
    ("metric", "known"),
    [
        (quantile("vllm:time_to_first_token_seconds"), FirstByte(Fraction(1), Fraction(95, 100))),
        (quantile("vllm:e2e_request_latency_seconds"), None),
        (described("chat_ttft_milliseconds"), FirstByte(Fraction(1, 1000))),
        (described("chat_queue_length"), None),
        (external("chat_ttft_seconds", type="Value", value=2), FirstByte(Fraction(1))),
        (external("chat_queue_length", type="Value", value=2), None),
    ],
)
def test_a_time_to_the_first_token_is_known_by_its_name(
    read: Read, metric: dict[str, Any], known: FirstByte | None
) -> None:
    translated = only(read({"metrics": [metric]}, spec=SCRAPED))

    assert isinstance(translated, metric_spec.PodsMetric | metric_spec.ObjectMetric | metric_spec.ExternalMetric)
    assert translated.first_byte == known


@pytest.mark.parametrize(
    ("metric", "spec", "field", "part"),
    [
        (quantile(), {}, "histogram", "needs spec.metricServiceRef"),
        (quantile("ttft_seconds_bucket"), SCRAPED, "name", "without _bucket"),
        (quantile("ttft_seconds_count"), SCRAPED, "name", "without _count"),
        (quantile(aggregation="Max"), SCRAPED, "aggregation", "may not be set together with histogram"),
        (quantile(quantile=95), SCRAPED, "histogram.quantile", "between 0 and 1"),
        (quantile(quantile=1), SCRAPED, "histogram.quantile", "between 0 and 1"),
        (quantile(quantile="p95"), SCRAPED, "histogram.quantile", "expected a quantity"),
    ],
)
def test_a_histogram_that_can_not_be_read_is_a_mistake(
    mistakes: Mistakes, metric: dict[str, Any], spec: dict[str, Any], field: str, part: str
) -> None:
    found = mistakes({"metrics": [metric]}, spec=spec)

    assert list(found) == [f"metrics[0].pods.metric.{field}"]
    assert part in found[f"metrics[0].pods.metric.{field}"]


def only(parsed: Parsed) -> MetricSpec:
    assert not parsed.problems, parsed.problems
    (metric,) = parsed.specs[0].metrics
    return metric


@pytest.mark.parametrize(
    ("metric", "target"),
    [
        (resource(type="Utilization", averageUtilization=50), Utilization(50)),
        (resource(type="Utilization", averageValue="500m"), AverageValue(500)),
        (resource(type="Value", averageUtilization=80, value="1"), Utilization(80)),
        (container(type="AverageValue", averageValue="1Gi"), AverageValue(2**30 * 1000)),
        (pods(type="AverageValue", averageValue=4), AverageValue(4000)),
        (pods(type="Value", averageValue="4", value="9"), AverageValue(4000)),
        (object_metric(type="Value", value="2k"), Value(2_000_000)),
        (object_metric(type="Value", value="1", averageValue="2"), Value(1000)),
        (object_metric(type="AverageValue", value="1", averageValue="2"), AverageValue(2000)),
        (external(type="Value", value=10), Value(10_000)),
        (external(type="Utilization", value="10"), Value(10_000)),
        (external(type="Value", averageValue=0.5), AverageValue(500)),
        (gateway(type="AverageValue", averageValue=4), AverageValue(4000)),
        (gateway(type="Value", value=4), Value(4000)),
        (gateway("local_time_to_first_byte_seconds", type="Value", value="1500m"), Value(1500)),
    ],
)
def test_the_target_field_that_counts_is_the_one_that_the_hpa_looks_at(
    read: Read, metric: dict[str, Any], target: metric_spec.Target
) -> None:
    assert only(read({"metrics": [metric]})).target == target


def test_a_utilization_where_only_values_count_is_told(read: Read) -> None:
    (notice,) = read({"metrics": [pods(type="AverageValue", averageValue=4, averageUtilization=3)]}).notices

    assert notice.field == "spec.offloadingConfig.metrics[0].pods.target.averageUtilization"
    assert notice.message == "ignored: averageValue takes precedence"


def test_fields_of_a_target_that_are_not_looked_at_are_told(read: Read) -> None:
    parsed = read({"metrics": [resource(type="Value", averageUtilization=80, value="1")]})

    assert [(each.field, each.message) for each in parsed.notices] == [
        (
            "spec.offloadingConfig.metrics[0].resource.target.value",
            "ignored: averageUtilization takes precedence",
        )
    ]


@pytest.mark.parametrize(
    ("metric", "field", "part"),
    [
        (resource(averageUtilization=50), "resource.target.type", "required"),
        (resource(type="Utilization"), "resource.target.averageUtilization", "required"),
        (
            resource(type="Utilization", averageUtilization=1, averageValue=1),
            "resource.target.averageValue",
            "may not set both",
        ),
        (resource(type="Utilization", averageUtilization=0), "resource.target.averageUtilization", "at least 1"),
        (resource(type="Utilization", averageUtilization="50"), "resource.target.averageUtilization", "whole number"),
        (resource(type="AverageValue", averageValue="-1"), "resource.target.averageValue", "must be positive"),
        (resource(type="AverageValue", averageValue="5 Gi"), "resource.target.averageValue", "expected a quantity"),
        (pods(type="Value", value=3), "pods.target.averageValue", "needs averageValue, got value"),
        (
            resource(type="Value", value="1"),
            "resource.target.averageUtilization",
            "needs averageValue or averageUtilization, got value",
        ),
        (
            external(type="Utilization", averageUtilization=50),
            "external.target.averageValue",
            "needs value or averageValue, got averageUtilization",
        ),
        (object_metric(type="Value", averageValue=3), "object.target.value", "required for an Object metric"),
        (object_metric(type="AverageValue", value=3), "object.target.averageValue", "required for an Object metric"),
        (object_metric(type="Utilization", value=3), "object.target.type", "expected Value or AverageValue"),
        (external(type="Value"), "external.target.averageValue", "required"),
        (external(type="Value", value=1, averageValue=1), "external.target.value", "may not set both"),
        (external("", type="Value", value=1), "external.metric.name", "required"),
        (external(type="Value", value=float("inf")), "external.target.value", "expected a quantity"),
        (
            external(selector={"matchLabels": {"a": 1}}, type="Value", value=1),
            "external.metric.selector.matchLabels.a",
            "text",
        ),
        (
            external(selector={"matchExpressions": [{"key": "a", "operator": "In"}]}, type="Value", value=1),
            "external.metric.selector.matchExpressions[0].values",
            "required with operator In",
        ),
        (
            external(
                selector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
                type="Value",
                value=1,
            ),
            "external.metric.selector.matchExpressions[0].values",
            "may not be set with operator Exists",
        ),
        (
            external(selector={"matchExpressions": [{"key": "a", "operator": "in"}]}, type="Value", value=1),
            "external.metric.selector.matchExpressions[0].operator",
            "did you mean In?",
        ),
        (external("..", type="Value", value=1), "external.metric.name", "may not be '..'"),
        (gateway("local_time_to_first_byte", type="Value", value=1), "gateway.metric.name", "did you mean"),
        (gateway("remote_requests_per_second", type="Value", value=1), "gateway.metric.name", "did you mean"),
        (
            gateway("local_time_to_first_byte_seconds", type="AverageValue", averageValue=1),
            "gateway.target.averageValue",
            "is a mean already",
        ),
        (gateway(type="Value"), "gateway.target.value", "required"),
        (gateway(type="Value", value=1, averageValue=1), "gateway.target.value", "may not set both"),
        ({"type": "Gateway"}, "gateway", "required with type Gateway"),
        ({"type": "Externl"}, "type", "did you mean External?"),
        ({"type": "Pods"}, "pods", "required with type Pods"),
        ({}, "type", "required"),
    ],
)
def test_mistakes_have_the_field_that_the_hpa_blames(
    mistakes: Mistakes, metric: dict[str, Any], field: str, part: str
) -> None:
    found = mistakes({"metrics": [metric]})

    assert list(found) == [f"metrics[0].{field}"]
    assert part in found[f"metrics[0].{field}"]


def test_the_target_of_an_external_metric_may_stand_below_metric(read: Read) -> None:
    metric = {"name": "q", "target": {"type": "Value", "value": 10}}

    assert only(read({"metrics": [{"type": "External", "external": {"metric": metric}}]})).target == Value(10_000)


def test_the_target_of_an_external_metric_may_not_stand_at_both_places(mistakes: Mistakes) -> None:
    target = {"type": "Value", "value": 10}
    metric = {"type": "External", "external": {"metric": {"name": "q", "target": target}, "target": target}}

    assert mistakes({"metrics": [metric]}) == {
        "metrics[0].external.metric.target": "may not be set together with external.target: write the target in one place"
    }


def test_a_mistaken_target_below_metric_is_blamed_there(mistakes: Mistakes) -> None:
    metric = {"type": "External", "external": {"metric": {"name": "q", "target": {"type": "Value"}}}}

    assert list(mistakes({"metrics": [metric]})) == ["metrics[0].external.metric.target.averageValue"]


QUERY = "sum(rate(http_requests_total{code=~'5..'}[1m]))\n  / 100 % 7"


def test_with_prometheus_the_name_may_be_any_query(read: Read, prometheus: Settings) -> None:
    metric = only(read({"metrics": [external(QUERY, type="Value", value=1)]}, settings=prometheus))

    assert isinstance(metric, metric_spec.ExternalMetric)
    assert metric.metric.name == QUERY


def test_without_prometheus_a_query_says_what_it_needs(mistakes: Mistakes) -> None:
    found = mistakes({"metrics": [external(QUERY, type="Value", value=1)]})

    assert "may not contain '('" in found["metrics[0].external.metric.name"]
    assert "config.metricInformer.type: prometheus" in found["metrics[0].external.metric.name"]


@pytest.mark.parametrize(
    "name",
    [
        "sum(queue)",
        'queue{a="b"}',
        "rate(x[1m])",
        "queue > 10",
        "a + b",
        "a/b",
        "100%",
        "..",
    ],
)
def test_the_kubernetes_informer_takes_no_query(mistakes: Mistakes, name: str) -> None:
    (message,) = mistakes({"metrics": [external(name, type="Value", value=1)]}).values()

    assert "config.metricInformer.type: prometheus" in message


@pytest.mark.parametrize(
    "name",
    [
        "s0-prometheus",
        "datadogmetric@default:nginx-requests",
        "pubsub.googleapis.com|subscription|num_undelivered_messages",
        "kubernetes.io|container|accelerator|duty_cycle",
        "vllm:num_requests_waiting",
        "http.server.active_requests",
    ],
)
def test_the_kubernetes_informer_takes_every_name_that_adapters_have(mistakes: Mistakes, name: str) -> None:
    assert not mistakes({"metrics": [external(name, type="Value", value=1)]})


# kubernetes/kubernetes#81976 and kubernetes-sigs/prometheus-adapter#364: the API server refuses the whole request.
NO_SELECTOR = {
    "a slash": {"matchLabels": {"model_name": "meta-llama/Llama-3.1-8B"}},
    "a blank": {"matchLabels": {"pool": "a b"}},
    "a colon": {"matchLabels": {"image": "vllm:latest"}},
    "a long value": {"matchLabels": {"a": "x" * 64}},
    "a dash at its end": {"matchLabels": {"a": "b-"}},
    "a strange label": {"matchLabels": {"a b": "c"}},
    "two slashes": {"matchLabels": {"a/b/c": "d"}},
    "an expression": {"matchExpressions": [{"key": "m", "operator": "In", "values": ["ok", "meta-llama/Llama"]}]},
    "an expression's label": {"matchExpressions": [{"key": "m:n", "operator": "Exists"}]},
}


@pytest.mark.parametrize("selector", NO_SELECTOR.values(), ids=NO_SELECTOR)
def test_a_metrics_api_takes_only_labels_of_kubernetes(
    mistakes: Mistakes, prometheus: Settings, selector: dict[str, Any]
) -> None:
    ours = pods(type="AverageValue", averageValue="1")
    ours["pods"]["metric"]["selector"] = selector
    external_one = external("q", selector, type="Value", value=1)
    straight = {"metricServiceRef": {"name": "a", "targetPort": 80}}

    assert all("the metrics API " in message for message in mistakes({"metrics": [external_one, ours]}).values())
    assert len(mistakes({"metrics": [external_one, ours]})) == 2
    assert not mistakes({"metrics": [external_one]}, settings=prometheus)
    assert not mistakes({"metrics": [ours]}, spec=straight)


def test_a_query_is_looked_at_where_prometheus_is_asked(read: Read, mistakes: Mistakes, prometheus: Settings) -> None:
    broken, told = external("sum(x", type="Value", value=1), external("sum(x) > 1", type="Value", value=1)

    parsed = read({"metrics": [told]}, settings=prometheus)

    assert "is not closed" in mistakes({"metrics": [broken]}, settings=prometheus)["metrics[0].external.metric.name"]
    assert not parsed.problems
    assert "is a filter" in parsed.notices[0].message
    assert parsed.notices[0].field == "spec.offloadingConfig.metrics[0].external.metric.name"


OUTDATED: dict[str, tuple[dict[str, Any], str]] = {
    "pods": ({"type": "Pods", "pods": {"metricName": "a", "targetAverageValue": "1k"}}, "target.averageValue"),
    "resource": (
        {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 50}},
        "averageUtilization",
    ),
    "value": ({"type": "Resource", "resource": {"name": "cpu", "targetAverageValue": "1"}}, "target.averageValue"),
    "object": ({"type": "Object", "object": {"metricName": "a", "targetValue": "2k"}}, "target.value"),
    "external": ({"type": "External", "external": {"metricName": "a", "targetValue": 30}}, "target.value"),
    "selector": ({"type": "External", "external": {"metricName": "a", "metricSelector": {}}}, "metric.selector"),
}


@pytest.mark.parametrize(("metric", "now"), OUTDATED.values(), ids=OUTDATED)
def test_a_field_of_an_older_autoscaler_is_named_with_what_it_became(
    mistakes: Mistakes, metric: dict[str, Any], now: str
) -> None:
    messages = [message for message in mistakes({"metrics": [metric]}).values() if "autoscaling/v2beta1" in message]

    assert any(now in message for message in messages)
    assert all("beamlit-controller convert" in message for message in messages)


def test_a_selector_beside_a_query_is_refused(mistakes: Mistakes, prometheus: Settings) -> None:
    metric = external("up == 1", {"matchLabels": {"a": "b"}}, type="Value", value=1)

    assert (
        "write the labels into the PromQL query"
        in mistakes({"metrics": [metric]}, settings=prometheus)["metrics[0].external.metric.selector"]
    )
    assert not mistakes(
        {"metrics": [external("up", {"matchLabels": {"a": "b"}}, type="Value", value=1)]}, settings=prometheus
    )
    assert not mistakes({"metrics": [external("up == 1", {}, type="Value", value=1)]}, settings=prometheus)


def test_a_target_finer_than_a_thousandth_is_rounded_away_from_zero_and_told(read: Read) -> None:
    parsed = read({"metrics": [external(type="Value", value="0.0001")]})

    assert only(parsed).target == Value(1)
    (notice,) = parsed.notices
    assert (notice.where, notice.field) == ("models/llama", "spec.offloadingConfig.metrics[0].external.target.value")
    assert notice.message == "0.0001 has more than three decimals; rounded to 1m"


@pytest.mark.parametrize(
    ("given", "milli"), [(0.1, 100), (1e-3, 1), (1e22, 10**25), (3, 3000), ("1e3", 10**6), (" 5 ", 5000)]
)
def test_a_number_is_the_decimal_that_was_written(read: Read, given: object, milli: int) -> None:
    assert only(read({"metrics": [external(type="Value", value=given)]})).target == Value(milli)


def test_selectors_are_kept_whole(read: Read) -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "zone", "operator": "NotIn", "values": ["x", "y"]},
            {"key": "c", "operator": "Exists"},
        ],
    }

    metric = only(read({"metrics": [external(selector=selector, type="Value", value=1)]}))

    assert isinstance(metric, metric_spec.ExternalMetric)
    assert metric.metric.selector == metric_spec.Selector(
        (("a", "1"), ("b", "2")),
        (
            metric_spec.Requirement("zone", metric_spec.Operator.NOT_IN, ("x", "y")),
            metric_spec.Requirement("c", metric_spec.Operator.EXISTS),
        ),
    )
