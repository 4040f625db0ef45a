"""What a gateway's `/stats/prometheus` says of its attempts at the remote."""

import re
from collections import Counter
from itertools import islice

from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.envoy.access_log import RESULT
from beamlit_controller.envoy.routes import REMOTE

FILTER = "offload[.]remote_attempts|^cluster[.]remote[.]membership_total"
"""The `filter` of the page that has all that is read here."""

LONGEST_PAGE = 1024 * 1024
MOST_SERIES = 1000
"""More than there are results and status codes on any true page."""

# A gateway's image is its user's choice: numbers are bounded, and digits are those of ASCII.
_COUNTER = re.compile(
    r"^envoy_offload_remote_attempts\{([^}\n]{0,512})\} ([0-9]{1,15})(?:\.0+)?(?: -?[0-9]{1,15})?\r?$", re.MULTILINE
)
_GAUGE = re.compile(
    rf'^envoy_cluster_membership_total\{{envoy_cluster_name="{REMOTE}"\}} ([0-9]{{1,9}})\r?$', re.MULTILINE
)
_LABEL = re.compile(r'([a-z_]{1,64})="([^"]{0,128})"')
RESULTS = frozenset(re.findall(r"[?:] '([a-z-]+)'", RESULT))
"""All that a gateway of ours counts; whatever else a page has would only grow what is kept of it."""
_CODE = re.compile(r"[1-5][0-9]{2}")


def attempts(page: str) -> Attempts:
    """Read the page; what is not there has not been counted yet, and what is no number of a gateway is not there.

    Never raises. Of a page that is longer than any true one the beginning counts.
    """
    start = page[:LONGEST_PAGE]
    counts: Counter[tuple[str, int]] = Counter()
    for found in islice(_COUNTER.finditer(start), MOST_SERIES):
        named = dict(_LABEL.findall(found[1]))
        result, code = named.get("result", ""), named.get("code", "")
        if result in RESULTS:
            counts[result, int(code) if _CODE.fullmatch(code) else 0] += int(found[2])
    servers = _GAUGE.search(start)
    listed = sorted((result, code, count) for (result, code), count in counts.items())
    return Attempts(tuple(listed), int(servers[1]) if servers else 0)
