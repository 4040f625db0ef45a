"""Credentials for a cloud's managed Prometheus, as written in the settings file."""

from typing import Annotated

from pydantic import Field

from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.scalars import Word
from beamlit_controller.core.cloud_identity import AwsIdentity, AzureIdentity, CloudIdentity, GoogleIdentity


class AwsPrometheusConfig(StrictModel):
    """Amazon Managed Service for Prometheus: queries are signed with SigV4."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)] = Field(
        description="Region of the workspace, such as eu-west-1."
    )
    service: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)] = Field(
        default="aps", description="Name of the service that the signature is for."
    )


class GooglePrometheusConfig(StrictModel):
    """Google Cloud Managed Service for Prometheus: queries carry a token of Application Default Credentials."""

    credentials_file: Word | None = Field(
        default=None,
        description="Credentials file of a service account or of workload identity federation; by default Application Default Credentials, such as those of GKE's metadata server.",
    )


class AzurePrometheusConfig(StrictModel):
    """Azure Monitor's managed Prometheus: queries carry a token of Microsoft Entra ID."""

    client_id: Word | None = Field(
        default=None,
        description="Client ID of the workload identity or of the user-assigned managed identity; by default the environment's.",
    )
    scope: Word = Field(
        default=AzureIdentity().scope,
        description="Scope of the token; sovereign clouds need a different one.",
    )


def identity(
    aws: AwsPrometheusConfig | None, google: GooglePrometheusConfig | None, azure: AzurePrometheusConfig | None
) -> CloudIdentity | None:
    """Return the identity that was configured, if any."""
    if aws:
        return AwsIdentity(aws.region, aws.service)
    if google:
        return GoogleIdentity(google.credentials_file)
    return AzureIdentity(azure.client_id, azure.scope) if azure else None
