"""What the fake API server is held to is what the real one does."""

import asyncio
from functools import partial
from typing import Any

import pytest

from beamlit_controller.api import crd
from fakes import semantics
from fakes.semantics.world import Play, World
from kube.client import Client
from kube.control_plane import ControlPlane

Json = dict[str, Any]


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Client:
    control_plane.client.kubectl("apply", "--server-side", "-f", "-", stdin=crd.render())
    wait = ("wait", "--for=condition=Established", "crd/modeldeployments.deployment.beamlit.com")
    control_plane.client.kubectl(*wait)
    return control_plane.client


async def kubectl_apply(client: Client, namespace: str, content: Json) -> None:
    await asyncio.to_thread(client.apply, content, namespace=namespace)


@pytest.mark.parametrize("play", semantics.TABLE, ids=lambda play: play.so)
async def test_the_real_server_answers_as_the_fake_is_held_to(client: Client, namespace: str, play: Play) -> None:
    async with client.api_server() as api:
        given = await play.play(World(api, namespace, partial(kubectl_apply, client, namespace)))

    assert given == play.gives


async def test_the_real_server_forgets_versions_as_the_fake(
    control_plane: ControlPlane, client: Client, namespace: str
) -> None:
    control_plane.compact()
    control_plane.restart_api_server()

    async with client.api_server() as api:
        given = await semantics.EXPIRED.play(World(api, namespace, partial(kubectl_apply, client, namespace)))

    assert given == semantics.EXPIRED.gives
