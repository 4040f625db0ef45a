"""Servers that want a credential or TLS: read with what the files of Secrets have at that moment, and nothing of it is shown."""

import base64
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.metric_spec import AverageValue, PodsMetric, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading
from beamlit_controller.core.spec import BasicCredential, MetricService, MetricServiceTls, ModelKey, Scheme, SecretKey
from beamlit_controller.scrape.source import ScrapeSource
from fakes import http
from fakes.tls import Authority, Pair

AT = builders.NOW
QUEUE = PodsMetric(SeriesSelector("queue"), AverageValue(1_000))
PLAIN = MetricService("llama", 8000)
TOKEN, PASSWORD, CA = SecretKey("key", "token"), SecretKey("key", "password"), SecretKey("trust", "ca.crt")
CERT, KEY = SecretKey("ours", "tls.crt"), SecretKey("ours", "tls.key")
SPEC = builders.spec(metrics=(QUEUE,), metric_service=PLAIN)
PAGE = http.page("queue 3\n")


class Secrets:
    """A folder of Secrets, as it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, secret: SecretKey, value: str) -> None:
        path = self.file(SPEC.key, secret)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)

    def file(self, key: ModelKey, secret: SecretKey) -> Path:
        return self.folder / key.namespace / secret.name / secret.key


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def source(secrets: Secrets, *endpoints: str) -> ScrapeSource:
    return ScrapeSource(
        lambda _: {each: each for each in endpoints}, secrets=secrets.file, timeout=timedelta(seconds=10)
    )


async def read(secrets: Secrets, endpoint: str, service: MetricService) -> Reading:
    async with source(secrets, endpoint) as reader:
        return await reader.read(replace(SPEC, metric_service=service), QUEUE, at=AT)


def failure(reading: Reading) -> Missing:
    if isinstance(reading, Missing):
        return reading
    assert isinstance(reading, PodSamples)
    ((_, missing),) = reading.failures
    return missing


async def test_a_bearer_token_is_sent_without_the_newline_at_its_end(secrets: Secrets) -> None:
    secrets.write(TOKEN, "sk-local\n")
    async with http.serve(PAGE) as server:
        reading = await read(secrets, server.address, replace(PLAIN, credential=TOKEN))

    assert reading == PodSamples((PodSample(server.address, 3_000, AT),))
    assert server.requests[0].headers["authorization"] == "Bearer sk-local"


async def test_a_user_and_a_password_are_sent(secrets: Secrets) -> None:
    secrets.write(PASSWORD, "grün:geheim")
    async with http.serve(PAGE) as server:
        await read(secrets, server.address, replace(PLAIN, credential=BasicCredential("u", PASSWORD)))

    assert (
        base64.b64decode(server.requests[0].headers["authorization"].removeprefix("Basic ")).decode() == "u:grün:geheim"
    )


async def test_a_query_is_asked_with(secrets: Secrets) -> None:
    for path, target in (("/metrics", "/metrics?model=a%2Fb+c"), ("/m?x=1", "/m?x=1&model=a%2Fb+c")):
        async with http.serve(PAGE) as server:
            await read(secrets, server.address, replace(PLAIN, path=path, query=(("model", "a/b c"),)))

        assert server.requests[0].target == target


async def test_an_exchanged_token_counts_in_the_next_round(secrets: Secrets) -> None:
    spec = replace(SPEC, metric_service=replace(PLAIN, credential=TOKEN))
    async with http.serve(PAGE) as server, source(secrets, server.address) as reader:
        for number, token in enumerate(("one", "two")):
            secrets.write(TOKEN, token)
            await reader.read(spec, QUEUE, at=AT + timedelta(seconds=number))

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]


async def test_a_credential_that_is_missing_is_told_with_its_path(secrets: Secrets) -> None:
    async with http.serve(PAGE) as server:
        missing = failure(await read(secrets, server.address, replace(PLAIN, credential=TOKEN)))

    path = secrets.file(SPEC.key, TOKEN)
    assert missing.message == f"can't read key token of Secret key ({path}): No such file or directory"


async def test_a_pipe_in_place_of_a_credential_or_a_certificate_is_told_and_does_not_block(secrets: Secrets) -> None:
    secrets.write(TOKEN, "")
    pipe = secrets.file(SPEC.key, TOKEN)
    pipe.unlink()
    os.mkfifo(pipe)
    services = (replace(PLAIN, credential=TOKEN), replace(PLAIN, scheme=Scheme.HTTPS, tls=MetricServiceTls(ca=TOKEN)))
    async with http.serve(PAGE) as server:
        missed = [failure(await read(secrets, server.address, each)) for each in services]

    assert [each.message.rpartition(": ")[2] for each in missed] == ["it is not a regular file"] * 2


@pytest.mark.parametrize("content", [None, "", "two\nlines", "\x00", "ümläut", b"\xff"])
async def test_a_token_that_can_not_be_sent_is_told_without_being_shown(
    secrets: Secrets, content: str | bytes | None
) -> None:
    if content is not None:
        secrets.write(TOKEN, "")
        secrets.file(SPEC.key, TOKEN).write_bytes(content if isinstance(content, bytes) else content.encode())
    async with http.serve(PAGE) as server:
        missing = failure(await read(secrets, server.address, replace(PLAIN, credential=TOKEN)))

    assert missing.reason is Reason.CREDENTIALS_UNREADABLE
    assert "key token of Secret key" in missing.message
    assert "lines" not in missing.message
    assert not server.requests


async def test_without_a_folder_of_secrets_it_is_said_which_setting_is_missing() -> None:
    async with ScrapeSource(lambda _: {"127.0.0.1:1": "a"}) as reader:
        reading = await reader.read(replace(SPEC, metric_service=replace(PLAIN, credential=TOKEN)), QUEUE, at=AT)

    assert "config.metricInformer.secretsDirectory" in failure(reading).message


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_says_what_to_set_in_the_servers_own_words_and_shows_no_secret(
    secrets: Secrets, status: int
) -> None:
    secrets.write(TOKEN, "sk-secret")
    respond = http.page('{"error": {"message": "Invalid API Key: sk-secret"}}' + " x" * 10_000, status=status)
    async with http.serve(respond) as server:
        missing = failure(await read(secrets, server.address, replace(PLAIN, credential=TOKEN)))

    assert missing.reason is Reason.HTTP_ERROR
    assert f"got {status}" in missing.message
    assert "bearerTokenSecretRef" in missing.message
    assert "Invalid API Key: ***" in missing.message
    assert len(missing.message) < 500


LONG = "SECRETPART" * 150
ECHOES: dict[str, http.Respond] = {
    "refusal": http.echo(status=401),
    "page": http.page(f"<html>invalid token {LONG}"),
    "cut page": http.page(f"<html>{' ' * 3_000}invalid token {LONG}"),
    "content type": http.page("{}", content_type=f"application/json;{LONG}"),
    "line": http.page(f"queue {LONG}\n"),
    "encoding": http.page("", content_encoding=LONG),
}


@pytest.mark.parametrize("kind", ECHOES)
async def test_a_long_token_is_not_shown_in_part(secrets: Secrets, kind: str) -> None:
    """A refusal was cut to 1,024 bytes before whole tokens were removed from it; what other pages said was shown as it came."""
    secrets.write(TOKEN, LONG)
    async with http.serve(ECHOES[kind]) as server:
        missing = failure(await read(secrets, server.address, replace(PLAIN, credential=TOKEN)))

    assert "secret" not in missing.message.lower().replace("bearertokensecretref", "")


async def test_a_server_without_metrics_says_what_to_start_it_with(secrets: Secrets) -> None:
    """As llama.cpp does without `--metrics`."""
    body = '{"error":{"code":501,"message":"This server does not support metrics endpoint. Start it with `--metrics`"}}'
    async with http.serve(http.page(body, status=501)) as server:
        missing = failure(await read(secrets, server.address, PLAIN))

    assert "got 501" in missing.message
    assert "Start it with `--metrics`" in missing.message


# TLS.


def over_tls(server_name: str | None = "llama.models.svc") -> MetricService:
    return replace(PLAIN, scheme=Scheme.HTTPS, tls=MetricServiceTls(CA, server_name))


async def test_a_server_is_verified_by_its_authority_and_the_name_given(secrets: Secrets, authority: Authority) -> None:
    secrets.write(CA, authority.cert.read_text())
    async with http.serve(PAGE, tls=authority.server("llama.models.svc")) as server:
        right = await read(secrets, server.address, over_tls())
        wrong = await read(secrets, server.address, over_tls("other.models.svc"))
        unnamed = await read(secrets, server.address, over_tls(None))

    assert right == PodSamples((PodSample(server.address, 3_000, AT),))
    assert failure(wrong).reason is Reason.TLS_FAILED
    assert failure(unnamed).reason is Reason.TLS_FAILED


async def test_a_server_of_another_authority_is_not_trusted(
    secrets: Secrets, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    secrets.write(CA, other.cert.read_text())
    secrets.write(TOKEN, "sk-secret")
    async with http.serve(PAGE, tls=authority.server("llama.models.svc")) as server:
        missing = failure(await read(secrets, server.address, replace(over_tls(), credential=TOKEN)))

    assert missing.reason is Reason.TLS_FAILED
    assert not server.requests


async def test_an_exchanged_authority_counts_in_the_next_round(
    secrets: Secrets, authority: Authority, tmp_path: Path
) -> None:
    spec = replace(SPEC, metric_service=over_tls())
    secrets.write(CA, Authority(tmp_path, "old").cert.read_text())
    async with (
        http.serve(PAGE, tls=authority.server("llama.models.svc")) as server,
        source(secrets, server.address) as reader,
    ):
        before = await reader.read(spec, QUEUE, at=AT)
        secrets.file(SPEC.key, CA).unlink()
        secrets.write(CA, authority.cert.read_text())
        after = await reader.read(spec, QUEUE, at=AT + timedelta(seconds=1))

    assert failure(before).reason is Reason.TLS_FAILED
    assert isinstance(after, PodSamples)
    assert len(after.samples) == 1


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_an_authority_that_can_not_be_loaded_is_named(secrets: Secrets, content: str | None) -> None:
    if content is not None:
        secrets.write(CA, content)

    missing = failure(await read(secrets, "127.0.0.1:1", over_tls()))

    assert missing.reason is Reason.TLS_FAILED
    assert "key ca.crt of Secret trust" in missing.message


# Client certificates.


def with_certificate() -> MetricService:
    return replace(PLAIN, scheme=Scheme.HTTPS, tls=MetricServiceTls(CA, "llama.models.svc", CERT, KEY))


def give(secrets: Secrets, pair: Pair) -> None:
    """Exchange the client certificate as a mounted Secret is exchanged: by new files."""
    for secret, path in ((CERT, pair.cert), (KEY, pair.key)):
        secrets.file(SPEC.key, secret).unlink(missing_ok=True)
        secrets.write(secret, path.read_text())


async def test_a_client_certificate_is_shown_to_a_server_that_wants_one(secrets: Secrets, authority: Authority) -> None:
    secrets.write(CA, authority.cert.read_text())
    give(secrets, authority.issue("controller"))
    async with http.serve(PAGE, tls=authority.server("llama.models.svc", wants_client=True)) as server:
        shown = await read(secrets, server.address, with_certificate())
        without = await read(secrets, server.address, over_tls())

    assert shown == PodSamples((PodSample(server.address, 3_000, AT),))
    assert failure(without).reason in {Reason.TLS_FAILED, Reason.CONNECTION_FAILED}


async def test_an_exchanged_client_certificate_counts_in_the_next_round(
    secrets: Secrets, authority: Authority, tmp_path: Path
) -> None:
    spec = replace(SPEC, metric_service=with_certificate())
    secrets.write(CA, authority.cert.read_text())
    give(secrets, Authority(tmp_path, "strangers").issue("controller"))
    async with (
        http.serve(PAGE, tls=authority.server("llama.models.svc", wants_client=True)) as server,
        source(secrets, server.address) as reader,
    ):
        before = await reader.read(spec, QUEUE, at=AT)
        give(secrets, authority.issue("controller"))
        after = await reader.read(spec, QUEUE, at=AT + timedelta(seconds=1))
        again = await reader.read(spec, QUEUE, at=AT + timedelta(seconds=2))

    assert failure(before).reason in {Reason.TLS_FAILED, Reason.CONNECTION_FAILED}
    assert isinstance(after, PodSamples)
    assert isinstance(again, PodSamples)
    assert len(after.samples) == len(again.samples) == 1
    assert {request.connection for request in server.requests} == {server.connections}


BROKEN = ["no key", "the key of another", "a key with a password", "no certificate", "no PEM"]


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_client_certificate_that_can_not_be_loaded_is_named(
    secrets: Secrets, authority: Authority, kind: str
) -> None:
    secrets.write(CA, authority.cert.read_text())
    give(secrets, authority.issue("controller", password=b"secret" if kind == "a key with a password" else None))
    match kind:
        case "no key":
            secrets.file(SPEC.key, KEY).unlink()
        case "the key of another":
            secrets.write(KEY, authority.issue("another").key.read_text())
        case "no certificate":
            secrets.file(SPEC.key, CERT).unlink()
        case "no PEM":
            secrets.write(CERT, "no PEM")

    missing = failure(await read(secrets, "127.0.0.1:1", with_certificate()))

    assert missing.reason is Reason.TLS_FAILED
    assert "key tls.crt of Secret ours" in missing.message


# All together: what a server wants, and what is written in metricServiceRef for it.

USER = BasicCredential("u", PASSWORD)
ENCODED = base64.b64encode(b"u:pw").decode()
WANTED: dict[str, tuple[MetricService, str, str, str]] = {
    # with: the service, what the server is sent as Authorization and as target, and what its TLS asks for
    "nothing": (PLAIN, "", "/metrics", ""),
    "another path": (replace(PLAIN, path="/prometheus/metrics"), "", "/prometheus/metrics", ""),
    "a query": (replace(PLAIN, query=(("model", "a b"), ("x", "1"))), "", "/metrics?model=a+b&x=1", ""),
    "a token": (replace(PLAIN, credential=TOKEN), "Bearer sk", "/metrics", ""),
    "a password": (replace(PLAIN, credential=USER), f"Basic {ENCODED}", "/metrics", ""),
    "TLS": (over_tls(), "", "/metrics", "server"),
    "TLS and a token": (replace(over_tls(), credential=TOKEN), "Bearer sk", "/metrics", "server"),
    "TLS, a password and a query": (
        replace(over_tls(), credential=USER, query=(("model", "m"),)),
        f"Basic {ENCODED}",
        "/metrics?model=m",
        "server",
    ),
    "a client certificate": (with_certificate(), "", "/metrics", "client"),
    "a client certificate and a token": (
        replace(with_certificate(), credential=TOKEN),
        "Bearer sk",
        "/metrics",
        "client",
    ),
}


@pytest.mark.parametrize("kind", WANTED)
async def test_whatever_a_server_wants_is_given_to_it_and_nothing_else(
    secrets: Secrets, authority: Authority, kind: str
) -> None:
    service, authorization, target, tls = WANTED[kind]
    secrets.write(TOKEN, "sk\n")
    secrets.write(PASSWORD, "pw\n")
    secrets.write(CA, authority.cert.read_text())
    give(secrets, authority.issue("controller"))
    context = authority.server("llama.models.svc", wants_client=tls == "client") if tls else None
    async with http.serve(PAGE, tls=context) as server:
        reading = await read(secrets, server.address, service)

    assert reading == PodSamples((PodSample(server.address, 3_000, AT),))
    (request,) = server.requests
    assert request.headers.get("authorization", "") == authorization
    assert request.target == target
