"""AWS Signature Version 4 as its manual has it, written apart from any library, to verify what a client signed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


def refusal(request: SignedRequest, *, access_key: str, secret_key: str, token: str = "") -> str:
    """Return why a service would refuse the request, or nothing."""
    algorithm, _, rest = request.headers.get("authorization", "").partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        return "Missing Authentication Token"
    given = dict(each.strip().split("=", 1) for each in rest.split(","))
    key, _, scope = given["Credential"].partition("/")
    signed = given["SignedHeaders"].split(";")
    if key != access_key or request.headers.get("x-amz-security-token", "") != token:
        return "The security token included in the request is invalid"
    if "host" not in signed or (token and "x-amz-security-token" not in signed):
        return "host and token must be signed"
    if signature(request, secret_key=secret_key, scope=scope, signed=signed) != given["Signature"]:
        return "The request signature we calculated does not match the signature you provided"
    return ""


def signature(request: SignedRequest, *, secret_key: str, scope: str, signed: list[str]) -> str:
    """Compute the signature over these headers for a scope `date/region/service/aws4_request`."""
    text = "\n".join(
        ("AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, _sha256(_canonical(request, signed).encode()))
    )
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _canonical(request: SignedRequest, signed: list[str]) -> str:
    url = urlsplit(request.target)
    path = quote(quote(unquote(url.path or "/"), safe="/-_.~"), safe="/-_.~")  # every service but S3 has it twice
    parameters = parse_qsl(url.query, keep_blank_values=True)
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(parameters))
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed)
    return "\n".join((request.method, path, query, headers, ";".join(signed), _sha256(request.body)))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
