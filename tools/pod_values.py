"""The schemas of the chart's values that are Kubernetes' own types.

The API server drops a field that it does not know, so a misspelt one would have no effect.
"""

from typing import Final

from beamlit_controller.api import schema
from beamlit_controller.api.gateway_pods import GatewayPodsConfig
from tools.closed_schema import Schema, closed


def of(name: str) -> Schema | None:
    """Return a reference to the schema of a value by the last part of its name; None if the value is not Kubernetes' own."""
    return {"$ref": f"#/definitions/{_ALIKE.get(name, name)}"} if _ALIKE.get(name, name) in DEFINITIONS else None


def _without_description(node: Schema) -> Schema:
    return {key: each for key, each in node.items() if key != "description"}


def _closed(*required: str, **properties: Schema) -> Schema:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", **needed, "additionalProperties": False, "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Final[Schema] = {"type": "string"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_OBJECT: Final[Schema] = {"type": "object"}
_QUANTITIES: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_LIKE_THE_GATEWAYS: Final[Schema] = closed(schema.of(GatewayPodsConfig))["properties"]
_LABELS: Final[Schema] = _without_description(_LIKE_THE_GATEWAYS["nodeSelector"])
_ANNOTATIONS: Final[Schema] = {
    "type": "object",
    "patternProperties": dict.fromkeys(_LABELS["patternProperties"], _TEXT),
    "additionalProperties": False,
}
_KEY_OF_OBJECT = _closed("key", key=_TEXT, name=_TEXT, optional=_BOOLEAN)
_VALUE_FROM = _closed(
    fieldRef=_closed("fieldPath", fieldPath=_TEXT, apiVersion=_TEXT),
    resourceFieldRef=_closed("resource", resource=_TEXT, divisor={"type": ["string", "number"]}),
    configMapKeyRef=_KEY_OF_OBJECT,
    secretKeyRef=_KEY_OF_OBJECT,
    fileKeyRef=_OBJECT,
)

DEFINITIONS: Final[dict[str, Schema]] = {
    "resources": _closed(
        limits=_QUANTITIES, requests=_QUANTITIES, claims=_list(_closed("name", name=_TEXT, request=_TEXT))
    ),
    "nodeSelector": _LABELS,
    **{
        name: _without_description(_LIKE_THE_GATEWAYS[name]) for name in ("tolerations", "affinity", "imagePullSecrets")
    },
    "extraEnv": _list(_closed("name", name=_TEXT, value=_TEXT, valueFrom=_VALUE_FROM)),
    # A volume has one of some thirty sources; the API server refuses one without any.
    "extraVolumes": _list({"type": "object", "required": ["name"], "properties": {"name": _TEXT}}),
    "extraVolumeMounts": _list(
        _closed(
            "name",
            "mountPath",
            name=_TEXT,
            mountPath=_TEXT,
            readOnly=_BOOLEAN,
            recursiveReadOnly={"enum": ["Disabled", "IfPossible", "Enabled"]},
            mountPropagation={"enum": ["None", "HostToContainer", "Bidirectional"]},
            subPath=_TEXT,
            subPathExpr=_TEXT,
        )
    ),
    "annotations": _ANNOTATIONS,
}
_ALIKE: Final = {"labels": "nodeSelector", "podLabels": "nodeSelector", "podAnnotations": "annotations"}
