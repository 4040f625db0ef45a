"""The controller's identity at a cloud whose managed Prometheus it queries. The cloud's own library provides the credentials."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """Requests are signed (SigV4) for this region and service."""

    region: str
    service: str = "aps"


@dataclass(frozen=True, slots=True)
class GoogleIdentity:
    """Application Default Credentials, or those of a file."""

    credentials_file: str | None = None


@dataclass(frozen=True, slots=True)
class AzureIdentity:
    """Workload or managed identity (None: the environment's), and the scope of its token."""

    client_id: str | None = None
    scope: str = "https://prometheus.monitor.azure.com/.default"


CloudIdentity = AwsIdentity | GoogleIdentity | AzureIdentity
