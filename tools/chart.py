"""What is rendered of the chart: the CRD's template, the schema of its values, and the table of them in its README."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from beamlit_controller.api import crd, schema
from beamlit_controller.api.settings_models import Config
from tools import pod_values
from tools.closed_schema import Schema, closed

ROOT = Path(__file__).parent.parent
CHART = ROOT / "chart"
BEGIN, END = "<!-- values: rendered by `make render` -->", "<!-- end of values -->"


def render_all() -> Mapping[str, str]:
    """Return every rendered file of the chart, by its path in the repository."""
    return {
        "chart/templates/crd.yaml": template(),
        "chart/values.schema.json": json.dumps(values_schema(), indent=2) + "\n",
        "chart/README.md": readme((CHART / "README.md").read_text(encoding="utf-8")),
    }


def template() -> str:
    """Return the CRD as a template. It stays when the chart goes: with it would go all that users wrote."""
    keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
    text = crd.render().replace("metadata:\n", f"metadata:\n{keep}", 1)
    if "{{" in text:
        raise ValueError("the CRD has {{ in it, which Helm would take for its own")
    return f"{{{{- if .Values.crds.enabled }}}}\n{text}{{{{- end }}}}\n"


def values_schema() -> Schema:
    """Return the schema of the values: `config` from the settings' own models, the rest from the values themselves."""
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    described = dict(descriptions())
    properties = {name: _of_value(value, name, described) for name, value in given.items() if name != "config"}
    config = _of_config(closed(schema.of(Config)))
    enabled = {"description": "Of a parent chart: whether it installs this one. Has no effect here.", "type": "boolean"}
    anything = {"description": "Values shared with other charts.", "type": "object"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of beamlit-controller",
        "definitions": dict(pod_values.DEFINITIONS),
        "type": "object",
        "additionalProperties": False,
        "required": [
            name for name, value in given.items() if isinstance(value, Mapping) and pod_values.of(name) is None
        ],
        "properties": {"config": config, **properties, "global": anything, "enabled": enabled},
    }


def _of_config(config: Schema) -> Schema:
    """Refuse what has no effect in a cluster, and Prometheus without an address, which the controller does not start with."""
    properties = {name: each for name, each in config["properties"].items() if name != "standalone"}
    prometheus = {"required": ["type"], "properties": {"type": {"const": "prometheus"}}}
    gateway = properties["gateway"]
    properties["gateway"] = {**gateway, "properties": {**gateway["properties"], "affinity": pod_values.of("affinity")}}
    properties["metricInformer"] |= {"if": prometheus, "then": {"required": ["prometheus"]}}
    return {**config, "properties": properties}


def _of_value(value: object, path: str, described: Mapping[str, str]) -> Schema:
    said = {"description": described[path]} if path in described else {}
    name = path.rpartition(".")[2]
    own = pod_values.of(name)
    if own is not None:
        return {**said, **own}
    match value:
        case Mapping():
            below = {key: _of_value(each, f"{path}.{key}", described) for key, each in value.items()}
            return {**said, "type": "object", "additionalProperties": False, "properties": below}
        case bool():
            return {**said, "type": "boolean"}
        case int():
            return {**said, "type": "integer", "minimum": 0}
        case list():
            return {**said, "type": "array"}
        case _:
            narrowed = {"enum": list(ENUMS[path])} if path in ENUMS else {}
            return {**said, "type": "string", **narrowed, **({"pattern": PATTERNS[path]} if path in PATTERNS else {})}


PATTERNS = {"image.digest": "^(sha256:[0-9a-f]{64})?$"}
ENUMS = {
    "image.pullPolicy": ("Always", "IfNotPresent", "Never"),
    "logLevel": ("debug", "info", "warning", "error"),
}


def descriptions() -> Iterator[tuple[str, str]]:
    """Read what stands above each value, by its path."""
    parents: list[str] = []
    said: list[str] = []
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        found = re.match(r"( *)(\w+):", line)
        if line.lstrip().startswith("#"):
            said.append(line.lstrip("# "))
        elif found:
            parents = [*parents[: len(found[1]) // 2], found[2]]
            if said:
                yield ".".join(parents), " ".join(said)
            said = []
        else:
            said = []


def readme(text: str) -> str:
    """Put the table of the values in its place."""
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = [f"| `{path}` | `{_value(given, path)}` | {said} |" for path, said in descriptions()]
    table = "\n".join(["| value | default | what it is |", "|---|---|---|", *rows])
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _value(given: Any, path: str) -> str:  # noqa: ANN401 - YAML
    for name in path.split("."):
        given = given[name]
    return json.dumps(given)
