"""What the settings let a ModelDeployment ask of its gateway, and of a Prometheus that several tenants share."""

from typing import Any

import pytest

from api.conftest import Mistakes, Read, settings
from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.metric_spec import ExternalMetric

REF = {"name": "db", "key": "password"}
BACKEND = {"host": "api.example.com"}
WITH_SECRETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "spec.offloadingConfig.remoteBackend.authConfig.apiKeyConfig.secretRef.name": (
        {**BACKEND, "authConfig": {"type": "apiKey", "apiKeyConfig": {"secretRef": REF}}},
        {},
    ),
    "spec.offloadingConfig.remoteBackend.authConfig.oauthConfig.clientSecretRef.name": (
        {
            **BACKEND,
            "authConfig": {
                "type": "oauth",
                "oauthConfig": {"clientId": "a", "clientSecretRef": REF, "tokenUrl": "https://api.example.com/token"},
            },
        },
        {},
    ),
    "spec.offloadingConfig.remoteBackend.tls.caSecretRef.name": (
        {**BACKEND, "scheme": "https", "tls": {"caSecretRef": REF}},
        {},
    ),
    "spec.metricServiceRef.bearerTokenSecretRef.name": (
        BACKEND,
        {"metricServiceRef": {"name": "a", "targetPort": 1, "bearerTokenSecretRef": REF}},
    ),
    "spec.metricServiceRef.basicAuth.passwordSecretRef.name": (
        BACKEND,
        {"metricServiceRef": {"name": "a", "targetPort": 1, "basicAuth": {"username": "u", "passwordSecretRef": REF}}},
    ),
    "spec.metricServiceRef.tls.caSecretRef.name": (
        BACKEND,
        {"metricServiceRef": {"name": "a", "targetPort": 1, "scheme": "https", "tls": {"caSecretRef": REF}}},
    ),
    "spec.metricServiceRef.tls.keySecretRef.name": (
        BACKEND,
        {
            "metricServiceRef": {
                "name": "a",
                "targetPort": 1,
                "scheme": "https",
                "tls": {"keySecretRef": REF, "certSecretRef": {"name": "offload-a", "key": "k"}},
            }
        },
    ),
    "spec.metricServiceRef.tls.certSecretRef.name": (
        BACKEND,
        {
            "metricServiceRef": {
                "name": "a",
                "targetPort": 1,
                "scheme": "https",
                "tls": {"certSecretRef": REF, "keySecretRef": {"name": "offload-a", "key": "k"}},
            }
        },
    ),
}
GOOD: list[dict[str, Any]] = [
    {"replicas": 10},
    {"image": ""},
    {"resources": {"limits": {"cpu": "4", "memory": "4096Mi"}, "requests": {"cpu": "4000m"}}},
    {"resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "65536Ki"}}},
    {"resources": {"limits": {"cpu": 0}}},
]


@pytest.mark.parametrize("gateway", GOOD, ids=str)
def test_a_gateway_within_the_bounds_is_accepted(mistakes: Mistakes, gateway: dict[str, Any]) -> None:
    assert mistakes(spec={"gateway": gateway}) == {}


@pytest.mark.parametrize(
    ("gateway", "field", "said"),
    [
        ({"image": "evil.example/x:1"}, "image", "config.allowedGatewayImages (which is empty: the controller"),
        ({"replicas": 11}, "replicas", "expected at most 10, by config.maxGatewayReplicas, got 11"),
        (
            {"resources": {"limits": {"nvidia.com/gpu": "8"}}},
            "resources.limits[nvidia.com/gpu]",
            'expected a resource of config.maxGatewayResources (cpu, memory), got "nvidia.com/gpu"',
        ),
        (
            {"resources": {"requests": {"cpu": "4001m"}}},
            "resources.requests.cpu",
            'expected at most 4, by config.maxGatewayResources, got "4001m"',
        ),
        ({"resources": {"limits": {"memory": "5e9"}}}, "resources.limits.memory", "expected at most 4Gi"),
        *(
            ({"resources": {"limits": {"memory": amount}}}, "resources.limits.memory", f'at least 64Mi, got "{amount}"')
            for amount in ("0", "1", "1n", "100k", "63Mi")
        ),
        (
            {"resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": 1}}},
            "resources.requests.cpu",
            "expected at most the limit, 500m, got 1",
        ),
    ],
    ids=str,
)
def test_what_a_gateway_may_not_have_is_refused_by_field(
    mistakes: Mistakes, gateway: dict[str, Any], field: str, said: str
) -> None:
    found = mistakes(spec={"gateway": gateway})

    assert said in found[f"spec.gateway.{field}"]


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("registry.example.com/envoy:1", True),
        ("registry.example.com.evil.example/envoy:1", False),
        ("evil.example/registry.example.com/envoy:1", False),
        ("registryXexample.com/envoy:1", False),
    ],
)
def test_images_are_allowed_by_patterns_that_hold_for_the_whole_name(
    mistakes: Mistakes, image: str, *, allowed: bool
) -> None:
    bounded = settings({"allowedGatewayImages": ["registry.example.com/*"]})

    assert (mistakes(spec={"gateway": {"image": image}}, settings=bounded) == {}) is allowed


@pytest.mark.parametrize("field", WITH_SECRETS)
def test_a_secret_is_usable_only_by_a_name_that_is_allowed(mistakes: Mistakes, field: str) -> None:
    backend, spec = WITH_SECRETS[field]
    bounded = settings({"allowedSecretNames": ["offload-*"]})

    found = mistakes({"remoteBackend": backend}, spec=spec, settings=bounded)

    assert list(found) == [field.removeprefix("spec.offloadingConfig.")]
    assert 'config.allowedSecretNames (offload-*), got "db"' in found[field.removeprefix("spec.offloadingConfig.")]
    assert (
        mistakes({"remoteBackend": backend}, spec=spec, settings=settings({"allowedSecretNames": ["d*", "offload-a"]}))
        == {}
    )
    assert mistakes({"remoteBackend": backend}, spec=spec) == {}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("deniedGatewayNetworks", ["10.0.0.1/8"], "expected a network such as 10.0.0.0/8"),
        ("deniedGatewayNetworks", ["10.0.0.0/33"], "expected a network such as"),
        ("allowedGatewayImages", ["a b"], "expected an image or a pattern"),
        ("allowedSecretNames", ["A"], "expected a name or a pattern"),
        ("maxGatewayReplicas", 0, "1"),
        ("maxGatewayResources", {"cpu": "x"}, "expected a quantity"),
    ],
)
def test_a_bound_that_is_none_is_refused(field: str, value: object, said: str) -> None:
    found = settings_file.read({"config": {field: value}})

    assert not isinstance(found, Settings)
    assert said in str(found)


def prometheus(**given: object) -> Settings:
    informer = {"type": "prometheus", "prometheus": {"address": "prom:9090", **given}}
    return settings({"metricInformer": informer})


def external(name: str, **labels: str) -> dict[str, Any]:
    selector = {"selector": {"matchLabels": labels}} if labels else {}
    metric = {"name": name, **selector}
    return {"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": 1}}}


@pytest.mark.parametrize("query", ["sum(requests_total)", 'requests_total{namespace="victim"}', "a or b", "a.b"])
def test_where_queries_are_not_allowed_only_names_are(mistakes: Mistakes, query: str) -> None:
    found = mistakes({"metrics": [external(query)]}, settings=prometheus(allowQueries=False))

    assert "expected the name of a metric, got" in found["metrics[0].external.metric.name"]
    assert mistakes({"metrics": [external(query)]}, settings=prometheus()) == {}


def test_a_namespace_label_is_added_to_what_the_author_selects_by(read: Read) -> None:
    bounded = prometheus(allowQueries=False, namespaceLabel="namespace")

    (spec,) = read({"metrics": [external("requests_total", namespace="victim")]}, settings=bounded).specs

    (metric,) = spec.metrics
    assert isinstance(metric, ExternalMetric)
    assert metric.metric.selector.match_labels == (("namespace", "victim"), ("namespace", "models"))


def test_a_namespace_label_needs_that_queries_are_not_allowed() -> None:
    informer = {"type": "prometheus", "prometheus": {"address": "prom:9090", "namespaceLabel": "namespace"}}

    found = settings_file.read({"config": {"metricInformer": informer}})

    assert "needs allowQueries: false" in str(found)
