"""Parses from a gateway's `/stats/prometheus` which files are in force. Never raises on malformed pages."""

import re
from collections.abc import Mapping
from itertools import islice

from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.envoy import resources
from beamlit_controller.envoy.identity import NAMED

FILTER = (
    "(cds|lds|rds[.][a-z0-9_]+)[.](version_text|update_rejected)$"
    "|^(cluster_manager[.]warming_clusters|listener_manager[.]total_listeners_warming)$"
    "|^http[.]remote_hop_[0-9a-f]{12}[.]downstream_rq_active$"
)
"""The `filter` parameter for the page with the stats that are parsed here, together with `text_readouts`."""

LONGEST_PAGE = 256 * 1024
MOST_SERIES = 1000

_SERIES = re.compile(r"^envoy_([a-z_]{1,64})\{([^}\n]{0,512})\} ([0-9]{1,15})\r?$", re.MULTILINE)
_LABEL = re.compile(r'(?<![a-z_])([a-z_]{1,64}+)="([^"]{0,128}+)"')
_FILES = {"cluster_manager_cds": "cds.json", "listener_manager_lds": "lds.json"}
_WARMING = {"cluster_manager_warming_clusters", "listener_manager_total_listeners_warming"}
_ACTIVE = "http_downstream_rq_active"


def read(page: str) -> ConfigInForce:
    """Parse the page; a file that it does not mention is not in force. Only the beginning of an overlong page counts."""
    versions: dict[str, str] = {}
    refused, busy, warming = set(), set(), False
    for found in islice(_SERIES.finditer(page[:LONGEST_PAGE]), MOST_SERIES):
        name, labels, counted = found[1], dict(_LABEL.findall(found[2])), int(found[3]) > 0
        file = _file(name, labels)
        if file and name.endswith("_version_text"):
            versions[file] = labels.get("text_value", "")
        elif file and counted:
            refused.add(file)
        warming = warming or (counted and name in _WARMING)
        if counted and name == _ACTIVE:
            busy |= {found["id"] for found in NAMED.finditer(labels.get("envoy_http_conn_manager_prefix", ""))}
    return ConfigInForce(tuple(sorted(versions.items())), tuple(sorted(refused)), warming, frozenset(busy))


def missing(files: Mapping[str, str], seen: ConfigInForce) -> tuple[str, ...]:
    """Return the names of the files whose current version the gateway does not have in force."""
    known = dict(seen.versions)
    return tuple(
        name for name, text in files.items() if _is_reported(name) and known.get(name) != resources.version(text)
    )


def _file(name: str, labels: Mapping[str, str]) -> str:
    what = name.removesuffix("_version_text").removesuffix("_update_rejected")
    if what == "http_rds" and what != name:
        return f"rds-{labels.get('envoy_rds_route_config', '')}.json"
    return _FILES.get(what, "")


def _is_reported(name: str) -> bool:
    return name in _FILES.values() or name.startswith("rds-")
