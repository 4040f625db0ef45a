"""What users write and read: the `ModelDeployment` resource, the settings file, and the status, as pydantic models.

In: parsed YAML or JSON. Out: `core.spec` values, or all mistakes at once, each with its field.
May import: `core`, pydantic, a YAML parser. No I/O: callers read the files, with `regular_file`.

Entry points
- `manifests`: YAML text to specs
- `translate`: one object to an `OffloadSpec`, or all its mistakes
- `settings`: the settings file to `Settings`
- `crd`: the CustomResourceDefinition, rendered from the models; `schema` prepares it

The resource, as users write it
- `v1alpha1`: `ModelDeployment` and `spec`; `metadata`: name and annotations
- `offloading`: `offloadingConfig`; `container_resources`: `gateway.resources`
- `metrics`: `metrics`; `histograms`: quantiles; `metric_service`: `metricServiceRef`
- `remote`: one remote; `remotes`: several; `remote_path`: its path and variables; `price`: its price and budget
- `request_rules`: `keepLocal` and `mayLeave`
- `presets`: metrics, targets and status codes of known servers; `defaults`: what a preset implies
- `model`: the base class; `scalars`, `durations`, `addresses`: types of values
- `yaml_documents`, `yaml_nodes`: YAML to plain values

The settings, as users write them
- `settings_models`: the file; `informer_models`: `metricInformer`; `cloud_models`: credentials of clouds
- `gateway_bounds`: limits for gateways in a cluster; `gateway_pods`: placement, priority and pull Secrets of their pods
- `affinity`: affinity of pods; `label_names`: keys and values of labels
- `listen_addresses`: addresses that are in each other's way
- `near_hosts`: hosts near this machine, which a wildcard does not allow
- `shared_listener_models`, `shared_routes`: listeners that several models share

Translation to `core`
- `targets`: metrics; `remote_translation`: remotes

Validation
- `rules`: rules between fields, checked here and rendered as CEL; `remote_rules`: a remote's
- `policy`: against the settings; `gateway_policy`: gateway and Secrets; `standalone_rules`: without a cluster
- `problems`: mistakes and notices, in words
- `notices`: fields without effect, or not the intended one; `not_in_effect`: those without a cluster
- `queue_metrics`, `series_remarks`, `promql`, `promql_filters`, `promql_functions`, `promql_values`, `promql_tree`: metrics and queries
  with surprising results
- `first_byte_queries`: metrics that are known to be a time to the first token or byte
- `promql_ranges`: how much time a query covers

What users read
- `status`: `.status` from a cycle; `status_models`: its schema; `status_limits` cuts it to the schema
- `models_view`: the JSON of `/models`; `model_view` and `spending_view` build it, `spec_json` writes a spec
- `headline`: one model in a sentence; `recent`: how requests are answered now; `effects`: what clients notice; `destination`: which remotes
  requests can go to now
- `policy_text`: the policy of a model in sentences; `advice`: what to do
- `system_errors`: the system's message in an HTTP client's error; `redaction`: removes secrets from a server's text
- `regular_file`: the content of a file that others may replace

Conversion of autoscalers
- `conversion`: the command `convert`; `hpa` and `keda` read the metrics
"""
