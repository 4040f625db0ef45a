"""Azure's workload identity, whose federated token a small Entra verifies on its own."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.cloud_identity import AzureIdentity
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading, Sample
from beamlit_controller.prometheus import clouds
from beamlit_controller.prometheus.connection import Connection
from beamlit_controller.prometheus.source import PrometheusSource
from fakes import entra, http
from fakes.entra import Cluster, Entra
from fakes.tls import Authority

AT = builders.NOW
SPEC = builders.spec()
QUEUE = ExternalMetric(SeriesSelector("queue"), Value(10_000))
ANSWER = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [AT.timestamp(), "7"]}]},
}
MINUTE = timedelta(seconds=60)


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Authority], Path]:
    """Return what puts a pod's environment in place, as the webhook of Azure's workload identity does."""

    def place(address: str, authority: Authority) -> Path:
        token = tmp_path / "azure-identity-token"
        for name in ("AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AZURE_TENANT_ID", entra.TENANT)
        monkeypatch.setenv("AZURE_CLIENT_ID", entra.CLIENT)
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://{address}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.cert))
        return token

    return place


async def read(address: str, *, times: int = 1) -> Reading:
    connection = Connection(f"http://{address}", identity=AzureIdentity(), timeout=MINUTE)
    async with PrometheusSource(connection) as source:
        for _ in range(times - 1):
            await source.read(SPEC, QUEUE, at=AT)
        return await source.read(SPEC, QUEUE, at=AT)


async def test_the_token_of_a_service_account_is_exchanged_for_one_of_entra(
    tmp_path: Path, workload: Callable[[str, Authority], Path]
) -> None:
    cluster, authority = Cluster(), Authority(tmp_path)
    known = Entra(cluster)
    async with (
        http.serve(known, tls=authority.server("127.0.0.1")) as tokens,
        http.serve(http.json(ANSWER)) as server,
    ):
        cluster.write(workload(tokens.address, authority))
        reading = await read(server.address, times=3)

    assert isinstance(reading, Sample), reading
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer token-1"] * 3
    assert not known.refused


@pytest.mark.parametrize("mistake", ["another cluster's key", "another service account", "an old token", "no token"])
async def test_who_is_not_trusted_gets_entras_words(
    tmp_path: Path, workload: Callable[[str, Authority], Path], mistake: str
) -> None:
    cluster, authority = Cluster(), Authority(tmp_path)
    async with (
        http.serve(Entra(cluster), tls=authority.server("127.0.0.1")) as tokens,
        http.serve(http.json(ANSWER)) as server,
    ):
        token = workload(tokens.address, authority)
        words = "[Errno 2] No such file"
        match mistake:
            case "another cluster's key":
                Cluster().write(token)
                words = "Microsoft Entra ID error '(invalid_client) AADSTS700024"
            case "another service account":
                cluster.write(token, subject="system:serviceaccount:default:default")
                words = "Microsoft Entra ID error '(invalid_client) AADSTS70021: No matching federated identity record"
            case "an old token":
                cluster.write(token, lifetime=-timedelta(hours=1))
                words = "Microsoft Entra ID error '(invalid_client) AADSTS700024"
        reading = await read(server.address)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.CREDENTIALS_UNREADABLE
    assert f"no credentials of Azure: WorkloadIdentityCredential: {words}" in reading.message
    assert not server.requests


def test_who_is_nobody_at_azure_is_told_what_was_tried() -> None:
    """As azure-identity 1.27 says it, whose message is longer than what is shown of one."""
    said = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n\t"
        "EnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not fully configured.\n"
        "Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot this issue.\n\t"
        "ManagedIdentityCredential: ManagedIdentityCredential authentication unavailable.\n\t"
        "AzureCliCredential: Azure CLI not found on path\nTo mitigate this issue, please refer to the guidelines"
    )

    assert clouds.failed_attempt(said) == (
        "none is configured of EnvironmentCredential, ManagedIdentityCredential, AzureCliCredential"
    )
    assert clouds.failed_attempt("Invalid JWT\n\tx: y") == "Invalid JWT\n\tx: y"
