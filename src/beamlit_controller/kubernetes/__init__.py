"""Runs in a cluster: watches, metrics APIs, leader election, gateway objects, Services and the status.

In: the API server. Out: implementations of `controller.ports` (provider, source, inventory, memory, sink), and writes.
May import: `controller`, `api`, `core`, lightkube and its HTTP client.

Reconciling, on the leader
- `reconciler`: one worker per model; `reconcile`: the steps of one pass; `snapshot`: the input of a pass
- `lease`: leader election, and the fence for the leader's writes
- `orphans`: restores Services of models that no longer exist

The user's Service
- `takeover`: decides whether it is taken over (pure); `observation` gathers the input, `takeover_memory` remembers it
- `reverts`: when other writers undo the takeover, and when to leave the Service to them (pure)
- `service_switch`: writes the takeover and the restoration; `service_patches`: the patches and annotations
- `gateway_probe`: whether the gateway's pods reach the model

The gateway
- `plan`: how a gateway fits between a Service and its pods (pure)
- `desired`: its desired objects (pure): `gateway_objects`, `gateway_deployment`, `egress`
- `rendering`: renders them when an input changed; `config_rollout`: which files Envoy reads next
- `applier`: applies the objects that differ
- `gateway_configs`, `gateway_pages`: ask the gateway's pods for their stats
- `gateway_trouble`: why its pods can't be created, scheduled or started
- `namespaces`: namespaces that are being deleted

The status
- `conditions`: builds the status (pure), with the conditions of `metav1`; `status_writer` writes it; `events`: Events about its changes
- `round_sink`: keeps the last `Cycle` of each model; `remotes`: the state of the remotes

Watching
- `store`: all caches; `watches` fills them through `reflector`; `index`: models by what they depend on
- `models`: ModelDeployments, their specs and recorded decisions; `last_good`: the last good specs
- `services`, `pods`, `autoscalers`, `managed_objects`: the other caches; `pod_addresses`: IP addresses, also of dual-stack pods
- `list_chunks`, `watch_lines`, `watch_events`, `skipped_objects`, `fields`: bounded and tolerant parsing

Reading metrics
- `metrics`: the metrics APIs; `metrics_answers` parses them; `discovery`: API versions
- `inventory`, `scale`, `pod_selector`: a model's pods and replicas; `endpoints`: where to scrape them

The API server
- `api_server`: all requests; `api_bodies`: their responses, bounded; `paths`: the kinds; `failures`: errors in words
"""
