"""Renders the files that one gateway starts from and watches: a pure function of its spec and parameters."""

import json

from beamlit_controller.core.spec import OffloadSpec, Scheme
from beamlit_controller.envoy import bootstrap, clusters, credentials, identity, listeners, resources, routes, tls
from beamlit_controller.envoy.failover import EJECTED, LOCAL_HOP, REMOTE_HOP
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, typed

Files = dict[str, str]

CLUSTER = "envoy.config.cluster.v3.Cluster"
LISTENER = "envoy.config.listener.v3.Listener"
CONFIDENTIAL = "envoy.extensions.transport_sockets.tls.v3.Secret"
ROUTES = "envoy.config.route.v3.RouteConfiguration"


def files(spec: OffloadSpec, params: GatewayParams) -> Files:
    """Return name and text of every file, in the order to write them: referenced files before those that refer to them.

    `bootstrap.json` is read only at start. The others are reloaded when a file is renamed into the directory; if Envoy
    rejects a new version, the old one stays in force. Equal input gives equal text. Clusters and listeners of the
    remotes exist even while offloading is disabled: only the routes decide, so that requests in progress there can
    finish.
    """
    return {
        "bootstrap.json": _text(bootstrap.bootstrap(spec, params)),
        **_secrets(spec, params),
        "cds.json": _resources(CLUSTER, clusters.all_of(spec, params)),
        **{f"rds-{name}.json": _resources(ROUTES, [table]) for name, table in _route_tables(spec, params).items()},
        "lds.json": _resources(LISTENER, _listeners(spec, params)),
    }


def _secrets(spec: OffloadSpec, params: GatewayParams) -> Files:
    found: dict[str, Message] = {}
    if params.shares_ca:
        found[tls.file_of(tls.SHARES_TRUST)] = tls.rtds_trust(params)
    for remote in spec.remotes:
        if remote.scheme is Scheme.HTTPS:
            trust = identity.named(tls.TRUST, remote)
            found[tls.file_of(trust)] = tls.trust_in(tls.name_of(remote), remote, params, trust=trust)
            found |= tls.shown(remote, params)
        found |= credentials.secrets(remote, params)
    return {name: _resources(CONFIDENTIAL, [secret]) for name, secret in found.items()}


def _route_tables(spec: OffloadSpec, params: GatewayParams) -> dict[str, Message]:
    """Return the route tables by name; each is a file of its own."""
    tables = {routes.FRONT: routes.front(spec, params)}
    if spec.remotes:
        tables[LOCAL_HOP] = routes.local_hop(spec, params)
    if len(spec.remotes) > 1:
        tables[EJECTED] = routes.ejected()
    for remote in spec.remotes:
        hop = identity.named(REMOTE_HOP, remote)
        tables[hop] = routes.remote_hop(remote, spec.overflow.max_request_bytes)
    return tables


def _listeners(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    local_hop = [listeners.local_hop(params)] if spec.remotes else []
    ejected = [listeners.ejected(params)] if len(spec.remotes) > 1 else []
    most = spec.overflow.max_request_bytes
    remote_hops = (listeners.remote_hop(remote, params, max_request_bytes=most) for remote in spec.remotes)
    tcp_passthrough = (listeners.tcp_passthrough(listen) for listen, _ in params.tcp_passthrough)
    return [*local_hop, *ejected, *remote_hops, listeners.front(spec, params), *tcp_passthrough]


def _resources(kind: str, messages: list[Message]) -> str:
    return resources.text([typed(kind, **message) for message in messages])


def _text(message: Message) -> str:
    return json.dumps(message, ensure_ascii=False) + "\n"
