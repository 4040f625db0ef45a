"""The reference pages, rendered from the models, and all else that is rendered from them and committed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from beamlit_controller.api import crd, not_in_effect, schema
from beamlit_controller.api.metadata import LONGEST_NAME, OVERRIDE, OVERRIDE_AUTHOR, OVERRIDE_REASON, OVERRIDE_UNTIL
from beamlit_controller.api.schema import Schema
from beamlit_controller.api.settings_models import SettingsFile
from beamlit_controller.api.status_models import Status
from beamlit_controller.api.v1alpha1 import API_VERSION, KIND, Spec


def render_all() -> Mapping[str, str]:
    """Return every committed file that is rendered from the models, by its path in the repository."""
    return {
        "docs/reference/modeldeployment-crd.yaml": crd.render(),
        "docs/reference/modeldeployment.md": modeldeployment(),
        "docs/reference/settings.md": settings(),
    }


def modeldeployment() -> str:
    """Return the reference of `ModelDeployment` as Markdown."""
    tables = [*_sections("spec", schema.of(Spec)), *_sections("status", schema.of(Status))]
    return _page(_MODELDEPLOYMENT, tables)


def settings() -> str:
    """Return the reference of the settings file as Markdown."""
    sections = _sections("config", schema.of(SettingsFile)["properties"]["config"])
    shown = (each for each in sections if not each.path.startswith(_DESCRIBED_ELSEWHERE))
    return _page(_SETTINGS, shown)


_DESCRIBED_ELSEWHERE = ("config.defaultRemoteBackend", "config.gateway.affinity.")
_RENDERED = "<!-- Rendered from the models by `make render`. -->"
_MODELDEPLOYMENT = f"""# ModelDeployment

{_RENDERED}

```yaml
apiVersion: {API_VERSION}
kind: {KIND}
metadata:
  name: llama        # at most {LONGEST_NAME} lower-case letters, digits and '-', beginning with a letter
  namespace: models  # by default "default"
spec: …
```

Unknown fields, empty fields and values of the wrong type are errors; all errors in a file are reported at once.
Two annotations set the percentage manually: `{OVERRIDE}: "25"`, and
`{OVERRIDE_UNTIL}` with the time (RFC 3339) at which the override ends. `{OVERRIDE_AUTHOR}` and
`{OVERRIDE_REASON}` are shown next to it.
"""
_SETTINGS = f"""# Settings

{_RENDERED}

One YAML file, passed as `--settings FILE`. Its `config` is the same as `config` in the values of the chart.

```yaml
config:
  metricInformer:
    type: prometheus
    prometheus:
      address: my-local-prom:9090
```

`defaultRemoteBackend` is written like [`remoteBackend`](modeldeployment.md#specoffloadingconfigremotebackend) of a
`ModelDeployment`, and `defaultRemoteBackends` like `remoteBackends`. The operator chooses these hosts, so they need not be listed in
`allowedRemoteHosts`.
"""


@dataclass(frozen=True, slots=True)
class _Section:
    """The fields of one mapping."""

    path: str
    node: Schema


def _page(head: str, sections: Iterable[_Section]) -> str:
    """Return a page with one table for each mapping; one that is the same as an earlier one refers to it."""
    shown: dict[str, str] = {}
    parts = [head]
    repeated: tuple[str, ...] = ()
    for section in sections:
        if section.path.startswith(repeated):
            continue
        key = repr({name: each for name, each in section.node.items() if name != "description"})
        parts.append(_table(section, shown.get(key)))
        if key in shown:
            repeated += (f"{section.path}.", f"{section.path}[")
        shown.setdefault(key, section.path)
    return "\n".join(parts)


def _sections(path: str, node: Schema) -> Iterator[_Section]:
    """Yield a mapping and those below it, outer before inner."""
    yield _Section(path, node)
    for name, each in node["properties"].items():
        inner, place = each, f"{path}.{name}"
        while "items" in inner:
            inner, place = inner["items"], f"{place}[]"
        if "properties" in inner:
            yield from _sections(place, inner)


def _table(section: _Section, same_as: str | None) -> str:
    node = section.node
    head = f"## `{section.path}`\n\n{node.get('description', '')}\n"
    if same_as:
        return f"{head}\nThe same fields as [`{same_as}`](#{_anchor(same_as)}).\n"
    required = node.get("required", ())
    rows = [_row(f"{section.path}.{name}", name, each, name in required) for name, each in node["properties"].items()]
    table = "\n".join(("| field | type | default | meaning |", "|---|---|---|---|", *rows))
    rules = "".join(f"\n- {each['message']}" for each in node.get("x-kubernetes-validations", ()))
    return f"{head}\n{table}\n" + (f"{rules}\n" if rules else "")


def _row(path: str, name: str, node: Schema, required: bool) -> str:  # noqa: FBT001 - private, called once
    default = "required" if required else _default(node)
    meaning = node.get("description", "") + _pending(path)
    return f"| `{name}` | {_type(node)} | {default} | {_cell(meaning)} |"


def _pending(path: str) -> str:
    found = next((each for each in not_in_effect.PENDING if each.field == path), None)
    if found is None:
        return ""
    return f" *Accepted, but has no effect without a cluster: {found.instead}.*"


def _default(node: Schema) -> str:
    default = node.get("default")
    if default in (None, ""):
        return ""
    if isinstance(default, list):
        return ", ".join(f"`{_plain(each)}`" for each in default)
    return f"`{_plain(default)}`"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "port or its name" if node.get("maximum") else "quantity"
    if "enum" in node:
        return " or ".join(f"`{each}`" for each in node["enum"])
    if "anyOf" in node:
        return " or ".join(_type(each) for each in node["anyOf"])
    return _TYPES[node["type"]](node)


def _list(node: Schema) -> str:
    return f"list of {_type(node['items'])}"


def _mapping(node: Schema) -> str:
    values = node.get("additionalProperties")
    return f"mapping to {_type(values)}" if values else "mapping"


def _text(node: Schema) -> str:
    return "time" if node.get("format") == "date-time" else "text"


def _integer(node: Schema) -> str:
    return "whole number" + _range(node)


_TYPES: Mapping[str, Callable[[Schema], str]] = {
    "array": _list,
    "object": _mapping,
    "integer": _integer,
    "number": lambda _: "number",
    "boolean": lambda _: "`true` or `false`",
    "string": _text,
}


def _range(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None:
        return ""
    return f", {low} or more" if high in (None, 2**31 - 1) else f", {low} to {high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _anchor(path: str) -> str:
    return "".join(character for character in path.lower() if character.isalnum() or character in "-_")
