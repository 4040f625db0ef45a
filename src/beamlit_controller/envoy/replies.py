"""Envoy's own responses: marked for failover, and in the error format of the OpenAI API."""

from beamlit_controller.envoy import budget, failover, model_name, remote_marks
from beamlit_controller.envoy.messages import Message, headers_to_set

RETRY_AFTER = "1"
"""Seconds; about as long as it takes to find out that a server is back."""

# In gRPC the text would become the status message.
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

# Who must stay could only be answered here.
SIDE = "%CEL(xds.route_name == 'keep' || xds.route_name == 'long' ? 'local' : 'any')%"


def of_front() -> Message:
    """Tell clients for whom there is nobody that they may come again."""
    text = "no server of this model can answer now, try again"
    return {"mappers": _both(_status("EQ", 503), [("retry-after", RETRY_AFTER)], text=text, side=SIDE)}


def of_remote_hop() -> Message:
    """Say what came of the attempt at the remote; the first that fits."""
    told: tuple[tuple[Message, str, str, Message], ...] = (
        (_flagged("UO"), remote_marks.DECLINED, "the remote has as many requests as it may have", {}),
        # Envoy's 401 would tell the client that something is wrong with its own credential.
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
    return {
        "mappers": [
            mapper
            for which, mark, text, rewrite in told
            for mapper in _both(which, _marked(failover.REMOTE_MARK, mark), text=text, side="remote", **rewrite)
        ]
    }


def of_local_hop() -> Message:
    """Say why no local server answered."""
    told = {
        failover.UNAVAILABLE: _flagged("UH", "UF"),
        failover.RESET: _flagged("UC", "UR", "UPE"),
        failover.SLOW: _flagged("UT"),
    }
    text = "no local server answered"
    return {
        "mappers": [
            mapper
            for mark, which in told.items()
            for mapper in _both(which, _marked(failover.LOCAL_MARK, mark), text=text, side="local")
        ]
    }


def _both(
    which: Message, headers: list[tuple[str, str]], *, text: str, side: str, **rewrite: object
) -> tuple[Message, Message]:
    """Return the mappers of an answer: as JSON, and for gRPC without."""
    error = {"message": text, "type": "gateway_error", "code": "%RESPONSE_CODE_DETAILS%", "side": side}
    plain = {"headers_to_add": headers_to_set(headers), **rewrite}
    as_json = {"body_format_override": {"json_format": {"error": error}, "content_type": "application/json"}}
    return (
        {"filter": {"and_filter": {"filters": [which, NOT_GRPC]}}, **plain, **as_json},
        {"filter": which, **plain},
    )


def _marked(header: str, mark: str) -> list[tuple[str, str]]:
    # A pause has said itself for how long.
    again = [] if mark == remote_marks.PAUSED else [("retry-after", RETRY_AFTER)]
    return [(header, mark), *again]


def _flagged(*flags: str) -> Message:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(comparison: str, status: int) -> Message:
    value = {"runtime_key": "offload.none", "default_value": status}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}
