from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import reference

from beamlit_controller.api import crd, schema
from beamlit_controller.api.v1alpha1 import Spec

ROOT = Path(__file__).parents[2]


def properties() -> dict[str, Any]:
    (version,) = crd.definition()["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]


def at(path: str) -> dict[str, Any]:
    node = {"properties": properties()}
    for part in path.split("."):
        node = node["items"] if part == "[]" else node["properties"][part]
    return node


def nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
        if below:
            yield from nodes(below)


@pytest.mark.parametrize("path", sorted(reference.render_all()))
def test_what_is_committed_is_what_the_models_render(path: str) -> None:
    assert (ROOT / path).read_text() == reference.render_all()[path], "stale: run `make render`"


def test_is_a_crd_with_the_names_that_users_type() -> None:
    definition = yaml.safe_load(crd.render())

    assert definition == crd.definition()
    assert definition["metadata"]["name"] == "modeldeployments.deployment.beamlit.com"
    names = definition["spec"]["names"]
    assert (names["plural"], names["shortNames"]) == ("modeldeployments", ["md"])
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"] if "priority" not in column]
    assert columns == ["MODEL", "OFFLOAD", "REMOTE%", "REASON", "LOCAL", "REMOTE", "READY", "WHY", "AGE"]


def test_is_structural_through_and_through() -> None:
    for node in (each for part in ("spec", "status") for each in nodes(properties()[part])):
        assert "$ref" not in node
        assert "title" not in node
        assert ("type" in node) != (node.get("x-kubernetes-int-or-string") is True)
        assert not ("properties" in node and "additionalProperties" in node)
        assert node.get("type") != "object" or "default" not in node
        assert set(node.get("required", ())) <= set(node.get("properties", ()))


def test_every_field_of_the_spec_is_described() -> None:
    undescribed = [
        f"{node.get('description')}: {name}"
        for part in ("spec", "status")
        for node in nodes(properties()[part])
        for name, below in node.get("properties", {}).items()
        if not below.get("description")
    ]

    assert undescribed == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.enabled", {"type": "boolean", "default": True}),
        (
            "spec.offloadingConfig.behavior.percentage",
            {"type": "integer", "default": 100, "minimum": 0, "maximum": 100},
        ),
        ("spec.offloadingConfig.behavior.mode", {"enum": ["Fixed", "Proportional", "Adaptive"]}),
        ("spec.offloadingConfig.behavior.release.tolerance", {"x-kubernetes-int-or-string": True, "default": "0.1"}),
        ("spec.serviceRef.targetPort", {"x-kubernetes-int-or-string": True, "minimum": 1, "maximum": 65535}),
        ("spec.offloadingConfig.overflow.onStatus", {"x-kubernetes-list-type": "set"}),
        ("status.conditions", {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        ("spec.offloadingConfig.metrics.[]", {"required": ["type"]}),
        ("spec.offloadingConfig.metrics.[].external.metric.target.value", {"x-kubernetes-int-or-string": True}),
        ("status.offloading.since", {"type": "string", "format": "date-time"}),
    ],
)
def test_bounds_defaults_and_types(path: str, expected: dict[str, Any]) -> None:
    node = at(path)

    assert {key: node.get(key) for key in expected} == expected


def test_rules_between_fields_are_cel() -> None:
    rules = [each["rule"] for each in at("spec.offloadingConfig.remoteBackend.authConfig")["x-kubernetes-validations"]]

    assert rules == [
        "has(self.oauthConfig) == (self.type == 'oauth')",
        "has(self.apiKeyConfig) == (self.type == 'apiKey')",
        "has(self.awsConfig) == (self.type == 'aws')",
    ]
    assert at("spec.offloadingConfig.stickiness")["x-kubernetes-validations"] == [
        {
            "rule": "[has(self.header), has(self.cookie)].filter(there, there).size() == 1",
            "message": "exactly one of header, cookie",
        }
    ]


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ({"type": "string", "contentEncoding": "base64"}, "contentEncoding"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "anyOf"),
        ({"type": "object", "properties": {"a": {}}}, "type None"),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "additionalProperties"),
        ({"type": "array", "items": {"type": "null"}}, "type null"),
        ({"type": "string", "x-kubernetes-int-or-string": True}, "another type"),
    ],
)
def test_what_kubernetes_would_refuse_raises_with_its_field(node: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError, match=rf"^here.*{part}"):
        crd.structural(node, "here")


def test_the_defaults_of_the_schema_are_those_of_the_models(full: dict[str, Any]) -> None:
    """What the API server fills in is what a manifest without it means."""

    def filled(node: Mapping[str, Any], value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict) and "properties" in node:
            absent = {name: each["default"] for name, each in node["properties"].items() if "default" in each}
            whole = absent | value
            return {name: filled(node["properties"][name], each) for name, each in whole.items()}
        return [filled(node["items"], each) for each in value] if isinstance(value, list) else value

    least = {
        "offloadingConfig": {
            "remoteBackend": {"host": "a.b", "healthCheck": {"path": "/"}},
            "behavior": {"engage": {}, "release": {}},
            "overflow": {},
        },
        "metricServiceRef": {"name": "a", "targetPort": 1},
        "routing": {},
        "gateway": {"resources": {}},
    }

    assert Spec.model_validate(filled(schema.of(Spec), least)) == Spec.model_validate(least)
