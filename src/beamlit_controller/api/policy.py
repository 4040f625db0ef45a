"""Checks a resource against the settings: its remote host is allowed, and its metrics can be read.

It checks the raw manifest, so that these mistakes are reported together with those of the resource.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from beamlit_controller.api import addresses, gateway_policy, problems, promql, remotes
from beamlit_controller.api.rules import dig
from beamlit_controller.api.settings import PrometheusSettings, Settings
from beamlit_controller.core.spec import Rejected

_REMOTE = "spec.offloadingConfig.remoteBackend"
_METRICS = "spec.offloadingConfig.metrics"


def mistakes(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    """Yield what the settings do not allow. Other mistakes are reported elsewhere."""
    yield from _no_remote(given, settings)
    yield from _host(given, settings)
    yield from _token_url(given, settings)
    yield from _metrics(given, settings)
    yield from gateway_policy.mistakes(given, settings.gateways)


def is_series_name(name: str) -> bool:
    """Return whether the name of an External metric is a series; every other name is a PromQL query."""
    return _SERIES_NAME.fullmatch(name) is not None


def _no_remote(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    enabled = dig(given, ("spec", "enabled")) is not False
    config = _mapping(dig(given, ("spec", "offloadingConfig")))
    missing = remotes.ONE not in config and remotes.SEVERAL not in config
    if enabled and missing and not settings.default_remotes and isinstance(given.get("spec"), Mapping):
        yield Rejected(_REMOTE, "required, here or in the settings as config.defaultRemoteBackend")


def _host(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    for path, remote in remotes.paths(given):
        refusal = _refusal(dig(remote, ("host",)), settings)
        if refusal:
            yield Rejected(problems.path((*path, "host")), refusal)


def _token_url(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    for path, remote in remotes.paths(given):
        field = ("authConfig", "oauthConfig", "tokenUrl")
        refusal = _refusal(dig(remote, field), settings, is_url=True)
        if refusal:
            yield Rejected(problems.path((*path, *field)), refusal)


def _refusal(text: object, settings: Settings, *, is_url: bool = False) -> str | None:
    """Return why requests may not go to this address; None if they may, or if it is invalid, which is reported elsewhere."""
    if not isinstance(text, str):
        return None
    try:
        host = addresses.parse(urlsplit(text).netloc if is_url else text, default_port=443).host
    except ValueError:
        return None
    return addresses.refusal(host, settings.allowed_remote_hosts) if host else None


def _metrics(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    listed = dig(given, ("spec", "offloadingConfig", "metrics"))
    for index, each in enumerate(listed if isinstance(listed, list) else ()):
        field = f"{_METRICS}[{index}]"
        external, straight = _identifier(each, "external"), "metricServiceRef" in _mapping(given.get("spec"))
        if settings.prometheus is not None:
            yield from _asked_of_prometheus(external, f"{field}.external.metric", settings.prometheus)
        else:
            yield from _asked_of_kubernetes(external, f"{field}.external.metric")
        if not straight and "histogram" in _identifier(each, "pods"):
            yield Rejected(f"{field}.pods.metric.histogram", _SCRAPED)
        for kind in ("object",) if straight else ("object", "pods"):
            yield from _selector(_identifier(each, kind).get("selector"), f"{field}.{kind}.metric.selector")


_SCRAPED = (
    "needs spec.metricServiceRef: the quantile is computed from the servers' own series. In Prometheus use an External "
    "metric with histogram_quantile"
)


def _identifier(metric: object, kind: str) -> Mapping[str, object]:
    return _mapping(dig(metric, (kind, "metric")))


def _asked_of_prometheus(
    identifier: Mapping[str, object], field: str, prometheus: PrometheusSettings
) -> Iterator[Rejected]:
    name = identifier.get("name")
    if not isinstance(name, str) or not name or is_series_name(name):
        return
    if not prometheus.allow_queries:
        message = f"expected the name of a metric, got {problems.came(name)}; config.metricInformer.prometheus.allowQueries is false"
        yield Rejected(f"{field}.name", message)
        return
    if _selects(identifier.get("selector")):
        yield Rejected(
            f"{field}.selector",
            "only allowed with the name of a metric (letters, digits, _ and :), and "
            f"{problems.came(name)} is not one: write the labels into the PromQL query",
        )
    for mistake in promql.mistakes(name):
        yield Rejected(f"{field}.name", mistake)


def _asked_of_kubernetes(identifier: Mapping[str, object], field: str) -> Iterator[Rejected]:
    name = identifier.get("name")
    if not isinstance(name, str):
        return
    wrong = next((f"contain '{character}'" for character in name if character in "/%" or character in _PROMQL), None)
    wrong = f"be '{name}'" if name in {".", ".."} else wrong
    if wrong:
        yield Rejected(
            f"{field}.name",
            f"may not {wrong}: External metrics are read from the external metrics API here, which has no such names; "
            "a PromQL query needs config.metricInformer.type: prometheus in the settings (for check: --settings FILE)",
        )
    yield from _selector(identifier.get("selector"), f"{field}.selector")


def _selector(selector: object, field: str) -> Iterator[Rejected]:
    """Check a selector against the syntax of the API server, which otherwise rejects the whole request."""
    for label, value in _mapping(dig(selector, ("matchLabels",))).items():
        yield from _label(label, [value], f"{field}.matchLabels")
    expressions = dig(selector, ("matchExpressions",))
    for index, each in enumerate(expressions if isinstance(expressions, list) else ()):
        values = dig(each, ("values",))
        at = f"{field}.matchExpressions[{index}]"
        yield from _label(dig(each, ("key",)), values if isinstance(values, list) else [], at)


def _label(label: object, values: Sequence[object], field: str) -> Iterator[Rejected]:
    if isinstance(label, str) and not _LABEL.fullmatch(label):
        yield Rejected(
            field, f"the metrics API does not accept the label {problems.came(label)} in a selector; {_INSTEAD}"
        )
    for value in values:
        if isinstance(value, str) and not _LABEL_VALUE.fullmatch(value):
            message = f"the metrics API takes label values of at most 63 letters, digits, '-', '_' and '.', got {problems.came(value)}"
            yield Rejected(field, f"{message}; {_INSTEAD}")


_INSTEAD = "have the adapter rewrite the label, read Pods metrics from the servers (metricServiceRef), or query Prometheus (config.metricInformer.type: prometheus)"


def _selects(selector: object) -> bool:
    return bool(dig(selector, ("matchLabels",)) or dig(selector, ("matchExpressions",)))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


_SERIES_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)

_PROMQL = frozenset("(){}[]<>=$#\"'` \t\n")
"""Characters and words that only occur in queries, not in metric names."""

# As k8s.io/apimachinery's labels.Requirement checks them.
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}", re.ASCII)
_LABEL_VALUE = re.compile(rf"({_NAME})?", re.ASCII)
