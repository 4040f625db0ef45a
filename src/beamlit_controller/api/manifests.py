"""Parses YAML text to specs: the entry point for manifests. Every mistake and notice names its document and model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beamlit_controller.api import problems, translate, yaml_documents
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.rules import dig
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.translate import Accepted
from beamlit_controller.api.v1alpha1 import API_VERSION, GROUP, KIND, Spec
from beamlit_controller.api.yaml_documents import Document, Malformed
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected


@dataclass(frozen=True, slots=True)
class Parsed:
    """The valid models, the mistakes in the others, and the notices about the valid ones."""

    specs: tuple[OffloadSpec, ...]
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()


def parse(text: str, *, settings: Settings) -> Parsed:
    """Parse every document of the text. Never raises: a document becomes a spec or a problem."""
    accepted: dict[ModelKey, Accepted] = {}
    found: list[Problem] = []
    for document in yaml_documents.load(text):
        outcome = _read(document, settings)
        if not isinstance(outcome, Accepted):
            where = _where(document)
            found += (Problem(where, each.field, each.message) for each in outcome)
        elif outcome.spec.key in accepted:
            found.append(
                Problem(_where(document), "metadata.name", f"{outcome.spec.key} is already defined further up")
            )
        else:
            accepted[outcome.spec.key] = outcome
    return Parsed(
        tuple(each.spec for each in accepted.values()),
        tuple(found),
        tuple(notice for each in accepted.values() for notice in _notices(each)),
    )


def _read(document: Document | Malformed, settings: Settings) -> Accepted | tuple[Rejected, ...]:
    match document:
        case Malformed(message=message):
            return (Rejected("", message),)
        case Document(content=dict() as content):
            strange = tuple(_not_ours(content))
            return strange or translate.read(content, settings)
        case Document(content=content):
            return (Rejected("", f"expected a {KIND}, got {problems.kind(content)}"),)


def _notices(accepted: Accepted) -> Iterator[Problem]:
    for notice in accepted.notices:
        yield Problem(str(accepted.spec.key), notice.field, notice.message)


def _not_ours(content: Mapping[object, object]) -> Iterator[Rejected]:
    """Describe a document that is not a `ModelDeployment`; its content is not checked."""
    kind, version = content.get("kind"), content.get("apiVersion")
    if kind is None and version is None:
        yield from _fragment(content)
    elif kind == "List":
        yield Rejected("kind", f"a List is not supported; write each {KIND} as a separate document, divided by ---")
    elif isinstance(kind, str) and kind != KIND:
        hint = _CONVERT if kind in _CONVERTIBLE else problems.like(kind, [KIND])
        yield Rejected("kind", f"expected {KIND}, got {problems.came(kind)}" + (f"; {hint}" if hint else ""))
    elif isinstance(version, str) and version != API_VERSION and version.startswith(f"{GROUP}/"):
        yield Rejected("apiVersion", f"expected {API_VERSION}, got {problems.came(version)}")


_CONVERTIBLE = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
_CONVERT = f"`beamlit-controller convert FILE` prints a {KIND} for it"


def _fragment(content: Mapping[object, object]) -> Iterator[Rejected]:
    """Yield the lines that are missing above a fragment of a manifest, such as an example in documentation."""
    header = f"apiVersion: {API_VERSION}, kind: {KIND}, metadata: {{name: …}}"
    keys = [key for key in content if isinstance(key, str)]
    if "config" in keys:
        yield Rejected("", "this is a settings file, not a manifest: give it to --settings")
    elif "spec" in keys:
        yield Rejected("", f"only a part of a manifest: above spec, {header} is missing")
    elif any(key in Spec.fields() for key in keys):
        yield Rejected(
            "", f"only a part of a manifest: {_listed(keys)} belongs below spec:, and above that {header} is missing"
        )
    elif any(key in OffloadingConfig.fields() for key in keys):
        yield Rejected(
            "",
            f"only a part of a manifest: {_listed(keys)} belongs below spec: and offloadingConfig:, "
            f"and above that {header} is missing",
        )
    else:
        yield Rejected("", f"expected a {KIND}: {header} is missing")


def _listed(keys: list[str]) -> str:
    return ", ".join(key[:40] for key in keys[:5])


def _where(document: Document | Malformed) -> str:
    """Describe a document by its number and, if available, its namespace and name."""
    content = document.content if isinstance(document, Document) else None
    name, namespace = dig(content, ("metadata", "name")), dig(content, ("metadata", "namespace"))
    if not isinstance(name, str):
        return f"document {document.number}"
    return f"document {document.number} ({namespace[:63] if isinstance(namespace, str) else 'default'}/{name[:63]})"
