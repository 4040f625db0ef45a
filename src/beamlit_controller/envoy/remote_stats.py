"""Parses request counters and attempts at the remotes from a gateway's `/stats/prometheus`."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import islice

from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.envoy.access_log import RESULT
from beamlit_controller.envoy.failover import LOCAL, LOCAL_ANYWAY, REMOTE_FIRST
from beamlit_controller.envoy.routes import REMOTE

FILTER = (
    "offload[.](remote_attempts|remote_tokens|remote_answers|requests|first_body_ms)"
    "|^cluster[.](remote(-[a-z0-9-]+)?[.]membership_total|local(_anyway)?[.]upstream_rq_(active|pending_active))"
)
"""The `filter` parameter for the page with the stats that are parsed here."""

LONGEST_PAGE = 256 * 1024
MOST_SERIES = 1000
"""Maximum number of series; more than a genuine page has results and status codes."""

# Users choose the gateway's image, so its pages are not trusted: numbers are bounded, and only ASCII digits count.
_COUNTER = re.compile(
    r"^envoy_offload_remote_attempts\{([^}\n]{0,512})\} ([0-9]{1,15})(?:\.0+)?(?: -?[0-9]{1,15})?\r?$", re.MULTILINE
)
_GAUGE = re.compile(
    rf'^envoy_cluster_membership_total\{{envoy_cluster_name="{REMOTE}(?:-([a-z0-9-]{{1,63}}))?"\}} ([0-9]{{1,9}})\r?$',
    re.MULTILINE,
)
_SERIES = re.compile(
    r"^envoy_offload_(requests|first_body_ms_(?:sum|count))\{([^}\n]{0,512})\} ([0-9]{1,15})(?:\.[0-9]{1,64})?"
    r"(?: -?[0-9]{1,15})?\r?$",
    re.MULTILINE,
)
_IN_FLIGHT = re.compile(
    rf'^envoy_cluster_upstream_rq_(?:active|pending_active)\{{envoy_cluster_name="(?:{LOCAL}|{LOCAL_ANYWAY})"\}}'
    r" ([0-9]{1,9})\r?$",
    re.MULTILINE,
)
_FIRST_BYTES = {"first_body_ms_sum": "first_byte_ms", "first_body_ms_count": "first_bytes"}
_LABEL = re.compile(r'(?<![a-z_])([a-z_]{1,64}+)="([^"]{0,128}+)"')
RESULTS = frozenset(re.findall(r"[?:] '([a-z-]+)'", RESULT))
"""The results that our gateways count. Others are ignored, because they would take memory."""
_NAME = re.compile(r"[a-z0-9-]{0,63}")
_CODE = re.compile(r"[1-5][0-9]{2}")
_REJECTED = re.compile(r"0|4(?!29)[0-9]{2}")
"""The statuses of invalid requests. 429 is the gateway's response while a remote has asked to wait."""


def attempts(page: str) -> dict[str, Attempts]:
    """Parse the attempts at each remote, by its name. Uncounted attempts and invalid numbers are omitted.

    Never raises. Only the beginning of an overlong page counts.
    """
    start = page[:LONGEST_PAGE]
    counts: defaultdict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
    for found in islice(_COUNTER.finditer(start), MOST_SERIES):
        named = dict(_LABEL.findall(found[1]))
        result, code = named.get("result", ""), named.get("code", "")
        if result in RESULTS and _NAME.fullmatch(named.get("remote", "")):
            counts[named.get("remote", "")][result, int(code) if _CODE.fullmatch(code) else 0] += int(found[2])
    servers = {found[1] or "": int(found[2]) for found in islice(_GAUGE.finditer(start), MOST_SERIES)}
    return {name: Attempts(_listed(counts[name]), servers.get(name, 0)) for name in {*counts, *servers}}


def _listed(counts: Counter[tuple[str, int]]) -> tuple[tuple[str, int, int], ...]:
    return tuple(sorted((result, code, count) for (result, code), count in counts.items()))


def traffic(page: str) -> RequestCounters:
    """Parse the results of clients' requests, and the number of local requests in flight. Never raises."""
    start = page[:LONGEST_PAGE]
    counts: Counter[str] = Counter()
    for found in islice(_SERIES.finditer(start), MOST_SERIES):
        counts.update(_counted(found[1], dict(_LABEL.findall(found[2])), int(found[3])))
    in_flight = sum(int(found[1]) for found in islice(_IN_FLIGHT.finditer(start), 4))
    return RequestCounters(in_flight=in_flight, **counts)


def _counted(name: str, labels: Mapping[str, str], count: int) -> dict[str, int]:
    side = labels.get("side", "")
    if name in _FIRST_BYTES:
        counts = side in {"local", "remote"} and labels.get("route") != "keep"
        return {f"{side}_{_FIRST_BYTES[name]}": count} if counts else {}
    match side:
        case "local":
            kept = labels.get("route") in {"keep", "long"}
            return {"local": count, **({"kept": count} if kept else {})}
        case "remote":
            return {_why(labels.get("route", ""), labels.get("chain", "")): count}
        case _:
            # The gateway has rejected the request, or the client has left before any server was asked.
            rejected = _REJECTED.fullmatch(labels.get("code", ""))
            return {} if rejected else {"unanswered": count}


def _why(route: str, chain: str) -> str:
    """Return why a request left, derived from its route and chain in the same way as the access log's reason."""
    if route in {"share", "forced"}:
        return route
    return "overflow" if chain == REMOTE_FIRST else "unavailable"
