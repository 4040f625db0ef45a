"""One remote is one thing: whatever leads to it carries a name made of all that defines it.

A change of the remote makes other names, so nothing that is left of the old one, such as a connection, can ever bring
its credential to the new one. In figures both keep the plain name.
"""

import hashlib
from dataclasses import replace

from beamlit_controller.core.spec import RemoteBackend


def named(what: str, remote: RemoteBackend) -> str:
    """Give the name that this part has for this remote."""
    # How many requests it may have, and how it is probed, says nothing about who it is.
    defining = replace(remote, health_check=None, max_in_flight=None)
    return f"{what}_{hashlib.sha256(repr(defining).encode()).hexdigest()[:12]}"
