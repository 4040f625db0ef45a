"""Parses the responses of the metrics APIs to readings. Pure. Anything invalid is Missing, never 0.

A value without a time is used, as by the HPA, and counts as undated: `at` is when the request was sent. A zero `metav1.Time`
is null in JSON.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from beamlit_controller.api import problems
from beamlit_controller.core import quantity
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading, Sample
from beamlit_controller.kubernetes import fields

Json = dict[str, Any]

LONGEST_WINDOW = timedelta(days=1)
DEFAULT_WINDOW = timedelta(seconds=60)
"""The window that the HPA assumes for a custom or external metric without one."""


def resource(answer: Json, name: str, container: str | None, *, at: datetime) -> Reading:
    """Parse a PodMetricsList (metrics.k8s.io/v1beta1), for one container or all containers of each pod."""

    def read(items: Sequence[Json]) -> Reading:
        samples = [_usage(item, name, container, at) for item in items]
        return PodSamples(tuple(sample for sample in samples if sample is not None))

    return _read(answer, "resource", read)


def pods(answer: Json, *, at: datetime) -> Reading:
    """Parse a MetricValueList (custom.metrics.k8s.io) with a value per pod; the last one of a pod counts."""

    def read(items: Sequence[Json]) -> Reading:
        samples = {_name(_object(item, "describedObject")): item for item in items}
        return PodSamples(tuple(_of_pod(name, item, at) for name, item in samples.items()))

    return _read(answer, "custom", read)


def one_object(answer: Json, *, at: datetime) -> Reading:
    """Parse a MetricValueList (custom.metrics.k8s.io) with the value of one object."""

    def read(items: Sequence[Json]) -> Reading:
        if len(items) != 1:
            return Missing(Reason.MALFORMED_ANSWER, f"expected one value of the object, got {len(items)}")
        return _sum(items, at)

    return _read(answer, "custom", read)


def external(answer: Json, *, at: datetime) -> Reading:
    """Parse an ExternalMetricValueList (external.metrics.k8s.io/v1beta1): the sum of its values."""
    return _read(answer, "external", lambda items: _sum(items, at))


def _read(answer: Json, which: str, read: Callable[[Sequence[Json]], Reading]) -> Reading:
    items = answer.get("items")
    if not items:
        return Missing(
            Reason.NO_SERIES, f"the {which} metrics API has no value of it: expected some, got an empty list"
        )
    try:
        return read(_objects(items, "items"))
    except ValueError as error:
        said = str(error)[:_SHOWN]
        return Missing(Reason.MALFORMED_ANSWER, f"the {which} metrics API did not answer with a list of values: {said}")


def _usage(item: Json, name: str, container: str | None, at: datetime) -> PodSample | None:
    """Return the usage of a pod; None if a container that counts lacks the resource, or all of them do."""
    pod = _name(_object(item, "metadata"))
    listed = _objects(item.get("containers") or [], "containers")
    each = [fields.mapping(entry.get("usage")) for entry in listed if container in {None, _name(entry)}]
    if not each or any(name not in usage for usage in each):
        return None
    used, moment = sum(_milli(usage[name], name) for usage in each), _time(item)
    return PodSample(pod, used, moment or at, duration(item.get("window") or "0"), undated=moment is None)


def _of_pod(name: str, item: Json, at: datetime) -> PodSample:
    return PodSample(name, _value(item), _time(item) or at, _window(item), undated=_is_undated(item))


def _sum(items: Sequence[Json], at: datetime) -> Sample:
    until = max(_time(item) or at for item in items)
    window, undated = max(map(_window, items)), any(map(_is_undated, items))
    return Sample(sum(map(_value, items)), until, window, undated=undated)


def _is_undated(item: Json) -> bool:
    """Return whether the time of a value may be that of a query: adapters don't know when its samples were scraped."""
    return _seconds(item) is None or _time(item) is None


def _window(item: Json) -> timedelta:
    seconds = _seconds(item)
    if seconds is None:
        return DEFAULT_WINDOW
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _expected("a window in seconds", seconds)
    return _sane(seconds)


def _seconds(item: Json) -> object:
    return item.get("windowSeconds", item.get("window"))


def _sane(seconds: float) -> timedelta:
    if not 0 <= seconds <= LONGEST_WINDOW.total_seconds():
        raise ValueError(f"expected a window, a duration of at most 24 h, got {problems.came(seconds)} s")
    return timedelta(seconds=seconds)


def _expected(what: str, given: object) -> ValueError:
    return ValueError(f"expected {what}, got {problems.came(given)}")


def _objects(given: object, field: str) -> Sequence[Json]:
    if not isinstance(given, list):
        raise _expected(f"a list as {field}", given)
    for each in given:
        if not isinstance(each, dict):
            raise _expected(f"objects in {field}", each)
    return given


def _object(item: Json, field: str) -> Json:
    found = item.get(field)
    if not isinstance(found, dict):
        raise _expected(f"an object as {field}", found)
    return found


def _name(about: Json) -> str:
    name = about.get("name")
    if not isinstance(name, str):
        raise _expected("a name", name)
    return name


def _value(item: Json) -> int:
    return _milli(item.get("value"), "value")


def _milli(given: object, field: str) -> int:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number and not isinstance(given, str):
        raise _expected(f"a quantity as {field}", given)
    if isinstance(given, int) and given.bit_length() > _MOST_BITS:
        raise _expected(f"a quantity as {field}", given)
    return quantity.parse(str(given).strip()).milli


def _time(item: Json) -> datetime | None:
    """Return the time of a value, None if it has none: Go writes its zero time as null, or as in the year 1."""
    given = item.get("timestamp")
    if given is None or given == _ZERO:
        return None
    # One without a zone is none of RFC 3339, and `fields.time` would take it for UTC.
    moment = fields.time(given) if isinstance(given, str) and _ZONE.search(given) else None
    if moment is None:
        raise _expected("a time such as 2006-01-02T15:04:05Z as timestamp", given)
    return moment


_ZERO = "0001-01-01T00:00:00Z"
_ZONE = re.compile(r"(?:Z|[-+]\d\d:?\d\d)$")
_MOST_BITS = 400
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs)"
_SHOWN = 200


def duration(text: object) -> timedelta:
    """Parse a Go duration: `30s`, `1m0s`, `17.5s`. Raises ValueError."""
    if not isinstance(text, str) or len(text) > _SHOWN or not re.fullmatch(rf"(?:{_NUMBER})+|0", text):
        raise _expected("a duration such as 1m30s", text)
    return _sane(sum(float(number) * _UNITS[unit] for number, unit in re.findall(_NUMBER, text)))
