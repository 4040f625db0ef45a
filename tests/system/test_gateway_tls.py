"""The remote over TLS: verified always, by the CA and for the name that the spec says; what fails that is answered locally."""

import shutil
import ssl
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import RemoteTls, Scheme, SecretKey
from fakes import client, load, secrets
from fakes.gateway import gateway, to
from fakes.tls import Authority
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

OWN_CA = SecretKey("remote", "ca.crt")
NAME = "api.example.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority whose certificate lies where the Secret `remote` is mounted."""
    return _authority(tmp_path, "ours")


async def test_speaks_to_the_name_it_verifies(tmp_path: Path, authority: Authority) -> None:
    served, names = authority.server(NAME), []
    served.sni_callback = lambda _, name, __: names.append(name)
    async with upstream("remote", tls=served) as remote:
        backend = to(remote, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, share=100) as gate:
            answer = await client.ask(gate.front, "/v1/chat")

    assert (answer.line[1], answer.header("x-offload-served-by")) == ("200", "remote")
    assert names == [NAME]
    assert remote.requests[0].header("host") == remote.address


async def test_verifies_the_host_where_no_other_name_is_given(tmp_path: Path, authority: Authority) -> None:
    served, names = authority.server("localhost"), []
    served.sni_callback = lambda _, name, __: names.append(name)
    async with upstream("remote", tls=served) as remote:
        backend = to(remote, host="localhost", tls=RemoteTls(OWN_CA))
        async with gateway(builders.spec(remote=backend), tmp_path, share=100) as gate:
            answer = await client.ask(gate.front)

    assert (answer.line[1], names) == ("200", ["localhost"])
    assert remote.requests[0].header("host") == f"localhost:{remote.port}"


async def test_verifies_an_address_by_address_and_names_nobody(tmp_path: Path, authority: Authority) -> None:
    served, names = authority.server("127.0.0.1"), []
    served.sni_callback = lambda _, name, __: names.append(name)
    async with (
        upstream("remote", tls=served) as remote,
        gateway(builders.spec(remote=to(remote, tls=RemoteTls(OWN_CA))), tmp_path, share=100) as gate,
    ):
        answer = await client.ask(gate.front)

    assert (answer.line[1], names) == ("200", [None])


async def test_shows_the_certificate_of_the_secret_and_follows_it(tmp_path: Path, authority: Authority) -> None:
    async def tells_who_asks(exchange: Exchange) -> None:
        await exchange.respond(exchange.client.encode(), headers=(("connection", "close"),))

    served = authority.server(NAME, wants_client=True)
    async with upstream("local") as local, upstream("remote", tells_who_asks, tls=served) as remote:
        spec = builders.spec(
            remote=to(remote, tls=RemoteTls(OWN_CA, NAME, SecretKey("shown", "tls.crt"), SecretKey("shown", "tls.key")))
        )
        (tmp_path / "shown").mkdir()
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            without = await client.ask(gate.front)
            connections = remote.connections
            for name in ("first.test", "second.test"):
                pair = authority.issue(name)
                secrets.put(tmp_path, "shown", **{"tls.key": pair.key.read_bytes(), "tls.crt": pair.cert.read_bytes()})
                await eventually(lambda name=name: _says(gate.front, name), within=20)

    assert (without.body.content, connections) == (b"local", 0)


async def test_takes_a_wildcard_for_the_names_it_covers(tmp_path: Path, authority: Authority) -> None:
    async with upstream("remote", tls=authority.server("*.example.test")) as remote:
        backend = to(remote, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, share=100) as gate:
            answer = await client.ask(gate.front)

    assert answer.line[1] == "200"


async def test_trusts_the_systems_authorities_where_the_spec_names_none(tmp_path: Path, authority: Authority) -> None:
    async with upstream("remote", tls=authority.server("127.0.0.1")) as remote:
        spec = builders.spec(remote=to(remote))
        async with gateway(spec, tmp_path, share=100, system_ca=str(authority.cert)) as gate:
            trusted = await client.ask(gate.front)
        async with upstream("local") as local, gateway(spec, tmp_path, local=[local], share=100) as gate:
            unknown = await client.ask(gate.front)

    assert [answer.header("x-offload-served-by") for answer in (trusted, unknown)] == ["remote", "local"]
    assert len(remote.requests) == 1


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("unknown authority", "CERTIFICATE_VERIFY_FAILED"),
        ("wrong name", "SAN_matcher"),
        ("no TLS", "connection_timeout"),
    ],
)
async def test_a_remote_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path, case: str, told: str) -> None:
    ours, theirs = _authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    served = {"unknown authority": theirs.server(NAME), "wrong name": ours.server("other.test"), "no TLS": None}[case]
    async with upstream("local") as local, upstream("remote", tls=served) as remote:
        backend = to(remote, scheme=Scheme.HTTPS, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=10, connections=10)
            lines = await gate.log(20)

    assert tally.answered == {("200", "local"): 10}
    assert remote.requests == []
    assert sum(told in str(line.get("remote_failure")) for line in lines) == 10


async def test_an_old_tls_is_not_spoken(tmp_path: Path, authority: Authority) -> None:
    served = authority.server(NAME)
    served.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        served.maximum_version = ssl.TLSVersion.TLSv1_1
    async with upstream("local") as local, upstream("remote", tls=served) as remote:
        backend = to(remote, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            answer = await client.ask(gate.front)
            lines = await gate.log(2)

    # Some builds of OpenSSL say what they refuse, others just close.
    assert (answer.header("x-offload-served-by"), remote.requests) == ("local", [])
    assert any(line.get("remote_failure") for line in lines)


async def test_a_new_authority_is_trusted_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    async with upstream("local") as local, upstream("remote", tls=authority.server(NAME)) as remote:
        backend = to(remote, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            await client.ask(gate.front)
            await remote.stop()
            remote.tls = _authority(tmp_path, "next").server(NAME)
            await remote.start()

            await eventually(lambda: _served_by(gate.front, "remote"))


async def test_local_serves_until_the_authoritys_certificate_is_there(tmp_path: Path, authority: Authority) -> None:
    there = tmp_path / "remote" / OWN_CA.key
    there.unlink()
    async with upstream("local") as local, upstream("remote", tls=authority.server(NAME)) as remote:
        backend = to(remote, tls=RemoteTls(OWN_CA, NAME))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            tally = await load.ask(gate.front, requests=20)
            assert remote.connections == 0
            _exchange(authority.cert, there)
            await eventually(lambda: _served_by(gate.front, "remote"))

    assert tally.answered == {("200", "local"): 20}


def _authority(folder: Path, name: str) -> Authority:
    """Make an authority, and put its certificate in the place of the Secret's in one rename."""
    made = Authority(folder, name)
    (folder / "remote").mkdir(exist_ok=True)
    _exchange(made.cert, folder / "remote" / OWN_CA.key)
    return made


def _exchange(new: Path, params: Path) -> None:
    shutil.copy(new, params.with_suffix(".new"))
    params.with_suffix(".new").rename(params)


async def _served_by(front: str, side: str) -> bool:
    return (await client.ask(front)).header("x-offload-served-by") == side


async def _says(front: str, text: str) -> bool:
    return (await client.ask(front)).body.content == text.encode()
