"""Products that speak Prometheus' API, before a real Prometheus: read, or refused in their own words, wherever they are asked."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

import builders
from beamlit_controller.api.settings import ClientTls, PrometheusSettings, Settings
from beamlit_controller.core.cloud_identity import AwsIdentity
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.prometheus.source import PrometheusSource, Span
from beamlit_controller.rehearsal import reachability, simulation
from beamlit_controller.rehearsal.simulation import Past
from beamlit_controller.wiring import common
from fakes import http
from fakes import prometheus_like as like
from fakes.commands import COMMAND
from fakes.prometheus import Prometheus, prometheus
from fakes.prometheus_like import Answer
from fakes.tls import Authority, Pair

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

UNTIL = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPAN = Span(UNTIL - timedelta(minutes=30), UNTIL, timedelta(seconds=15))
QUEUE = ExternalMetric(SeriesSelector("queue"), Value(10_000))
SPEC = builders.spec(metrics=(QUEUE,), key=ModelKey("default", "llama"))
MANIFEST = """
apiVersion: deployment.beamlit.com/v1alpha1
kind: ModelDeployment
metadata: {name: llama}
spec:
  modelSourceRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  serviceRef: {name: llama, targetPort: 8000}
  offloadingConfig:
    remoteBackend: {host: api.example.com}
    metrics: [{type: External, external: {metric: {name: queue}, target: {type: Value, value: 10}}}]
    behavior: {mode: Fixed, percentage: 50}
"""

INFO = 'PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see …) for metric name ""'
NO_TENANT = like.refused(401, "no org id\n")
LONG = " and so on" * 1000

PROMETHEUS = {
    "2.52, an info among the warnings": Answer("prometheus/prometheus#14135", like.adding(warnings=[INFO])),
    "3, an info": Answer("prometheus/prometheus#14327", like.adding(infos=[INFO])),
    "2.52, more infos than an answer has room for": Answer(
        "util/annotations/annotations.go", like.adding(warnings=[INFO] * 10 + ["5 more info annotations omitted"])
    ),
    "statistics": Answer(
        "web/api/v1/api.go: stats=all", like.within_data(stats={"samples": {"totalQueryableSamples": 3}})
    ),
    "a remote read that failed": Answer(
        "storage/remote/read.go",
        like.adding(warnings=["remote server http://r/read returned http status 500 Internal Server Error"]),
        Reason.QUERY_WARNINGS,
        "http://r/read returned http status 500",
    ),
    "a warning of PromQL": Answer(
        "util/annotations/annotations.go",
        like.adding(warnings=["PromQL warning: encountered a mix of histograms and floats for metric name"]),
        Reason.QUERY_WARNINGS,
        "a mix of histograms and floats",
    ),
    "too much to load": Answer(
        "promql/engine.go: ErrTooManySamples",
        like.error(422, "execution", "query processing would load too many samples into memory in query execution"),
        Reason.QUERY_FAILED,
        "too many samples into memory",
    ),
    "too slow": Answer(
        "promql/engine.go: ErrQueryTimeout",
        like.error(503, "timeout", "query timed out in query execution"),
        Reason.TIMED_OUT,
        "query timed out in query execution",
    ),
    "not ready yet": Answer(
        "web/web.go: testReady", like.refused(503, "Service Unavailable"), Reason.HTTP_ERROR, "Service Unavailable"
    ),
}
THANOS = {
    "an info among the warnings": Answer("thanos-io/thanos#7597", like.adding(warnings=[INFO])),
    "an analysis of the query": Answer(
        "pkg/api/query/v1.go: queryData", like.within_data(analysis={"name": "[vectorSelector]"})
    ),
    "gzipped": Answer("pkg/api/api.go: gziphandler", like.zipped()),
    "a store that is down": Answer(
        "test/e2e/rule_test.go",
        like.adding(
            warnings=["receive series from Addr: 10.0.0.7:10901 LabelSets: … rpc error: code = Unavailable desc = down"]
        ),
        Reason.QUERY_WARNINGS,
        "Addr: 10.0.0.7:10901",
    ),
    "no store": Answer(
        "pkg/store/proxy.go: ErrorNoStoresMatched",
        like.empty(warnings=["No StoreAPIs matched for this query"]),
        Reason.QUERY_WARNINGS,
        "No StoreAPIs matched",
    ),
    "an info beside a warning": Answer(
        "pkg/extannotations",
        like.adding(warnings=[INFO, "failed to receive any data in 5s"]),
        Reason.QUERY_WARNINGS,
        "in 5s",
    ),
    "partial_response=false": Answer(
        "thanos-io/thanos#3004",
        like.error(422, "execution", "expanding series: proxy Series(): rpc error: code = Aborted desc = fetch series"),
        Reason.QUERY_FAILED,
        "expanding series: proxy Series()",
    ),
}
MIMIR = {
    "an info": Answer("pkg/frontend/querymiddleware", like.adding(infos=[INFO], warnings=[]), prefix="/prometheus"),
    "its tenant": Answer(
        "grafana/mimir#2030",
        like.wanting("x-scope-orgid", "default", NO_TENANT),
        prefix="/prometheus",
        settings=(("headers", (("X-Scope-OrgID", "$namespace"),)),),
    ),
    "no tenant": Answer(
        "grafana/mimir#2030", NO_TENANT, Reason.HTTP_ERROR, "headers; it says: no org id", "/prometheus"
    ),
    "too many chunks": Answer(
        "pkg/util/limiter/query_limiter.go",
        like.error(
            422, "execution", f"the query exceeded the maximum number of chunks (err-mimir-max-chunks-per-query).{LONG}"
        ),
        Reason.QUERY_FAILED,
        "(err-mimir-max-chunks-per-query)",
        "/prometheus",
    ),
    "too many requests": Answer(
        "grafana/mimir#4518, pkg/api/error/error.go",
        like.error(429, "too_many_requests", "too many outstanding requests"),
        Reason.QUERY_FAILED,
        "(too_many_requests): too many outstanding requests",
        "/prometheus",
    ),
    "too large": Answer(
        "pkg/api/error/error.go: TypeTooLargeEntry",
        like.error(413, "too_large_entry", "received a query larger than the limit"),
        Reason.QUERY_FAILED,
        "larger than the limit",
        "/prometheus",
    ),
    "another prefix": Answer(
        "Go's http.NotFound",
        like.refused(404, "404 page not found\n"),
        Reason.HTTP_ERROR,
        "its path ends before /api/v1",
    ),
}
CORTEX = {
    "an info": Answer("pkg/util/api/response.go: Infos", like.adding(infos=[INFO])),
    "its tenant": Answer(
        "weaveworks/common: user/id.go",
        like.wanting("x-scope-orgid", "default", NO_TENANT),
        settings=(("headers", (("X-Scope-OrgID", "$namespace"),)),),
    ),
    "partial data": Answer(
        "cortexproject/cortex#6526, pkg/ring/../partialdata",
        like.adding(warnings=["query result may contain partial data"]),
        Reason.QUERY_WARNINGS,
        "may contain partial data",
    ),
    "not allowed": Answer(
        "pkg/util/api/response.go: PermissionDenied",
        like.error(422, "bad_data", "query is rejected by the query rejection of the tenant"),
        Reason.QUERY_FAILED,
        "query is rejected",
    ),
    "a server's error": Answer(
        "pkg/util/api/response.go: ErrServer",
        like.error(500, "server_error", "rpc error: code = Unavailable desc = ingesters"),
        Reason.QUERY_FAILED,
        "(server_error): rpc error",
    ),
    "a gateway's time-out": Answer(
        "pkg/util/api/response.go: StatusGatewayTimeout",
        like.error(504, "timeout", "context deadline exceeded"),
        Reason.TIMED_OUT,
        "context deadline exceeded",
    ),
}
VICTORIA = "/select/0/prometheus"
VICTORIAMETRICS = {
    "in whole": Answer(
        "app/vmselect/prometheus/query_response.qtpl",
        like.adding(isPartial=False, stats={"seriesFetched": "2", "executionTimeMsec": 3}, trace={}),
        prefix=VICTORIA,
    ),
    "30 s back": Answer("-search.latencyOffset", like.earlier(30), prefix=VICTORIA),
    "in part": Answer(
        "VictoriaMetrics/VictoriaMetrics#4721",
        like.adding(isPartial=True),
        Reason.QUERY_WARNINGS,
        "isPartial",
        VICTORIA,
    ),
    "deny_partial_response": Answer(
        "VictoriaMetrics/VictoriaMetrics#891",
        like.error(422, "422", "cannot return full response, since some of vmstorage nodes are unavailable"),
        Reason.QUERY_FAILED,
        "some of vmstorage nodes are unavailable",
        VICTORIA,
    ),
    "no storage node": Answer(
        "VictoriaMetrics/VictoriaMetrics#1148, #11009",
        like.error(
            503,
            "503",
            "cannot fetch query results from vmstorage nodes: cannot perform search on vmstorage 10.216.0.219:8401: "
            f"cannot obtain connection from a pool: cannot dial 10.216.0.219:8401{LONG}",
        ),
        Reason.QUERY_FAILED,
        "cannot perform search on vmstorage 10.216.0.219:8401",
        VICTORIA,
    ),
    "too many at once": Answer(
        "VictoriaMetrics/VictoriaMetrics#5682",
        like.error(
            429, "429", "couldn't start executing the request in 10.000 seconds, since -search.maxConcurrentRequests=8"
        ),
        Reason.QUERY_FAILED,
        "-search.maxConcurrentRequests=8",
        VICTORIA,
    ),
    "vmauth without a password": Answer(
        "app/vmauth/main.go: handleMissingAuthorizationError",
        like.refused(401, "missing 'Authorization' request header\n"),
        Reason.HTTP_ERROR,
        "basicAuth",
        VICTORIA,
    ),
    "another prefix": Answer(
        "lib/httpserver/httpserver.go",
        like.refused(400, 'unsupported path requested: "/api/v1/query"\n'),
        Reason.HTTP_ERROR,
        'unsupported path requested: "/api/v1/query"',
    ),
}
WORKSPACE = "/workspaces/ws-b226cc2a"
AMAZON = {
    "in whole": Answer("AMP-APIReference-QueryMetrics", like.adding(warnings=[], infos=[]), prefix=WORKSPACE),
    "an info": Answer("AMP, as Cortex", like.adding(infos=[INFO]), prefix=WORKSPACE),
    "not signed": Answer(
        "AWS common errors: MissingAuthenticationToken, aws/amazon-managed-grafana-roadmap#61",
        like.refused(403, '{"message":"Missing Authentication Token"}', "application/json"),
        Reason.HTTP_ERROR,
        "Missing Authentication Token",
        WORKSPACE,
    ),
    "signed with another key": Answer(
        "AWS common errors: InvalidSignatureException, trickstercache/trickster#685",
        like.refused(
            403, '{"message":"The request signature we calculated does not match the signature you provided."}'
        ),
        Reason.HTTP_ERROR,
        "does not match the signature",
        WORKSPACE,
    ),
    "not allowed": Answer(
        "kedacore/keda#5373, aws-ia/terraform-aws-eks-blueprints#709: AccessDeniedException",
        like.refused(
            403, '{"Message":"User: arn:aws:iam::1:user/u is not authorized to perform: aps:QueryMetrics on resource"}'
        ),
        Reason.HTTP_ERROR,
        "not authorized to perform: aps:QueryMetrics",
        WORKSPACE,
    ),
    "a query's time-out": Answer(
        "AMP-troubleshooting: HTTP 422",
        like.error(422, "execution", "query timed out"),
        Reason.QUERY_FAILED,
        "query timed out",
        WORKSPACE,
    ),
    "throttled": Answer(
        "botocore: amp.ThrottlingException",
        like.refused(429, '{"message":"Rate exceeded","quotaCode":"L-1","retryAfterSeconds":1}', "application/json"),
        Reason.HTTP_ERROR,
        "Rate exceeded",
        WORKSPACE,
    ),
    "over the threshold of samples": Answer(
        "query-insights-control: max_samples_processed_warning_threshold",
        like.adding(warnings=["query samples processed exceeded the warning threshold"]),
        Reason.QUERY_WARNINGS,
        "exceeded the warning threshold",
        WORKSPACE,
    ),
}
PROJECT = "/v1/projects/p/location/global/prometheus"


def _google(status: int, code: str, message: str) -> like.Relayed:
    body = f'{{"error": {{"code": {status}, "message": "{message}", "status": "{code}"}}}}'
    return like.refused(status, body, "application/json; charset=UTF-8")


GOOGLE = {
    "in whole": Answer("prometheus-engine: frontend", like.adding(), prefix=PROJECT),
    "an info": Answer("PromQL for Cloud Monitoring", like.adding(infos=[INFO]), prefix=PROJECT),
    "no token": Answer(
        "google.rpc.Code: UNAUTHENTICATED",
        _google(401, "UNAUTHENTICATED", "Request is missing required authentication credential."),
        Reason.HTTP_ERROR,
        "missing required authentication credential",
        PROJECT,
    ),
    "not allowed": Answer(
        "GoogleCloudPlatform/prometheus-engine#341",
        _google(
            403, "PERMISSION_DENIED", "Permission monitoring.timeSeries.list denied (or the resource may not exist)."
        ),
        Reason.HTTP_ERROR,
        "Permission monitoring.timeSeries.list denied",
        PROJECT,
    ),
    "over the quota": Answer(
        "google.rpc.Code: RESOURCE_EXHAUSTED",
        _google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Time series queries'"),
        Reason.HTTP_ERROR,
        "Quota exceeded for quota metric",
        PROJECT,
    ),
    "too many queries in a process": Answer(
        "GoogleCloudPlatform/prometheus-engine#885",
        like.error(
            429,
            "resource_exhausted",
            "expanding series: generic::aborted: invalid status monarch::220: Cancelled due to the number of queries whose "
            "evaluation is blocked",
        ),
        Reason.QUERY_FAILED,
        "(resource_exhausted): expanding series: generic::aborted: invalid status monarch::220",
        PROJECT,
    ),
    "a query that it does not take": Answer(
        "PromQL for Cloud Monitoring",
        like.error(400, "bad_data", "invalid parameter: query: parse error"),
        Reason.QUERY_FAILED,
        "invalid parameter: query",
        PROJECT,
    ),
    "another path": Answer(
        "GoogleCloudPlatform/prometheus-engine#278",
        like.refused(404, f"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>{LONG}", "text/html"),
        Reason.HTTP_ERROR,
        "Error 404 (Not Found)!!1",
        PROJECT,
    ),
}


def _azure(status: int, code: str, message: str) -> like.Relayed:
    return like.refused(status, f'{{"error":{{"code":"{code}","message":"{message}"}}}}', "application/json")


AZURE = {
    "in whole": Answer("azure-monitor/metrics/prometheus-api-promql", like.adding()),
    "an info": Answer("azure-monitor, as Prometheus", like.adding(infos=[INFO], warnings=[])),
    "no token": Answer(
        "azure-monitor: AuthenticationFailed",
        _azure(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."),
        Reason.HTTP_ERROR,
        "The 'Authorization' header is missing",
    ),
    "not allowed": Answer(
        "Azure/azure-sdk-for-net#37173: InsufficientAccessError",
        _azure(403, "InsufficientAccessError", "The provided credentials have insufficient access"),
        Reason.HTTP_ERROR,
        "insufficient access",
    ),
    "the provider is not registered": Answer(
        "MicrosoftDocs/azure-monitor-docs#309",
        like.refused(403, "Failed to authorize the request. Register the 'Microsoft.Monitor' resource provider"),
        Reason.HTTP_ERROR,
        "Register the 'Microsoft.Monitor'",
    ),
    "throttled": Answer(
        "azure-monitor/service-limits",
        _azure(429, "TooManyRequests", "Too many requests"),
        Reason.HTTP_ERROR,
        "Too many requests",
    ),
}

PRODUCTS = {
    "Prometheus": PROMETHEUS,
    "Thanos": THANOS,
    "Mimir": MIMIR,
    "Cortex": CORTEX,
    "VictoriaMetrics": VICTORIAMETRICS,
    "Amazon": AMAZON,
    "Google": GOOGLE,
    "Azure": AZURE,
}
ANSWERS = {f"{product}: {what}": each for product, answers in PRODUCTS.items() for what, each in answers.items()}


def history() -> str:
    began = int(SPAN.since.timestamp()) - 600
    lines = [
        f'queue{{pod="{pod}"}} {value} {began + 15 * step}'
        for pod, value in (("a", 12), ("b", 8))
        for step in range(161)
    ]
    return "\n".join(["# TYPE queue gauge", *lines, "# EOF\n"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded() -> AsyncIterator[Prometheus]:
    async with prometheus(history=history()) as server:
        yield server


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_product_that_speaks_like_prometheus_is_read_or_refused_in_its_own_words(
    recorded: Prometheus, answer: Answer
) -> None:
    async with like.serving(answer, before=recorded.address) as relay:
        given = replace(PrometheusSettings(f"http://{relay.address}{answer.prefix}"), **dict(answer.settings))
        given = replace(given, timeout=timedelta(seconds=30))
        live = await _read(given)
        replayed = await asyncio.to_thread(_replayed, given)
        checked = await reachability.look(SPEC, given, SPAN)

    if answer.reason is None:
        assert isinstance(live, Sample), live
        assert (live.milli, live.series) == (20_000, 2)
        assert replayed == ""
        assert not checked.mistakes
        return
    assert isinstance(live, Missing), live
    assert live.reason is answer.reason
    for said in (live.message, replayed, *(each.message for each in checked.mistakes)):
        assert answer.words in said
        assert len(said) < 600
    assert checked.mistakes


async def test_a_prometheus_that_wants_a_client_certificate_is_read_with_the_one_that_the_files_have_now(
    recorded: Prometheus, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    mine = Authority(tmp_path, "strangers").issue("controller")
    tls = ClientTls(str(authority.cert), str(mine.cert), str(mine.key), "prometheus.monitoring.svc")
    wanting = authority.server("prometheus.monitoring.svc", wants_client=True)
    async with like.serving(PROMETHEUS["3, an info"], before=recorded.address, tls=wanting) as relay:
        given = PrometheusSettings(f"https://{relay.address}", tls=tls, timeout=timedelta(seconds=30))
        async with PrometheusSource(common.connection(given)) as source:
            before = await source.read(SPEC, QUEUE, at=UNTIL)
            for file, content in zip((mine.cert, mine.key), _contents(authority.issue("ours")), strict=True):
                file.unlink()
                file.write_bytes(content)
            after = await source.read(SPEC, QUEUE, at=UNTIL)
        replayed = await asyncio.to_thread(_replayed, given)
        checked = await reachability.look(SPEC, given, SPAN)

    assert isinstance(before, Missing)
    assert before.reason in {Reason.TLS_FAILED, Reason.CONNECTION_FAILED}
    assert isinstance(after, Sample)
    assert replayed == ""
    assert not checked.mistakes


@pytest.mark.parametrize(("secret", "words"), [("secret", ""), ("other", "does not match the signature")])
async def test_a_managed_prometheus_of_amazon_answers_what_is_signed_wherever_it_is_asked(
    recorded: Prometheus, monkeypatch: pytest.MonkeyPatch, secret: str, words: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    answer = Answer("AMP-APIReference-QueryMetrics", like.signed("AKID", "secret"), prefix=WORKSPACE)
    async with like.serving(answer, before=recorded.address) as relay:
        url = f"http://{relay.address}{WORKSPACE}"
        given = PrometheusSettings(url, identity=AwsIdentity("eu-west-1"), timeout=timedelta(seconds=30))
        live = await _read(given)
        replayed = await asyncio.to_thread(_replayed, given)
        checked = await reachability.look(SPEC, given, SPAN)

    assert isinstance(live, Missing if words else Sample), live
    assert words in replayed
    assert bool(replayed) == bool(checked.mistakes) == bool(words)


async def test_on_gke_the_token_is_that_of_the_metadata_server(recorded: Prometheus, tmp_path: Path) -> None:
    """In a process of its own: the library reads the server's address when it is imported."""
    token = {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
    account = {"email": "controller@p.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}
    (tmp_path / "llama.yaml").write_text(MANIFEST)
    answer = Answer(
        "prometheus-engine: workload identity",
        like.wanting("authorization", "Bearer token", _google(401, "UNAUTHENTICATED", "no credential")),
        prefix=PROJECT,
    )
    async with http.serve(http.silence) as metadata, like.serving(answer, before=recorded.address) as relay:
        metadata.respond = _metadata(token, account)
        prometheus_ = {"address": f"http://{relay.address}{PROJECT}", "google": {}}
        informer = {"type": "prometheus", "periodSeconds": 60, "prometheus": prometheus_}
        (tmp_path / "settings.yaml").write_text(json.dumps({"config": {"metricInformer": informer}}))
        command = (COMMAND, "simulate", tmp_path / "llama.yaml", "--settings", tmp_path / "settings.yaml")
        span = ("--since", "30m", "--until", UNTIL.isoformat(), "--output", "json")
        where = {"GCE_METADATA_HOST": metadata.address, "GCE_METADATA_IP": metadata.address}
        process = await asyncio.create_subprocess_exec(
            *map(str, (*command, *span)),
            env={**os.environ, **where, "CLOUDSDK_CONFIG": str(tmp_path), "PATH": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 100)

    assert process.returncode == 0, said.decode()
    assert json.loads(said)["samples"] == len(SPAN.times)


def _metadata(token: object, account: object) -> http.Respond:
    """Answer as the metadata server of Google does."""

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        told = token if request.path.endswith("/token") else account
        page = (
            http.page("p", content_type="application/text", metadata_flavor="Google")
            if request.path.endswith("/project-id")
            else http.json(told, metadata_flavor="Google")
        )
        await page(request, writer)

    return respond


def _contents(pair: Pair) -> tuple[bytes, bytes]:
    return pair.cert.read_bytes(), pair.key.read_bytes()


async def _read(given: PrometheusSettings) -> Sample | Missing:
    async with PrometheusSource(common.connection(given)) as source:
        reading = await source.read(SPEC, QUEUE, at=UNTIL)
    assert isinstance(reading, Sample | Missing)
    return reading


def _replayed(given: PrometheusSettings) -> str:
    """Return why `simulate` could not replay, or nothing."""
    past = Past(csv=None, prometheus=None, span=SPAN, queries={}, rate=None, replicas=None)
    try:
        done = simulation.simulate(
            "llama.yaml", MANIFEST, Settings(prometheus=given), past, name=None, sets=[], price=None
        )
    except ValueError as error:
        return str(error)
    assert set(done.recording.values) == {(20_000,)}
    return ""


async def test_each_product_is_tried_in_at_least_five_ways() -> None:
    assert all(len(answers) >= 5 for answers in PRODUCTS.values())
