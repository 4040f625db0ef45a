"""Every example is valid, and runs (or is refused) where its first lines say."""

from pathlib import Path

import pytest
import yaml

from beamlit_controller.api import manifests, standalone_rules
from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.settings import Settings
from fakes import http
from fakes.prometheus import prometheus

EXAMPLES = Path(__file__).parents[2] / "examples"
WITH = {
    "demo.yaml": "demo-settings.yaml",
    "direct-llamacpp-key.yaml": "settings-standalone.yaml",
    "direct-vllm.yaml": "settings-standalone.yaml",
    "preset-vllm.yaml": "settings-standalone.yaml",
    "prometheus.yaml": "settings-prometheus.yaml",
    "promql.yaml": "settings-prometheus.yaml",
}
FOR_CLUSTERS = {"resource-cpu.yaml"}
AUTOSCALERS = {"autoscaler.yaml", "keda.yaml"}
"""Not ours to read. The first one scales in tests/cluster/test_autoscaling.py; of the other the query is tried."""


def settings(name: str) -> Settings:
    parsed = settings_file.parse((EXAMPLES / name).read_text())
    assert isinstance(parsed, Settings), parsed
    return parsed


def test_every_example_is_tried() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*WITH, *WITH.values(), *FOR_CLUSTERS, *AUTOSCALERS}


@pytest.mark.system
async def test_keda_is_shown_a_query_that_prometheus_answers() -> None:
    keda = yaml.safe_load((EXAMPLES / "keda.yaml").read_text())
    page = http.page('beamlit_demand_replicas{namespace="models",name="llama"} 3.2\n')
    async with http.serve(page) as exporter, prometheus(scrape=[exporter.address]) as server:
        query = keda["spec"]["triggers"][0]["metadata"]["query"]
        await server.scraped(query)


@pytest.mark.parametrize("name", WITH)
def test_runs_with_its_settings_and_all_of_it_is_in_effect(name: str) -> None:
    parsed = standalone_rules.parse((EXAMPLES / name).read_text(), settings=settings(WITH[name]))

    advised = {"spec.offloadingConfig.behavior.mode"}
    assert parsed.problems == ()
    assert {notice.field for notice in parsed.notices} <= advised
    assert len(parsed.specs) == 1


@pytest.mark.parametrize("name", sorted(FOR_CLUSTERS))
def test_is_valid_for_a_cluster_and_refused_without_one(name: str) -> None:
    text = (EXAMPLES / name).read_text()

    assert manifests.parse(text, settings=Settings()).specs
    assert standalone_rules.parse(text, settings=settings("settings-prometheus.yaml")).problems
