"""Whatever a gateway, a model server, a metrics API or a Prometheus answers: a value, or why there is none. Never an exception."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import thorough
from beamlit_controller.core.metric_spec import ObjectReference, Selector, SeriesSelector
from beamlit_controller.core.signals import Missing, PodSamples, Sample
from beamlit_controller.envoy import remote_stats
from beamlit_controller.kubernetes import discovery, fields, metrics_answers, scale
from beamlit_controller.prometheus import answer as prometheus
from beamlit_controller.prometheus.answer import Question
from beamlit_controller.prometheus.http_answer import HttpAnswer
from beamlit_controller.scrape import exposition
from beamlit_controller.scrape.exposition import Total
from beamlit_controller.scrape.page import Page
from builders import NOW
from strategies import hostile
from strategies.templates import TEMPLATES

EXAMPLES = settings(
    max_examples=thorough.examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
MINUTE = timedelta(minutes=1)
SOURCE = ObjectReference("apps/v1", "Deployment", "llama")


def listed(template: str) -> st.SearchStrategy[Any]:
    """Return answers like the template that are JSON objects, as the connection to the API server lets through."""
    return hostile.like(TEMPLATES[template]).filter(lambda given: isinstance(given, dict))


@EXAMPLES
@given(listed("PodMetricsList"), st.sampled_from([None, "main"]))
def test_pod_metrics(answer: dict[str, Any], container: str | None) -> None:
    reading = metrics_answers.resource(answer, "cpu", container, at=NOW)

    assert isinstance(reading, PodSamples | Missing)
    _usable(reading)


@EXAMPLES
@given(listed("MetricValueList"))
def test_custom_and_external_metrics(answer: dict[str, Any]) -> None:
    for read in (metrics_answers.pods, metrics_answers.one_object, metrics_answers.external):
        reading = read(answer, at=NOW)

        assert isinstance(reading, PodSamples | Sample | Missing)
        _usable(reading)


def _usable(reading: PodSamples | Sample | Missing) -> None:
    """Do with a reading what the rules do: compare times and names, and add values up."""
    match reading:
        case PodSamples(samples):
            assert sorted(each.pod for each in samples) is not None
            assert all(
                NOW - each.at is not None and timedelta(0) <= each.window <= timedelta(days=1) for each in samples
            )
        case Sample():
            assert NOW - reading.at is not None
        case Missing(message=message):
            assert len(message) < 1000


@EXAMPLES
@given(listed("Scale"))
def test_scales(answer: dict[str, Any]) -> None:
    found = scale.read(answer, SOURCE)

    if isinstance(found, Missing):
        assert len(found.message) < 1000
    else:
        assert len(found.pods.text) <= 9000


@EXAMPLES
@given(listed("APIGroupList"))
def test_api_groups(answer: dict[str, Any]) -> None:
    groups = list(fields.mappings(answer.get("groups")))

    assert discovery.choose_version(groups) in {None, "v1beta1", "v1beta2"}


@EXAMPLES
@given(hostile.like(TEMPLATES["Vector"]) | hostile.like(TEMPLATES["Matrix"]), st.sampled_from([200, 400, 503]))
def test_answers_of_prometheus(document: Any, status: int) -> None:  # noqa: ANN401 - JSON
    answer = HttpAnswer(status, json.dumps(document).encode())

    assert isinstance(prometheus.read(answer, Question("up", NOW, MINUTE, times=True)), Sample | Missing)
    assert isinstance(prometheus.read_range(answer, query="up"), prometheus.Range | Missing)


@EXAMPLES
@given(st.binary(max_size=500) | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"", b"\xff"]))
def test_answers_of_what_is_no_prometheus(body: bytes) -> None:
    assert isinstance(prometheus.read(HttpAnswer(200, body), Question("up", NOW, MINUTE)), Missing)


STATS = (
    'envoy_cluster_membership_total{envoy_cluster_name="remote"} 1',
    'envoy_offload_remote_attempts{code="200",result="answered"} 12',
    'envoy_offload_remote_attempts{result="tls-expired",code="503"} 3',
    "# TYPE envoy_offload_remote_attempts counter",
)


@EXAMPLES
@given(hostile.pages(STATS))
def test_stats_of_gateways(page: str) -> None:
    attempts = remote_stats.attempts(page)

    counts = [each for one in attempts.values() for each in one.counts]
    assert len(counts) <= remote_stats.MOST_SERIES
    assert all(0 <= code < 600 and 0 <= count < 10**18 for _, code, count in counts)


EXPOSED = (
    'queue{model="a"} 3',
    "queue 4 1780315200000",
    'queue{model="b",le="+Inf"} 5e3 # {trace="x"} 1',
    "# TYPE queue gauge",
    "# EOF",
)


@EXAMPLES
@given(
    hostile.pages(EXPOSED),
    st.sampled_from(["text/plain", "application/openmetrics-text; version=1.0.0", "", "x" * 5000]),
)
def test_expositions_of_model_servers(page: str, content_type: str) -> None:
    metric = SeriesSelector("queue", Selector())

    total = exposition.total(Page(page.encode(errors="replace"), content_type), metric, at=NOW, stale_after=MINUTE)

    assert isinstance(total, Total | Missing)


@pytest.mark.parametrize("text", ["9" * 400 + "s", "1.2.3s", "-1s", "1e5s", "999999999h", "s", "", "x" * 100_000])
def test_a_duration_that_is_none_or_beyond_a_day_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        metrics_answers.duration(text)
