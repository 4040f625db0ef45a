"""The gateway's credential and its remote as the whole product handles and shows them on one machine."""

from pathlib import Path
from typing import Any

import pytest

from fakes import client, secrets
from fakes.controller import Controller, controller
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system


def manifest(remote: str) -> dict[str, Any]:
    """Return a model without a metric whose full servers are relieved by a remote that wants a key."""
    key = {"secretRef": {"name": "remote", "key": "apiKey"}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {
                    "scheme": "http",
                    "host": remote,
                    "authConfig": {"type": "apiKey", "apiKeyConfig": key},
                },
                "overflow": {"onStatus": [503]},
            },
        },
    }


async def test_a_secret_that_comes_later_turns_the_remote_on_and_what_is_wrong_is_shown(tmp_path: Path) -> None:
    async with upstream("remote") as remote, upstream("local") as local:
        running_with = controller(
            manifest(remote.address), local=[local.address], secretsDirectory=str(tmp_path / "secrets")
        )
        async with running_with as running:
            await local.stop()
            without = await client.ask(running.front)
            (tmp_path / "secrets").mkdir()
            secrets.put(tmp_path / "secrets", "remote", apiKey="")
            await eventually(lambda: _remote(running, "CredentialsUnreadable"), within=60)
            shown = (await running.model())["gateway"]["remote"]["message"]
            secrets.put(tmp_path / "secrets", "remote", apiKey="good")
            await eventually(lambda: _remote(running, "RemoteAnswers"), within=60)

    assert without.line[1] == "503"
    assert f"{tmp_path}/secrets/remote/apiKey: missing, empty" in shown
    assert remote.requests[-1].header("authorization") == "Bearer good"


async def _remote(running: Controller, reason: str) -> bool:
    await client.ask(running.front)
    return (await running.model())["gateway"]["remote"]["reason"] == reason
