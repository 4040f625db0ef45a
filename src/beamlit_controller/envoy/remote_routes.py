"""The routes within the remote hop: they rewrite the path of a request, by its prefix and by the model that it names.

If the path or a header depends on the model, the route is selected again once the name has been read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beamlit_controller.core.named_address import NamedAddress
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import model_name
from beamlit_controller.envoy.hop_headers import WITHOUT_QUERY
from beamlit_controller.envoy.messages import Message, headers_to_set

UPGRADE: Message = {"name": "upgrade", "present_match": True}
QUERY: Message = {"name": ":path", "string_match": {"contains": "?"}}


@dataclass(frozen=True, slots=True)
class RemoteWays:
    """The Host header for the remote, and the clusters for requests and for upgrades."""

    authority: str
    requests: str
    upgrades: str


def table(remote: RemoteBackend, ways: RemoteWays) -> list[Message]:
    """Return the routes in order: first those of models that have an address of their own."""
    usual = NamedAddress("", remote.path_prefix, remote.headers_to_add)
    named = [each for address in remote.by_model for each in _of(remote, ways, address, [_names(remote, address)])]
    return [*named, *_of(remote, ways, usual, [])]


def elsewhere(remote: RemoteBackend) -> list[Message]:
    """Return the header matches of requests outside the prefix that is replaced, if one is."""
    if not remote.replaced_prefix:
        return []
    return [{"name": ":path", "string_match": {"prefix": _begin(remote)}, "invert_match": True}]


def _names(remote: RemoteBackend, address: NamedAddress) -> Message:
    number = model_name.numbers(remote)[address.name]
    return {"name": model_name.NUMBER, "string_match": {"exact": str(number)}}


def _of(remote: RemoteBackend, ways: RemoteWays, address: NamedAddress, headers: Sequence[Message]) -> list[Message]:
    """Return the routes of upgrades, of requests with a query, and of all others, which bypass the Lua filters."""
    more: Message = {"request_headers_to_add": headers_to_set(address.headers_to_add)} if remote.by_model else {}
    requests = _action(remote, address, ways, ways.requests)
    upgrades = _action(remote, address, ways, ways.upgrades)
    upgrade: Message = {"name": "upgrade", "match": _match(remote, [*headers, UPGRADE]), "route": upgrades, **more}
    queried: Message = {"name": "remote", "match": _match(remote, [*headers, QUERY]), "route": requests, **more}
    rest: Message = {"name": "remote", "match": _match(remote, headers), "route": requests, **more}
    return [upgrade, rest] if remote.query_to_add else [upgrade, queried, {**rest, **WITHOUT_QUERY}]


def _match(remote: RemoteBackend, headers: Sequence[Message]) -> Message:
    return {"prefix": _begin(remote), **({"headers": [*headers]} if headers else {})}


def _action(remote: RemoteBackend, address: NamedAddress, ways: RemoteWays, cluster: str) -> Message:
    action: Message = {"cluster": cluster, "timeout": "0s", "host_rewrite_literal": ways.authority}
    prefix = f"{address.path_prefix.rstrip('/')}/"
    return action if prefix == _begin(remote) else {**action, "prefix_rewrite": prefix}


def _begin(remote: RemoteBackend) -> str:
    return f"{remote.replaced_prefix}/"
