"""How a Service is taken over and given back: what is written on it, in one write each. Pure.

The new selector has exactly the keys of the user's, with a value that only gateway pods carry: whoever applies the unchanged
manifest puts it back cleanly. The user's own is stored on the Service by the same write.
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
"""Characters: far more than the labels of any Service."""
LONGEST_NAME = 253
LONGEST_TIMES = 1024
MOST_TIMES = 32
OLDEST, SKEW = timedelta(days=1), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SelectorAnnotations:
    """What a Service says of itself: the selector that its user wrote, who took it, when others took it back."""

    original: SelectorLabels = ()
    taken_by: str = ""
    reverted: tuple[datetime, ...] = ()


NOTHING: Final = SelectorAnnotations()


def value_of(uid: str) -> str:
    """Give the value that the pods of a model's gateway carry under every key of its Service's selector."""
    return f"{PREFIX}{hashlib.sha256(uid.encode()).hexdigest()[:_DIGITS]}"


def is_ours(value: str) -> bool:
    """Tell whether only a gateway's pods can carry the value."""
    return value.startswith(PREFIX)


def noted(annotations: Mapping[str, Any]) -> SelectorAnnotations:
    """Read what a Service says of itself; what can't be understood is not there.

    Whoever may write the Service may write anything here: what is longer than anything we write is not read at all.
    """
    return SelectorAnnotations(
        original=_selector(_bounded(annotations.get(ORIGINAL), LONGEST_SELECTOR)),
        taken_by=_bounded(annotations.get(TAKEN_BY), LONGEST_NAME),
        reverted=tuple(sorted(_times(_bounded(annotations.get(REVERTED), LONGEST_TIMES)))),
    )


def recent(reverted: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """Give the times that may be true: none in the future, none of more than a day ago."""
    return tuple(each for each in reverted if now - OLDEST <= each <= now + SKEW)


def _bounded(given: object, longest: int) -> str:
    return given if isinstance(given, str) and len(given) <= longest else ""


def effective_selector(present: SelectorLabels, original: SelectorLabels) -> SelectorLabels | None:
    """Give what the user means by a selector: under keys with a gateway's value, what was there before. None if unknown.

    What somebody changed beside our values counts as well: a selector with a gateway's value is never taken for the user's.
    """
    before = dict(original)
    if any(is_ours(value) and key not in before for key, value in present):
        return None
    return tuple((key, before[key] if is_ours(value) else value) for key, value in present)


def taken(selector: SelectorLabels, value: str) -> SelectorLabels:
    """Give the selector that a Service has while it is taken over."""
    return tuple((key, value) for key, _ in selector)


def to_take(
    version: str, present: SelectorLabels, selector: SelectorLabels, noted: SelectorAnnotations, value: str
) -> Json:
    """Give the merge patch that takes a Service over, as it was seen at this version."""
    annotations = {ORIGINAL: json.dumps(dict(selector)), TAKEN_BY: noted.taken_by, REVERTED: _written(noted.reverted)}
    return _patch(version, present, taken(selector, value), annotations)


def to_give_back(
    version: str, present: SelectorLabels, selector: SelectorLabels, reverted: Iterable[datetime] = ()
) -> Json:
    """Give the merge patch that gives a Service back, as it was seen at this version."""
    return _patch(version, present, selector, {ORIGINAL: None, TAKEN_BY: None, REVERTED: _written(reverted)})


def _patch(version: str, present: SelectorLabels, wanted: SelectorLabels, annotations: Json) -> Json:
    gone: dict[str, str | None] = {key: None for key, _ in present if key not in dict(wanted)}
    selector = gone | dict(wanted) if present != wanted else {}
    about = {"resourceVersion": version, "annotations": annotations}
    return {"metadata": about, **({"spec": {"selector": selector}} if selector else {})}


def _selector(text: str) -> SelectorLabels:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, dict) or not all(
        isinstance(value, str) and not is_ours(value) for value in found.values()
    ):
        return ()
    return tuple(sorted(found.items()))


def _times(text: str) -> Iterable[datetime]:
    """Read times; those with which nothing can be computed are dropped, as are all but the newest few."""
    read = (fields.time(each) for each in text.split(","))
    return sorted(each for each in read if each is not None)[-MOST_TIMES:]


def _written(times: Iterable[datetime]) -> str | None:
    return ",".join(each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in times) or None
