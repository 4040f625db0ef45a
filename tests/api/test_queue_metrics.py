"""A queue as the metric of a share, with nothing that limits what local has in flight, is remarked on."""

import pytest
import yaml

from beamlit_controller.api import manifests, queue_metrics
from beamlit_controller.api.settings import Settings

FIELD = "spec.offloadingConfig.behavior.mode"


def noticed(*, read: dict[str, object] | None = None, **config: object) -> list[str]:
    """Return what is said of the mode in a manifest with this offloadingConfig."""
    offloading = {"remoteBackend": {"scheme": "https", "host": "api.example.com"}, **config}
    manifest = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": {"name": "llama", "targetPort": 8000}, "offloadingConfig": offloading, **(read or {})},
    }
    parsed = manifests.parse(yaml.safe_dump(manifest), settings=Settings())
    assert not parsed.problems
    return [str(notice) for notice in parsed.notices if FIELD in str(notice)]


def pods(name: str) -> dict[str, object]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": "4"}},
    }


@pytest.mark.parametrize("mode", ["Fixed", "Proportional"])
def test_a_share_by_a_queue_without_a_cap_is_remarked_on_and_accepted(mode: str) -> None:
    (said,) = noticed(metrics=[pods("vllm:num_requests_waiting")], behavior={"mode": mode})

    assert (
        f"vllm:num_requests_waiting is a queue: it is empty until local is full, and with mode {mode} requests" in said
    )


@pytest.mark.parametrize(
    "config",
    [
        {"behavior": {"mode": "Adaptive"}},
        {"behavior": {"mode": "Fixed"}, "overflow": {"maxInFlightPerReplica": 4}},
        {"behavior": {"mode": "Fixed", "percentage": 0}},
    ],
    ids=["mode Adaptive", "a cap", "a share of nothing"],
)
def test_with_something_that_sends_the_next_request_away_nothing_is_said(config: dict[str, object]) -> None:
    assert noticed(metrics=[pods("vllm:num_requests_waiting")], **config) == []


def test_a_preset_in_a_mode_of_a_share_is_remarked_on() -> None:
    servers = {"metricServiceRef": {"name": "llama", "targetPort": 8000}}

    (said,) = noticed(read=servers, preset="llamacpp", behavior={"mode": "Fixed"})

    assert "llamacpp:requests_deferred is a queue" in said


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("llamacpp:requests_deferred", True),
        ("tgi_queue_size", True),
        ("ray_serve_deployment_queued_queries", True),
        ("nv_inference_pending_request_count", True),
        ('sum(rate(x[1m])) + max(sglang:num_queue_reqs{model="a"})', True),
        ("backlog", True),
        ("vllm:kv_cache_usage_perc", False),
        ("vllm:num_requests_running", False),
        ("cpu", False),
        ("sequence_length", False),
        ("spending_total", False),
    ],
)
def test_a_queue_is_known_by_the_words_in_its_name(name: str, queue: bool) -> None:  # noqa: FBT001 - a table
    assert queue_metrics.is_queue(name) is queue
