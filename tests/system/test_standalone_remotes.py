"""Several remotes with the command as users run it: who answers, and what is told of each remote by its name."""

from typing import Any

import pytest

from fakes import load
from fakes.controller import Controller, controller
from fakes.model_server import model_server
from fakes.trouble import says
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system

WAITING = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "vllm:num_requests_waiting"},
        "target": {"type": "AverageValue", "averageValue": 10},
    },
}


def manifest(*remotes: dict[str, Any]) -> dict[str, Any]:
    """Return a model that offloads everything to these remotes while requests wait at local."""
    service = {"name": "llama", "targetPort": 8000}
    config = {"remoteBackends": [{"scheme": "http", **each} for each in remotes], "metrics": [WAITING]}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": service, "metricServiceRef": service, "offloadingConfig": config},
    }


async def test_each_remote_is_told_by_its_name_while_the_second_one_answers_for_the_first() -> None:
    async with (
        upstream("one", says(402)) as one,
        upstream("two") as two,
        model_server(vllm__num_requests_waiting=50) as local,
    ):
        first, second = {"name": "contract", "host": one.address}, {"name": "fallback", "host": two.address}
        async with controller(manifest(first, second), local=[local.address]) as running:
            await running.reaches(100)
            tally = await load.ask(running.front, requests=200)
            await eventually(
                lambda: _reasons(running, {"contract": "RemoteRefusesCredential", "fallback": "RemoteAnswers"})
            )
            model = await running.model()

    assert tally.answered == {("200", "remote"): 200}
    assert [each["name"] for each in model["remotes"]] == ["contract", "fallback"]
    assert model["gateway"]["remote"]["status"] == "True"
    assert "contract: 127.0.0.1 answers 402" in model["gateway"]["remote"]["message"]


async def _reasons(running: Controller, expected: dict[str, str]) -> bool:
    remotes = ((await running.model())["gateway"] or {}).get("remotes", {})
    return {name: each["reason"] for name, each in remotes.items()} == expected
