"""Envoy's own responses: marked for failover, and in the error format of the OpenAI API. No side has served them."""

from beamlit_controller.envoy import budget, failover, model_name, remote_marks
from beamlit_controller.envoy.messages import Message, extension, headers_to_set
from beamlit_controller.envoy.response_headers import NOBODY, SERVED_BY

RETRY_AFTER = "1"
"""Seconds; about as long as it takes to detect that a server is back."""

# In gRPC the body would become the status message.
NOT_GRPC: Message = {
    "header_filter": {
        "header": {
            "name": "content-type",
            "string_match": {"prefix": "application/grpc"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        }
    }
}

NOT_SWITCHED: Message = {
    "extension_filter": extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression="response.code_details == 'websocket_handshake_unsuccessful'",
    )
}

UNSERVED = (SERVED_BY, NOBODY)

# A local-only request has no other server.
SIDE = "%CEL(xds.route_name == 'keep' || xds.route_name == 'long' ? 'local' : 'any')%"


def of_front() -> Message:
    """Tell clients to retry later if no server is available."""
    text = "no server of this model can answer now, try again"
    unavailable = _both(_status("EQ", 503), [("retry-after", RETRY_AFTER), UNSERVED], text=text, side=SIDE)
    not_switched = _not_switched(UNSERVED, side=SIDE)
    return {"mappers": [*unavailable, _UNEXPECTED, *not_switched]}


def of_remote_hop() -> Message:
    """Mark the result of the attempt at the remote; the first matching entry applies."""
    mapped: tuple[tuple[Message, str, str, Message], ...] = (
        (_flagged("UO"), remote_marks.DECLINED, "the remote has as many requests as it may have", {}),
        # Envoy's 401 would wrongly tell the client that its own credential is invalid.
        (
            _status("EQ", 401),
            remote_marks.WITHOUT_CREDENTIAL,
            "there is no credential for the remote",
            {"status_code": 503},
        ),
        (
            _status("EQ", model_name.UNREADABLE),
            remote_marks.DECLINED,
            "the model's name can't be replaced",
            {"status_code": 503},
        ),
        (_status("EQ", 429), remote_marks.PAUSED, "the remote has asked to wait", {}),
        (
            _status("EQ", budget.STATUS),
            remote_marks.DECLINED,
            "the budget of the remote is spent",
            {"status_code": 503},
        ),
        (_status("GE", 400), remote_marks.FAILED, "the remote could not be asked, or did not answer", {}),
    )
    not_switched = _not_switched((failover.REMOTE_MARK, remote_marks.NOT_SWITCHED), UNSERVED, side="remote")
    return {
        "mappers": [
            *(
                mapper
                for which, mark, text, rewrite in mapped
                for mapper in _both(which, _marked(failover.REMOTE_MARK, mark), text=text, side="remote", **rewrite)
            ),
            *not_switched,
        ]
    }


def of_local_hop() -> Message:
    """Mark why no local server answered."""
    mapped = {
        failover.UNAVAILABLE: _flagged("UH", "UF"),
        failover.RESET: _flagged("UC", "UR", "UPE"),
        failover.SLOW: _flagged("UT"),
    }
    text = "no local server answered"
    return {
        "mappers": [
            *(
                mapper
                for mark, which in mapped.items()
                for mapper in _both(which, _marked(failover.LOCAL_MARK, mark), text=text, side="local")
            ),
            _UNEXPECTED,
            *_not_switched((failover.LOCAL_MARK, remote_marks.NOT_SWITCHED), UNSERVED, side="local"),
        ]
    }


def _not_switched(*headers: tuple[str, str], side: str) -> tuple[Message, Message]:
    """Return the mappers for a server that answered an upgrade with 2xx or 3xx: Envoy drops the body, and no client expects that."""
    return _both(NOT_SWITCHED, [*headers], text="the server did not switch protocols", side=side, status_code=502)


def _both(
    which: Message, headers: list[tuple[str, str]], *, text: str, side: str, **rewrite: object
) -> tuple[Message, Message]:
    """Return the mappers of a response: with a JSON body, and without one for gRPC."""
    error = {"message": text, "type": "gateway_error", "code": "%RESPONSE_CODE_DETAILS%", "side": side}
    plain = {"headers_to_add": headers_to_set(headers), **rewrite}
    as_json = {"body_format_override": {"json_format": {"error": error}, "content_type": "application/json"}}
    return (
        {"filter": {"and_filter": {"filters": [which, NOT_GRPC]}}, **plain, **as_json},
        {"filter": which, **plain},
    )


def _marked(header: str, mark: str) -> list[tuple[str, str]]:
    # The response to a paused request already has a Retry-After.
    again = [] if mark == remote_marks.PAUSED else [("retry-after", RETRY_AFTER)]
    return [(header, mark), UNSERVED, *again]


def _flagged(*flags: str) -> Message:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(comparison: str, status: int) -> Message:
    value = {"runtime_key": "offload.none", "default_value": status}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


# Any other response that Envoy generates.
_UNEXPECTED: Message = {"filter": _status("GE", 400), "headers_to_add": headers_to_set([UNSERVED])}
