"""Local and remote go away and come back under load: what the controller says follows, before the minute is over."""

from typing import Any

import pytest

from fakes.controller import Controller, controller
from fakes.load import asking
from fakes.model_server import model_server
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system

TO_REMOTE = "Local down, remote answers"


async def test_the_headline_follows_what_dies_and_what_comes_back_and_does_not_wait_for_the_minute_to_pass() -> None:
    """After local was back it said for a minute that half of the requests were offloaded, and before, that they got no answer."""
    async with (
        model_server(waiting=0) as local,
        upstream("remote") as remote,
        controller(_manifest(remote.address), local=[local.address]) as running,
        asking(running.front, connections=4, kept=False, pause=0.05) as tally,
    ):
        assert local.server is not None
        await _says(running, "Local", localPerSecond=True)
        counted = tally.by("local")
        await eventually(lambda: tally.by("local") > counted + 50, what="local has answered many")
        await local.server.stop()
        await _says(running, TO_REMOTE, sent=1, localPerSecond=True)
        await remote.stop()
        down = await _says(running, "Down", unanswered=1, remotePerSecond=True)
        await remote.start()
        back = await _says(running, TO_REMOTE, sent=1, unanswered=True)
        await local.server.start()
        local_again = await _says(running, "Local", sent=0, unanswered=True)

    assert down["headline"]["to"] == ""
    assert back["headline"]["effect"] == "requests that may leave go to the remote, others get 503"
    assert back["headline"]["to"] == remote.address
    assert local_again["headline"]["to"] == ""


async def _says(running: Controller, state: str, **wanted: float) -> dict[str, Any]:
    """Wait for a state, and return what is known then: numbers are those of the present, what is True is in the last minute as well."""
    seen: dict[str, Any] = {}

    async def said() -> bool:
        seen.update(await running.model())
        minute = seen["traffic"] or {}
        latest = minute.get("latest") or {}
        return seen["headline"]["state"] == state and all(
            minute.get(name, 0) > 0 if value is True else latest.get(name) == value for name, value in wanted.items()
        )

    await eventually(said, what=state)
    return seen


def _manifest(remote: str) -> dict[str, Any]:
    service = {"name": "llama", "targetPort": 8000}
    metric = {"metric": {"name": "waiting"}, "target": {"type": "AverageValue", "averageValue": 10}}
    config = {"remoteBackend": {"scheme": "http", "host": remote}, "metrics": [{"type": "Pods", "pods": metric}]}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": service, "metricServiceRef": service, "offloadingConfig": config},
    }
