"""Both sides of a model are down: the controller says that nobody answers, and charges nothing for it."""

from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from beamlit_controller.envoy.response_headers import NOBODY, SERVED_BY
from fakes import client
from fakes.controller import Controller, controller
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system

REQUESTS = 20
UNANSWERED = ("beamlit_unanswered_ratio", "")


@pytest.mark.parametrize("policy", ["Local", "Fail"])
async def test_with_both_sides_down_everything_that_is_shown_says_that_nobody_answers(policy: str) -> None:
    """The requests were said to have gone to the remote, or to have been answered by local."""
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        controller(_manifest(remote.address, policy), local=[local.address]) as running,
    ):
        await eventually(lambda: _traffic(running), what="the gateway's counters are read")
        await local.stop()
        await remote.stop()
        answers = [await client.ask(running.front, "/v1/chat") for _ in range(REQUESTS)]

        await eventually(lambda: _unanswered(running), what="the requests are shown as unanswered")
        await eventually(lambda: _is_down(running), what="the model is shown as down")
        await eventually(lambda: _none_is_ready(running), what="the local server is shown as not ready")
        model, metrics = await running.model(), await _metrics(running)
        _, explained = await running.command("explain", "llama", f"--address=http://{running.web}")

    assert {(each.line[1], each.header(SERVED_BY)) for each in answers} == {("503", NOBODY)}
    assert (model["traffic"]["sent"], model["traffic"]["localPerSecond"], model["headline"]["to"]) == (0, 0, "")
    assert model["headline"]["effect"] == "clients get 503"
    assert model["headline"]["why"].startswith("0 of 1 local servers ready")
    assert [each["requests"] for each in model["spending"]] == [0]
    assert metrics[UNANSWERED] == 1
    assert {value for (name, _), value in metrics.items() if name == "beamlit_sent_ratio"} == {0}
    assert "0/s local, 0/s remote: 0 % went to the remote; 100 % unanswered" in " ".join(explained.split())


def _manifest(remote: str, policy: str) -> dict[str, Any]:
    service = {"name": "llama", "targetPort": 8000}
    metric = {"metric": {"name": "waiting"}, "target": {"type": "AverageValue", "averageValue": 10}}
    config = {
        "remoteBackend": {"scheme": "http", "host": remote, "budget": {"amount": 5, "per": "Day", "unit": "Requests"}},
        "metrics": [{"type": "Pods", "pods": metric}],
        "onRemoteFailure": policy,
    }
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": service, "metricServiceRef": service, "offloadingConfig": config},
    }


async def _traffic(running: Controller) -> dict[str, Any] | None:
    traffic: dict[str, Any] | None = (await running.model())["traffic"]
    return traffic


async def _unanswered(running: Controller) -> bool:
    """Return whether all requests are shown as unanswered, by the metrics of the last round as well."""
    traffic = await _traffic(running)
    return traffic is not None and traffic["unanswered"] == 1 and (await _metrics(running))[UNANSWERED] == 1


async def _is_down(running: Controller) -> bool:
    return bool((await running.model())["headline"]["state"] == "Down")


async def _none_is_ready(running: Controller) -> bool:
    return bool((await running.model())["local"]["ready"] == 0)


async def _metrics(running: Controller) -> dict[tuple[str, str], float]:
    """Return what the controller's metrics tell, by the name and the label that distinguishes them."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as web:
        page = (await web.get(f"http://{running.web}/metrics")).text
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]
    return {(each.name, each.labels.get("side") or each.labels.get("reason") or ""): each.value for each in samples}
