"""Runs on one machine without a cluster: manifests from a folder, Envoy as a process, state in files.

In: a folder of manifests, a settings file, a state folder. Out: specs, supervised Envoy processes, recorded decisions.
May import: `controller`, `api`, `core`, the HTTP client.

Input
- `folder`: the manifests; `merging`: which of them are in force; `settings_watch`: the settings file
- `overrides`: written by the command `override`
- `inventory`: the local servers

Gateways
- `gateways`: one worker per model; `gateway`: the worker; `gateway_template`: what all gateways have in common
- `process`: processes that outlive the controller; `envoy_processes`: the processes of one gateway
- `launcher`: adopts the running Envoy, or starts one, as a successor by hot restart if another is installed or its bootstrap changed
- `config_files`: writes Envoy's files; `acceptance` checks that Envoy has accepted them
- `probe`: polls a running Envoy; `endpoint_health`: which local servers are down
- `admin`: its admin interface; `envoy_log`: its log
- `drain`: drains an Envoy
- `faults`: what keeps a gateway from following its spec; `backoff`: retries

State
- `state_folder`: the layout and the lock; `decision_files`: recorded decisions; `files`: atomic writes; `sockets`: long paths
"""
