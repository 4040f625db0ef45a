"""The Grafana dashboards: one of all models, one of a single model. `make render` writes them to chart/dashboards.

A dashboard is a list of panels, each with PromQL for what it shows; where a panel stands follows from its place in the
list. The datasource is a variable, so that a file can be imported anywhere. Gateways' series carry the model as
`namespace` and `name`, as the chart's PodMonitor has it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 39
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
FLEET, MODEL = "beamlit-fleet", "beamlit-model"
ONE = 'namespace="$namespace", name="$name"'
ANY = 'namespace=~"$namespace"'
SENT_BY_MODEL = f"sum by (namespace, name) (max by (namespace, name, reason) (beamlit_sent_ratio{{{ANY}}}))"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how each of its series is called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `kind` is Grafana's panel type, `unit` its name of a unit, `says` what a reader has to know."""

    title: str
    says: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    alarming: float | None = None
    """The value from which on it is red."""
    needed: float | None = None
    """The value below which it is red."""


def render_all() -> Mapping[str, str]:
    """Return every dashboard, by its path in the repository."""
    return {
        "chart/dashboards/fleet.json": _text(fleet()),
        "chart/dashboards/model.json": _text(model()),
    }


def queries() -> tuple[str, ...]:
    """Return the PromQL of all panels."""
    return tuple(query.expr for panel in (*FLEET_PANELS, *MODEL_PANELS) for query in panel.queries)


def fleet() -> Json:
    """Return the dashboard of all models."""
    variables = [
        _datasource(),
        _variable("namespace", "label_values(beamlit_offload_percentage, namespace)", several=True),
    ]
    return _dashboard(FLEET, "beamlit: all models", FLEET_PANELS, variables)


def model() -> Json:
    """Return the dashboard of one model."""
    variables = [
        _datasource(),
        _variable("namespace", "label_values(beamlit_offload_percentage, namespace)"),
        _variable("name", 'label_values(beamlit_offload_percentage{namespace="$namespace"}, name)'),
    ]
    return _dashboard(MODEL, "beamlit: one model", MODEL_PANELS, variables)


FLEET_PANELS = (
    Panel(
        "Models",
        "Models that the controller decides for.",
        (Query("max(beamlit_models)"),),
        kind="stat",
        width=3,
        height=4,
    ),
    Panel(
        "Offloading now",
        "Models whose remote answered requests in the last minute.",
        (Query(f"count({SENT_BY_MODEL} > 0) or vector(0)"),),
        kind="stat",
        width=3,
        height=4,
    ),
    Panel(
        "Remotes that fail",
        "Models whose remote can't be used; local servers serve everything. The model's dashboard shows why.",
        (Query(f"count(max by (namespace, name) (beamlit_remote_ready{{{ANY}}}) == 0) or vector(0)"),),
        kind="stat",
        width=4,
        height=4,
        alarming=1,
    ),
    Panel(
        "Without a gateway",
        "Models whose gateway is not ready. Their clients get no response, or reach the local pods directly.",
        (Query(f"count(max by (namespace, name) (beamlit_gateways_ready{{{ANY}}}) == 0) or vector(0)"),),
        kind="stat",
        width=4,
        height=4,
        alarming=1,
    ),
    Panel(
        "Metrics unreadable",
        "Models whose metrics could not be read more than twice in the last five minutes. Their share or cap stays.",
        (
            Query(
                f"count(sum by (namespace, name) (increase(beamlit_source_errors_total{{{ANY}}}[5m])) > 2) or vector(0)"
            ),
        ),
        kind="stat",
        width=4,
        height=4,
        alarming=1,
    ),
    Panel(
        "Budgets spent",
        "Models with a remote that is skipped because its budget is spent. If it is the only remote, local servers serve everything.",
        (Query(f"count(max by (namespace, name) (beamlit_remote_budget_used_ratio{{{ANY}}}) >= 1) or vector(0)"),),
        kind="stat",
        width=3,
        height=4,
        alarming=1,
    ),
    Panel(
        "Leaders",
        "Controllers that decide; must be 1. With 0, gateways keep their last cap and share. Of several releases, the one with the fewest.",
        (Query("min(sum by (lease) (beamlit_leader)) or count(beamlit_models)"),),
        kind="stat",
        width=3,
        height=4,
        needed=1,
    ),
    Panel(
        "Requests answered by the remote",
        "Fraction of all requests of the last minute, by model, whatever the reason for offloading.",
        (Query(SENT_BY_MODEL, "{{namespace}}/{{name}}"),),
        unit="percentunit",
    ),
    Panel(
        "Highest metric, in percent of its target",
        "Above 100 % local is full: requests are offloaded or, if that is not allowed, wait.",
        (Query(f"max by (namespace, name) (beamlit_highest_metric_ratio{{{ANY}}})", "{{namespace}}/{{name}}"),),
        unit="percentunit",
        alarming=1,
    ),
    Panel(
        "Requests by the side that answered",
        "As counted by the gateways: local servers, the remote, or the gateway itself.",
        (Query(f"sum by (side) (rate(envoy_offload_requests{{{ANY}}}[$__rate_interval]))", "{{side}}"),),
        unit="reqps",
    ),
    Panel(
        "5xx responses",
        "By model and by the side that answered.",
        (
            Query(
                f'sum by (namespace, name, side) (rate(envoy_offload_requests{{{ANY}, code=~"5.."}}[$__rate_interval])) > 0',
                "{{namespace}}/{{name}} {{side}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        "Changes of decisions",
        "By the new reason; docs/reasons.md explains each reason.",
        (Query(f"sum by (reason) (increase(beamlit_decision_changes_total{{{ANY}}}[5m]))", "{{reason}}"),),
    ),
    Panel(
        "Delay of rounds",
        "99th percentile over all models. It rises if the controller has too little CPU.",
        (
            Query(
                "histogram_quantile(0.99, sum by (le) (rate(beamlit_evaluation_lag_seconds_bucket[$__rate_interval])))",
                "p99",
            ),
        ),
        unit="s",
    ),
)

MODEL_PANELS = (
    Panel(
        "Requests answered by the remote, by reason",
        "Fraction of the last minute. share: by the percentage; overflow: above the cap; unavailable: local was down, failed or refused; forced: requested by the client.",
        (Query(f"max by (reason) (beamlit_sent_ratio{{{ONE}}})", "{{reason}}"),),
        unit="percentunit",
    ),
    Panel(
        "Decision: the share, or its upper limit",
        "With a cap (Adaptive mode) only requests above it leave, and this is the maximum percentage that may. In a dry run, the decision is not in force.",
        (
            Query(f"max(beamlit_offload_percentage{{{ONE}}})", "decided"),
            Query(f"max(beamlit_dry_run_percentage{{{ONE}}})", "dry run"),
        ),
        unit="percent",
    ),
    Panel(
        "Metrics in percent of their targets, and demand",
        "Demand is what the metrics would be without offloading. Empty while no metric can be read.",
        (
            Query(f"max by (metric) (beamlit_metric_ratio{{{ONE}}})", "{{metric}}"),
            Query(f"max(beamlit_demand_ratio{{{ONE}}})", "demand"),
        ),
        unit="percentunit",
        alarming=1,
    ),
    Panel(
        "Requests by the side that answered",
        "As counted by the gateways: local servers, the remote, or the gateway itself.",
        (Query(f"sum by (side) (rate(envoy_offload_requests{{{ONE}}}[$__rate_interval]))", "{{side}}"),),
        unit="reqps",
    ),
    Panel(
        "Time to first byte, p95",
        "First byte of the body, by the side that answered.",
        (
            Query(
                f"histogram_quantile(0.95, sum by (side, le) (rate(envoy_offload_first_body_ms_bucket{{{ONE}}}"
                "[$__rate_interval])))",
                "{{side}}",
            ),
        ),
        unit="ms",
    ),
    Panel(
        "Local requests in flight, and their limit",
        "All servers and gateways together. If it is far above the limit, the remote fails or no more requests may leave, and requests wait.",
        (
            Query(f"max(beamlit_local_in_flight{{{ONE}}})", "in flight"),
            Query(f"max(beamlit_local_in_flight_limit{{{ONE}}})", "limit"),
        ),
    ),
    Panel(
        "The learned cap",
        "In Adaptive mode: the maximum number of local requests in flight per ready replica. It falls when prompts grow or hardware slows down.",
        (Query(f"max(beamlit_in_flight_cap{{{ONE}}})", "cap per replica"),),
    ),
    Panel(
        "4xx and 5xx responses",
        "By side and code.",
        (
            Query(
                f'sum by (side, code) (rate(envoy_offload_requests{{{ONE}, code=~"[45].."}}[$__rate_interval])) > 0',
                "{{side}} {{code}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        "Attempts at the remote",
        "By result. Answered means that the remote responded, possibly with 4xx or 5xx.",
        (
            Query(
                f"sum by (result) (rate(envoy_offload_remote_attempts{{{ONE}}}[$__rate_interval]))",
                "{{result}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        "Used budget of the remote",
        "In the current period. At 100 % the remote is skipped until the next period starts.",
        (Query(f"max by (remote) (beamlit_remote_budget_used_ratio{{{ONE}}})", "used {{remote}}"),),
        unit="percentunit",
        alarming=1,
    ),
    Panel(
        "Tokens of the remote, per second",
        "As reported in its responses.",
        (
            Query(
                f"max by (remote, direction) (rate(beamlit_remote_tokens_total{{{ONE}}}[$__rate_interval]))",
                "{{direction}} {{remote}}",
            ),
        ),
    ),
    Panel(
        "Cost of the remote, per hour",
        "By the price in the spec; empty without a price.",
        (
            Query(
                f"max by (remote, currency) (increase(beamlit_remote_cost_total{{{ONE}}}[1h]))",
                "{{currency}} {{remote}}",
            ),
        ),
    ),
    Panel(
        "Changes of decisions",
        "By the new reason; docs/reasons.md explains each reason.",
        (Query(f"sum by (reason) (increase(beamlit_decision_changes_total{{{ONE}}}[5m]))", "{{reason}}"),),
    ),
    Panel(
        "Metrics that could not be read",
        "By reason; docs/reasons.md says what to do. Meanwhile the share or cap stays.",
        (Query(f"sum by (reason) (increase(beamlit_source_errors_total{{{ONE}}}[5m]))", "{{reason}}"),),
    ),
)


def _dashboard(uid: str, title: str, panels: Sequence[Panel], variables: Sequence[Json]) -> Json:
    other = {FLEET: MODEL, MODEL: FLEET}[uid]
    return {
        "uid": uid,
        "title": title,
        "tags": ["beamlit"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "graphTooltip": 1,
        "links": [{"title": other, "type": "link", "url": f"/d/{other}", "keepTime": True}],
        "templating": {"list": list(variables)},
        "panels": _placed(panels),
    }


def _placed(panels: Sequence[Panel]) -> list[Json]:
    placed, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, row = x + panel.width, max(row, panel.height)
    return placed


def _panel(panel: Panel, number: int, place: Json) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.needed is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.needed}]
    if panel.alarming is not None:
        steps.append({"color": "red", "value": panel.alarming})
    defaults: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.alarming is not None and panel.kind == "timeseries":
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
    }


def _target(query: Query, index: int) -> Json:
    return {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": query.expr, "legendFormat": query.legend}


def _datasource() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str, *, several: bool = False) -> Json:
    every = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        **(every if several else {}),
    }


def _text(dashboard: Json) -> str:
    return json.dumps(dashboard, indent=2) + "\n"
