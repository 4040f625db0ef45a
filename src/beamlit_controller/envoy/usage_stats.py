"""Parses the token usage of the remotes from a gateway's `/stats/prometheus`."""

import re
from collections import Counter, defaultdict
from itertools import islice

from beamlit_controller.core.usage import Usage
from beamlit_controller.envoy.remote_stats import LONGEST_PAGE, MOST_SERIES

_COUNTER = re.compile(
    r"^envoy_offload_remote_(?:tokens|answers)\{([^}\n]{0,512})\} ([0-9]{1,15})(?:\.0+)?(?: -?[0-9]{1,15})?\r?$",
    re.MULTILINE,
)
_LABEL = re.compile(r'(?<![a-z_])(direction|usage|remote)="([^"]{0,128}+)"')
_NAME = re.compile(r"[a-z0-9-]{0,63}")


def usage(page: str) -> dict[str, Usage]:
    """Parse the usage of each remote, by its name. Never raises; invalid numbers are omitted."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for found in islice(_COUNTER.finditer(page[:LONGEST_PAGE]), MOST_SERIES):
        named = dict(_LABEL.findall(found[1]))
        kind = named.get("direction") or named.get("usage") or ""
        if _NAME.fullmatch(named.get("remote", "")):
            counts[named.get("remote", "")][kind] += int(found[2])
    return {name: _usage(each) for name, each in counts.items()}


def _usage(counts: Counter[str]) -> Usage:
    unread = counts["unread"] + counts["gone"]
    return Usage(counts["read"] + unread, counts["input"], counts["output"], unread)
