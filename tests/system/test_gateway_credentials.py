"""The remote's credential: only ever on what goes to the remote, from files that change, and without it nothing leaves."""

from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import ApiKey, OAuth, OnRemoteFailure, Overflow, RemoteBackend, SecretKey
from fakes import client, load, secrets
from fakes.gateway import Gateway, free_port, gateway, to
from fakes.secrets import Mounted
from fakes.tls import Authority
from fakes.tokens import Tokens
from fakes.trouble import hangs, says
from fakes.upstream import Answer, Exchange, Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

KEY = SecretKey("remote", "apiKey")
CLIENTS_OWN = (
    ("authorization", "Bearer clients-own"),
    ("x-api-key", "clients-own"),
    ("api-key", "clients-own"),
    ("cookie", "session=clients-own"),
    ("proxy-authorization", "Basic clients-own"),
)


# A key.


@pytest.mark.parametrize(
    ("key", "header", "sent"),
    [
        (ApiKey(KEY), "authorization", "Bearer the-key"),
        (ApiKey(KEY, "X-Api-Key", ""), "x-api-key", "the-key"),
        (ApiKey(KEY, "authorization", "Key "), "authorization", "Key the-key"),
        (ApiKey(KEY, "x-goog", "a\\b\" 'c' %s "), "x-goog", "a\\b\" 'c' %s the-key"),
    ],
    ids=["bearer", "own header", "own prefix", "odd prefix"],
)
async def test_the_remote_gets_the_key_and_nothing_of_the_clients(
    tmp_path: Path, key: ApiKey, header: str, sent: str
) -> None:
    secrets.put(tmp_path, "remote", apiKey="the-key")
    async with (
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote, auth=key)), tmp_path, share=100) as gate,
    ):
        answer = await client.ask(gate.front, headers=CLIENTS_OWN)

    assert answer.header("x-offload-served-by") == "remote"
    assert [value for name, value in remote.requests[0].headers if name == header] == [sent]
    assert "clients-own" not in str(remote.requests)


async def test_neither_side_sees_the_others_credential_whichever_way_a_request_goes(tmp_path: Path) -> None:
    secrets.put(tmp_path, "remote", apiKey="the-remotes-own")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)), overflow=Overflow(on_status=(503,)))
        async with gateway(spec, tmp_path, local=[local], share=50) as gate:
            for answers in ((says(503), None), (None, says(401)), (None, says(500)), (says(503), says(503))):
                local.answer, remote.answer = (each or says_ok for each in answers)
                for _ in range(20):
                    await client.ask(gate.front, "/v1/chat", headers=CLIENTS_OWN)
            await local.stop()
            await client.ask(gate.front, headers=CLIENTS_OWN)
            dump = await gate.admin("/config_dump?include_eds") + await gate.admin("/stats")
            logs = (tmp_path / "access.log").read_text() + (tmp_path / "envoy.log").read_text()

    assert local.requests
    assert remote.requests
    assert "the-remotes-own" not in str(local.requests)
    assert "clients-own" not in str(remote.requests)
    assert all(request.header("authorization") == "Bearer clients-own" for request in local.requests)
    assert all(request.header("authorization") == "Bearer the-remotes-own" for request in remote.requests)
    assert "the-remotes-own" not in dump + logs + "".join(text for text in _texts(tmp_path))
    assert "clients-own" not in dump + logs


async def test_a_key_changes_a_hundred_times_under_load_and_no_request_notices(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path, "remote")
    mounted.put(apiKey="key-0")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)))
        async with (
            gateway(spec, tmp_path, local=[local], share=100) as gate,
            load.asking(gate.front, connections=4) as tally,
        ):
            for number in range(1, 101):
                mounted.put(apiKey=f"key-{number}")
                await eventually(lambda key=f"Bearer key-{number}": _last(remote) == key)

    assert tally.failed == []
    assert tally.total == tally.by("remote") == tally.good


@pytest.mark.parametrize("bad", ["", "\n", " \n\t", "two\nlines", "caf\xe9", "\x00"])
async def test_a_key_that_cannot_be_used_keeps_requests_local_until_it_can(tmp_path: Path, bad: str) -> None:
    secrets.put(tmp_path, "remote", apiKey=bad)
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)
            while_bad = remote.connections
            secrets.put(tmp_path, "remote", apiKey="good")
            await eventually(lambda: _served_by(gate, "remote"), within=60)

    assert tally.answered == {("200", "local"): 50}
    assert while_bad == 0
    assert _last(remote) == "Bearer good"


async def test_a_key_that_is_emptied_turns_the_remote_off(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path, "remote")
    mounted.put(apiKey="good")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            assert await _served_by(gate, "remote")
            mounted.put(apiKey="")
            await eventually(lambda: _served_by(gate, "local"))
            asked = len(remote.requests)
            tally = await load.ask(gate.front, requests=100)

    assert tally.answered == {("200", "local"): 100}
    assert len(remote.requests) == asked


async def test_a_key_that_is_deleted_turns_the_remote_off_until_it_is_back(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path, "remote")
    mounted.put(apiKey="good")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            assert await _served_by(gate, "remote")
            mounted.put(other="value")
            await eventually(lambda: _served_by(gate, "local"))
            asked = len(remote.requests)
            tally = await load.ask(gate.front, requests=50)
            while_gone = len(remote.requests)
            mounted.put(apiKey="good")
            await eventually(lambda: _served_by(gate, "remote"), within=60)

    assert tally.answered == {("200", "local"): 50}
    assert while_gone == asked


async def test_a_key_that_is_not_there_yet_keeps_requests_local_until_it_is(tmp_path: Path) -> None:
    secrets.put(tmp_path, "remote", other="value")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)
            while_missing = remote.connections
            secrets.put(tmp_path, "remote", apiKey="good")
            await eventually(lambda: _served_by(gate, "remote"), within=60)

    assert tally.answered == {("200", "local"): 50}
    assert while_missing == 0


async def test_without_a_usable_key_a_failure_is_the_gateways_own_where_the_spec_wants_failures(tmp_path: Path) -> None:
    secrets.put(tmp_path, "remote", apiKey="")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, auth=ApiKey(KEY)), on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            answer = await client.ask(gate.front, headers=CLIENTS_OWN)

    assert (answer.line[1], answer.header("retry-after")) == ("503", "1")
    assert (local.connections, remote.connections) == (0, 0)


# Tokens.


async def test_the_remote_gets_a_token_that_is_fetched_once_and_renewed(tmp_path: Path) -> None:
    tokens = Tokens("s3cret&more", lifetime=3)
    async with upstream("tokens", tokens) as issuer, upstream("remote") as remote, upstream("local") as local:
        secrets.put(tmp_path, "remote", secret="s3cret&more")
        spec = builders.spec(remote=_with_tokens(remote, issuer, scopes=("infer", "list")))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            await eventually(lambda: _served_by(gate, "remote"), within=60)
            tally = await load.ask(gate.front, requests=100)
            await eventually(lambda: _uses_another(gate, remote, "Bearer token-1"), within=60)
            dump = await gate.admin("/config_dump") + await gate.admin("/stats")
            logs = (tmp_path / "access.log").read_text() + (tmp_path / "envoy.log").read_text()

    assert tally.answered == {("200", "remote"): 100}
    assert len(tokens.asked) < 20
    assert tokens.asked[0]["grant_type"] == "client_credentials"
    assert tokens.asked[0]["client_id"] == "gateway"
    assert tokens.asked[0]["scope"].split() == ["infer", "list"]
    assert {request.header("authorization") for request in remote.requests} >= {"Bearer token-1", "Bearer token-2"}
    assert "s3cret" not in dump + logs
    assert "token-1" not in dump + logs
    assert "token-" not in str(local.requests)


async def test_tokens_come_over_tls_from_who_is_trusted(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    tokens = Tokens("s3cret")
    secrets.put(tmp_path, "remote", secret="s3cret")
    for issuer_of, side in ((authority, "remote"), (stranger, "local")):
        async with (
            upstream("tokens", tokens, tls=issuer_of.server("127.0.0.1")) as issuer,
            upstream("remote") as remote,
            upstream("local") as local,
        ):
            (tmp_path / f"{side}-gateway").mkdir()
            spec = builders.spec(remote=_with_tokens(remote, issuer))
            params = {"secrets": str(tmp_path), "system_ca": str(authority.cert)}
            async with gateway(spec, tmp_path / f"{side}-gateway", local=[local], share=100, **params) as gate:
                if side == "remote":
                    await eventually(lambda gate=gate: _served_by(gate, "remote"), within=60)
                else:
                    await eventually(
                        lambda gate=gate: gate.stat("cluster.token_server.ssl.fail_verify_error"), within=60
                    )
                    assert await _served_by(gate, "local")

    assert len(tokens.asked) == 1


async def says_ok(exchange: Exchange) -> None:
    await exchange.respond(b"here")


async def says_html(exchange: Exchange) -> None:
    await exchange.respond(b"<html>welcome</html>")


async def says_no_token(exchange: Exchange) -> None:
    await exchange.respond(b'{"expires_in": 3600}')


async def says_a_broken_token(exchange: Exchange) -> None:
    await exchange.respond(b'{"access_token": "a\\nx-injected: 1", "expires_in": 3600, "token_type": "Bearer"}')


@pytest.mark.parametrize(
    "answer",
    [None, says(500), hangs, says_html, says_no_token, says_a_broken_token],
    ids=["refuses", "says 500", "hangs", "says HTML", "gives no token", "gives a broken token"],
)
async def test_local_serves_while_there_is_no_token(tmp_path: Path, answer: Answer | None) -> None:
    secrets.put(tmp_path, "remote", secret="s3cret")
    async with upstream("tokens", answer) as issuer, upstream("remote") as remote, upstream("local") as local:
        if answer is None:
            await issuer.stop()
        spec = builders.spec(remote=_with_tokens(remote, issuer))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)
            if answer is not None:
                await eventually(lambda: issuer.connections > 0)
            again = await load.ask(gate.front, requests=50)

    assert tally.answered == again.answered == {("200", "local"): 50}
    assert remote.connections == 0


async def test_a_token_endpoint_that_comes_back_turns_the_remote_on(tmp_path: Path) -> None:
    secrets.put(tmp_path, "remote", secret="s3cret")
    async with upstream("tokens", says(500)) as issuer, upstream("remote") as remote, upstream("local") as local:
        spec = builders.spec(remote=_with_tokens(remote, issuer))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            await eventually(lambda: len(issuer.requests) >= 2, within=60)
            issuer.answer = Tokens("s3cret")
            await eventually(lambda: _served_by(gate, "remote"), within=60)


async def test_a_new_client_secret_is_used_without_a_restart(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path, "remote")
    mounted.put(secret="old")
    tokens = Tokens("new")
    async with upstream("tokens", tokens) as issuer, upstream("remote") as remote, upstream("local") as local:
        spec = builders.spec(remote=_with_tokens(remote, issuer))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            await eventually(lambda: tokens.asked)
            assert await _served_by(gate, "local")
            mounted.put(secret="new")
            await eventually(lambda: _served_by(gate, "remote"), within=60)


async def test_a_token_endpoint_without_an_address_keeps_requests_local(tmp_path: Path) -> None:
    secrets.put(tmp_path, "remote", secret="s3cret")
    async with upstream("remote") as remote, upstream("local") as local:
        oauth = OAuth("gateway", SecretKey("remote", "secret"), f"http://no-such-host.invalid:{free_port()}/token")
        spec = builders.spec(remote=to(remote, auth=oauth))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=50)

    assert tally.answered == {("200", "local"): 50}
    assert remote.connections == 0


def _with_tokens(remote: Upstream, issuer: Upstream, *, scopes: tuple[str, ...] = ()) -> RemoteBackend:
    url = f"{'https' if issuer.tls else 'http'}://127.0.0.1:{issuer.port}/oauth/token"
    return to(remote, auth=OAuth("gateway", SecretKey("remote", "secret"), url, scopes))


def _last(remote: Upstream) -> str | None:
    return remote.requests[-1].header("authorization") if remote.requests else None


def _texts(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("*.json")]


async def _served_by(gate: Gateway, side: str) -> bool:
    return (await client.ask(gate.front)).header("x-offload-served-by") == side


async def _uses_another(gate: Gateway, remote: Upstream, token: str) -> bool:
    await client.ask(gate.front)
    return _last(remote) not in {token, None}
