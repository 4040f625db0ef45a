"""Envoy's configuration (pure), and the RTDS server that pushes percentages and caps.

In: an `OffloadSpec` and its local endpoints; then a percentage and a cap whenever they change. Out: the files that
Envoy starts from and watches, and a runtime layer for every RTDS stream. May import: `controller`, `api`, `core`, grpc,
protobuf; no other package imports grpc.

Words used throughout: the *front* is the listener that clients connect to. A *hop* is an internal listener, with routes
and filters of its own, that a request passes on its way to the remote or to local. A *chain* is a composite cluster
with the servers that a request tries in order. A *mark* is a response header with which a hop tells the chain what
happened.

The files
- `config`: renders all files of a gateway; `gateway_params`: its addresses and folders
- `bootstrap`: what Envoy starts from; `command`: its command line
- `listeners`: the front and the hops (internal listeners)
- `routes`: which requests go where; `clusters`, `upstream`: the servers
- `failover`: which server is tried next; `retries`: after which responses
- `caps`: the cap, as routes of which at most two are active
- `sessions`: session stickiness
- `local_only`: requests that never leave, by header or by path (`local_paths`, `local_paths_accounts`, `local_paths_proxies`,
  `local_paths_servers`, `paths`)
- `local_replies`: Envoy's own error responses; `response_headers`: response headers of servers that Envoy would obey
- `overload`, `pending_streams`: limits on connections, memory and waiting streams
- `access_log`: the access log and the request counters; `throttled_log` rate-limits Envoy's log; `tracing`: OpenTelemetry
- `shared_listener`: a listener that several models share

The remote hop
- `remote_routes`: the path; `hop_headers`, `sensitive_names`: the headers; `sensitive_query`: the query
- `model_name`, `response_model_name`, `json_scan`: the model's name
- `credentials`: the credential; `sigv4`: AWS; `google_token`: Google; `tls`: certificates
- `remote_usage`, `response_usage`: token usage
- `remote_marks`: marks on responses that tell why a remote failed
- `retry_after`: obeys `Retry-After`; `budget`: budgets

Changing the files
- `make_before_break`: the order of the steps; `identity`: names that change with the remote
- `resources`: versions of files

Talking to Envoy
- `rtds`: the RTDS server; `rtds_sink` feeds it standalone; `rtds_access`: tokens and certificate; `rtds_pb2`: the protocol
- `remote_stats`, `usage_stats`, `config_stats`: parse a gateway's stats

Building blocks
- `messages`, `lua`, `addresses`; `negation`: regular expressions of what is not
"""
