"""The resource at a real API server: what users write applies, and what is wrong is refused where it is written."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamlit_controller.api import crd
from kube.client import Client
from kube.control_plane import ControlPlane
from kube.rest import RestError
from waiting import patiently

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("settings", "keda")  # no object, or one of a kind that this API server doesn't know
EXAMPLES = sorted(
    path for path in (ROOT / "examples").glob("*.yaml") if not any(other in path.name for other in OTHERS)
)
PAGES = sorted((ROOT / "tests" / "api" / "data").glob("page-*.yaml"))
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
CONFIG = "spec.offloadingConfig"


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Client:
    control_plane.client.kubectl("apply", "--server-side", "-f", "-", stdin=crd.render())
    # `kubectl wait` fails where the status has no conditions yet.
    patiently(lambda: _is_established(control_plane.client))
    return control_plane.client


def _is_established(client: Client) -> bool:
    status = client.get("crd", "modeldeployments.deployment.beamlit.com").get("status") or {}
    return any(each["type"] == "Established" and each["status"] == "True" for each in status.get("conditions") or ())


def model(*changes: tuple[str, Any]) -> Json:
    """Return a valid ModelDeployment, and change the fields that are named by their paths."""
    whole: Json = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"offloadingConfig": {"metrics": [copy.deepcopy(CPU)]}},
    }
    for path, value in changes:
        *parents, last = path.split(".")
        at = whole
        for name in parents:
            at = at.setdefault(name, {})
        at[last] = value
    return whole


def metric(kind: str, **content: Any) -> Json:  # noqa: ANN401 - whatever a metric has
    member = kind[0].lower() + kind[1:]
    return {"type": kind, member: content}


def target(**fields: Any) -> Json:  # noqa: ANN401 - whatever a target has
    return {"type": "Value", **fields}


REMOTE = f"{CONFIG}.remoteBackend"
REMOTES = f"{CONFIG}.remoteBackends"
OTHER_PATH = {"replacePrefix": "/v1", "with": "/v1beta/openai"}
AUTH = {
    "oauthConfig": {"clientId": "a", "clientSecretRef": {"name": "s", "key": "k"}, "tokenUrl": "https://a.example/t"}
}
KEY = {"apiKeyConfig": {"secretRef": {"name": "s", "key": "k"}}}
AWS = {"awsConfig": {"region": "us-west-2", "credentialsSecretRef": {"name": "s", "key": "k"}}}
SERVERS = {"name": "a", "targetPort": 80}
SECRET = {"name": "s", "key": "k"}
BASIC = {"username": "u", "passwordSecretRef": SECRET}


def pods(**identifier: object) -> Json:
    return metric("Pods", metric={"name": "seconds", **identifier}, target=target(averageValue="1"))


# Each rule between fields: objects that meet it, and objects that don't.
RULES: dict[str, tuple[list[Json], list[Json]]] = {
    "the name has at most": (
        [model(("metadata.name", "a" * 55))],
        [model(("metadata.name", "a" * 56)), model(("metadata.name", "a.b"))],
    ),
    "metricServiceRef: required together with offloadingConfig.preset": (
        [
            model(("spec.metricServiceRef", {"name": "a", "targetPort": 80}), (f"{CONFIG}.preset", "vllm")),
            model((f"{CONFIG}.preset", "ollama")),
        ],
        [model((f"{CONFIG}.preset", "vllm"))],
    ),
    "name can't be changed": ([], []),  # see test_the_service_stays_the_same_one
    "exactly one of header, pathPrefix": (
        [model((f"{CONFIG}.keepLocal", [{"pathPrefix": "/a"}, {"header": "x", "value": "y"}]))],
        [
            model((f"{CONFIG}.keepLocal", [{}])),
            model((f"{CONFIG}.keepLocal", [{"pathPrefix": "/a", "header": "x", "value": "y"}])),
        ],
    ),
    "header and value must be set together": (
        [model((f"{CONFIG}.keepLocal", [{"header": "x", "value": "y"}]))],
        [model((f"{CONFIG}.keepLocal", [{"header": "x"}]))],
    ),
    "methods need pathPrefix": (
        [
            model((f"{CONFIG}.mayLeave", [{"pathPrefix": "/v1/models", "methods": ["GET"]}])),
            model((f"{CONFIG}.mayLeave", [{"header": "x", "value": "y"}])),
        ],
        [model((f"{CONFIG}.mayLeave", [{"header": "x", "value": "y", "methods": ["GET"]}]))],
    ),
    "exactly one of header, cookie": (
        [model((f"{CONFIG}.stickiness", {"cookie": "c"})), model((f"{CONFIG}.stickiness", {"header": "h"}))],
        [model((f"{CONFIG}.stickiness", {})), model((f"{CONFIG}.stickiness", {"cookie": "c", "header": "h"}))],
    ),
    "tls needs scheme https": (
        [
            model((REMOTE, {"scheme": "https", "host": "a.example", "tls": {"serverName": "b.example"}})),
            model(("spec.metricServiceRef", {**SERVERS, "scheme": "https", "tls": {"serverName": "b.example"}})),
        ],
        [
            model((REMOTE, {"scheme": "http", "host": "a.example", "tls": {"serverName": "b.example"}})),
            model(("spec.metricServiceRef", {**SERVERS, "tls": {"serverName": "b.example"}})),
        ],
    ),
    "certSecretRef and keySecretRef must be set together": (
        [
            model(
                (
                    "spec.metricServiceRef",
                    {**SERVERS, "scheme": "https", "tls": {"certSecretRef": SECRET, "keySecretRef": SECRET}},
                )
            )
        ],
        [
            model(("spec.metricServiceRef", {**SERVERS, "scheme": "https", "tls": {"certSecretRef": SECRET}})),
            model(("spec.metricServiceRef", {**SERVERS, "scheme": "https", "tls": {"keySecretRef": SECRET}})),
        ],
    ),
    "price: required together with budget.unit Cost": (
        [
            model((REMOTE, {"host": "a.example", "budget": {"amount": 5, "per": "Day"}})),
            model(
                (REMOTE, {"host": "a.example", "budget": {"amount": "5", "per": "Day", "unit": "Cost"}, "price": {}})
            ),
        ],
        [model((REMOTE, {"host": "a.example", "budget": {"amount": 5, "per": "Day", "unit": "Cost"}}))],
    ),
    "usage: may not be Ignore with price or budget": (
        [model((REMOTE, {"host": "a.example", "usage": "Ignore"}))],
        [
            model((REMOTE, {"host": "a.example", "usage": "Ignore", "price": {"perRequest": 1}})),
            model((REMOTE, {"host": "a.example", "usage": "Ignore", "budget": {"amount": 5, "per": "Hour"}})),
        ],
    ),
    "at most one of bearerTokenSecretRef, basicAuth": (
        [
            model(("spec.metricServiceRef", {**SERVERS, "bearerTokenSecretRef": SECRET})),
            model(("spec.metricServiceRef", {**SERVERS, "basicAuth": BASIC})),
        ],
        [model(("spec.metricServiceRef", {**SERVERS, "bearerTokenSecretRef": SECRET, "basicAuth": BASIC}))],
    ),
    "at most one of remoteBackend, remoteBackends": (
        [model((REMOTE, {"host": "a.example"})), model((REMOTES, [{"host": "a.example"}, {"host": "b.example"}]))],
        [model((REMOTE, {"host": "a.example"}), (REMOTES, [{"host": "b.example"}]))],
    ),
    "each of remoteBackends needs a unique name": (
        [model((REMOTES, [{"name": "a", "host": "a.example"}, {"name": "b", "host": "a.example"}]))],
        [model((REMOTES, [{"name": "a", "host": "a.example"}, {"name": "a", "host": "b.example"}]))],
    ),
    "pathPrefix may not be set together with path": (
        [model((REMOTE, {"host": "a.example", "path": OTHER_PATH}))],
        [model((REMOTE, {"host": "a.example", "path": OTHER_PATH, "pathPrefix": "/v1"}))],
    ),
    "aggregation may not be set together with histogram": (
        [model((f"{CONFIG}.metrics", [pods(histogram={"quantile": "0.95"}), pods(aggregation="Max")]))],
        [model((f"{CONFIG}.metrics", [pods(histogram={"quantile": "0.95"}, aggregation="Max")]))],
    ),
    "oauthConfig is set with type oauth": (
        [model((REMOTE, {"host": "a.example", "authConfig": {"type": "oauth", **AUTH}}))],
        [
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "oauth"}})),
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "none", **AUTH}})),
        ],
    ),
    "apiKeyConfig is set with type apiKey": (
        [model((REMOTE, {"host": "a.example", "authConfig": {"type": "apiKey", **KEY}}))],
        [
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "apiKey"}})),
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "oauth", **AUTH, **KEY}})),
        ],
    ),
    "awsConfig is set with type aws": (
        [model((REMOTE, {"host": "a.example", "authConfig": {"type": "aws", **AWS}}))],
        [
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "aws"}})),
            model((REMOTE, {"host": "a.example", "authConfig": {"type": "google", **AWS}})),
        ],
    ),
    "certSecretRef and keySecretRef need the same Secret": (
        [model((REMOTE, {"host": "a.example", "tls": {"certSecretRef": SECRET, "keySecretRef": SECRET}}))],
        [
            model(
                (
                    REMOTE,
                    {"host": "a.example", "tls": {"certSecretRef": SECRET, "keySecretRef": {**SECRET, "name": "t"}}},
                )
            )
        ],
    ),
    "authConfig.type google needs scheme https and a host below googleapis.com": (
        [
            model((REMOTE, {"host": "a-aiplatform.googleapis.com", "authConfig": {"type": "google"}})),
            model((REMOTE, {"host": "aiplatform.googleapis.com:443", "authConfig": {"type": "google"}})),
        ],
        [
            model((REMOTE, {"host": "googleapis.com.example", "authConfig": {"type": "google"}})),
            model((REMOTE, {"host": "a.googleapis.com", "scheme": "http", "authConfig": {"type": "google"}})),
        ],
    ),
    "is set with type Resource": (
        [model()],
        [model((f"{CONFIG}.metrics", [{"type": "Resource"}])), model((f"{CONFIG}.metrics", [{**CPU, "type": "Pods"}]))],
    ),
    "target needs exactly one of averageValue, averageUtilization": (
        [model((f"{CONFIG}.metrics", [metric("Resource", name="cpu", target=target(averageValue="1"))]))],
        [
            model((f"{CONFIG}.metrics", [metric("Resource", name="cpu", target=target(value="1"))])),
            model(
                (
                    f"{CONFIG}.metrics",
                    [metric("Resource", name="cpu", target=target(averageValue="1", averageUtilization=5))],
                )
            ),
            model((f"{CONFIG}.metrics", [metric("ContainerResource", name="cpu", container="a", target=target())])),
        ],
    ),
    "target needs averageValue": (
        [model((f"{CONFIG}.metrics", [metric("Pods", metric={"name": "a"}, target=target(averageValue="1"))]))],
        [model((f"{CONFIG}.metrics", [metric("Pods", metric={"name": "a"}, target=target(value="1"))]))],
    ),
    "target needs at least one of value, averageValue": (
        [
            model(
                (
                    f"{CONFIG}.metrics",
                    [
                        metric(
                            "Object",
                            metric={"name": "a"},
                            describedObject={"kind": "Service", "name": "b"},
                            target=target(value="1"),
                        )
                    ],
                )
            )
        ],
        [
            model(
                (
                    f"{CONFIG}.metrics",
                    [
                        metric(
                            "Object",
                            metric={"name": "a"},
                            describedObject={"kind": "Service", "name": "b"},
                            target=target(averageUtilization=1),
                        )
                    ],
                )
            )
        ],
    ),
    "target": (
        [
            model((f"{CONFIG}.metrics", [metric("External", metric={"name": "a"}, target=target(value="1"))])),
            model((f"{CONFIG}.metrics", [metric("External", metric={"name": "a", "target": target(value="1")})])),
        ],
        [
            model((f"{CONFIG}.metrics", [metric("External", metric={"name": "a"})])),
            model(
                (
                    f"{CONFIG}.metrics",
                    [metric("External", metric={"name": "a", "target": target(value="1")}, target=target(value="1"))],
                )
            ),
            model(
                (
                    f"{CONFIG}.metrics",
                    [metric("External", metric={"name": "a"}, target=target(value="1", averageValue="1"))],
                )
            ),
        ],
    ),
}


def refused(client: Client, namespace: str, content: Json | str, *words: str) -> None:
    with pytest.raises(RestError) as error:
        client.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-", stdin=content)
    for word in words:
        assert word in str(error.value)


def accepted(client: Client, namespace: str, content: Json | str) -> None:
    client.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-", stdin=content)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_between_fields_lets_the_good_in_and_refuses_the_bad(client: Client, namespace: str, rule: str) -> None:
    good, bad = RULES[rule]

    for each in good:
        accepted(client, namespace, each)
    for each in bad:
        refused(client, namespace, each, "Invalid value" if rule == "target" else "")


def external(value: object) -> Json:
    return model((f"{CONFIG}.metrics", [metric("External", metric={"name": "a"}, target=target(value=value))]))


@pytest.mark.parametrize("value", [1, 10, "0.5", ".5", "500m", "10.50", "1e-3", "+2Ki"], ids=repr)
def test_a_target_above_0_is_let_in(client: Client, namespace: str, value: object) -> None:
    accepted(client, namespace, external(value))


@pytest.mark.parametrize("value", [0, -3, "0", "-3", "0.0", "-500m", "0e3", "0Ki"], ids=repr)
def test_a_target_of_0_or_less_is_refused(client: Client, namespace: str, value: object) -> None:
    """The API server took it, and only the status said that it was rejected."""
    refused(client, namespace, external(value), "target.value: Invalid value")


def test_every_rule_of_the_resource_is_among_them() -> None:
    texts = {each["message"] for each in _rules(crd.definition())}

    uncovered = {text for text in texts if not any(rule in text for rule in RULES)}

    assert {text for text in uncovered if "is required with type" not in text} == set()


def _rules(node: Any) -> Iterator[Json]:  # noqa: ANN401 - any part of a schema
    if isinstance(node, dict):
        yield from node.get("x-kubernetes-validations", ())
        for each in node.values():
            yield from _rules(each)
    elif isinstance(node, list):
        for each in node:
            yield from _rules(each)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_applies(client: Client, namespace: str, path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        document["metadata"].pop("namespace", None)
        accepted(client, namespace, document)


@pytest.mark.parametrize(
    "path",
    [each for each in PAGES if "tabs" not in each.name and "settings" not in each.name],
    ids=lambda path: path.stem,
)
def test_what_the_documentation_shows_applies_inside_a_resource(client: Client, namespace: str, path: Path) -> None:
    shown = yaml.safe_load(path.read_text())
    config = shown.get("spec", shown).get("offloadingConfig", shown)

    accepted(client, namespace, model((CONFIG, config)))


def test_a_field_that_is_not_known_is_refused(client: Client, namespace: str) -> None:
    refused(client, namespace, model((f"{CONFIG}.behaviour", {"percentage": 5})), "behaviour")


@pytest.mark.parametrize("percentage", [-1, 101, "50"])
def test_a_percentage_is_one(client: Client, namespace: str, percentage: object) -> None:
    refused(client, namespace, model((f"{CONFIG}.behavior", {"percentage": percentage})), "percentage")


def test_the_service_stays_the_same_one(client: Client, namespace: str) -> None:
    def using(name: str, port: int = 80) -> Json:
        return model(("spec.serviceRef", {"name": name, "targetPort": port}))

    client.apply(using("one"), namespace=namespace)

    accepted(client, namespace, using("one", 81))
    refused(client, namespace, using("two"), "name can't be changed")


def test_defaults_are_filled_in(client: Client, namespace: str) -> None:
    client.apply(model((f"{CONFIG}.behavior", {}), ("spec.gateway", {}), ("spec.routing", {})), namespace=namespace)

    spec = client.get("md", "llama", namespace=namespace)["spec"]

    assert spec["offloadingConfig"]["behavior"]["percentage"] == 100
    assert spec["gateway"]["replicas"] == 2
    assert spec["routing"]["mode"] == "Takeover"
