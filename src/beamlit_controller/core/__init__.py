"""Decides: pure functions over frozen values.

In: an `OffloadSpec` (the user's configuration), `Signals` (what was read), the previous `Decision`, and the time.
Out: a `Verdict` (signals compared with targets), a `Decision` (percentage, cap and reason), a `Cycle` (the record of both).
May import: the standard library without I/O, clocks or asyncio. No third party, no other package of ours.

A round
- `cycle`: runs the stages in order
- `verdict`: compares each metric with its target; `pods` selects the pods that count, as the HPA does
- `value_age`: how old the value of a query is, learned from when it changes
- `decision`: what takes precedence over metrics; otherwise it calls `share_decision` or `adaptive_decision`, by mode
- `decision_state`: the `Decision` itself, with its history; `clock_skew` adjusts its times, and those of signals, when the clock was set

The share (Fixed and Proportional mode)
- `share_decision`: engages, holds and releases
- `strategy`: `fixed` or `proportional`: how far the share rises and falls
- `demand`: the value that a metric would have if nothing were offloaded
- `load`: demand from the arrival rate, where no metric can show it
- `release_backoff`: backoff after a premature release
- `trend`: whether the metric is falling by itself
- `shortfall`: whether the highest allowed share is not enough

The cap (Adaptive mode)
- `adaptive_decision`: holds, follows or gives up the cap; `uncounted`: a share instead, if no gateway reports its counts
- `lowest_cap`: with several metrics, learns a cap from each; the lowest is in force
- `metric_names`: distinct names by which the state of each metric is recorded
- `adaptive`: moves the cap with each sample
- `first_cap`: sets it, and corrects it once
- `load_curve`: pairs samples with requests in flight, and learns how the ratio grows with them
- `metric_kind`: whether a metric is a queue or has a value at any load, and its maximum
- `queue_metric`: metrics that count waiting requests; `gradual_metric`: metrics with a value at any load;
  `duration_metric`: metrics proportional to the duration of requests; `first_byte_metric`: the time to first byte;
  `first_byte_match`: the gateways' own instead of a metric that is later
- `raises`, `climb`: raises of the cap that have no effect, because the metric can't reach its target
- `estimate`: how many in flight bring the metric to its target, updated by each sample
- `backlog`: detects an overload before a late metric shows it
- `adaptive_state`: what has been learned so far, as a value; `in_flight_span`: the gateways' recent counts in it
- `limits`: divides the cap among the gateways

Input
- `spec`: `OffloadSpec`, the spec as complete, valid values; parts of it: `metric_spec`, `gateway_spec`, `remote_auth`,
  `named_address`, `stickiness`, `price`, `cloud_identity`
- `signals`: samples, or `Missing` with a reason
- `readable`: which metric source can read which metric
- `reason`: all reasons
- `quantity`: Kubernetes quantities

Gateways and remotes
- `traffic`, `flow`: the gateways' request counters; `traffic_change`: since when requests are answered as they are now;
  `traffic_summary`: the last minute in numbers and words
- `gateway_metric`: metrics computed from these counters
- `gateway_config`: the configuration that a gateway has in force; `gateway_pods`: what the operator sets for the pods of all gateways
- `remote_health`: whether one remote is usable; `remotes_health`: all of a model's
- `remote_secrets`: the Secret keys that a remote needs
- `throttle`: limits the percentage while the remote answers 429
- `weighted_remotes`: remotes with weights
- `usage`, `ledger`, `spending`, `budget_periods`, `spending_text`: tokens, cost and budgets

Explaining
- `preview`: what would change the decision, and when
- `trigger`: metrics that can never reach their target
- `wording`: values and targets for people; `printable` makes foreign text safe to show
- `replay`: decides again on recorded metrics
"""
