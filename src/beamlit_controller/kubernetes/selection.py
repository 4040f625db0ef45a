"""How a Service is taken over and given back: what is written on it, in one write each. Pure.

The new selector has exactly the keys of the user's, with a value that only gateway pods carry: whoever applies the unchanged
manifest puts it back cleanly. The user's own is stored on the Service by the same write.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

Json = dict[str, Any]
Selector = tuple[tuple[str, str], ...]

DOMAIN: Final = "deployment.beamlit.com"
ORIGINAL: Final = f"{DOMAIN}/original-selector"
TAKEN_BY: Final = f"{DOMAIN}/taken-by"
REVERTED: Final = f"{DOMAIN}/reverted-at"

PREFIX: Final = "beamlit-gateway-"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Noted:
    """What a Service says of itself: the selector that its user wrote, who took it, when others took it back."""

    original: Selector = ()
    taken_by: str = ""
    reverted: tuple[datetime, ...] = ()


NOTHING: Final = Noted()


def value_of(uid: str) -> str:
    """Give the value that the pods of a model's gateway carry under every key of its Service's selector."""
    return f"{PREFIX}{hashlib.sha256(uid.encode()).hexdigest()[:_DIGITS]}"


def is_ours(value: str) -> bool:
    """Tell whether only a gateway's pods can carry the value."""
    return value.startswith(PREFIX)


def noted(annotations: Mapping[str, str]) -> Noted:
    """Read what a Service says of itself; what can't be understood is not there."""
    return Noted(
        original=_selector(annotations.get(ORIGINAL, "")),
        taken_by=annotations.get(TAKEN_BY, ""),
        reverted=tuple(sorted(_times(annotations.get(REVERTED, "")))),
    )


def meant(present: Selector, original: Selector) -> Selector | None:
    """Give what the user means by a selector: under keys with a gateway's value, what was there before. None if unknown.

    What somebody changed beside our values counts as well: a selector with a gateway's value is never taken for the user's.
    """
    before = dict(original)
    if any(is_ours(value) and key not in before for key, value in present):
        return None
    return tuple((key, before[key] if is_ours(value) else value) for key, value in present)


def taken(selector: Selector, value: str) -> Selector:
    """Give the selector that a Service has while it is taken over."""
    return tuple((key, value) for key, _ in selector)


def to_take(version: str, present: Selector, selector: Selector, noted: Noted, value: str) -> Json:
    """Give the merge patch that takes a Service over, as it was seen at this version."""
    annotations = {ORIGINAL: json.dumps(dict(selector)), TAKEN_BY: noted.taken_by, REVERTED: _written(noted.reverted)}
    return _patch(version, present, taken(selector, value), annotations)


def to_give_back(version: str, present: Selector, selector: Selector, reverted: Iterable[datetime] = ()) -> Json:
    """Give the merge patch that gives a Service back, as it was seen at this version."""
    return _patch(version, present, selector, {ORIGINAL: None, TAKEN_BY: None, REVERTED: _written(reverted)})


def _patch(version: str, present: Selector, wanted: Selector, annotations: Json) -> Json:
    gone: dict[str, str | None] = {key: None for key, _ in present if key not in dict(wanted)}
    selector = gone | dict(wanted) if present != wanted else {}
    about = {"resourceVersion": version, "annotations": annotations}
    return {"metadata": about, **({"spec": {"selector": selector}} if selector else {})}


def _selector(text: str) -> Selector:
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    if not isinstance(found, dict) or not all(
        isinstance(value, str) and not is_ours(value) for value in found.values()
    ):
        return ()
    return tuple(sorted(found.items()))


def _times(text: str) -> Iterable[datetime]:
    for each in filter(None, text.split(",")):
        try:
            time = datetime.fromisoformat(each.strip())
        except ValueError:
            continue
        yield time if time.tzinfo else time.replace(tzinfo=UTC)


def _written(times: Iterable[datetime]) -> str | None:
    return ",".join(each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in times) or None
