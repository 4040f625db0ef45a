"""The composition roots: they build, connect and run the parts of each mode. Only `cli` imports this package.

- `common`: what both modes share, such as `sources`, the list of what reads each type of metric
- `standalone`: builds and runs the standalone mode (`_serve`); `standalone_gateways`: its gateways; `standalone_web`: its web
  endpoints; `shared_listeners`: listeners that several models share
- `settings_trial`: tries changed settings before a restart
- `cluster`: runs the cluster mode: the tasks of every replica, and of the leader (`lead`)
- `cluster_parts`: builds and connects its parts (`build`); `cluster_options`: flags and settings; `cluster_web`: its web endpoints
- `rtds_feed`: feeds the RTDS server from `.status`, on every replica
- `gateway_files`: renders the Envoy files of a gateway pod
- `override`, `release`, `restore`: the commands of these names, in a cluster
"""
