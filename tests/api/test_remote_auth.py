"""How a gateway authenticates at clouds: what is accepted, and what it means."""

from collections.abc import Callable
from typing import Any

import pytest

from beamlit_controller.api.manifests import Parsed
from beamlit_controller.core.spec import AwsSignature, GoogleToken, SecretKey

Mistakes = Callable[..., dict[str, str]]
Read = Callable[..., Parsed]

REF = {"name": "remote", "key": "credentials"}
HOST = {"host": "bedrock-runtime.us-west-2.amazonaws.com"}


def aws(**config: object) -> dict[str, Any]:
    given = {"region": "us-west-2", "credentialsSecretRef": REF, **config}
    return {"remoteBackend": {**HOST, "authConfig": {"type": "aws", "awsConfig": given}}}


def test_requests_are_signed_for_bedrock_with_the_default_profile_unless_something_else_is_said(read: Read) -> None:
    key = SecretKey("remote", "credentials")
    (usual,) = read(aws()).specs
    (other,) = read(aws(service="execute-api", profile="team.one")).specs

    assert usual.remotes[0].auth == AwsSignature(key, "us-west-2", "bedrock", "default")
    assert other.remotes[0].auth == AwsSignature(key, "us-west-2", "execute-api", "team.one")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"region": "US West"}, "region"),
        ({"region": "a/b"}, "region"),
        ({"service": ""}, "service"),
        ({"profile": "a]\n[b"}, "profile"),
        ({"credentialsSecretRef": {"name": "remote"}}, "credentialsSecretRef.key"),
        ({"accessKeyId": "AKIA"}, "accessKeyId"),
    ],
)
def test_what_can_not_be_signed_with_is_refused_by_its_field(
    mistakes: Mistakes, config: dict[str, Any], field: str
) -> None:
    assert list(mistakes(aws(**config))) == [f"remoteBackend.authConfig.awsConfig.{field}"]


@pytest.mark.parametrize("field", ["googleConfig", "serviceAccountKeyRef"])
def test_who_has_the_key_file_of_a_service_account_is_told_what_to_use_instead(mistakes: Mistakes, field: str) -> None:
    auth = {"type": "google", field: {"credentialsSecretRef": REF}}

    (said,) = mistakes({"remoteBackend": {"host": "a.googleapis.com", "authConfig": auth}}).values()

    assert "key file can't be used" in said
    assert "workload identity" in said


@pytest.mark.parametrize("host", ["a-aiplatform.googleapis.com", "aiplatform.googleapis.com:443"])
def test_tokens_of_google_are_shown_to_google(read: Read, host: str) -> None:
    (spec,) = read({"remoteBackend": {"host": host, "authConfig": {"type": "google"}}}).specs

    assert spec.remotes[0].auth == GoogleToken()


@pytest.mark.parametrize(
    "remote",
    [
        {"host": "api.example.com"},
        {"host": "a.googleapis.com.example.com"},
        {"host": "a.googleapis.com", "scheme": "http"},
        {"host": "a.googleapis.com:8443"},
    ],
)
def test_tokens_of_google_are_shown_to_nobody_else(mistakes: Mistakes, remote: dict[str, Any]) -> None:
    given = {"remoteBackend": {**remote, "authConfig": {"type": "google"}}}

    assert list(mistakes(given)) == ["remoteBackend.authConfig.type"]


CERT, KEY = ({"name": "shown", "key": key} for key in ("tls.crt", "tls.key"))


def test_a_client_certificate_comes_with_its_key(read: Read) -> None:
    (spec,) = read({"remoteBackend": {**HOST, "tls": {"certSecretRef": CERT, "keySecretRef": KEY}}}).specs

    assert (spec.remotes[0].tls.cert, spec.remotes[0].tls.key) == (
        SecretKey("shown", "tls.crt"),
        SecretKey("shown", "tls.key"),
    )


@pytest.mark.parametrize(
    ("tls", "field"),
    [
        ({"certSecretRef": CERT}, "keySecretRef"),
        ({"certSecretRef": CERT, "keySecretRef": {**KEY, "name": "other"}}, "keySecretRef.name"),
    ],
)
def test_a_client_certificate_without_a_key_beside_it_is_refused(
    mistakes: Mistakes, tls: dict[str, Any], field: str
) -> None:
    assert list(mistakes({"remoteBackend": {**HOST, "tls": tls}})) == [f"remoteBackend.tls.{field}"]
