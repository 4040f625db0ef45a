"""The fake API server answers as the real one does: the same table is played there, in tests/cluster."""

from typing import Any

import pytest

from fakes import api_semantics, api_users
from fakes.api_semantics import Play, World
from fakes.api_server import FakeApiServer

Json = dict[str, Any]

pytestmark = pytest.mark.looptime


def world(server: FakeApiServer) -> World:
    async def kubectl_apply(content: Json) -> None:
        about = {**content["metadata"], "namespace": "models"}
        api_users.client_apply(server, {**content, "metadata": about})

    return World(server.connect(), "models", kubectl_apply)


@pytest.mark.parametrize("play", api_semantics.TABLE, ids=lambda play: play.so)
async def test_the_fake_server_answers_as_the_real_one(play: Play) -> None:
    server = FakeApiServer()

    given = await play.play(world(server))

    assert given == play.gives


async def test_the_fake_server_forgets_versions_as_the_real_one() -> None:
    server = FakeApiServer()
    server.store.compact()

    given = await api_semantics.EXPIRED.play(world(server))

    assert given == api_semantics.EXPIRED.gives
