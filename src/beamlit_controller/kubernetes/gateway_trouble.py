"""Why pods of a gateway can't be created, scheduled or started, in the words of Kubernetes. Pure.

The messages are foreign text, for example from an admission webhook or a registry, so they are bounded and on one line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from beamlit_controller.core import printable
from beamlit_controller.kubernetes import fields

Json = Mapping[str, Any]

LASTS: Final = timedelta(seconds=60)
"""How long a trouble may be a normal stage, such as waiting for a new node."""
_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_LONGEST_NAME, _LONGEST_REASON, _LONGEST_MESSAGE = 253, 80, 400


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps pods from becoming ready, and since when. With `failed` the pod is over, and only its replacement counts."""

    message: str
    since: datetime | None = None
    failed: bool = False

    def lasts(self, now: datetime | None) -> bool:
        """Return whether it has lasted for a minute."""
        return self.since is not None and now is not None and now - self.since >= LASTS


def of_deployment(status: Json) -> Trouble | None:
    """Return why a Deployment can't create its pods, or why its rollout does not progress."""
    conditions = _conditions(status)
    for kind, bad in (("ReplicaFailure", "True"), ("Progressing", "False")):
        condition = conditions.get(kind, {})
        if condition.get("status") == bad:
            return Trouble(_words(condition), fields.time(condition.get("lastTransitionTime")))
    return None


def of_pod(content: Json) -> Trouble | None:
    """Return why a pod is not ready, if Kubernetes tells."""
    about, status = fields.mapping(content.get("metadata")), fields.mapping(content.get("status"))
    conditions = _conditions(status)
    ready, scheduled = conditions.get("Ready", {}), conditions.get("PodScheduled", {})
    failed = status.get("phase") == "Failed"
    found = next(_reasons(status, scheduled, failed=failed), "") if ready.get("status") != "True" else ""
    if not found:
        return None
    began = ready or scheduled
    since = fields.time(began.get("lastTransitionTime")) or fields.time(about.get("creationTimestamp"))
    return Trouble(f"pod {_line(about.get('name'), _LONGEST_NAME)}: {found}", since, failed=failed)


def _reasons(status: Json, scheduled: Json, *, failed: bool) -> Iterator[str]:
    if failed:
        yield _words(status)
    for part in ("initContainerStatuses", "containerStatuses"):
        for container in fields.mappings(status.get(part)):
            yield from _of_container(container)
    if scheduled.get("status") == "False":
        yield _words(scheduled)


def _of_container(status: Json) -> Iterator[str]:
    state, before = fields.mapping(status.get("state")), fields.mapping(status.get("lastState"))
    waiting, ended = fields.mapping(state.get("waiting")), fields.mapping(before.get("terminated"))
    name = _line(status.get("name"), _LONGEST_REASON)
    is_stuck = fields.text(waiting.get("reason")) not in _STARTING
    last = f"it last ended with exit code {fields.whole(ended.get('exitCode'))}, {_words(ended)}" if ended else ""
    if is_stuck:
        yield f"container {name}: {_words(waiting)}{f'; {last}' if last else ''}"
    elif last and status.get("ready") is not True:
        yield f"container {name}: {last}"


def _words(given: Json) -> str:
    """Return the reason and the message of a condition or a state."""
    said = (_line(given.get("reason"), _LONGEST_REASON), _line(given.get("message"), _LONGEST_MESSAGE))
    return ": ".join(each for each in said if each)


def _line(given: object, longest: int) -> str:
    # Cut before as well, because escaping a long text takes long.
    return printable.short(printable.line(fields.text(given)[:longest].strip()), longest)


def _conditions(status: Json) -> dict[str, Json]:
    return {fields.text(each.get("type")): each for each in fields.mappings(status.get("conditions"))}
