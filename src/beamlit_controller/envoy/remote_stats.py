"""What a gateway's `/stats/prometheus` says of its attempts at the remote."""

import re

from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.envoy.routes import REMOTE

FILTER = "offload[.]remote_attempts|^cluster[.]remote[.]membership_total"
"""The `filter` of the page that has all that is read here."""

_COUNTER = re.compile(r"^envoy_offload_remote_attempts\{([^}]*)\} (\d+)", re.MULTILINE)
_GAUGE = re.compile(rf'^envoy_cluster_membership_total\{{envoy_cluster_name="{REMOTE}"\}} (\d+)', re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def attempts(page: str) -> Attempts:
    """Read the page; what is not there has not been counted yet."""
    counts = []
    for labels, count in _COUNTER.findall(page):
        named = dict(_LABEL.findall(labels))
        code = named.get("code", "")
        counts.append((named.get("result", ""), int(code) if code.isdigit() else 0, int(count)))
    found = _GAUGE.search(page)
    return Attempts(tuple(sorted(counts)), int(found[1]) if found else 0)
