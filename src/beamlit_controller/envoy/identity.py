"""Names everything that leads to a remote after a digest of what defines the remote.

A changed remote has other names, so nothing left of the old one, such as a connection, can send its credential to the
new one.
"""

import hashlib
import json
import re
from dataclasses import replace
from functools import lru_cache

from beamlit_controller.core.spec import REMOTE_FAILURES, RemoteBackend
from beamlit_controller.envoy import hop_headers
from beamlit_controller.envoy.messages import Message

NAMED = re.compile(r"\b(?P<kind>[a-z]+(?:_[a-z]+)*)_(?P<id>[0-9a-f]{12})\b")
"""Matches a name made by this module."""


def named(kind: str, remote: RemoteBackend) -> str:
    """Return the name of a part of the way to this remote, with a digest of the remote's name, address, and changes to requests."""
    return f"{kind}_{_id_of(remote)}"


def stat_name(kind: str, remote: RemoteBackend) -> str:
    """Return the stats name of a part of the way to this remote: the same across changes of it, and different for each remote."""
    return f"{kind}-{remote.name}" if remote.name else kind


def named_by_content(kind: str, content: Message) -> str:
    """Name a resource after its content."""
    return f"{kind}_{_digest(json.dumps(content))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1024)
def _id_of(remote: RemoteBackend) -> str:
    """Return the remote's id, cached because it is used some twenty times for the files of one gateway."""
    # Limits, probes and failure conditions are not part of a remote's identity. The repr has the names of classes and fields: to
    # rename one gives every remote another identity, and so replaces its hop when the controller is upgraded.
    defining = replace(remote, health_check=None, max_in_flight=None, on_status=REMOTE_FAILURES)
    removed = [hop_headers.withheld(remote), *hop_headers.filters(remote)]
    shown = f"/{remote.tls.cert}/{remote.tls.key}" if remote.tls.cert else ""
    return _digest(f"{remote.name}{shown}{defining!r}{json.dumps(removed)}")
