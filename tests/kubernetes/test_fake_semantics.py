"""The fake API server answers as the real one does: the same table is played there, in tests/cluster."""

from typing import Any

import pytest

from fakes import api_users, semantics
from fakes.api_server import FakeApiServer
from fakes.semantics.world import Play, World

Json = dict[str, Any]

pytestmark = pytest.mark.looptime


def world(server: FakeApiServer) -> World:
    async def kubectl_apply(content: Json) -> None:
        about = {**content["metadata"], "namespace": "models"}
        api_users.client_apply(server, {**content, "metadata": about})

    return World(server.connect(), "models", kubectl_apply)


@pytest.mark.parametrize("play", semantics.TABLE, ids=lambda play: play.so)
async def test_the_fake_server_answers_as_the_real_one(play: Play) -> None:
    server = FakeApiServer()

    given = await play.play(world(server))

    assert given == play.gives


async def test_the_fake_server_forgets_versions_as_the_real_one() -> None:
    server = FakeApiServer()
    server.store.compact()

    given = await semantics.EXPIRED.play(world(server))

    assert given == semantics.EXPIRED.gives
