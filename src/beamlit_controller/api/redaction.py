"""Removes secrets from the text of foreign servers, which may repeat what they were sent: encoded, or cut off at the end."""

import base64
import binascii
import html
import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret replaced, however it is encoded.

    If the text ends with the beginning of a secret, as it does where it was cut off, that is replaced as well.
    """
    forms = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
    for form in forms:
        text = text.replace(form, HIDDEN)
    for form in forms:
        text = _without_beginning(text, form)
    return text


def of_header(authorization: str) -> tuple[str, ...]:
    """Return the secrets in the value of an Authorization header: the credential, and of a Basic one also the password."""
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "basic":
        return (credential,) if credential else ()
    try:
        _, _, password = base64.b64decode(credential).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return (credential,)
    return (credential, password)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as it is written in URLs, JSON, HTML, Python and base64."""
    yield secret
    yield quote(secret, safe="", errors="replace")
    yield quote_plus(secret, errors="replace")
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    yield repr(secret)[1:-1]
    if len(secret) > _FEW:  # the base64 of a few characters also occurs in other text
        encoded = secret.encode(errors="replace")
        for written in (base64.b64encode(encoded), base64.urlsafe_b64encode(encoded)):
            yield written.decode().rstrip("=")


def _without_beginning(text: str, secret: str) -> str:
    cut = text.rstrip("\N{REPLACEMENT CHARACTER}")  # half of a character
    start = cut.find(secret[:_FEW], max(0, len(cut) - len(secret) + 1)) if len(secret) > _FEW else -1
    while start >= 0:
        if secret.startswith(cut[start:]):
            return f"{cut[:start]}{HIDDEN}"
        start = cut.find(secret[:_FEW], start + 1)
    return text


_FEW = 4
"""Number of characters of a secret that tell nothing."""
