"""The gateway's access logs: one line of JSON per request, and counters per side."""

from beamlit_controller.envoy.failover import REMOTE_FIRST
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.model_name import DECLINED
from beamlit_controller.envoy.response_headers import NOBODY, SERVED_BY
from beamlit_controller.envoy.retry_after import METADATA as PAUSED
from beamlit_controller.envoy.routes import PASSED_ON, PROBE_HEADER, PROBE_PATH, SIDE

# Why the request went where it did, derived from its route, its chain and the side that answered. Costs as much as ten header
# lookups. If local passed the request on, local's own response is not known any more; only its possible reasons are.
REASON = (
    "%CEL(xds.route_name == 'forced' ? 'forced'"
    " : xds.route_name == 'keep' || xds.route_name == 'long' ? 'kept'"
    f" : '{SERVED_BY}' in response.headers && response.headers['{SERVED_BY}'] == '{NOBODY}' ? 'unanswered'"
    " : xds.upstream_host_metadata.filter_metadata['offload']['side'] == 'remote'"
    " ? (xds.route_name == 'share' ? 'share'"
    f" : xds.cluster_name.startsWith('{REMOTE_FIRST}') ? 'overflow'"
    f" : xds.route_metadata.filter_metadata['offload']['{PASSED_ON}'])"
    " : (xds.route_name == 'share' ? 'remote-failed' : 'local'))%"
)

# From the first byte of the request to the first byte sent to the client, whoever answered.
FIRST_BYTE = "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:ms)%"

# To the first byte of the upstream's body: streaming servers send their headers before the first token.
FIRST_BODY = "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%"

# Headers and query are omitted, because they may contain secrets.
REQUEST = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "side": SIDE,
    "route": "%ROUTE_NAME%",
    "reason": REASON,
    "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream": "%UPSTREAM_HOST%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": FIRST_BYTE,
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
}

# The result of an attempt at the remote, as one of a few words: Envoy's own text may contain parts of a certificate.
RESULT = (
    "%CEL(response.code_details == 'via_upstream' ? 'answered'"
    # An error that goes on after its head is not read to its end, because the next server is asked.
    " : response.code_details.startsWith('downstream') ? (has(response.code) && response.code >= 400 ? 'answered' : 'client-gone')"
    " : response.code_details == 'websocket_handshake_unsuccessful' ? 'declined'"
    " : response.code_details.startsWith('no_healthy') ? 'no-server'"
    " : response.code_details.contains('SAN_matcher') ? 'tls-name'"
    " : response.code_details.contains('has_expired') ? 'tls-expired'"
    " : response.code_details.contains('CERTIFICATE_VERIFY_FAILED') ? 'tls-untrusted'"
    " : response.code_details.contains('TLS_error') ? 'tls'"
    " : response.code_details.contains('overflow') ? 'full'"
    f" : '{PAUSED}' in metadata.filter_metadata ? 'paused'"
    " : response.code_details == 'direct_response' ? 'declined'"
    f" : '{DECLINED}' in metadata.filter_metadata ? 'declined'"
    " : response.code_details.contains('credential') || response.code_details == 'lua_response' ? 'credential'"
    " : response.code_details.contains('timeout') ? 'timeout'"
    " : response.code_details.contains('connection_failure') ? 'refused'"
    " : 'reset')%"
)

REMOTE_FAILURE = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "remote_failure": "%RESPONSE_CODE_DETAILS%",
    "result": RESULT,
    "flags": "%RESPONSE_FLAGS%",
    "upstream": "%UPSTREAM_HOST%",
    "transport": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

UNANSWERED = {
    "extension_filter": extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression="response.code_details != 'via_upstream' && !response.code_details.startsWith('downstream')",
    )
}


def of_front(path: str) -> list[Message]:
    """Return the access logs of the front: always the counters, and a line per request if a file is given."""
    # Both path and header, or a client could hide requests that are rejected before the probe's header is removed.
    unprobed = {"name": PROBE_HEADER, "present_match": True, "invert_match": True}
    elsewhere = {"name": ":path", "string_match": {"exact": PROBE_PATH}, "invert_match": True}
    either = [{"header_filter": {"header": header}} for header in (unprobed, elsewhere)]
    clients: Message = {"or_filter": {"filters": either}}
    return [{**log, "filter": clients} for log in (_counters(), *_lines(path, REQUEST))]


def of_hop(path: str, remote: str) -> list[Message]:
    """Return the access logs of a remote's hop: always a counter, and a line per failed attempt if a file is given.

    Both carry the remote's name, if it has one.
    """
    fields = {**REMOTE_FAILURE, **({"remote": remote} if remote else {})}
    return [_remote_counters(remote), *({**log, "filter": UNANSWERED} for log in _lines(path, fields))]


def _counters() -> Message:
    """Count and time requests. Envoy's own counters would attribute a failover to the first cluster it tried."""
    side = {"name": "side", "value_format": SIDE}
    labels = [
        side,
        {"name": "route", "value_format": "%ROUTE_NAME%"},
        # With the route and the side, the chain tells the same as the reason in a log line, at a tenth of the cost.
        {"name": "chain", "value_format": "%UPSTREAM_CLUSTER%"},
        {"name": "code", "value_format": "%RESPONSE_CODE%"},
        {"name": "remote", "value_format": "%UPSTREAM_METADATA(offload:remote)%"},
    ]
    return extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": "offload"},
        counters=[{"stat": {"name": "requests", "tags": labels}, "value_fixed": 1}],
        histograms=[
            {"stat": {"name": name, "tags": [side]}, "unit": "Milliseconds", "value_format": value}
            for name, value in (("request_ms", "%DURATION%"), ("first_byte_ms", FIRST_BYTE))
        ]
        + [
            {
                "stat": {"name": "first_body_ms", "tags": labels[:2]},
                "unit": "Milliseconds",
                "value_format": FIRST_BODY,
            }
        ],
    )


def _remote_counters(remote: str) -> Message:
    """Count attempts at a remote by their result."""
    labels = [
        {"name": "result", "value_format": RESULT},
        {"name": "code", "value_format": "%RESPONSE_CODE%"},
        *([{"name": "remote", "value_format": remote}] if remote else []),
    ]
    return extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": "offload"},
        counters=[{"stat": {"name": "remote_attempts", "tags": labels}, "value_fixed": 1}],
    )


def _lines(path: str, fields: dict[str, str]) -> list[Message]:
    if not path:
        return []
    kind = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    return [extension("envoy.access_loggers.file", kind, path=path, log_format={"json_format": fields})]
