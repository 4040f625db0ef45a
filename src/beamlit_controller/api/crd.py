"""Renders the CustomResourceDefinition from the models."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from beamlit_controller.api import schema
from beamlit_controller.api.metadata import LONGEST_NAME
from beamlit_controller.api.schema import Schema
from beamlit_controller.api.status_models import Status
from beamlit_controller.api.v1alpha1 import GROUP, KIND, Spec

_PLURAL = "modeldeployments"


def render() -> str:
    """Return the CRD as YAML."""
    return "# Rendered from the models by `make render`.\n" + yaml.dump(
        definition(), Dumper=_Dumper, sort_keys=False, width=120
    )


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes repeated values in full instead of as aliases."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write no YAML aliases."""
        return True


def definition() -> Schema:
    """Return the CRD as JSON. Raises ValueError for what a structural schema can't express."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{_PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": _PLURAL,
                "singular": "modeldeployment",
                "shortNames": ["md"],
                "categories": ["beamlit"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def _version() -> Schema:
    return {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*each) for each in _COLUMNS],
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> Schema:
    return {
        "type": "object",
        "description": "A model that is served locally first, and by a remote while a metric is above its target.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(schema.of(Spec), "spec"),
            "status": structural(schema.of(Status), "status"),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.size() <= {LONGEST_NAME} && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
                "message": f"the name has at most {LONGEST_NAME} lower-case letters, digits and '-', beginning with a letter",
            }
        ],
    }


def structural(node: Mapping[str, Any], at: str) -> Schema:
    """Check that the node is a structural schema. Raises ValueError with the path that Kubernetes would reject."""
    refused = ", ".join(_refused(node))
    if refused:
        raise ValueError(f"{at}: a structural schema can't have {refused}")
    return {**node, **dict(_below(node, at))}


def _below(node: Mapping[str, Any], at: str) -> Iterator[tuple[str, object]]:
    if "properties" in node:
        yield "properties", {name: structural(each, f"{at}.{name}") for name, each in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            yield key, structural(node[key], f"{at}[]")


def _refused(node: Mapping[str, Any]) -> Iterator[str]:
    yield from (key for key in node if key not in _ALLOWED)
    int_or_string = node.get("x-kubernetes-int-or-string") is True
    if int_or_string and (node.get("anyOf") != [{"type": "integer"}, {"type": "string"}] or "type" in node):
        yield "another type beside x-kubernetes-int-or-string"
    if not int_or_string and "anyOf" in node:
        yield "anyOf"
    if not int_or_string and node.get("type") not in _TYPES:
        yield f"type {node.get('type')}"
    if "properties" in node and "additionalProperties" in node:
        yield "properties beside additionalProperties"


def _column(name: str, kind: str, path: str, description: str, priority: int) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column


_COLUMNS = (
    ("MODEL", "string", ".status.model", "The model's name.", 0),
    (
        "OFFLOAD",
        "string",
        ".status.offloading.inForce",
        "Percentage of requests that go to the remote, or in Adaptive mode the limit above which they go.",
        0,
    ),
    (
        "REMOTE%",
        "integer",
        ".status.requests.remotePercentage",
        "Percentage of the latest requests that the remote answered.",
        0,
    ),
    (
        "CAP",
        "string",
        ".status.offloading.inFlightPerReplica",
        "Maximum local requests in flight per ready replica.",
        1,
    ),
    ("REASON", "string", ".status.offloading.reason", "The reason for the current decision.", 0),
    ("LOCAL", "string", '.status.conditions[?(@.type=="LocalReady")].status', "Whether local servers are ready.", 0),
    ("REMOTE", "string", '.status.conditions[?(@.type=="RemoteReady")].status', "Whether the remote can be used.", 0),
    (
        "READY",
        "string",
        '.status.conditions[?(@.type=="Ready")].status',
        "Whether the ModelDeployment is in effect.",
        0,
    ),
    ("WHY", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not.", 0),
    ("AGE", "date", ".metadata.creationTimestamp", "Age of the resource.", 0),
    ("SINCE", "date", ".status.offloading.since", "When the percentage last changed.", 1),
    (
        "REMOTE-WHY",
        "string",
        '.status.conditions[?(@.type=="RemoteReady")].reason',
        "Why the remote can be used or not.",
        1,
    ),
    ("HOST", "string", ".spec.offloadingConfig.remoteBackend.host", "Where offloaded requests go.", 1),
    ("MESSAGE", "string", ".status.offloading.message", "Explanation of the decision, with the numbers involved.", 1),
)
_TYPES = {"object", "array", "string", "integer", "number", "boolean"}
_ALLOWED = {
    "type",
    "description",
    "default",
    "enum",
    "pattern",
    "format",
    "nullable",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}
