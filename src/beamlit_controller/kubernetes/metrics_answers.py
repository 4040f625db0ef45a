"""Parses the responses of the metrics APIs to readings. Pure. Anything invalid is Missing, never 0."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from beamlit_controller.core import quantity
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading, Sample
from beamlit_controller.kubernetes import fields

Json = dict[str, Any]

LONGEST_WINDOW = timedelta(days=1)
DEFAULT_WINDOW = timedelta(seconds=60)
"""The window that the HPA assumes for a custom or external metric without one."""


def resource(answer: Json, name: str, container: str | None) -> Reading:
    """Parse a PodMetricsList (metrics.k8s.io/v1beta1), for one container or all containers of each pod."""

    def read(items: Sequence[Json]) -> Reading:
        samples = [_usage(item, name, container) for item in items]
        return PodSamples(tuple(sample for sample in samples if sample is not None))

    return _read(answer, "resource", read)


def pods(answer: Json) -> Reading:
    """Parse a MetricValueList (custom.metrics.k8s.io) with a value per pod; the last one of a pod counts."""

    def read(items: Sequence[Json]) -> Reading:
        samples = {_name(item["describedObject"]): item for item in items}
        return PodSamples(tuple(_of_pod(name, item) for name, item in samples.items()))

    return _read(answer, "custom", read)


def one_object(answer: Json) -> Reading:
    """Parse a MetricValueList (custom.metrics.k8s.io) with the value of one object."""

    def read(items: Sequence[Json]) -> Reading:
        if len(items) != 1:
            return Missing(Reason.MALFORMED_ANSWER, f"expected one value of the object, got {len(items)}")
        return _sum(items)

    return _read(answer, "custom", read)


def external(answer: Json) -> Reading:
    """Parse an ExternalMetricValueList (external.metrics.k8s.io/v1beta1): the sum of its values."""
    return _read(answer, "external", _sum)


def _read(answer: Json, which: str, read: Callable[[Sequence[Json]], Reading]) -> Reading:
    items = answer.get("items")
    if not items:
        return Missing(
            Reason.NO_SERIES, f"the {which} metrics API has no value of it: expected some, got an empty list"
        )
    try:
        return read(items)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        said = f"{error!r}"[:_SHOWN]
        return Missing(Reason.MALFORMED_ANSWER, f"the {which} metrics API did not answer with a list of values: {said}")


def _usage(item: Json, name: str, container: str | None) -> PodSample | None:
    """Return the usage of a pod; None if a container that counts lacks the resource, or all of them do."""
    pod = _name(item["metadata"])
    each = [entry.get("usage") or {} for entry in item.get("containers") or () if container in {None, entry["name"]}]
    if not each or any(name not in usage for usage in each):
        return None
    used = sum(_milli(usage[name]) for usage in each)
    return PodSample(pod, used, _time(item["timestamp"]), duration(item["window"]))


def _of_pod(name: str, item: Json) -> PodSample:
    return PodSample(name, _milli(item["value"]), _time(item["timestamp"]), _window(item), undated=_is_undated(item))


def _sum(items: Sequence[Json]) -> Sample:
    until = max(_time(item["timestamp"]) for item in items)
    window, undated = max(_window(item) for item in items), any(map(_is_undated, items))
    return Sample(sum(_milli(item["value"]) for item in items), until, window, undated=undated)


def _is_undated(item: Json) -> bool:
    """Return whether the time of a value may be that of a query: adapters don't know when its samples were scraped."""
    return item.get("windowSeconds", item.get("window")) is None


def _window(item: Json) -> timedelta:
    seconds = item.get("windowSeconds", item.get("window"))
    return DEFAULT_WINDOW if seconds is None else _sane(timedelta(seconds=seconds))


def _sane(window: timedelta) -> timedelta:
    if not timedelta(0) <= window <= LONGEST_WINDOW:
        raise ValueError(f"expected a window of at most {LONGEST_WINDOW}, got {window}")
    return window


def _name(about: Json) -> str:
    name = about["name"]
    if not isinstance(name, str):
        raise TypeError(f"expected a name, got a {type(name).__name__}")
    return name


def _milli(value: object) -> int:
    return quantity.parse(str(value).strip()).milli


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or fields.sane(moment) is None:
        raise ValueError(f"expected a time with its zone, got {text!r}")
    return moment


_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
}
_SHOWN = 200


def duration(text: str) -> timedelta:
    """Parse a Go duration: `30s`, `1m0s`, `17.5s`. Raises ValueError."""
    if len(text) > _SHOWN or not re.fullmatch(r"(?:[0-9.]+(?:h|m|s|ms|us|µs))+|0", text):
        raise ValueError(f"expected a duration such as 1m30s, got {text[:_SHOWN]!r}")
    parts = re.findall(r"([0-9.]+)([a-zµ]+)", text)
    return _sane(sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0)))
