"""Notices that other writers undo a takeover, and decides when to leave the Service to them. Pure.

The Service's annotations record it, so that a new leader knows. A writer that replaces the whole object removes them; then
only what this process last wrote to the Service tells. A selector that was not there before is an edit, not a revert.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import service_patches
from beamlit_controller.kubernetes.service_patches import SelectorLabels
from beamlit_controller.kubernetes.services import Service

MAX_REVERTS = 3
REVERT_WINDOW = timedelta(hours=1)
"""After `MAX_REVERTS` reverts within this time, the Service is left as others write it."""
SKEW = timedelta(minutes=5)
"""A recorded revert that is further in the future than this was not written by a controller, and is ignored."""


@dataclass(frozen=True, slots=True)
class Reverts:
    """The times of recent reverts, and what was particular about the last one, "" if nothing.

    `annotations_lost` tells that one of them removed the annotations, so that these don't tell how often it happened.
    """

    times: tuple[datetime, ...] = ()
    found: str = ""
    annotations_lost: bool = False


NO_REVERTS: Final = Reverts()


@dataclass(frozen=True, slots=True)
class LastWrite:
    """What this process last wrote to a Service, for the spec of this generation.

    `replaced` is the user's selector that a takeover replaced, empty if the Service was restored.
    """

    uid: str
    generation: int
    replaced: SelectorLabels
    reverts: Reverts


def observe(service: Service, last: LastWrite | None, *, key: str, value: str, now: datetime) -> Reverts:
    """Return the recent reverts of this model's takeover, including one that is visible now."""
    noted = service.takeover_annotations
    replaced = noted.original if noted.taken_by else last.replaced if last is not None else ()
    found = _found(service, replaced, key=key, value=value) if replaced else None
    before = last.reverts if last is not None else NO_REVERTS
    lost = before.annotations_lost or (found is not None and not noted.taken_by)
    times = max(noted.reverted, before.times, key=len) if lost else noted.reverted
    seen = times if found is None else (*times, now)
    recent = tuple(each for each in seen if now - REVERT_WINDOW < each <= now + SKEW)
    return Reverts(recent, before.found if found is None else found, lost) if recent else NO_REVERTS


def contested(service: Service, reverts: Reverts) -> Missing | None:
    """Return the reason to leave the Service as others write it, if they have reverted it too often."""
    if len(reverts.times) < MAX_REVERTS:
        return None
    last = f" (the last time they {reverts.found})" if reverts.found else ""
    again = (
        "the takeover is also retried when the spec changes"
        if reverts.annotations_lost
        else f"to retry at once, remove the annotation {service_patches.REVERTED}"
    )
    return Missing(
        Reason.SERVICE_CONTESTED,
        f"other writers reverted the selector of Service {service.name} {len(reverts.times)} times within an hour{last}, so it "
        f"is left as they write it until {until(reverts):%H:%M} UTC: configure them to ignore spec.selector, or set "
        f"routing.mode: Service; {again}",
    )


def until(reverts: Reverts) -> datetime:
    """Return the time from which a contested Service may be taken over again."""
    return min(reverts.times[-MAX_REVERTS:]) + REVERT_WINDOW


def _found(service: Service, replaced: SelectorLabels, *, key: str, value: str) -> str | None:
    """Describe what is particular about a revert; None if it is none, because the user wants another selector now."""
    if service.selector != replaced:
        return None
    noted = service.takeover_annotations
    if not service.is_taken_over:
        return "" if noted.taken_by else "replaced the whole Service, without the annotations"
    by_others = [each for each in service.current_selector if not service_patches.is_gateway_value(each[1])]
    if by_others and any(each == value for _, each in service.current_selector):
        return f"set {','.join('='.join(each) for each in by_others)}"
    is_ours = not by_others and all(each == value for _, each in service.current_selector)
    return "changed the annotations" if is_ours and noted.taken_by != key else None
