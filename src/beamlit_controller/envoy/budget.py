"""Disables a remote while its budget is spent: its hop declines every request, and the next server of the chain is tried.

It is controlled by a runtime value, like the percentage. A gateway that has lost its controller keeps the last value.
"""

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy.messages import Message

STATUS = 423
"""The internal status of a request that the hop declines because the budget is spent; no client sees it."""
WHOLE = 1_000_000


def key(remote: str) -> str:
    """Return the runtime key of the remote with this name."""
    return f"offload.spent.{remote}" if remote else "offload.spent"


def routes(remote: RemoteBackend) -> list[Message]:
    """Return the route that declines requests while the budget is spent; it has to be the first one of the hop."""
    if remote.budget is None:
        return []
    share: Message = {"default_value": {"numerator": 0, "denominator": "MILLION"}, "runtime_key": key(remote.name)}
    return [
        {
            "name": "spent",
            "match": {"prefix": "/", "runtime_fraction": share},
            "direct_response": {"status": STATUS},
        }
    ]
