"""HTTP responses of Prometheus as documents, or the reason why there is none, in its own words if it gave any."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from beamlit_controller.api import redaction
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing

LIMIT = 2 * 1024 * 1024
"""Maximum size in bytes of a decompressed body: a series has its value and the time of its sample."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP response. `body` is decoded, and may be truncated beyond `LIMIT`."""

    status: int
    body: bytes = b""
    location: str = ""


def whole(answer: HttpAnswer, limit: int) -> object | Missing:
    """Parse the body as a complete response document."""
    if 300 <= answer.status < 400:  # noqa: PLR2004 # the class of redirects, RFC 9110 section 15.4
        return _redirected(answer)
    if len(answer.body) > limit:
        return too_large(answer.status, limit)
    document = _document(answer.body)
    if answer.status != 200 or _status(document) == "error":  # noqa: PLR2004 # OK
        return _refused(answer, document)
    return document


def too_large(status: int, limit: int) -> Missing:
    """Return that the body has more bytes than are read."""
    return Missing(Reason.ANSWER_TOO_LARGE, f"status {status} and more than {limit} bytes: aggregate in the query")


def shown(text: str, *, hide: Iterable[str] = ()) -> str:
    """Return a server's text as one short line, with our secrets removed."""
    text = redaction.hidden(text[:_EXCERPT], hide)
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


# The response document.


def _redirected(answer: HttpAnswer) -> Missing:
    try:
        target = urlsplit(answer.location).hostname or "another path"
    except ValueError:
        target = "nowhere"
    message = f"answered {answer.status} towards {target}: redirects are never followed, give the final address"
    return Missing(Reason.REDIRECTED, message)


def _document(body: bytes) -> object | Missing:
    try:
        document: object = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        return Missing(Reason.MALFORMED_ANSWER, "expected JSON of Prometheus, got JSON nested too deeply")
    except ValueError as error:
        message = f"expected JSON of Prometheus ({_why_not(error)}), got: {excerpt(body) or 'nothing'}"
        return Missing(Reason.MALFORMED_ANSWER, message)
    return document


def _why_not(error: ValueError) -> str:
    match error:
        case _InvalidJsonError():
            return str(error)
        case json.JSONDecodeError():
            return f"not valid at line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            return f"not UTF-8 at byte {error.start}"
        case _:  # an integer of thousands of digits
            return "a number is out of range"


class _InvalidJsonError(ValueError):
    """JSON that Python's parser would accept."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _InvalidJsonError("a key occurs twice in one object")
    return document


def _no_constant(constant: str) -> object:
    raise _InvalidJsonError(f"{constant} is not valid JSON")


def excerpt(body: bytes) -> str:
    """Return the beginning of a body."""
    return body[:_EXCERPT].decode(errors="replace")


def _status(document: object) -> object:
    return document.get("status") if isinstance(document, dict) else None


def _refused(answer: HttpAnswer, document: object) -> Missing:
    match document:
        case {"status": "error", "errorType": "timeout", "error": str(error)}:
            return Missing(Reason.TIMED_OUT, f"Prometheus gave up: {error}")
        case {"status": "error", "errorType": str(kind), "error": str(error)}:
            return Missing(Reason.QUERY_FAILED, f"Prometheus rejected the query ({kind}): {error}")
        case _:
            hint, said = _HINTS.get(answer.status), excerpt(answer.body).strip()
            detail = f"it says: {said}" if hint and said else said
            why = "; ".join(filter(None, (hint, detail))) or "without a message"
            return Missing(Reason.HTTP_ERROR, f"expected status 200, got {answer.status}: {why}")


_HINTS = {
    401: "it requires credentials or a tenant; see bearerTokenFile, basicAuth, aws, google, azure and headers",
    403: "it rejects these credentials; see bearerTokenFile, basicAuth, aws, google, azure and headers",
    404: "there is no Prometheus at this address; its path ends before /api/v1",
}


_SHOWN = 300
_EXCERPT = 4096
