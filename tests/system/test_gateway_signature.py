"""Requests for a remote of AWS: the signature is the one that AWS' own library makes of what the remote received."""

import random
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import builders
from beamlit_controller.core.spec import AwsSignature, OnRemoteFailure, RemoteTls, Scheme, SecretKey
from fakes import client, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import Message
from fakes.tls import Authority
from fakes.upstream import Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

NAME = "bedrock-runtime.us-west-2.amazonaws.com"
KEY = SecretKey("aws", "credentials")
ACCOUNT = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
OTHER = Credentials("ASIAOTHER", "another/secret", "token/with+signs==")
UNUSABLE = {
    "missing": None,
    "empty": "",
    "of another profile": "[other]\naws_access_key_id = A\naws_secret_access_key = B\n",
    "half": "[default]\naws_access_key_id = A\n",
    "no header's text": "[default]\naws_access_key_id = A\naws_secret_access_key = B\x07\n",
    "no file of credentials": "\x00\xff[[[=",
}


async def test_what_the_remote_receives_is_signed_as_aws_signs_it(tmp_path: Path) -> None:
    generator = random.Random(20)
    own = [("content-type", "application/json")]
    fixed = {"headers_to_add": (("x-amz-target", "a   b"),)}
    async with _world(tmp_path, **fixed) as (remote, gate), client.connect(gate.front) as asker:
        served = [
            (path, (await asker.post(path, body, headers=own)).body.content) for path, body in requests(generator)
        ]

    assert {path for path, by in served if by != b"remote"} == set()
    assert [told(seen) for seen in remote.requests] == [resigned(seen, ACCOUNT) for seen in remote.requests]
    assert {signed_headers(seen) for seen in remote.requests} == {
        ("content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-target")
    }


@pytest.mark.parametrize("scheme", Scheme)
async def test_the_signature_is_of_the_path_and_the_host_that_the_remote_sees(tmp_path: Path, scheme: Scheme) -> None:
    path = {"replaced_prefix": "/v1", "path_prefix": "/openai/v1", "query_to_add": (("api version", "1:2"),)}
    async with _world(tmp_path, scheme=scheme, **path) as (remote, gate), client.connect(gate.front) as asker:
        await asker.post("/v1/chat/completions", b"{}", headers=[("authorization", "Bearer own")])

    [seen] = remote.requests
    assert seen.line[1] == "/openai/v1/chat/completions?api%20version=1%3A2"
    assert told(seen) == resigned(seen, ACCOUNT)


async def test_other_credentials_count_at_once(tmp_path: Path) -> None:
    async with _world(tmp_path) as (remote, gate):
        await client.ask(gate.front)
        secrets.put(tmp_path, "aws", credentials=written(OTHER))
        await client.ask(gate.front)

    assert [told(seen) for seen in remote.requests] == [
        resigned(seen, account) for seen, account in zip(remote.requests, (ACCOUNT, OTHER), strict=True)
    ]
    assert [seen.header("x-amz-security-token") for seen in remote.requests] == [None, OTHER.token]


@pytest.mark.parametrize("name", UNUSABLE)
async def test_nothing_leaves_without_credentials_and_all_does_once_they_come(tmp_path: Path, name: str) -> None:
    text = UNUSABLE[name]
    async with _world(tmp_path, credentials=text) as (remote, gate):
        before = await client.ask(gate.front)
        connections = remote.connections
        secrets.put(tmp_path, "aws", credentials=written(ACCOUNT))
        after = await client.ask(gate.front)
        lines = await gate.log(3)

    assert (before.body.content, connections, after.body.content) == (b"local", 0, b"remote")
    assert [line["result"] for line in lines if "remote_failure" in line] == ["credential"]


async def test_the_profile_that_is_named_is_used(tmp_path: Path) -> None:
    both = f"{written(OTHER)}\n[ team ]\n{written(ACCOUNT, section='')}"
    async with _world(tmp_path, credentials=both, profile="team") as (remote, gate):
        await client.ask(gate.front)

    assert told(remote.requests[0]) == resigned(remote.requests[0], ACCOUNT)


async def test_a_client_can_neither_sign_nor_choose_the_moment(tmp_path: Path) -> None:
    forged = {"x-amz-date": "20000101T000000Z", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-security-token": "t"}
    async with _world(tmp_path) as (remote, gate), client.connect(gate.front) as asker:
        await asker.post("/", b"a prompt", headers=forged.items())

    [seen] = remote.requests
    assert told(seen) == resigned(seen, ACCOUNT)
    assert not {*forged.values()} & {value for _, value in seen.headers}
    assert abs((moment(seen) - datetime.now(UTC)).total_seconds()) < 60


async def test_only_options_of_a_request_leave_and_no_header_of_aws_own_protocols(tmp_path: Path) -> None:
    theirs = {"x-amz-target": "Bedrock.DeleteGuardrail", "X-Amz-Foo": "a", "x-amz-content-sha256": "0"}
    options = {"x-amzn-bedrock-guardrailidentifier": "g", "x-amzn-bedrock-performanceconfig-latency": "optimized"}
    async with _world(tmp_path) as (remote, gate), client.connect(gate.front) as asker:
        await asker.post("/", b"a prompt", headers=(theirs | options).items())

    [seen] = remote.requests
    assert told(seen) == resigned(seen, ACCOUNT)
    assert {name for name, _ in seen.headers if name.startswith("x-amz")} == {
        "x-amz-content-sha256",
        "x-amz-date",
        *options,
    }
    assert seen.header("x-amz-content-sha256") != "0"


async def test_long_blanks_are_signed_as_aws_signs_them(tmp_path: Path) -> None:
    """A run of 58,000 blanks within a header that is signed froze a worker for 8 s."""
    async with _world(tmp_path) as (remote, gate), client.connect(gate.front) as asker:
        answer = await asker.post("/", b"{}", headers=[("content-type", f"a{' ' * 58_000}b")])

    assert answer.body.content == b"remote"
    assert told(remote.requests[0]) == resigned(remote.requests[0], ACCOUNT)


async def test_a_body_that_can_not_be_signed_stays_local(tmp_path: Path) -> None:
    async with _world(tmp_path) as (remote, gate), client.connect(gate.front) as asker:
        long = await asker.post("/", b"x" * (1024 * 1024 + 1))
        longest = await asker.post("/", b"x" * 1024 * 1024)
        await asker.send_head("POST / HTTP/1.1", (("transfer-encoding", "chunked"),))
        await asker.send(b"5\r\nhello\r\n0\r\n\r\n")
        untold = await asker.response()

    assert [each.body.content for each in (long, longest, untold)] == [b"local", b"remote", b"local"]
    assert told(remote.requests[0]) == resigned(remote.requests[0], ACCOUNT)


async def test_the_next_remote_gets_no_signature(tmp_path: Path) -> None:
    async with upstream("other") as other, _world(tmp_path, other, credentials=None) as (_, gate):
        await client.ask(gate.front)
        secrets.put(tmp_path, "aws", credentials=written(ACCOUNT))
        await eventually(lambda: other.requests)

    assert [name for name, _ in other.requests[0].headers if name == "authorization" or name.startswith("x-amz-")] == []


def requests(generator: random.Random) -> Iterable[tuple[str, bytes]]:
    """Yield paths and bodies: odd characters as a client has to write them, and each length around a block of the digest."""
    for path in ("/", "/v1/chat/completions", "/model/openai.gpt-oss-20b-1:0/invoke", "/a//b/../c", "/~tilde_-."):
        yield path, b"{}"
    for text in ("ä/ß", "a b+c", "%41", "1:0", "'()*!$,;=@&"):
        if text != "%41":  # what is encoded twice stays local, and so do parameters of a path
            yield f"/model/{quote(text.replace(';', ''), safe='')}/invoke", b"{}"
        yield f"/?{urlencode({text: text, 'b': '', 'a': '2'}, quote_via=quote)}", b"{}"
    for many in (2, 3, 700):
        names = [f"p{number % 300}" for number in range(many)]
        generator.shuffle(names)
        yield f"/?{'&'.join(f'{name}={generator.randrange(9)}' for name in names)}", b"{}"
    for length in (*range(130), 1000, 65_535, 200_000):
        yield "/", generator.randbytes(length)


def resigned(seen: Message, account: Credentials) -> str:
    """Return the signature that botocore makes of this request, as of the moment that it was signed at."""
    wanted = signed_headers(seen)
    headers = {name: value for name, value in seen.headers if name in wanted}
    request = AWSRequest(seen.line[0], f"https://{seen.header('host')}{seen.line[1]}", headers, seen.body.content)
    request.context["timestamp"] = seen.header("x-amz-date")
    signer = SigV4Auth(account, "bedrock", "us-west-2")
    assert headers["x-amz-content-sha256"] == signer.payload(request)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def told(seen: Message) -> str:
    """Return the signature that came with a request."""
    return re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=\S+, SignedHeaders=\S+, Signature=(\w{64})", _authorization(seen)
    )[1]  # type: ignore[index] # the test's own


def signed_headers(seen: Message) -> tuple[str, ...]:
    return tuple(re.findall("SignedHeaders=([^,]+)", _authorization(seen))[0].split(";"))


def moment(seen: Message) -> datetime:
    return datetime.strptime(f"{seen.header('x-amz-date')}+0000", "%Y%m%dT%H%M%SZ%z")


def _authorization(seen: Message) -> str:
    return seen.header("authorization") or ""


def written(account: Credentials, *, section: str = "[default]\n") -> str:
    token = f"aws_session_token = {account.token}\n" if account.token else ""
    return f"{section}aws_access_key_id={account.access_key}\naws_secret_access_key = {account.secret_key}\n{token}"


@asynccontextmanager
async def _world(
    folder: Path,
    *others: Upstream,
    credentials: str | None = written(ACCOUNT),
    scheme: Scheme = Scheme.HTTP,
    profile: str = "default",
    **address: object,
) -> AsyncIterator[tuple[Upstream, Gateway]]:
    (folder / "aws").mkdir()
    if credentials is not None:
        secrets.put(folder, "aws", credentials=credentials.encode("latin-1"))
    tls = None
    if scheme is Scheme.HTTPS:
        authority = Authority(folder, "trusted")
        tls = authority.server(NAME)
        secrets.put(folder, "ca", ca=authority.cert.read_bytes())
        address |= {"tls": RemoteTls(SecretKey("ca", "ca"), NAME)}
    async with upstream("remote", tls=tls) as remote, upstream("local") as local:
        auth = AwsSignature(KEY, "us-west-2", "bedrock", profile)
        first = to(remote, auth=auth, name="aws" if others else "", **address)
        rest = tuple(to(each, name=each.name) for each in others)
        spec = builders.spec(remote=first, next_remotes=rest, on_remote_failure=OnRemoteFailure.LOCAL)
        async with gateway(spec, folder, local=[local], share=100) as gate:
            yield remote, gate
