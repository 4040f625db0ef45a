"""A Prometheus that behaves, and every way in which one may not, over real sockets."""

import asyncio
import base64
import gc
import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import builders
from beamlit_controller.core.metric_spec import ExternalMetric, Selector, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading, Sample
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.prometheus.connection import Connection, HttpBasicAuth, TlsFiles
from beamlit_controller.prometheus.source import PrometheusSource
from fakes import hold_up, http
from fakes.tls import Authority
from waiting import eventually

AT = builders.NOW
SPEC = builders.spec()
SOON = timedelta(milliseconds=300)  # for what never answers
LATE = timedelta(seconds=5)  # for what never answers, and then does
PATIENT = timedelta(seconds=60)  # for what does, however busy the machine is


def metric(name: str = "queue", **labels: str) -> ExternalMetric:
    return ExternalMetric(SeriesSelector(name, Selector(tuple(labels.items()))), Value(10_000))


def vector(*values: str, **more: object) -> dict[str, object]:
    result = [{"metric": {"pod": f"p{i}"}, "value": [AT.timestamp(), value]} for i, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def result(value: object, kind: str) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": value}}


QUEUE = metric()
GOOD = http.json(vector("12.5"))


async def read(address: str, asked: ExternalMetric = QUEUE, **connection: Any) -> Reading:  # noqa: ANN401 - whatever the fields of Connection take
    url = address if "://" in address else f"http://{address}"
    async with PrometheusSource(Connection(url, **{"timeout": PATIENT} | connection)) as source:
        return await source.read(SPEC, asked, at=AT)


async def missing(respond: http.Respond, asked: ExternalMetric = QUEUE, **connection: Any) -> Missing:  # noqa: ANN401 - whatever the fields of Connection take
    async with http.serve(respond) as server:
        reading = await read(server.address, asked, **connection)
    assert isinstance(reading, Missing), reading
    assert server.address in reading.message
    return reading


# What is asked.


async def test_asks_for_the_metric_at_the_time_of_the_round() -> None:
    async with http.serve(GOOD) as server:
        reading = await read(server.address, metric(model="llama"), query_parameters=(("dedup", "true"),))

    assert reading == Sample(12_500, AT - timedelta(seconds=90))
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/v1/query")
    assert request.asked == {
        "dedup": "true",
        "query": 'last_over_time(queue{model="llama"}[90s])'
        ' or label_replace(timestamp(queue{model="llama"}), "beamlit_sample_time", "true", "", "")',
        "time": f"{AT.timestamp():.3f}",
        "timeout": "60s",
    }


async def test_keeps_the_path_of_the_address_and_sends_the_headers() -> None:
    async with http.serve(GOOD) as server:
        address = f"http://{server.address}/tenants/a/prometheus/"
        await read(address, headers=(("X-Scope-OrgID", "team-a"),))

    (request,) = server.requests
    assert request.path == "/tenants/a/prometheus/api/v1/query"
    assert request.headers["x-scope-orgid"] == "team-a"
    assert "authorization" not in request.headers


async def test_asks_long_queries_as_a_form() -> None:
    promql = "sum(up) + " + " + ".join(f'count(up{{job="größe & {i}"}})' for i in range(200))
    async with http.serve(GOOD) as server:
        await read(server.address, metric(promql), query_parameters=(("dedup", "true"),))

    (request,) = server.requests
    assert request.method == "POST"
    assert request.target == "/api/v1/query?dedup=true"
    assert request.asked["query"] == promql
    assert request.asked["time"] == f"{AT.timestamp():.3f}"


async def test_refuses_what_it_cannot_ask_without_asking() -> None:
    async with http.serve(GOOD) as server:
        beside = await read(server.address, metric("sum(up)", a="b"))
        other = await read(server.address, builders.CPU)

    assert isinstance(beside, Missing)
    assert beside.reason is Reason.UNSUPPORTED_METRIC
    assert isinstance(other, Missing)
    assert other.reason is Reason.UNSUPPORTED_METRIC
    assert server.requests == []


async def test_keeps_the_connection_for_the_next_round() -> None:
    async with (
        http.serve(GOOD) as server,
        PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source,
    ):
        for _ in range(3):
            await source.read(SPEC, QUEUE, at=AT)

    assert [request.connection for request in server.requests] == [1, 1, 1]


async def test_takes_no_proxy_and_no_credentials_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password leaked\n")
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)

    async with http.serve(GOOD) as server:
        reading = await read(server.address)

    assert isinstance(reading, Sample)
    assert "authorization" not in server.requests[0].headers


async def test_returns_no_cookies() -> None:
    async with (
        http.serve(http.json(vector("1"), set_cookie="a=b")) as server,
        PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source,
    ):
        for _ in range(2):
            await source.read(SPEC, QUEUE, at=AT)

    assert all("cookie" not in request.headers for request in server.requests)


# Answers with a value.


@pytest.mark.parametrize(
    ("respond", "milli", "series"),
    [
        (http.json(vector("1", "2", "0.5")), 3_500, 3),
        (http.json(vector("1", infos=["PromQL info"])), 1_000, 1),
        (http.zipped(json.dumps(vector("7")).encode()), 7_000, 1),
        (http.drip(json.dumps(vector("3")).encode(), interval=0), 3_000, 1),
    ],
    ids=["vector", "infos", "gzip", "bytewise"],
)
async def test_reads_the_value(respond: http.Respond, milli: int, series: int) -> None:
    async with http.serve(respond) as server:
        assert await read(server.address) == Sample(milli, AT - timedelta(seconds=90), series=series)


async def test_the_value_of_a_query_is_undated() -> None:
    async with http.serve(http.json(result([AT.timestamp(), "4"], "scalar"))) as server:
        value = await read(server.address, metric("scalar(sum(rate(x[1m])))"))

    covered = timedelta(minutes=1)
    assert value == Sample(4_000, AT, timedelta(seconds=90) + covered, undated=True, averaged=covered)


# Answers without one: the reason is told, and nothing is raised.

BAD: dict[str, tuple[http.Respond, Reason]] = {
    "empty": (http.json(vector()), Reason.NO_SERIES),
    "NaN": (http.json(vector("NaN")), Reason.NOT_A_NUMBER),
    "infinite": (http.json(vector("+Inf")), Reason.INFINITE),
    "stale": (http.json(result([{"metric": {}, "value": [AT.timestamp() - 999, "1"]}], "vector")), Reason.STALE),
    "matrix": (http.json(result([{"metric": {}, "values": [[1, "1"]]}], "matrix")), Reason.UNEXPECTED_RESULT_TYPE),
    "string": (http.json(result([AT.timestamp(), "hi"], "string")), Reason.UNEXPECTED_RESULT_TYPE),
    "error": (http.json({"status": "error", "errorType": "internal", "error": "x"}), Reason.QUERY_FAILED),
    "parse error": (
        http.json({"status": "error", "errorType": "bad_data", "error": "1:1"}, status=400),
        Reason.QUERY_FAILED,
    ),
    "warnings": (http.json(vector("1", warnings=["partial"])), Reason.QUERY_WARNINGS),
    "401": (http.page("who are you?", status=401), Reason.HTTP_ERROR),
    "404": (http.page("not here", status=404), Reason.HTTP_ERROR),
    "500": (http.page("oh no", status=500), Reason.HTTP_ERROR),
    "503": (http.page(status=503, retry_after="5"), Reason.HTTP_ERROR),
    "HTML with 200": (http.page("<html>Log in</html>", content_type="text/html"), Reason.MALFORMED_ANSWER),
    "no body": (http.page(), Reason.MALFORMED_ANSWER),
    "redirect": (http.redirect("http://127.0.0.1:1/"), Reason.REDIRECTED),
    "1 GB": (http.huge(1024**3), Reason.ANSWER_TOO_LARGE),
    "endless": (http.endless(), Reason.ANSWER_TOO_LARGE),
    "gzip bomb": (http.bomb(128 * 1024**2), Reason.ANSWER_TOO_LARGE),
    "broken gzip": (http.page(b"certainly not gzip", content_encoding="gzip"), Reason.MALFORMED_ANSWER),
    "half of a gzip": (http.page(gzip.compress(bytes(1000))[:-9], content_encoding="gzip"), Reason.MALFORMED_ANSWER),
    "another encoding": (http.page("{}", content_encoding="br"), Reason.MALFORMED_ANSWER),
    "layers of gzip": (http.layers(json.dumps(vector("1")).encode()), Reason.MALFORMED_ANSWER),
    "503 in layers of gzip": (http.page("busy", status=503, content_encoding="gzip, gzip"), Reason.HTTP_ERROR),
    "slow": (http.drip(b" " * 1000, interval=0.05), Reason.TIMED_OUT),
    "silent": (http.silence, Reason.TIMED_OUT),
    "hung up": (http.hang_up, Reason.CONNECTION_FAILED),
    "reset": (http.reset, Reason.CONNECTION_FAILED),
    "no HTTP": (http.garbage, Reason.CONNECTION_FAILED),
    "truncated": (http.truncated(b'{"status":', promised=100), Reason.CONNECTION_FAILED),
    "endless header": (http.endless_header, Reason.CONNECTION_FAILED),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_answer_is_missing_with_its_reason(kind: str) -> None:
    respond, reason = BAD[kind]

    found = await missing(respond, timeout=SOON if reason is Reason.TIMED_OUT else PATIENT)

    assert found.reason is reason


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_answer_does_not_spoil_the_next(kind: str) -> None:
    respond, reason = BAD[kind]
    timeout = LATE if reason is Reason.TIMED_OUT else PATIENT
    async with (
        http.serve(respond) as server,
        PrometheusSource(Connection(f"http://{server.address}", timeout=timeout)) as source,
    ):
        assert isinstance(await source.read(SPEC, QUEUE, at=AT), Missing)
        server.respond = GOOD
        assert isinstance(await source.read(SPEC, QUEUE, at=AT), Sample)


async def test_nobody_there_is_a_failed_connection() -> None:
    async with http.serve(GOOD) as server:
        pass

    gone = await read(server.address)

    assert isinstance(gone, Missing)
    assert gone.reason is Reason.CONNECTION_FAILED


async def test_an_unknown_host_is_a_failed_connection() -> None:
    unknown = await read("http://no-such-host.invalid:9090")

    assert isinstance(unknown, Missing)
    assert unknown.reason in {Reason.CONNECTION_FAILED, Reason.TIMED_OUT}
    assert "no-such-host.invalid:9090" in unknown.message


@pytest.mark.parametrize("respond", [http.drip(b" " * 1000, interval=0.02), http.silence], ids=["drip", "silence"])
async def test_the_deadline_is_for_the_whole_exchange(respond: http.Respond) -> None:
    answer = await missing(respond, timeout=timedelta(milliseconds=200))

    assert answer.reason is Reason.TIMED_OUT  # of each byte the drip would be in time, and its end no JSON


@pytest.mark.parametrize("kind", ["1 GB", "endless", "gzip bomb"])
async def test_memory_stays_small_whatever_comes(kind: str) -> None:
    respond, _ = BAD[kind]
    async with (
        http.serve(GOOD) as server,
        PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source,
    ):
        await source.read(SPEC, QUEUE, at=AT)
        server.respond = respond
        tracemalloc.start()
        try:
            await source.read(SPEC, QUEUE, at=AT)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 16 * 1024**2  # the server's own buffers are in it


# Credentials.


async def test_sends_the_bearer_token_as_its_file_has_it_now(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with (
        http.serve(GOOD) as server,
        PrometheusSource(Connection(f"http://{server.address}", bearer_token_file=file, timeout=PATIENT)) as source,
    ):
        for token in ("first\n", "second"):
            file.write_text(token)
            await source.read(SPEC, QUEUE, at=AT)

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


async def test_sends_user_and_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("pässword: 1\n")
    async with http.serve(GOOD) as server:
        await read(server.address, basic_auth=HttpBasicAuth("me", file))

    scheme, _, pair = server.requests[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", "me:pässword: 1")


@pytest.mark.parametrize("written", [None, "", "  \n", "two\nlines", "\x00", "größe", b"\xff\xfe"])
async def test_a_token_that_cannot_be_sent_is_missing(tmp_path: Path, written: str | bytes | None) -> None:
    file = tmp_path / "token"
    if written is not None:
        file.write_bytes(written if isinstance(written, bytes) else written.encode())
    async with http.serve(GOOD) as server:
        reading = await read(server.address, bearer_token_file=file)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CREDENTIALS_UNREADABLE
    assert str(file) in reading.message
    assert server.requests == []


async def test_a_pipe_in_place_of_a_token_or_a_certificate_is_told_and_does_not_block(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with http.serve(GOOD) as server:
        by_token = await read(server.address, bearer_token_file=pipe)
        over_tls = await read(server.address, tls=TlsFiles(ca_file=pipe))

    unread = (by_token, over_tls)
    assert [each.message.partition("can't ")[2] for each in unread if isinstance(each, Missing)] == [
        f"read {pipe}: it is not a regular file",
        f"load {pipe}: it is not a regular file",
    ]


async def test_a_password_that_is_not_there_is_missing(tmp_path: Path) -> None:
    async with http.serve(GOOD) as server:
        reading = await read(server.address, basic_auth=HttpBasicAuth("me", tmp_path / "password"))

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CREDENTIALS_UNREADABLE
    assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_and_no_credential_goes_there(tmp_path: Path, status: int) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret-token")
    async with http.serve(GOOD) as elsewhere:
        respond = http.redirect(f"http://{elsewhere.address}/api/v1/query?token=s3cret-token", status=status)
        redirected = await missing(respond, bearer_token_file=file)

    assert redirected.reason is Reason.REDIRECTED
    assert "127.0.0.1" in redirected.message
    assert elsewhere.connections == 0
    assert "s3cret-token" not in redirected.message


async def test_a_server_that_repeats_our_credentials_does_not_get_them_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret")
    echo = http.echo(status=500)

    by_token = await missing(echo, metric("1+1"), bearer_token_file=file, headers=(("x-api-key", "k3y-k3y-k3y"),))
    by_password = await missing(
        echo, metric("1+1"), basic_auth=HttpBasicAuth("me", file), query_parameters=(("key", "p4rameter"),)
    )

    for found in (by_token, by_password):
        assert "***" in found.message
        for secret in ("s3cret", "k3y-k3y-k3y", "p4rameter", base64.b64encode(b"me:s3cret").decode()):
            assert secret not in found.message


@pytest.mark.parametrize("size", [1_500, 4_500])
@pytest.mark.parametrize("status", [200, 401])
async def test_a_long_credential_is_not_shown_in_part(tmp_path: Path, size: int, status: int) -> None:
    """What a server said was cut to 4,096 bytes before whole tokens were removed from it."""
    file = tmp_path / "secret"
    file.write_text("SECRET" * (size // 6))

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await http.page(f"unknown: {request.headers['authorization']}", status=status)(request, writer)

    by_token = await missing(respond, bearer_token_file=file)
    by_password = await missing(respond, basic_auth=HttpBasicAuth("me", file))

    for found in (by_token, by_password):
        assert "***" in found.message
        assert "SECRET" not in found.message
        assert base64.b64encode(b"me:SECRET").decode()[:8] not in found.message


# TLS.


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_trusts_its_own_authority(authority: Authority) -> None:
    async with http.serve(GOOD, tls=authority.server("127.0.0.1")) as server:
        reading = await read(f"https://{server.address}", tls=TlsFiles(ca_file=authority.cert))

    assert isinstance(reading, Sample)


async def test_verifies_the_name_that_was_given(authority: Authority) -> None:
    async with http.serve(GOOD, tls=authority.server("prometheus.internal")) as server:
        tls = TlsFiles(ca_file=authority.cert)
        named = await read(f"https://{server.address}", tls=replace(tls, server_name="prometheus.internal"))
        unnamed = await read(f"https://{server.address}", tls=tls)

    assert isinstance(named, Sample)
    assert isinstance(unnamed, Missing)
    assert unnamed.reason is Reason.TLS_FAILED


async def test_refuses_who_is_not_trusted(authority: Authority) -> None:
    async with http.serve(GOOD, tls=authority.server("127.0.0.1")) as server:
        stranger = await read(f"https://{server.address}")

    assert isinstance(stranger, Missing)
    assert stranger.reason is Reason.TLS_FAILED
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.message
    assert server.requests == []


async def test_shows_its_own_certificate(authority: Authority) -> None:
    pair = authority.issue("controller")
    async with http.serve(GOOD, tls=authority.server("127.0.0.1", wants_client=True)) as server:
        tls = TlsFiles(ca_file=authority.cert)
        known = await read(f"https://{server.address}", tls=replace(tls, cert_file=pair.cert, key_file=pair.key))
        unknown = await read(f"https://{server.address}", tls=tls)

    assert isinstance(known, Sample)
    assert isinstance(unknown, Missing)
    assert unknown.reason in {Reason.TLS_FAILED, Reason.CONNECTION_FAILED}  # TLS 1.3 may hang up without a word
    assert len(server.requests) == 1


async def test_a_handshake_that_is_not_answered_ends_and_leaves_no_socket_open() -> None:
    """Handshakes have a part of the timeout; where the machine is busy the rest has to be long enough to end them in order."""
    async with http.serve(GOOD) as server:
        reading = await read(f"https://{server.address}", timeout=timedelta(seconds=3))

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.TIMED_OUT


async def test_speaking_plain_http_to_tls_is_no_answer(authority: Authority) -> None:
    async with http.serve(GOOD, tls=authority.server("127.0.0.1")) as server:
        reading = await read(server.address)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CONNECTION_FAILED


async def test_follows_certificates_that_are_exchanged(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = Authority(tmp_path / "old").cert.read_bytes(), Authority(tmp_path / "new")
    right = new.cert.read_bytes()
    trusted = tmp_path / "ca.pem"
    reasons = []
    async with http.serve(GOOD, tls=new.server("127.0.0.1")) as server:
        connection = Connection(f"https://{server.address}", tls=TlsFiles(ca_file=trusted), timeout=PATIENT)
        async with PrometheusSource(connection) as source:
            for written in (None, b"not a certificate", old, right, old, right, right):
                if written is not None:
                    exchange(trusted, written)
                reading = await source.read(SPEC, QUEUE, at=AT)
                reasons.append(reading.reason if isinstance(reading, Missing) else None)
            await eventually(lambda: server.open_connections <= 2)

    refused = Reason.TLS_FAILED
    assert reasons == [refused, refused, refused, None, refused, None, None]


async def test_an_encrypted_key_is_missing_and_nobody_is_asked_for_a_password(authority: Authority) -> None:
    pair = authority.issue("controller", password=b"unknown")
    async with http.serve(GOOD, tls=authority.server("127.0.0.1")) as server:
        tls = TlsFiles(ca_file=authority.cert, cert_file=pair.cert, key_file=pair.key)
        reading = await read(f"https://{server.address}", tls=tls)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.TLS_FAILED


def exchange(file: Path, content: bytes) -> None:
    """Write as kubelet does: whole, under another inode."""
    beside = file.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, file)  # noqa: PTH105 - the atomic one, by its own name


# Many at once.


async def test_slow_queries_of_one_model_do_not_hold_up_another() -> None:
    slow, quick = replace(SPEC, key=ModelKey("models", "slow")), replace(SPEC, key=ModelKey("models", "quick"))
    async with http.serve(slow_if("slow")) as server:
        connection = Connection(f"http://{server.address}", timeout=PATIENT)
        async with PrometheusSource(connection) as source, asyncio.TaskGroup() as group:
            waiting = [group.create_task(source.read(slow, metric("slow"), at=AT)) for _ in range(200)]
            await eventually(lambda: len(server.requests) > 0)
            for _ in range(20):
                assert isinstance(await source.read(quick, metric("quick"), at=AT), Sample)
            assert sum(request.asked["query"].startswith("last_over_time(slow") for request in server.requests) <= 4
            for task in waiting:
                task.cancel()


async def test_a_thousand_readings_use_few_connections() -> None:
    async with http.serve(GOOD) as server:
        connection = Connection(f"http://{server.address}", timeout=PATIENT)
        specs = [replace(SPEC, key=ModelKey("models", f"m{i}")) for i in range(1000)]
        async with PrometheusSource(connection) as source:
            readings = await asyncio.gather(*(source.read(spec, QUEUE, at=AT) for spec in specs))

    assert all(isinstance(reading, Sample) for reading in readings)
    assert server.most_open <= 64


# asyncio loses a connection that is cancelled at the moment it was made; it is closed when it is collected.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_reading_that_is_cancelled_leaves_no_connection_behind() -> None:
    async with (
        http.serve(http.silence) as server,
        PrometheusSource(Connection(f"http://{server.address}", timeout=PATIENT)) as source,
    ):
        for _ in range(100):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await source.read(SPEC, QUEUE, at=AT)
        gc.collect()
        await eventually(lambda: server.open_connections == 0)
        server.respond = GOOD
        assert isinstance(await source.read(SPEC, QUEUE, at=AT), Sample)


def slow_if(word: str) -> http.Respond:
    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await (http.silence if word in request.asked["query"] else GOOD)(request, writer)

    return respond


# What can't be a connection.


@pytest.mark.parametrize(
    "build",
    [
        lambda: Connection("my-local-prom:9090"),
        lambda: Connection("ftp://prom"),
        lambda: Connection("http://"),
        lambda: Connection("http://user:s3cret@prom:9090"),
        lambda: Connection("http://prom:9090/?a=b"),
        lambda: Connection("http://prom:9090/#a"),
        lambda: Connection("http://prom:port"),
        lambda: Connection("http://prom", headers=(("a b", "c"),)),
        lambda: Connection("http://prom", headers=(("a", "b\r\nc: d"),)),
        lambda: Connection("http://prom", headers=(("a", "ü"),)),
        lambda: Connection("http://prom", timeout=timedelta(0)),
        lambda: Connection("http://prom", stale_after=timedelta(seconds=-1)),
        lambda: Connection("http://prom", bearer_token_file=Path("a"), basic_auth=HttpBasicAuth("b", Path("c"))),
    ],
    ids=[
        "bare",
        "scheme",
        "host",
        "userinfo",
        "query",
        "fragment",
        "port",
        "name",
        "line",
        "ascii",
        "timeout",
        "age",
        "both",
    ],
)
def test_a_connection_that_could_never_work_is_refused_at_once(build: Callable[[], Connection]) -> None:
    with pytest.raises(ValueError, match=r"expected|can't") as refused:
        build()

    assert "s3cret" not in str(refused.value)


async def test_models_of_each_namespace_ask_as_their_own() -> None:
    headers, parameters = (("X-Scope-OrgID", "team-$namespace"),), (("namespace", "$namespace"),)
    async with http.serve(GOOD) as server:
        connection = Connection(f"http://{server.address}", headers=headers, query_parameters=parameters)
        async with PrometheusSource(connection) as source:
            for namespace in ("models", "research"):
                await source.read(replace(SPEC, key=ModelKey(namespace, "llama")), QUEUE, at=AT)

    assert [each.headers["x-scope-orgid"] for each in server.requests] == ["team-models", "team-research"]
    assert [each.asked["namespace"] for each in server.requests] == ["models", "research"]


async def test_an_answer_that_came_while_the_loop_was_held_up_is_read() -> None:
    async with http.serve(hold_up.after(GOOD, 6)) as server:
        assert isinstance(await read(server.address, timeout=LATE), Sample)
