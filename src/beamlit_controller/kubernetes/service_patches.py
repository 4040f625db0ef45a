"""The patches that take over and restore a Service, and the annotations they write. Pure.

The new selector has exactly the keys of the user's selector, with a value that only gateway pods carry, so that
applying the unchanged manifest restores it cleanly. The same patch stores the user's selector in an annotation.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from beamlit_controller.kubernetes import fields

Json = dict[str, Any]
SelectorLabels = tuple[tuple[str, str], ...]

DOMAIN: Final = "deployment.beamlit.com"
ORIGINAL: Final = f"{DOMAIN}/original-selector"
TAKEN_BY: Final = f"{DOMAIN}/taken-by"
REVERTED: Final = f"{DOMAIN}/reverted-at"

PREFIX: Final = "beamlit-gateway-"
_DIGITS = 16

LONGEST_SELECTOR = 32 * 1024
"""Maximum length, far above that of any genuine selector."""
LONGEST_NAME = 253
LONGEST_TIMES = 1024
MOST_TIMES = 32
OLDEST, SKEW = timedelta(days=1), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SelectorAnnotations:
    """A Service's annotations: the original selector, the ModelDeployment, and the times of reverts."""

    original: SelectorLabels = ()
    taken_by: str = ""
    reverted: tuple[datetime, ...] = ()


NO_ANNOTATIONS: Final = SelectorAnnotations()


def gateway_value(uid: str) -> str:
    """Return the label value that a gateway's pods carry under every key of the Service's selector."""
    return f"{PREFIX}{hashlib.sha256(uid.encode()).hexdigest()[:_DIGITS]}"


def is_gateway_value(value: str) -> bool:
    """Return whether the value is one that only gateway pods carry."""
    return value.startswith(PREFIX)


def read_annotations(annotations: Mapping[str, Any]) -> SelectorAnnotations:
    """Parse the annotations of a Service; invalid ones count as missing.

    Anyone who can write the Service can write anything here, so values longer than any we write are ignored.
    """
    return SelectorAnnotations(
        original=_selector(_bounded(annotations.get(ORIGINAL), LONGEST_SELECTOR)),
        taken_by=_bounded(annotations.get(TAKEN_BY), LONGEST_NAME),
        reverted=tuple(sorted(_times(_bounded(annotations.get(REVERTED), LONGEST_TIMES)))),
    )


def recent_reverts(reverted: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return the plausible times: not in the future, and at most one day old."""
    return tuple(each for each in reverted if now - OLDEST <= each <= now + SKEW)


def _bounded(given: object, longest: int) -> str:
    return given if isinstance(given, str) and len(given) <= longest else ""


def effective_selector(present: SelectorLabels, original: SelectorLabels) -> SelectorLabels | None:
    """Return the selector that the user wants, None if unknown.

    Keys with a gateway's value get their value from `original`; other keys were changed by somebody and count as they
    are. A selector that contains a gateway's value is never taken for the user's.
    """
    before = dict(original)
    if any(is_gateway_value(value) and key not in before for key, value in present):
        return None
    return tuple((key, before[key] if is_gateway_value(value) else value) for key, value in present)


def taken_over_selector(selector: SelectorLabels, value: str) -> SelectorLabels:
    """Return the selector of a Service while it is taken over."""
    return tuple((key, value) for key, _ in selector)


def takeover_patch(
    version: str, present: SelectorLabels, selector: SelectorLabels, noted: SelectorAnnotations, value: str
) -> Json:
    """Return the merge patch that takes over a Service, conditional on its version."""
    annotations = {ORIGINAL: json.dumps(dict(selector)), TAKEN_BY: noted.taken_by, REVERTED: _written(noted.reverted)}
    return _patch(version, present, taken_over_selector(selector, value), annotations)


def restore_patch(
    version: str, present: SelectorLabels, selector: SelectorLabels, reverted: Iterable[datetime] = ()
) -> Json:
    """Return the merge patch that restores a Service, conditional on its version."""
    return _patch(version, present, selector, {ORIGINAL: None, TAKEN_BY: None, REVERTED: _written(reverted)})


def _patch(version: str, present: SelectorLabels, desired: SelectorLabels, annotations: Json) -> Json:
    gone: dict[str, str | None] = {key: None for key, _ in present if key not in dict(desired)}
    selector = gone | dict(desired) if present != desired else {}
    about = {"resourceVersion": version, "annotations": annotations}
    return {"metadata": about, **({"spec": {"selector": selector}} if selector else {})}


def _selector(text: str) -> SelectorLabels:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, dict) or not all(
        isinstance(value, str) and not is_gateway_value(value) for value in found.values()
    ):
        return ()
    return tuple(sorted(found.items()))


def _times(text: str) -> Iterable[datetime]:
    """Parse times; invalid ones and all but the newest few are dropped."""
    read = (fields.time(each) for each in text.split(","))
    return sorted(each for each in read if each is not None)[-MOST_TIMES:]


def _written(times: Iterable[datetime]) -> str | None:
    return ",".join(each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in times) or None
