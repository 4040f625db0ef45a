"""The rendered files, as a gallery: `pytest tests/envoy --inline-snapshot=fix,create` brings it up to date."""

import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from inline_snapshot import external_file

import builders
from beamlit_controller.core.named_address import NamedAddress
from beamlit_controller.core.spec import (
    ApiKey,
    AwsSignature,
    GoogleToken,
    HeaderMatch,
    HealthCheck,
    OAuth,
    OffloadSpec,
    OnRemoteFailure,
    Overflow,
    PathPrefix,
    RemoteBackend,
    RemoteTls,
    Scheme,
    SecretKey,
)
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness
from beamlit_controller.envoy import command, config
from beamlit_controller.envoy.gateway_params import GatewayParams
from fakes import one_file, secrets
from fakes.tls import Authority

CA = """-----BEGIN CERTIFICATE-----
MIIBUzCB+6ADAgECAgEBMAoGCCqGSM49BAMCMCcxJTAjBgNVBAMMHGJlYW1saXQt
Y29udHJvbGxlci1zaGFyZXMtY2EwIBcNMjYwMTAxMDAwMDAwWhgPMjEyNjAxMDEw
MDAwMDBaMCcxJTAjBgNVBAMMHGJlYW1saXQtY29udHJvbGxlci1zaGFyZXMtY2Ew
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASzvqZpw50Gix83sLFFVQ6zuf9HyvuP
vU859pdppFAfwprLc3IzGLzjoHd5v7v+oTV4sdyw4Uat+2C2sKKHYMLsoxYwFDAS
BgNVHRMBAf8ECDAGAQH/AgEAMAoGCCqGSM49BAMCA0cAMEQCIC7m7yb0B35uCFc9
2kMh7scM44OK/fNoFnLSrqohQRwHAiBOHl15PhekJYVKXqiZUEBiUkT4TXsU3hXF
daIYyrxnVw==
-----END CERTIFICATE-----
"""
PLAIN = RemoteBackend(Scheme.HTTP, "10.0.0.9", 8080)
PARAMS = GatewayParams(
    node="models/llama",
    directory="/gateway",
    front="0.0.0.0:8080",
    stats="127.0.0.1:9902",
    admin="unix:/gateway/admin.sock",
    shares="unix:/gateway/shares.sock",
    local=("10.0.0.1:8000", "10.0.0.2:8000"),
    secrets="/secrets",
)

CASES: dict[str, tuple[OffloadSpec, GatewayParams]] = {
    "plain": (builders.spec(remote=PLAIN), PARAMS),
    "https": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS, "10.0.0.9", 8443, tls=RemoteTls(SecretKey("remote-ca", "ca.crt"), "api.example.com")
            ),
        ),
        PARAMS,
    ),
    "headers": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS,
                "api.example.com",
                443,
                path_prefix="/models/llama/",
                headers_to_add=(("x-team", "search"), ("x-share", "100%")),
                forward_client_authorization=True,
            ),
        ),
        replace(PARAMS, access_log="/dev/stdout"),
    ),
    "keep_local": (
        builders.spec(
            remote=PLAIN,
            keep_local=(
                HeaderMatch("X-Data-Class", "restricted"),
                HeaderMatch("x-data-class", "top secret"),
                PathPrefix("/internal"),
            ),
        ),
        PARAMS,
    ),
    "failover": (
        builders.spec(
            remote=PLAIN,
            overflow=Overflow(on_unavailable=False, on_reset=False, max_request_bytes=4096),
            on_remote_failure=OnRemoteFailure.FAIL,
        ),
        PARAMS,
    ),
    "overflow": (
        builders.spec(remote=PLAIN, overflow=Overflow(on_status=(429, 503, 529))),
        replace(PARAMS, local=("llama-local.models.svc:8000",)),
    ),
    "slow": (
        builders.spec(remote=PLAIN, overflow=Overflow(on_status=(503,), after=timedelta(seconds=20))),
        PARAMS,
    ),
    "api_key": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS, "api.example.com", 443, auth=ApiKey(SecretKey("remote", "apiKey"), "x-api-key", "")
            )
        ),
        PARAMS,
    ),
    "oauth": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS,
                "api.example.com",
                443,
                auth=OAuth("client", SecretKey("remote", "secret"), "https://login.example.com/token", ("infer",)),
            )
        ),
        PARAMS,
    ),
    "remote_limits": (
        builders.spec(
            remote=replace(
                PLAIN,
                max_in_flight=200,
                path_prefix="/llama",
                health_check=HealthCheck("/health", timedelta(seconds=10)),
            ),
            on_remote_failure=OnRemoteFailure.FAIL,
        ),
        replace(PARAMS, gateways=2),
    ),
    "choices": (
        builders.spec(
            remote=PLAIN,
            keep_local=(HeaderMatch("x-data-class", "restricted"),),
            may_leave=(HeaderMatch("x-data-class", "public"), PathPrefix("/v1/embeddings")),
            stickiness=HeaderStickiness("x-session-id"),
            allow_override=True,
        ),
        PARAMS,
    ),
    "aws": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS,
                "api.example.com",
                443,
                auth=AwsSignature(SecretKey("remote", "aws"), "us-west-2", "bedrock"),
            )
        ),
        PARAMS,
    ),
    "google": (
        builders.spec(remote=RemoteBackend(Scheme.HTTPS, "a.googleapis.com", 443, auth=GoogleToken())),
        PARAMS,
    ),
    "client_certificate": (
        builders.spec(
            remote=RemoteBackend(
                Scheme.HTTPS,
                "api.example.com",
                443,
                tls=RemoteTls(cert=SecretKey("shown", "tls.crt"), key=SecretKey("shown", "tls.key")),
            )
        ),
        PARAMS,
    ),
    "cookie": (builders.spec(remote=PLAIN, stickiness=CookieStickiness("sid")), PARAMS),
    "cap": (builders.spec(remote=PLAIN, overflow=Overflow(max_in_flight_per_replica=16)), PARAMS),
    "model_name": (builders.spec(remote=replace(PLAIN, model_names=(("llama", 'meta/"llama"'),))), PARAMS),
    "address": (
        builders.spec(
            remote=replace(
                PLAIN,
                path_prefix="/deployments/x",
                replaced_prefix="/v1",
                query_to_add=(("api-version", "2024-10-21"), ("a b", "c&d")),
                model_names=(("llama", "x"), ("sql-lora", "y")),
                by_model=(
                    NamedAddress("x", "/deployments/x", (("x-name", "x"),)),
                    NamedAddress("y", "/deployments/y", (("x-name", "y"),)),
                ),
            )
        ),
        PARAMS,
    ),
    "no_remote": (builders.spec(), PARAMS),
    "names": (
        builders.spec(remote=RemoteBackend(Scheme.HTTP, "fd00::9", 80)),
        GatewayParams(
            node="models/llama/gateway-0",
            directory="/gateway",
            front="[::]:8080",
            stats="[::]:9902",
            admin="127.0.0.1:9901",
            shares="controller.system.svc:18000",
            local=("llama-local.models.svc.cluster.local:8000", "[fd00::1]:8000"),
        ),
    ),
    "in_cluster": (
        builders.spec(remote=replace(PLAIN, auth=ApiKey(SecretKey("remote", "apiKey")))),
        GatewayParams(
            node="models/llama",
            directory="/etc/gateway",
            front="0.0.0.0:8000",
            stats="0.0.0.0:9902",
            admin="unix:/run/gateway/admin.sock",
            shares="controller.system.svc:18000",
            local=("llama-local.models.svc.cluster.local.:8000",),
            secrets="/etc/gateway-secrets",
            mounted=True,
            gateways=2,
            shares_ca=CA,
            shares_token="0123456789abcdef",
        ),
    ),
    "taken_over": (
        builders.spec(remote=PLAIN, overflow=Overflow(after=timedelta(seconds=2), max_in_flight_per_replica=4)),
        replace(
            PARAMS,
            local=("llama-local.models.svc.cluster.local.:8000",),
            tcp_passthrough=(("0.0.0.0:8001", "llama-local.models.svc.cluster.local.:8001"),),
            client_ip_affinity=True,
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_renders(case: str) -> None:
    spec, params = CASES[case]
    files = builders.without_ids(config.files(spec, params))

    for name, text in files.items():
        assert builders.indented(text) == external_file(f"golden/{case}/{name}", format=".txt")
    assert sorted(files) == sorted(path.name for path in (Path(__file__).parent / "golden" / case).iterdir())


@pytest.mark.parametrize(("local_ipv6", "family"), [(False, "V4_PREFERRED"), (True, "AUTO")])
def test_a_local_server_with_two_addresses_is_found_by_one_of_them(
    local_ipv6: bool,  # noqa: FBT001 - a case
    family: str,
) -> None:
    spec, params = CASES["taken_over"]

    clusters = json.loads(config.files(spec, replace(params, local_ipv6=local_ipv6))["cds.json"])["resources"]

    found = {
        each["cluster_type"]["typed_config"]["dns_lookup_family"] for each in clusters if "llama-local" in str(each)
    }
    assert found == {family}


@pytest.mark.system
@pytest.mark.parametrize("case", CASES)
def test_envoy_takes_every_rendered_file(case: str, tmp_path: Path) -> None:
    spec, params = CASES[case]
    authority = Authority(tmp_path)
    (tmp_path / "remote-ca").mkdir()
    (tmp_path / "remote-ca" / "ca.crt").write_bytes(authority.cert.read_bytes())
    (tmp_path / "remote" / "..data").mkdir(parents=True)
    for key in ("apiKey", "secret"):
        (tmp_path / "remote" / "..data" / key).write_text("of this test")
        (tmp_path / "remote" / key).symlink_to(f"..data/{key}")
    pair = authority.issue("gateway")
    secrets.put(tmp_path, "shown", **{"tls.crt": pair.cert.read_bytes(), "tls.key": pair.key.read_bytes()})
    params = replace(params, secrets=str(tmp_path), system_ca=str(authority.cert))

    bootstrap = tmp_path / "bootstrap.json"
    bootstrap.write_text(json.dumps(one_file.in_one(config.files(spec, params))))
    words = command.command(tmp_path, concurrency=1, drain=timedelta(seconds=1))
    checked = subprocess.run([*words, "--mode", "validate"], capture_output=True, text=True, check=False)

    assert checked.stdout.strip() == f"configuration '{bootstrap}' OK"
    assert "deprecated" not in checked.stderr.lower()


def test_no_change_but_of_a_cookie_replaces_the_front_and_ends_its_streams() -> None:
    fronts = {
        json.dumps(one_file.resources(json.loads(config.files(spec, PARAMS)["lds.json"]))[-1])
        for name, (spec, _) in CASES.items()
        if name not in {"headers", "names", "cookie"}
    }

    assert len(fronts) == 1


def test_equal_input_gives_equal_text() -> None:
    assert [config.files(*case) for case in CASES.values()] == [config.files(*case) for case in CASES.values()]
