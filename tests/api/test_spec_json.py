"""A spec as JSON that its author recognises."""

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest

from beamlit_controller.api import spec_json
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    ObjectMetric,
    ObjectReference,
    Operator,
    Requirement,
    Selector,
    SeriesSelector,
    Utilization,
    Value,
)
from beamlit_controller.core.spec import ApiKey, HeaderMatch, PathPrefix, RemoteBackend, Scheme, SecretKey
from builders import CPU, QUEUE, RUNNING, spec


def test_metrics_and_targets_are_named_as_in_the_hpa() -> None:
    deployment = ObjectReference("apps/v1", "Deployment", "llama")
    metrics = (
        CPU,
        ContainerResourceMetric("memory", "server", AverageValue(2**30 * 1000)),
        RUNNING,
        ObjectMetric(SeriesSelector("depth"), deployment, Value(1500)),
        QUEUE,
    )

    shown = [spec_json.plain(metric) for metric in metrics]

    assert shown == [
        {"type": "Resource", "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
        {
            "type": "ContainerResource",
            "name": "memory",
            "container": "server",
            "target": {"type": "AverageValue", "averageValue": "1073741824"},
        },
        {
            "type": "Pods",
            "metric": {"name": "vllm:num_requests_running", "selector": {"matchLabels": [], "matchExpressions": []}},
            "target": {"type": "AverageValue", "averageValue": "10"},
            "aggregation": "Sum",
            "alternatives": [],
            "optional": False,
            "quantile": None,
        },
        {
            "type": "Object",
            "metric": {"name": "depth", "selector": {"matchLabels": [], "matchExpressions": []}},
            "describedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "target": {"type": "Value", "value": "1.5"},
        },
        {
            "type": "External",
            "metric": {"name": "queue", "selector": {"matchLabels": [], "matchExpressions": []}},
            "target": {"type": "Value", "value": "10"},
        },
    ]


def test_a_whole_spec_is_json_with_seconds_texts_and_references() -> None:
    remote = RemoteBackend(
        Scheme.HTTPS,
        "api.example.com",
        443,
        headers_to_add=(("x-team", "search"), ("x-tier", "a")),
        auth=ApiKey(SecretKey("remote", "apiKey")),
    )
    whole = spec(remote=remote, keep_local=(HeaderMatch("x-data-class", "restricted"), PathPrefix("/metrics")))

    shown = json.loads(json.dumps(spec_json.spec(whole)))

    assert shown["key"] == {"namespace": "models", "name": "llama"}
    assert shown["behavior"]["release"] == {
        "stabilizationWindow": 60.0,
        "tolerance": "0.1",
        "stepPercentage": 100,
        "period": 15.0,
    }
    assert shown["remote"]["headersToAdd"] == {"x-team": "search", "x-tier": "a"}
    assert shown["remote"]["auth"]["secret"] == {"name": "remote", "key": "apiKey"}
    assert shown["keepLocal"] == [
        {"header": "x-data-class", "value": "restricted"},
        {"prefix": "/metrics", "methods": []},
    ]


def test_what_is_no_value_of_the_core_is_refused() -> None:
    @dataclass
    class Odd:
        inside: object

    with pytest.raises(TypeError, match="expected a value of the core"):
        spec_json.plain(Odd(object()))


def test_a_selector_is_said_as_kubectl_writes_it() -> None:
    chosen = Selector(
        (("app", "llama"), ("zone", "a")),
        (
            Requirement("tier", Operator.IN, ("gold", "silver")),
            Requirement("env", Operator.NOT_IN, ("test",)),
            Requirement("gpu", Operator.EXISTS),
            Requirement("spot", Operator.DOES_NOT_EXIST),
        ),
    )

    metric = ExternalMetric(SeriesSelector("queue", chosen), Value(1000))

    assert spec_json.selector_of(metric) == "app=llama,zone=a,tier in (gold,silver),env notin (test),gpu,!spot"
    assert spec_json.selector_of(QUEUE) == spec_json.selector_of(CPU) == ""


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        (RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama"), "https://api.example.com/models/llama"),
        (RemoteBackend(Scheme.HTTPS, "api.example.com", 8443), "https://api.example.com:8443"),
        (RemoteBackend(Scheme.HTTP, "10.0.0.1", 80), "http://10.0.0.1"),
        (RemoteBackend(Scheme.HTTP, "2001:db8::1", 8080, "/v1"), "http://[2001:db8::1]:8080/v1"),
    ],
)
def test_a_remote_is_said_as_its_url(remote: RemoteBackend, address: str) -> None:
    assert spec_json.address(remote) == address


def test_every_kind_of_metric_and_target_has_a_name() -> None:
    assert spec_json.plain(Utilization(50)) == {"type": "Utilization", "averageUtilization": 50}
    assert spec_json.plain(timedelta(minutes=1)) == 60.0
