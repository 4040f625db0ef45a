"""Every query of the dashboards, asked of a real Prometheus that scrapes a controller and its gateway under load."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tools import dashboards

from fakes import load
from fakes.controller import controller
from fakes.model_server import model_server
from fakes.ports import free_port
from fakes.prometheus import Prometheus, prometheus
from fakes.upstream import upstream
from waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

QUEUE = "vllm:num_requests_waiting"
OF_A_CLUSTER = {'beamlit_leader{lease="beamlit-system/beamlit-controller"}': 1}
"""What only the controller of a cluster counts."""
IF_SOMETHING_IS_WRONG = (
    "code=~",
    "beamlit_source_errors",
    "dry_run",
    "in_flight_cap",
    "in_flight_limit",
)
"""Parts of queries that have no result while all is well, in Fixed mode."""


def manifest(remote: str) -> dict[str, Any]:
    waiting = {"metric": {"name": QUEUE}, "target": {"type": "AverageValue", "averageValue": 10}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "metricServiceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {
                    "scheme": "http",
                    "host": remote,
                    "price": {"perRequest": "0.01"},
                    "budget": {"amount": 1000000, "per": "Day"},
                },
                "behavior": {"percentage": 50},
                "metrics": [{"type": "Pods", "pods": waiting}],
            },
        },
    }


def scraped(stats: str) -> str:
    """Return the job of the gateway, with the labels that the chart's PodMonitor gives its series."""
    labels = "{namespace: default, name: llama}"
    return (
        f"- job_name: gateway\n  metrics_path: /stats/prometheus\n"
        f"  static_configs: [{{targets: ['{stats}'], labels: {labels}}}]\n"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="asked")
async def _asked() -> AsyncIterator[Prometheus]:
    """Provide a Prometheus that has seen a model offload under load."""
    stats = f"127.0.0.1:{free_port()}"
    async with upstream("remote") as remote, model_server() as local:
        local.metrics |= {QUEUE: 15, **OF_A_CLUSTER}
        shown = controller(manifest(remote.address), local=[local.address], statsListen={"default/llama": stats})
        async with (
            shown as running,
            prometheus(scrape=[running.web, local.address], config=scraped(stats)) as server,
            load.asking(running.front, connections=2),
        ):
            await running.reaches(50)
            await server.scraped('rate(envoy_offload_requests{side="remote"}[10s]) > 0')
            yield server


async def answered(server: Prometheus, query: str) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        answer = await client.get(f"http://{server.address}/api/v1/query", params={"query": query})
    content = answer.json()
    assert content["status"] == "success", content
    result: list[dict[str, Any]] = content["data"]["result"]
    return result


@pytest.mark.parametrize("query", dict.fromkeys(dashboards.queries()))
async def test_a_query_of_a_dashboard_has_an_answer(asked: Prometheus, query: str) -> None:
    filled = query.replace("$namespace", "default").replace("$name", "llama").replace("$__rate_interval", "10s")

    if any(part in query for part in IF_SOMETHING_IS_WRONG) and "or vector(0)" not in query:
        await answered(asked, filled)
    else:
        await eventually(lambda: _has(asked, filled), within=30, what=filled)


async def _has(server: Prometheus, query: str) -> bool:
    return bool(await answered(server, query))


async def test_the_labels_that_queries_without_a_result_ask_for_are_there(asked: Prometheus) -> None:
    for labels in ('side="remote", route="share"', 'side="local", route="local"', 'chain="remote_first", code="200"'):
        assert await answered(asked, f"envoy_offload_requests{{{labels}}}"), labels


@pytest.mark.parametrize("name", ["beamlit_remote_ready", "beamlit_gateways_ready"])
async def test_a_remote_and_a_gateway_that_serve_are_counted_as_such(asked: Prometheus, name: str) -> None:
    assert await answered(asked, f'{name}{{namespace="default", name="llama"}} == 1')
