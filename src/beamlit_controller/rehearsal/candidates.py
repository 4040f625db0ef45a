"""The specs that a rehearsal compares: the model as written, and the alternatives given with `--set`."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass, replace
from typing import Any

from beamlit_controller.api import manifests, yaml_documents
from beamlit_controller.api.rules import dig
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.v1alpha1 import Spec
from beamlit_controller.api.yaml_documents import Document
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.spec import ModelKey, OffloadSpec


@dataclass(frozen=True, slots=True)
class Candidate:
    """One spec to replay, and its name."""

    name: str
    spec: OffloadSpec
    plain: bool = False


def read(source: str, text: str, settings: Settings, *, name: str | None, sets: list[str]) -> list[Candidate]:
    """Return the model as written, one candidate per `--set`, and the plain rule.

    Raises ValueError with all mistakes.
    """
    parsed = manifests.parse(text, settings=settings)
    specs = [spec for spec in parsed.specs if name in {None, str(spec.key), spec.key.name}]
    if len(specs) != 1:
        valid = ", ".join(str(spec.key) for spec in parsed.specs) or "none"
        wanted = f"expected one valid model{f' {name}' if name else ''}; valid models: {valid}"
        raise ValueError("\n".join(f"{source}: {each}" for each in (*parsed.problems, wanted)))
    (spec,) = specs
    if not spec.metrics:
        raise ValueError(f"{source}: {spec.key} has no metrics, so there is nothing to decide by")
    content = _content(text, spec.key)
    others = [Candidate(change, _changed(content, change, settings, spec)) for change in sets]
    return [Candidate("as written", spec), *others, Candidate("plain rule", spec, plain=True)]


def _content(text: str, key: ModelKey) -> Mapping[str, Any]:
    for document in yaml_documents.load(text):
        content = document.content if isinstance(document, Document) else None
        place = (dig(content, ("metadata", "namespace")) or "default", dig(content, ("metadata", "name")))
        if place == (key.namespace, key.name) and isinstance(content, dict):
            return content
    raise ValueError(f"{key}: not found")  # it was parsed from the same text


def _changed(content: Mapping[str, Any], change: str, settings: Settings, before: OffloadSpec) -> OffloadSpec:
    """Apply changes such as `behavior.percentage=30,behavior.mode=Proportional` to the model."""
    copied = copy.deepcopy(dict(content))
    for assignment in change.split(","):
        path, equals, value = assignment.partition("=")
        if not equals or not path.strip():
            raise ValueError(f"--set {change}: expected FIELD=VALUE, got {assignment!r}")
        _put(copied, list(_steps(path.strip(), change)), _value(value, change), change)
    parsed = manifests.parse(json.dumps(_without_nulls(copied)), settings=settings)
    if parsed.problems or not parsed.specs:
        raise ValueError("\n".join(f"--set {change}: {problem}" for problem in parsed.problems))
    (spec,) = parsed.specs
    if list(map(_identity, spec.metrics)) != list(map(_identity, before.metrics)):
        raise ValueError(
            f"--set {change}: expected the same metrics with other values of their targets, got other metrics or kinds of targets"
        )
    return spec


def _identity(metric: MetricSpec) -> MetricSpec:
    return replace(metric, target=type(metric.target)(0))  # type: ignore[arg-type]  # its own kind of target


def _steps(path: str, change: str) -> Iterator[str | int]:
    """Yield the steps to a field: below spec.offloadingConfig, unless the path starts with a field of spec."""
    names = path.removeprefix("spec.").split(".")
    first = names[0].partition("[")[0]
    yield "spec"
    if first not in Spec.fields():
        yield "offloadingConfig"
    for name in names:
        found = re.fullmatch(r"([A-Za-z]+)(?:\[([0-9]{1,3})\])?", name, re.ASCII)
        if found is None:
            raise ValueError(f"--set {change}: expected a field such as behavior.percentage, got {path!r}")
        yield found[1]
        if found[2]:
            yield int(found[2])


def _put(content: dict[str, Any], steps: list[str | int], value: object, change: str) -> None:
    place: Any = content
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        here = value if following is None else ([] if isinstance(following, int) else {})
        match place, step:
            case MutableMapping(), str():
                place[step] = here if following is None or place.get(step) is None else place[step]
            case MutableSequence(), int() if step < len(place):
                place[step] = here if following is None else place[step]
            case _:
                raise ValueError(f"--set {change}: there is no {step} in what the manifest has at this place")
        place = place[step]


def _without_nulls(content: Any) -> Any:  # noqa: ANN401 - any part of a manifest
    match content:
        case dict():
            return {name: _without_nulls(each) for name, each in content.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in content]
        case _:
            return content


def _value(text: str, change: str) -> object:
    """Parse a value; null removes the field."""
    if text.strip() == "null":
        return None
    (document, *_) = [*yaml_documents.load(text or '""'), None]
    if not isinstance(document, Document):
        raise ValueError(f"--set {change}: expected a value, got {text!r}")  # noqa: TRY004 - a user's mistake
    return document.content
