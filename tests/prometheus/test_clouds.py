"""The managed Prometheus of three clouds, by their own libraries, against small servers that verify what they get."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import builders
from beamlit_controller.core.cloud_identity import AwsIdentity, AzureIdentity, CloudIdentity, GoogleIdentity
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading, Sample
from beamlit_controller.prometheus import clouds
from beamlit_controller.prometheus.clouds import CloudCredentials
from beamlit_controller.prometheus.connection import Connection, Credentials
from beamlit_controller.prometheus.source import PrometheusSource, Span
from fakes import hold_up, http, sigv4
from fakes.http import Request
from fakes.sigv4 import SignedRequest

AT = builders.NOW
SPEC = builders.spec()
QUEUE = ExternalMetric(SeriesSelector('sum(queue{a="b c/ü"}) + 1'), Value(10_000))
PATIENT = timedelta(seconds=60)
AWS = AwsIdentity("eu-west-1")
ANSWER = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [AT.timestamp(), "7"]}]},
}
MATRIX = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[AT.timestamp(), "7"]]}]},
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Be nobody at any cloud, whatever the machine is."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "IDENTITY_ENDPOINT", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


async def read(address: str, identity: CloudIdentity, **more: Any) -> Reading:  # noqa: ANN401 - whatever the fields of Connection take
    connection = Connection(f"http://{address}/workspaces/ws-1", identity=identity, **{"timeout": PATIENT} | more)
    async with PrometheusSource(connection) as source:
        return await source.read(SPEC, QUEUE, at=AT)


# Amazon: signatures.


def test_what_verifies_signatures_agrees_with_the_example_of_the_manual() -> None:
    """`get-vanilla` of AWS' own test suite for Signature Version 4."""
    request = SignedRequest("GET", "/", {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"})

    computed = sigv4.signature(
        request,
        secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        scope="20150830/us-east-1/service/aws4_request",
        signed=["host", "x-amz-date"],
    )

    assert computed == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


def verifying(access_key: str, secret_key: str, token: str = "", answer: object = ANSWER) -> http.Respond:
    """Answer who signed with these keys for the right region and service, as Amazon does."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        signed = SignedRequest(request.method, request.target, request.headers, request.body)
        refused = sigv4.refusal(signed, access_key=access_key, secret_key=secret_key, token=token)
        if not refused and "/eu-west-1/aps/aws4_request" not in request.headers["authorization"]:
            refused = "Credential should be scoped to a valid region"
        told = http.json({"message": refused}, status=403) if refused else http.json(answer)
        await told(request, writer)

    return respond


def with_keys(monkeypatch: pytest.MonkeyPatch, key: str, secret: str, token: str = "") -> None:
    for name, value in (("ACCESS_KEY_ID", key), ("SECRET_ACCESS_KEY", secret), ("SESSION_TOKEN", token)):
        if value:
            monkeypatch.setenv(f"AWS_{name}", value)


SIGNED: dict[str, dict[str, Any]] = {
    "a query": {},
    "parameters of one's own": {"query_parameters": (("dedup", "true"), ("a b", "c+d&e=ü/~"))},
    "headers of one's own": {"headers": (("X-Scope-OrgID", "team  a"),)},
    "a tenant": {"query_parameters": (("tenant", "$namespace"),)},
    "all": {"query_parameters": (("x", ""),), "headers": (("X-A", "1"), ("X-B", "2"))},
}


@pytest.mark.parametrize("token", ["", "session/token+="], ids=["keys", "session"])
@pytest.mark.parametrize("kind", SIGNED)
async def test_a_signed_query_is_what_was_signed(monkeypatch: pytest.MonkeyPatch, kind: str, token: str) -> None:
    with_keys(monkeypatch, "AKID", "secret", token)
    async with http.serve(verifying("AKID", "secret", token)) as server:
        reading = await read(server.address, AWS, **SIGNED[kind])

    assert reading == Sample(7_000, AT, timedelta(seconds=90), undated=True), reading
    (request,) = server.requests
    assert request.asked["query"] == QUEUE.metric.name
    assert request.target == "/workspaces/ws-1/api/v1/query"


async def test_the_query_of_a_range_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with_keys(monkeypatch, "AKID", "secret")
    async with (
        http.serve(verifying("AKID", "secret", answer=MATRIX)) as server,
        PrometheusSource(Connection(f"http://{server.address}", identity=AWS, timeout=PATIENT)) as source,
    ):
        history = await source.history(SPEC.key, "sum(queue)", Span(AT, AT, timedelta(seconds=15)))

    assert not isinstance(history, Missing), history
    assert list(history.values.values()) == [7_000]


@pytest.mark.parametrize(
    ("key", "secret", "region"),
    [("AKID", "other", "eu-west-1"), ("other", "secret", "eu-west-1"), ("AKID", "secret", "us-east-1")],
)
async def test_a_signature_that_does_not_fit_is_refused_in_the_words_of_the_service(
    monkeypatch: pytest.MonkeyPatch, key: str, secret: str, region: str
) -> None:
    with_keys(monkeypatch, key, secret)
    async with http.serve(verifying("AKID", "secret")) as server:
        reading = await read(server.address, AwsIdentity(region))

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.HTTP_ERROR
    assert "got 403" in reading.message
    assert any(said in reading.message for said in ("does not match", "is invalid", "scoped to a valid region"))


# Amazon: where keys come from.


async def from_environment(monkeypatch: pytest.MonkeyPatch, _: Path, __: str) -> None:
    with_keys(monkeypatch, "AKID", "secret", "token")


async def from_a_profile(monkeypatch: pytest.MonkeyPatch, folder: Path, _: str) -> None:
    lines = ("[team]", "aws_access_key_id = AKID", "aws_secret_access_key = secret", "aws_session_token = token")
    (folder / "credentials").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_PROFILE", "team")


async def from_a_container(monkeypatch: pytest.MonkeyPatch, folder: Path, address: str) -> None:
    """As EKS Pod Identity and ECS do it."""
    (folder / "pod-token").write_text("jwt")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{address}/pod")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(folder / "pod-token"))


async def from_a_service_account(monkeypatch: pytest.MonkeyPatch, folder: Path, address: str) -> None:
    """As IAM roles for service accounts do it."""
    (folder / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/prometheus")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://{address}/sts")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


async def from_a_process(monkeypatch: pytest.MonkeyPatch, folder: Path, _: str) -> None:
    said = {"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "secret", "SessionToken": "token"}
    (folder / "said").write_text(json.dumps(said))
    (folder / "config").write_text(f"[default]\ncredential_process = /bin/cat {folder / 'said'}\n")


STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>{expires}</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>a:b</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/a/b</Arn></AssumedRoleUser>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def keys_of(number: int = 0, *, lasting: timedelta = timedelta(hours=1)) -> http.Respond:
    """Return keys as the endpoints of containers and of STS do."""
    expires = f"{datetime.now(UTC) + lasting:%Y-%m-%dT%H:%M:%SZ}"
    end = str(number) if number else ""
    document = {
        "AccessKeyId": f"AKID{end}",
        "SecretAccessKey": f"secret{end}",
        "Token": f"token{end}",
        "Expiration": expires,
    }
    return http.by_path(pod=http.json(document), sts=http.page(STS.format(expires=expires), content_type="text/xml"))


ORIGINS = {
    "environment": from_environment,
    "profile": from_a_profile,
    "container": from_a_container,
    "service account": from_a_service_account,
    "process": from_a_process,
}


@pytest.mark.parametrize("origin", ORIGINS)
async def test_keys_are_found_where_the_library_of_amazon_finds_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str
) -> None:
    async with http.serve(keys_of()) as endpoint, http.serve(verifying("AKID", "secret", "token")) as server:
        await ORIGINS[origin](monkeypatch, tmp_path, endpoint.address)
        reading = await read(server.address, AWS)

    assert isinstance(reading, Sample), reading


async def test_keys_that_end_soon_are_exchanged_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    soon = timedelta(minutes=2)
    async with (
        http.serve(keys_of(1, lasting=soon)) as endpoint,
        http.serve(verifying("AKID1", "secret1", "token1")) as server,
    ):
        await from_a_container(monkeypatch, tmp_path, endpoint.address)
        async with PrometheusSource(Connection(f"http://{server.address}", identity=AWS, timeout=PATIENT)) as source:
            first = await source.read(SPEC, QUEUE, at=AT)
            endpoint.respond = keys_of(2)
            server.respond = verifying("AKID2", "secret2", "token2")
            second = await source.read(SPEC, QUEUE, at=AT)

    assert isinstance(first, Sample), first
    assert isinstance(second, Sample), second


# Google and Azure: tokens.


def service_account(folder: Path, address: str) -> Path:
    """Write the file of a service account, whose tokens are given at this address."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    content = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "controller@p.iam.gserviceaccount.com",
        "token_uri": f"http://{address}/token",
    }
    return _written(folder / "account.json", content)


def federation(source: Callable[[Path, str], dict[str, Any]]) -> Callable[[Path, str], Path]:
    """Return what writes the file of a workload identity federation."""

    def write(folder: Path, address: str) -> Path:
        content = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"http://{address}/token",
            "credential_source": source(folder, address),
        }
        return _written(folder / "account.json", content)

    return write


def of_a_file(folder: Path, _: str) -> dict[str, Any]:
    return {"file": str(_written(folder / "jwt", "jwt"))}


def of_a_json_file(folder: Path, _: str) -> dict[str, Any]:
    file = _written(folder / "jwt", {"token": "jwt"})
    return {"file": str(file), "format": {"type": "json", "subject_token_field_name": "token"}}


def of_an_address(_: Path, address: str) -> dict[str, Any]:
    return {"url": f"http://{address}/jwt"}


def _written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


GOOGLE: dict[str, Callable[[Path, str], Path]] = {
    "service account": service_account,
    "federation by a file": federation(of_a_file),
    "federation by a JSON file": federation(of_a_json_file),
    "federation by an address": federation(of_an_address),
}


def issuing(*lifetimes: float) -> http.Respond:
    """Return `token-1`, `token-2` … which last so many seconds, the last of them forever after."""
    given = 0

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        if request.path == "/jwt":
            await http.page("jwt")(request, writer)
            return
        lifetime = lifetimes[min(given, len(lifetimes) - 1)]
        given += 1
        token = {
            "access_token": f"token-{given}",
            "expires_in": int(lifetime),
            "expires_on": str(int(time.time() + lifetime)),
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "resource": "https://prometheus.monitor.azure.com",
        }
        await http.json(token)(request, writer)

    return respond


@pytest.mark.parametrize("found", ["named in the settings", "by the environment"])
@pytest.mark.parametrize("kind", GOOGLE)
async def test_a_token_of_google_is_fetched_and_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, found: str
) -> None:
    async with http.serve(issuing(3600)) as tokens, http.serve(http.json(ANSWER)) as server:
        file = str(GOOGLE[kind](tmp_path, tokens.address))
        if found == "by the environment":
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
        reading = await read(server.address, GoogleIdentity(file if found == "named in the settings" else None))

    assert isinstance(reading, Sample), reading
    assert server.requests[0].headers["authorization"] == "Bearer token-1"
    asked = tokens.requests[-1].asked
    assert asked.get("scope", "https://www.googleapis.com/auth/monitoring.read").endswith("monitoring.read")


def app_service(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{address}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")


def cloud_shell(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MSI_ENDPOINT", f"http://{address}/token")


def machine_learning(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MSI_ENDPOINT", f"http://{address}/token")
    monkeypatch.setenv("MSI_SECRET", "secret")


def instance(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """As a virtual machine, whose metadata service is elsewhere."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{address}")


AZURE = {
    "app service": app_service,
    "cloud shell": cloud_shell,
    "machine learning": machine_learning,
    "instance": instance,
}


@pytest.mark.parametrize("kind", AZURE)
async def test_a_token_of_azure_is_fetched_for_its_prometheus_and_sent(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with http.serve(issuing(86400)) as tokens, http.serve(http.json(ANSWER)) as server:
        AZURE[kind](monkeypatch, tokens.address)
        reading = await read(server.address, AzureIdentity())

    assert isinstance(reading, Sample), reading
    assert server.requests[0].headers["authorization"].startswith("Bearer token-")
    asked = tokens.requests[-1]
    resource = asked.asked | dict(parse_qsl(urlsplit(asked.target).query))
    assert resource["resource"] == "https://prometheus.monitor.azure.com"


async def test_an_azure_identity_is_asked_for_by_its_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http.serve(issuing(86400)) as tokens, http.serve(http.json(ANSWER)) as server:
        app_service(monkeypatch, tokens.address)
        await read(server.address, AzureIdentity("11111111-2222-3333-4444-555555555555", "https://other/.default"))

    asked = tokens.requests[-1].asked
    assert asked["client_id"] == "11111111-2222-3333-4444-555555555555"
    assert asked["resource"] == "https://other"


async def test_a_token_is_fetched_once_until_it_ends(tmp_path: Path) -> None:
    async with (
        http.serve(issuing(1, 3600)) as tokens,
        http.serve(http.json(ANSWER)) as server,
    ):
        identity = GoogleIdentity(str(service_account(tmp_path, tokens.address)))
        async with PrometheusSource(
            Connection(f"http://{server.address}", identity=identity, timeout=PATIENT)
        ) as source:
            for _ in range(4):
                await source.read(SPEC, QUEUE, at=AT)
            await asyncio.gather(*(source.read(SPEC, QUEUE, at=AT) for _ in range(8)))

    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer token-1", *["Bearer token-2"] * 11]  # the first one was about to end when it came
    assert len(tokens.requests) == 2


# Without a credential nothing is asked, and it is told why.

REFUSED = http.json({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400)
NO_CREDENTIALS: dict[str, tuple[http.Respond, str]] = {
    "refused": (REFUSED, "Invalid JWT Signature"),
    "no JSON": (http.page("<html>" + "oh no " * 10_000), "no credentials of Google"),
    "down": (http.hang_up, "no credentials of Google"),
    "silent": (http.silence, "no credentials of Google within 1 s"),
    "endless": (http.drip(b"{" * 1000, interval=0.05), "no credentials of Google within 1 s"),
}


@pytest.mark.parametrize("kind", NO_CREDENTIALS)
async def test_a_token_that_does_not_come_is_told(tmp_path: Path, kind: str) -> None:
    respond, words = NO_CREDENTIALS[kind]
    async with http.serve(respond) as tokens, http.serve(http.json(ANSWER)) as server:
        identity = GoogleIdentity(str(service_account(tmp_path, tokens.address)))
        reading = await read(server.address, identity, timeout=timedelta(seconds=1 if "within" in words else 60))

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CREDENTIALS_UNREADABLE
    assert words in reading.message
    assert server.address in reading.message
    assert len(reading.message) < 500
    assert not server.requests


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (AWS, "no credentials of AWS: expected AWS credentials"),
        (GoogleIdentity(), "no credentials of Google: "),
        (GoogleIdentity("/no/such/file"), "/no/such/file"),
    ],
)
async def test_who_is_nobody_at_the_cloud_is_told_so(identity: CloudIdentity, words: str) -> None:
    async with http.serve(http.json(ANSWER)) as server:
        reading = await read(server.address, identity)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CREDENTIALS_UNREADABLE
    assert words in reading.message
    assert not server.requests


async def test_while_a_cloud_is_silent_there_is_one_thread_and_no_more(tmp_path: Path) -> None:
    async with http.serve(http.silence) as tokens:
        credentials = clouds.CloudCredentials(GoogleIdentity(str(service_account(tmp_path, tokens.address))))
        for _ in range(5):
            assert isinstance(await credentials.get(within=0.2), Missing)
        assert tokens.connections == 1


async def test_credentials_that_came_while_the_loop_was_held_up_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, asked = asyncio.get_running_loop(), threading.Event()
    monkeypatch.setattr(clouds, "provider", lambda _: lambda: asked.wait() and Credentials("Bearer token"))

    def fetched() -> None:
        asked.set()
        for thread in threading.enumerate():
            if thread.name == "cloud-credentials":
                thread.join()
        hold_up.hold_up(60)

    loop.call_soon(fetched)

    assert await CloudCredentials(AWS).get(within=5) == Credentials("Bearer token")
