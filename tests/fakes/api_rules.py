"""What the API server validates before a write, and which part of an object a path may write."""

from collections.abc import Iterable
from typing import Final

from fakes import api_kinds, api_schema
from fakes.api_kinds import DEPLOYMENT, MODEL_DEPLOYMENT, POD, SERVICE, Address, Json, RefusedError

_FIXED: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
NAME_LENGTH: Final = 253


def same_place(at: Address, wanted: Json) -> None:
    """Refuse an object that says that it is elsewhere."""
    if wanted.get("name") and wanted["name"] != at.name:
        why = f"the name of the object ({wanted['name']}) does not match the name on the URL ({at.name})"
        raise RefusedError(400, "BadRequest", why)
    if wanted.get("namespace") and at.kind.namespaced and wanted["namespace"] != at.namespace:
        why = "the namespace of the provided object does not match the namespace sent on the request"
        raise RefusedError(400, "BadRequest", why)


def same_object(at: Address, there: Json, wanted: Json, *, whole: bool) -> None:
    """Refuse a write over another object, or over another version of it. By way of `status` no uid is looked at."""
    same_place(at, wanted)
    about = there["metadata"]
    if wanted.get("uid") and wanted["uid"] != about["uid"] and not at.subresource:
        raise _other(at, about["uid"], wanted["uid"], whole=whole)
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != about["resourceVersion"]:
        raise api_kinds.conflict(at, api_kinds.MODIFIED)


def _other(at: Address, there: str, meant: str, *, whole: bool) -> RefusedError:
    if not whole:
        return api_kinds.invalid(at, f'metadata.uid: Invalid value: "{meant}": field is immutable')
    where = f"{at.kind.group}/{at.kind.plural}" if at.kind.custom else at.kind.plural
    why = (
        f"StorageError: invalid object, Code: 4, Key: /registry/{where}/{at.namespace}/{at.name}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {meant}, UID in object meta: {there}"
    )
    return api_kinds.conflict(at, why)


def preconditions(at: Address, there: Json, asked: Json) -> None:
    """Refuse to delete another object than the one that is meant."""
    for name, shown, end in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        meant, found = asked.get(name), there["metadata"][name]
        if meant is not None and meant != found:
            why = f"the {shown} in the precondition ({meant}) does not match the {shown} in record ({found})"
            said = f"{why}. The object might have been {end}"
            raise RefusedError(
                409, "Conflict", f'Operation cannot be fulfilled on {at.kind.qualified} "{at.name}": {said}'
            )


def deleted(at: Address, content: Json) -> Json:
    """Say that an object is gone; some kinds are given as they were last."""
    if at.kind in {POD, SERVICE}:
        return content
    details = {"name": at.name, "kind": at.kind.plural, "uid": content["metadata"]["uid"]}
    details |= {"group": at.kind.group} if at.kind.group else {}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def written(at: Address, there: Json, content: Json) -> Json:
    """Return the whole object with only that changed which the path may write."""
    match at.subresource:
        case "status":
            return {**there, **({"status": content["status"]} if "status" in content else {})}
        case "scale":
            return {**there, "spec": {**there["spec"], "replicas": content["spec"].get("replicas", 0)}}
        case "":
            kept = {"status": there["status"]} if "status" in there else {}
            whole = content if not at.kind.has_status else {**_without_status(content), **kept}
            return {**whole, "apiVersion": at.kind.api_version, "kind": at.kind.kind}
        case other:
            raise RefusedError(404, "NotFound", f"the server could not find the requested resource ({other})")


def _without_status(content: Json) -> Json:
    return {name: each for name, each in content.items() if name != "status"}


def about(at: Address, there: Json, whole: Json) -> Json:
    """Return the metadata after a write: what the server decides stays."""
    before, wanted = there["metadata"], whole.get("metadata") or {}
    kept = {name: before[name] for name in _FIXED if name in before}
    given = {name: each for name, each in wanted.items() if name not in {*_FIXED, "managedFields", "resourceVersion"}}
    more = set(given.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if more and "deletionTimestamp" in before:
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers {_listed(more)}"
        raise api_kinds.invalid(at, f"metadata.finalizers: Forbidden: {why}")
    return {**given, **kept}


def _listed(names: Iterable[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in sorted(names))
    return f"[]string{{{quoted}}}"


def check(at: Address, after: Json) -> None:
    """Refuse an object that is not valid."""
    found = list(api_schema.refused(after)) if at.kind is MODEL_DEPLOYMENT else []
    if len(at.name) > NAME_LENGTH:
        found.append(f'metadata.name: Invalid value: "{at.name}": must be no more than {NAME_LENGTH} bytes')
    if at.kind is DEPLOYMENT:
        found += _deployment(after["spec"])
    if found:
        raise api_kinds.invalid(at, found[0] if len(found) == 1 else f"[{', '.join(found)}]")


def _deployment(spec: Json) -> list[str]:
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = spec["template"]["metadata"].get("labels") or {}
    if not selector:
        return ["spec.selector: Required value"]
    if not selector.items() <= labels.items():
        return ["spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`"]
    return []


def immutable(at: Address, before: Json, after: Json) -> None:
    """Refuse to change what stays as it was made."""
    fields = {DEPLOYMENT: ("selector",), SERVICE: ("clusterIP",)}.get(at.kind, ())
    for name in fields:
        if before["spec"].get(name) != after["spec"].get(name) and not _renamed(at, before, after):
            raise api_kinds.invalid(at, f"spec.{name}: Invalid value: {after['spec'].get(name)}: field is immutable")


def _renamed(at: Address, before: Json, after: Json) -> bool:
    return at.kind is SERVICE and "ExternalName" in {before["spec"].get("type"), after["spec"].get("type")}


def scale(content: Json) -> Json:
    """Return an object as its `scale`."""
    meta = content["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = (content["spec"].get("selector") or {}).get("matchLabels") or {}
    replicas = content["spec"].get("replicas")
    joined = ",".join(f"{name}={value}" for name, value in sorted(selector.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": (content.get("status") or {}).get("replicas", 0), "selector": joined},
    }


def is_terminating(content: Json) -> bool:
    """Return whether an object is on its way out."""
    return "deletionTimestamp" in content["metadata"]
