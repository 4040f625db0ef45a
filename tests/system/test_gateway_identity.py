"""What is meant for one remote never reaches another, however often the remote changes under load."""

from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import ApiKey, RemoteBackend, SecretKey
from fakes import client, load, secrets
from fakes.gateway import gateway, to
from fakes.upstream import Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

CHANGES = 200


async def test_no_credential_reaches_another_remote_over_many_changes_under_load(tmp_path: Path) -> None:
    for name in "ab":
        secrets.put(tmp_path, name, key=f"key-of-{name}")
    async with upstream("local") as local, upstream("a") as a, upstream("b") as b:
        remotes = (_with_key(a, "a"), _with_key(b, "b"), to(a), _with_key(b, "b", headers_to_add=(("x-team", "b"),)))
        first = builders.spec(remote=remotes[0])
        async with gateway(first, tmp_path, local=[local], share=100) as gate, load.asking(gate.front) as tally:
            for number in range(1, CHANGES + 1):
                server = (a, b)[number % 2]
                before = len(server.requests)
                gate.rewrite(builders.spec(remote=remotes[number % len(remotes)]))
                await eventually(lambda server=server, before=before: len(server.requests) > before + 2)

    shown = {server.name: {request.header("authorization") for request in server.requests} for server in (a, b)}
    assert shown == {"a": {"Bearer key-of-a", None}, "b": {"Bearer key-of-b"}}
    assert {request.header("authorization") for request in local.requests} <= {None}
    assert tally.good == tally.total


async def test_a_clients_own_key_never_reaches_the_remote_that_must_not_get_it(tmp_path: Path) -> None:
    own = (("authorization", "Bearer of-the-client"),)
    async with upstream("local") as local, upstream("a") as a, upstream("b") as b:
        remotes = (to(a, forward_client_authorization=True), to(b))
        async with (
            gateway(builders.spec(remote=remotes[0]), tmp_path, local=[local], share=100) as gate,
            client.connect(gate.front) as asker,
        ):
            for number in range(1, 41):
                server = (a, b)[number % 2]
                before = len(server.requests)
                gate.rewrite(builders.spec(remote=remotes[number % 2]))
                while len(server.requests) <= before:
                    await asker.ask("/v1/chat", headers=own)

    assert {request.header("authorization") for request in a.requests} == {"Bearer of-the-client"}
    assert {request.header("authorization") for request in b.requests} == {None}


def _with_key(server: Upstream, name: str, **changes: object) -> RemoteBackend:
    return to(server, auth=ApiKey(SecretKey(name, "key")), **changes)
