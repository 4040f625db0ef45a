"""Names everything that leads to a remote after a digest of all that defines the remote.

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
"""A name that was made here."""


def named(kind: str, remote: RemoteBackend) -> str:
    """Name a part of the way to this remote by what defines the remote: its name, where it is, what is added and removed."""
    return f"{kind}_{_id_of(remote)}"


def stat_name(kind: str, remote: RemoteBackend) -> str:
    """Name the stats of a part of the way to this remote: alike for each change of it, and apart from the other remotes'."""
    return f"{kind}-{remote.name}" if remote.name else kind


def named_by_content(kind: str, content: Message) -> str:
    """Name a resource by all that it says."""
    return f"{kind}_{_digest(json.dumps(content))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1024)
def _id_of(remote: RemoteBackend) -> str:
    """Return the remote's id. It is asked for at each mention of the remote, some twenty times for the files of a gateway."""
    # How many requests it may have, how it is probed and when it counts as failed says nothing about who it is.
    defining = replace(remote, health_check=None, max_in_flight=None, on_status=REMOTE_FAILURES)
    removed = [hop_headers.withheld(remote), *hop_headers.filters(remote)]
    shown = f"/{remote.tls.cert}/{remote.tls.key}" if remote.tls.cert else ""
    return _digest(f"{remote.name}{shown}{defining!r}{json.dumps(removed)}")
