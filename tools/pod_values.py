"""The schemas of the chart's values that are Kubernetes' own types.

The API server drops a field that it does not know, so a misspelt one would have no effect.
"""

from typing import Any, Final

Schema = dict[str, Any]


def of(name: str) -> Schema | None:
    """Return the schema of a value by the last part of its name; None if the value is not Kubernetes' own."""
    return _SCHEMAS.get(name)


def _closed(*required: str, **properties: Schema) -> Schema:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", **needed, "additionalProperties": False, "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Final[Schema] = {"type": "string"}
_INTEGER: Final[Schema] = {"type": "integer"}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": _TEXT}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_OBJECT: Final[Schema] = {"type": "object"}
_WEIGHT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 100}
_QUANTITIES: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_REQUIREMENTS = _list(_closed("key", "operator", key=_TEXT, operator=_TEXT, values=_list(_TEXT)))
_LABEL_SELECTOR = _closed(matchLabels=_TEXTS, matchExpressions=_REQUIREMENTS)
_NODE_TERM = _closed(matchExpressions=_REQUIREMENTS, matchFields=_REQUIREMENTS)
_POD_TERM = _closed(
    "topologyKey",
    topologyKey=_TEXT,
    labelSelector=_LABEL_SELECTOR,
    namespaceSelector=_LABEL_SELECTOR,
    namespaces=_list(_TEXT),
    matchLabelKeys=_list(_TEXT),
    mismatchLabelKeys=_list(_TEXT),
)
_POD_AFFINITY = _closed(
    requiredDuringSchedulingIgnoredDuringExecution=_list(_POD_TERM),
    preferredDuringSchedulingIgnoredDuringExecution=_list(
        _closed("weight", "podAffinityTerm", weight=_WEIGHT, podAffinityTerm=_POD_TERM)
    ),
)
_NODE_AFFINITY = _closed(
    requiredDuringSchedulingIgnoredDuringExecution=_closed("nodeSelectorTerms", nodeSelectorTerms=_list(_NODE_TERM)),
    preferredDuringSchedulingIgnoredDuringExecution=_list(
        _closed("weight", "preference", weight=_WEIGHT, preference=_NODE_TERM)
    ),
)
_KEY_OF_OBJECT = _closed("key", key=_TEXT, name=_TEXT, optional=_BOOLEAN)
_VALUE_FROM = _closed(
    fieldRef=_closed("fieldPath", fieldPath=_TEXT, apiVersion=_TEXT),
    resourceFieldRef=_closed("resource", resource=_TEXT, containerName=_TEXT, divisor={"type": ["string", "number"]}),
    configMapKeyRef=_KEY_OF_OBJECT,
    secretKeyRef=_KEY_OF_OBJECT,
    fileKeyRef=_OBJECT,
)

_SCHEMAS: Final[dict[str, Schema]] = {
    "resources": _closed(
        limits=_QUANTITIES, requests=_QUANTITIES, claims=_list(_closed("name", name=_TEXT, request=_TEXT))
    ),
    "nodeSelector": _TEXTS,
    "tolerations": _list(
        _closed(
            key=_TEXT,
            operator={"enum": ["Exists", "Equal", "Lt", "Gt"]},
            value=_TEXT,
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            tolerationSeconds=_INTEGER,
        )
    ),
    "affinity": _closed(nodeAffinity=_NODE_AFFINITY, podAffinity=_POD_AFFINITY, podAntiAffinity=_POD_AFFINITY),
    "imagePullSecrets": _list(_closed("name", name=_TEXT)),
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
    "podLabels": _TEXTS,
    "labels": _TEXTS,
    "podAnnotations": _TEXTS,
    "annotations": _TEXTS,
}
