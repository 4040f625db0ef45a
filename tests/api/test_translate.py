from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import manifests, remote_path
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import wording
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.metric_spec import (
    Aggregation,
    GatewayFigure,
    GatewayMetric,
    ObjectReference,
    PodsMetric,
    Quantile,
    Value,
)
from beamlit_controller.core.spec import (
    ApiKey,
    BasicCredential,
    Behavior,
    HeaderMatch,
    LocalService,
    MetricService,
    MetricServiceTls,
    Mode,
    ModelKey,
    OAuth,
    OnMetricsLoss,
    OnRemoteFailure,
    Overflow,
    Override,
    PathPrefix,
    Ramp,
    RemoteBackend,
    RemoteTls,
    RoutingMode,
    Scheme,
    SecretKey,
)
from beamlit_controller.core.stickiness import HeaderStickiness

Read = Callable[..., Parsed]
Mistakes = Callable[..., dict[str, str]]


def test_the_least_manifest_has_harmless_defaults(read: Read) -> None:
    (spec,) = read().specs

    assert spec.key == ModelKey("models", "llama")
    assert spec.model == "llama"
    assert spec.enabled
    assert spec.behavior == Behavior()
    assert spec.overflow == Overflow()
    assert spec.keep_local == ()
    assert spec.remote == RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
    assert (spec.service, spec.metric_service, spec.source, spec.override) == (
        None,
        None,
        None,
        None,
    )


def test_every_field_reaches_the_core(full: dict[str, Any], prometheus: Settings) -> None:
    parsed = manifests.parse(yaml.safe_dump(full), settings=prometheus)

    assert not parsed.problems
    (spec,) = parsed.specs
    assert (spec.key, spec.generation, spec.model) == (ModelKey("models", "llama"), 3, "meta-llama/Llama 3")
    assert (spec.environment, spec.enabled) == ("production", True)
    assert spec.source == ObjectReference("apps/v1", "Deployment", "llama")
    assert spec.service == LocalService("llama", 8000)
    assert spec.metric_service == MetricService(
        "llama-metrics",
        "http-metrics",
        "/metrics/all",
        (("model", "llama"),),
        Scheme.HTTPS,
        MetricServiceTls(
            SecretKey("servers", "ca.crt"),
            "llama.models.svc",
            SecretKey("servers", "tls.crt"),
            SecretKey("servers", "tls.key"),
        ),
        BasicCredential("beamlit", SecretKey("servers", "password")),
    )
    assert spec.routing is RoutingMode.SERVICE
    assert spec.remote is not None
    assert (spec.remote.host, spec.remote.port) == ("api.example.com", 8443)
    assert spec.remote.path_prefix == "/models/meta-llama/Llama%203"
    assert spec.remote.headers_to_add == (("x-team", "search"),)
    assert (spec.remote.headers_to_remove, spec.remote.query_to_remove) == (("x-internal",), ("debug",))
    assert spec.remote.keep_remote_model_name
    assert spec.remote.model_names == (("meta-llama/Llama 3", "llama-3.1-8b-instruct"),)
    secret = SecretKey("remote", "secret")
    assert spec.remote.auth == OAuth("abc", secret, "https://login.example.com/token", ("inference",))
    assert spec.remote.tls == RemoteTls(SecretKey("remote-ca", "ca.crt"), "api.example.com")
    assert spec.remote.health_check is not None
    assert (spec.remote.health_check.path, spec.remote.health_check.period) == ("/health", timedelta(seconds=7))
    assert (spec.remote.max_in_flight, spec.remote.forward_client_authorization) == (200, True)
    latency, sessions, first_byte, *preset = spec.metrics[5:]
    assert isinstance(latency, PodsMetric)
    assert latency.quantile == Quantile(950, timedelta(seconds=90))
    assert isinstance(sessions, PodsMetric)
    assert sessions.aggregation is Aggregation.MAX
    assert first_byte == GatewayMetric(GatewayFigure.FIRST_BYTE, Value(1_500))
    assert [wording.name(metric) for metric in preset] == ["vllm:kv_cache_usage_perc"]
    assert spec.behavior == Behavior(
        percentage=40,
        mode=Mode.PROPORTIONAL,
        engage=Ramp(timedelta(seconds=5), Decimal("0.05"), 20, timedelta(seconds=10)),
        release=Ramp(timedelta(seconds=90), Decimal("0.2"), 50, timedelta(seconds=30)),
        on_metrics_loss=OnMetricsLoss.RELEASE,
        metrics_loss=timedelta(seconds=45),
        dry_run=True,
    )
    assert spec.overflow == Overflow(
        on_status=(429, 503, 529),
        on_unavailable=False,
        on_reset=False,
        max_in_flight_per_replica=16,
        after=timedelta(seconds=20),
        max_request_bytes=2 * 2**20,
    )
    assert spec.on_remote_failure is OnRemoteFailure.FAIL
    assert spec.keep_local == (HeaderMatch("x-data-class", "restricted"), PathPrefix("/metrics"))
    assert spec.may_leave == (HeaderMatch("x-data-class", "public"), PathPrefix("/v1/models", ("GET",)))
    assert spec.stickiness == HeaderStickiness("x-session-id")
    assert spec.allow_override
    assert spec.gateway == GatewaySpec(
        3,
        (("requests", "cpu", "500m"), ("limits", "memory", "1Gi")),
        "registry.example.com/gateway:1",
        ("registry",),
        timedelta(seconds=600),
    )
    assert spec.override == Override(25, datetime(2026, 6, 1, 16, tzinfo=UTC))


def test_the_default_remote_fills_in(read: Read, prometheus: Settings) -> None:
    (spec,) = manifests.parse(_without_remote(), settings=prometheus).specs

    assert spec.remote is not None
    assert spec.remote.host == "default.example.com"


def test_no_remote_at_all_is_a_mistake_that_names_both_places() -> None:
    (problem,) = manifests.parse(_without_remote(), settings=Settings()).problems

    assert problem.field == "spec.offloadingConfig.remoteBackend"
    assert problem.message == "required, here or in the settings as config.defaultRemoteBackend"


def test_a_model_that_is_not_enabled_needs_no_remote() -> None:
    (spec,) = manifests.parse(_without_remote("\n  enabled: false"), settings=Settings()).specs

    assert spec.remote is None
    assert not spec.enabled


def _without_remote(more: str = " {}") -> str:
    return (
        f"apiVersion: deployment.beamlit.com/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: llama}}\nspec:{more}\n"
    )


@pytest.mark.parametrize("host", ["localhost:18443", "127.0.0.1", "[::1]:1", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_this_machine_is_no_remote_unless_it_is_listed(mistakes: Mistakes, host: str) -> None:
    bare = host.removesuffix(":18443").removesuffix(":1")

    assert list(mistakes({"remoteBackend": {"host": host}})) == ["remoteBackend.host"]
    assert not mistakes({"remoteBackend": {"host": host}}, settings=Settings(allowed_remote_hosts=("*", bare)))


def test_a_token_is_only_asked_for_at_allowed_hosts(mistakes: Mistakes) -> None:
    settings = Settings(allowed_remote_hosts=("api.example.com",))
    oauth = {
        "clientId": "a",
        "clientSecretRef": {"name": "a", "key": "b"},
        "tokenUrl": "https://login.evil.net:8443/token",
    }
    auth = {"type": "oauth", "oauthConfig": oauth}

    found = mistakes({"remoteBackend": {"host": "api.example.com", "authConfig": auth}}, settings=settings)

    assert list(found) == ["remoteBackend.authConfig.oauthConfig.tokenUrl"]
    assert "login.evil.net is not among config.allowedRemoteHosts" in str(found)


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@login.example.com/", "ftp://x/", "https://", "x", "https://a b/", "https://[::1"]
)
def test_token_urls_that_are_refused(mistakes: Mistakes, url: str) -> None:
    oauth = {"clientId": "a", "clientSecretRef": {"name": "a", "key": "b"}, "tokenUrl": url}

    found = mistakes({"remoteBackend": {"host": "a.b", "authConfig": {"type": "oauth", "oauthConfig": oauth}}})

    assert list(found) == ["remoteBackend.authConfig.oauthConfig.tokenUrl"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ApiKey(SecretKey("a", "b"), "authorization", "Bearer ")),
        ({"header": "Authorization", "prefix": ""}, ApiKey(SecretKey("a", "b"), "Authorization", "")),
        ({"header": "x-api-key"}, ApiKey(SecretKey("a", "b"), "x-api-key", "")),
        ({"header": "x-api-key", "prefix": "Key "}, ApiKey(SecretKey("a", "b"), "x-api-key", "Key ")),
    ],
)
def test_an_api_key_has_the_prefix_that_its_header_usually_has(
    read: Read, config: dict[str, str], expected: ApiKey
) -> None:
    auth = {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "a", "key": "b"}, **config}}

    (spec,) = read({"remoteBackend": {"host": "a.b", "authConfig": auth}}).specs

    assert spec.remote is not None
    assert spec.remote.auth == expected


@pytest.mark.parametrize(
    ("prefix", "model", "expected"),
    [
        ("/", "m", ""),
        ("/v1/", "m", "/v1"),
        ("/$workspace/$model", "llama", "/models/llama"),
        ("/$workspace/$model", "org/llama 3?#%", "/models/org/llama%203%3F%23%25"),
        ("/$model", "$workspace", "/%24workspace"),
        ("/$model", "größe", "/gr%C3%B6%C3%9Fe"),
        ("/a%20b/é/$workspace-x", "m", "/a%20b/%C3%A9/models-x"),
    ],
)
def test_the_path_has_its_variables_filled_in_and_is_percent_encoded(prefix: str, model: str, expected: str) -> None:
    assert remote_path.in_path(prefix, {"workspace": "models", "model": model}) == expected


@given(st.text())
def test_whatever_the_model_is_called_the_path_is_a_path(model: str) -> None:
    filled = remote_path.in_path("/a/$model/b", {"model": model.encode(errors="replace").decode()})

    assert filled.startswith("/a/")
    assert filled.endswith("/b")
    assert filled.isascii()
    assert not set(filled) & set(' ?#\\\r\n\x00"<>^`{|}$')


def test_a_model_name_cant_climb_out_of_its_path(mistakes: Mistakes) -> None:
    assert list(mistakes(spec={"model": "a/../../b"})) == ["spec.model"]


def test_a_path_that_may_leave_names_its_methods(read: Read) -> None:
    rules = [{"pathPrefix": "/v1/models", "methods": ["GET", "HEAD"]}, {"pathPrefix": "/v1/chat"}]

    (spec,) = read({"mayLeave": rules}).specs

    assert spec.may_leave == (PathPrefix("/v1/models", ("GET", "HEAD")), PathPrefix("/v1/chat"))


@pytest.mark.parametrize("annotation", ["offloading.beamlit.com/overide", "offloading.beamlit.com/override-until"])
def test_annotations_without_effect_are_told_and_block_nothing(read: Read, annotation: str) -> None:
    parsed = read(metadata={"annotations": {annotation: "2026-06-01T18:00:00Z", "other.example.com/x": "y"}})

    assert parsed.specs
    told = [each for each in parsed.notices if each.field == f"metadata.annotations[{annotation}]"]
    assert "no effect" in told[0].message


@pytest.mark.parametrize(
    ("annotations", "part"),
    [
        ({"offloading.beamlit.com/override": "101"}, 'expected a percentage from "0" to "100", got "101"'),
        ({"offloading.beamlit.com/override": "25%"}, "expected a percentage"),
        ({"offloading.beamlit.com/override": "-1"}, "expected a percentage"),
        ({"offloading.beamlit.com/override": ""}, "expected a percentage"),
        ({"offloading.beamlit.com/override": "\u0665"}, "expected a percentage"),
        ({"offloading.beamlit.com/override": "9" * 100_000}, "expected a percentage"),
        ({"offloading.beamlit.com/override-until": "tomorrow"}, "RFC 3339"),
        ({"offloading.beamlit.com/override-until": "2026-06-01T18:00:00"}, "RFC 3339"),
        ({"offloading.beamlit.com/override-until": "2026-13-01T18:00:00Z"}, "RFC 3339"),
        ({"offloading.beamlit.com/override-until": "9999-12-31T23:59:59-14:00"}, "RFC 3339"),
        ({"offloading.beamlit.com/override-until": "0001-01-01T00:00:00+14:00"}, "RFC 3339"),
    ],
)
def test_an_override_that_can_not_be_read_is_ignored_and_told_and_the_spec_counts(
    read: Read, annotations: dict[str, str], part: str
) -> None:
    parsed = read(metadata={"annotations": annotations})

    (spec,) = parsed.specs
    (name,) = annotations
    told = [each for each in parsed.notices if each.field == f"metadata.annotations[{name}]"]
    assert spec.override is None
    assert part in told[0].message
    assert len(told[0].message) < 1000


def test_an_end_that_can_not_be_read_never_makes_an_override_last_for_ever(read: Read) -> None:
    annotations = {"offloading.beamlit.com/override": "25", "offloading.beamlit.com/override-until": "tomorow"}

    (spec,) = read(metadata={"annotations": annotations}).specs

    assert spec.override is None


def test_a_header_that_looks_like_a_credential_is_told(read: Read) -> None:
    parsed = read({"remoteBackend": {"host": "a.b", "headersToAdd": {"X-Api-Key": "hunter2"}}})

    assert any("looks like a credential" in each.message for each in parsed.notices)
    assert "hunter2" not in str(parsed.notices)


def test_without_a_metric_it_is_told_that_nothing_happens(read: Read) -> None:
    assert any(each.message.startswith("no metric is given") for each in read().notices)


@pytest.mark.parametrize(("tolerance", "told"), [("999m", False), ("1", True)])
def test_a_release_tolerance_that_hardly_ever_releases_is_told(read: Read, tolerance: str, told: bool) -> None:  # noqa: FBT001 - a case
    parsed = read({"behavior": {"release": {"tolerance": tolerance}}})

    assert any(each.field.endswith("behavior.release.tolerance") for each in parsed.notices) is told


def test_a_header_rule_says_what_it_cant_promise(read: Read) -> None:
    kept = {"header": "x-data-class", "value": "restricted"}

    alone = read({"keepLocal": [kept]}).notices
    with_allow_list = read({"keepLocal": [kept], "mayLeave": [{"header": "X-Data-Class", "value": "public"}]}).notices

    [notice] = [each for each in alone if "keepLocal" in each.field]
    assert notice.field == "spec.offloadingConfig.keepLocal[0].header"
    assert "mayLeave" in notice.message
    assert not [each for each in with_allow_list if "keepLocal" in each.field]


def test_a_credential_in_the_clear_is_told(read: Read) -> None:
    auth = {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "a", "key": "b"}}}

    parsed = read({"remoteBackend": {"host": "api.example.com", "scheme": "http", "authConfig": auth}})

    assert "spec.offloadingConfig.remoteBackend.scheme" in [each.field for each in parsed.notices]


@pytest.mark.parametrize(
    ("remote", "names"),
    [
        ({}, None),
        ({"modelName": "gpt-x"}, (("llama", "gpt-x"),)),
        ({"modelNames": {"sql-lora": None}}, (("llama", "llama"),)),
        (
            {"modelNames": {"llama": "gpt-x", "sql-lora": "gpt-y", "law-lora": None}},
            (("llama", "gpt-x"), ("sql-lora", "gpt-y")),
        ),
        ({"modelName": "gpt-x", "modelNames": {"llama-8b": "gpt-x"}}, (("llama", "gpt-x"), ("llama-8b", "gpt-x"))),
        ({"modelNames": {"llama": None}}, ()),
    ],
)
def test_only_names_that_are_mapped_leave_and_the_models_own(
    read: Read, remote: dict[str, Any], names: tuple[tuple[str, str], ...] | None
) -> None:
    (spec,) = read({"remoteBackend": {"host": "a.b", **remote}}).specs

    assert spec.remote is not None
    assert spec.remote.model_names == names


def test_a_model_whose_name_was_not_written_down_is_told_which_requests_leave(read: Read) -> None:
    unnamed = read({"remoteBackend": {"host": "a.b", "modelName": "gpt-x"}}).notices
    named = read({"remoteBackend": {"host": "a.b", "modelName": "gpt-x", "modelNames": {"m": "gpt-x"}}}).notices

    [notice] = [each for each in unnamed if each.field.endswith("modelName")]
    assert 'only requests for the model "llama" go to the remote' in notice.message
    assert not [each for each in named if each.field.endswith("modelName")]
