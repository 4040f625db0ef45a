"""Microsoft Entra ID's token endpoint for a federated workload: it verifies the assertion that it gets, by PyJWT.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow, "third case".
"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes import http
from fakes.http import Request

TENANT = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"
CLIENT = "11111111-2222-3333-4444-555555555555"
ISSUER = "https://oidc.prod-aks.azure.com/cluster/"
SUBJECT = "system:serviceaccount:beamlit:controller"
SCOPE = "https://prometheus.monitor.azure.com/.default"


@dataclass(slots=True)
class Cluster:
    """A cluster that signs the tokens of its service accounts."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def write(self, path: Path, *, subject: str = SUBJECT, lifetime: timedelta = timedelta(hours=1)) -> None:
        """Write a projected token, as the kubelet does."""
        until = datetime.now(UTC) + lifetime
        claims = {"iss": ISSUER, "sub": subject, "aud": "api://AzureADTokenExchange", "exp": until}
        path.write_text(jwt.encode(claims, self.key, algorithm="RS256"))


@dataclass(slots=True)
class Entra:
    """Gives `token-1`, `token-2`, … to the one workload that it trusts, and else Entra's error."""

    cluster: Cluster
    lifetime: int = 3600
    given: int = 0
    refused: list[str] = field(default_factory=list)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Answer one request for a token."""
        why = self._refusal(request)
        if why:
            self.refused.append(why)
            document = {"error": "invalid_client", "error_description": why, "error_codes": [70021]}
            await http.json(document, status=401)(request, writer)
            return
        self.given += 1
        token = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": f"token-{self.given}"}
        await http.json(token)(request, writer)

    def _refusal(self, request: Request) -> str | None:
        form = request.asked
        expected = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "scope": SCOPE,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        if request.path != f"/{TENANT}/oauth2/v2.0/token":
            return f"AADSTS90002: Tenant not found at {request.path}"
        if different := {name for name, value in expected.items() if form.get(name) != value}:
            return f"AADSTS900144: expected other values of {json.dumps(sorted(different))}"
        try:
            claims = jwt.decode(
                form.get("client_assertion", ""),
                self.cluster.key.public_key(),
                algorithms=["RS256"],
                audience="api://AzureADTokenExchange",
                issuer=ISSUER,
            )
        except jwt.PyJWTError as error:
            return f"AADSTS700024: Client assertion is not valid: {error}"
        if claims["sub"] != SUBJECT:
            return f"AADSTS70021: No matching federated identity record found for presented assertion subject '{claims['sub']}'"
        return None
