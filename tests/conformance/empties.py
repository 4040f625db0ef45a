"""A vector written by other encoders: what is not there can be left out, be null, or be empty."""

from collections.abc import Callable
from typing import Any

from conformance.adapter import Json
from conformance.judge import EMPTY

Way = Callable[[Json], Json]

DEFAULTED = "selector"
"""The one field with a default that an empty value overrides: a scale without a selector."""

OPTIONAL: Json = {
    "in": {"hpaTolerance": {}, "config": {}, "now": "", "namespace": "", "pods": [], "api": []},
    "out": {
        "podValuesMilli": {},
        "requestsMilli": {},
        "groups": {"unready": [], "missing": [], "ignored": []},
        "calc": {"error": "", "errorAnyOf": [], "timestamp": ""},
        "ratio": {"effective": None, "held": None, "how": ""},
        "hpa": {"statuses": [], "metricName": "", "error": "", "condition": {"message": ""}},
        "readyPods": None,
        "tolerances": {},
    },
    "tags": [],
}
POD: Json = {
    "metadata": {"labels": {}, "deletionTimestamp": None},
    "spec": {"containers": [], "initContainers": [], "overhead": {}, "resources": {}},
    "status": {"conditions": [], "phase": "", "startTime": None},
}


def as_recorded(vector: Json) -> Json:
    """Return the vector as it is."""
    return vector


def absent(content: Json) -> Json:
    """Leave out what is empty or null."""
    return {
        name: _each(value, absent)
        for name, value in content.items()
        if name == DEFAULTED or _each(value, absent) not in EMPTY
    }


def null(vector: Json) -> Json:
    """Write null wherever the format has a field that says nothing."""
    return _nulled(empty(vector))


def empty(vector: Json) -> Json:
    """Write an empty object, list or text wherever the format has a field that says nothing."""
    filled = _filled(absent(vector), OPTIONAL)
    pods = [_filled(pod, POD) for pod in filled["in"]["pods"]]
    return {**filled, "in": {**filled["in"], "pods": pods}}


WAYS = (absent, null, empty)


def _filled(content: Json, shape: Json) -> Json:
    """Add the fields of a shape that are not there, at every depth."""
    return {**shape, **{name: _inside(value, shape.get(name)) for name, value in content.items()}}


def _inside(value: Any, shape: Any) -> Any:  # noqa: ANN401 - whatever JSON has there
    return _filled(value, shape) if isinstance(value, dict) and isinstance(shape, dict) else value


def _nulled(content: Json) -> Json:
    return {
        name: None if name != DEFAULTED and value in EMPTY else _each(value, _nulled) for name, value in content.items()
    }


def _each(value: Any, write: Way) -> Any:  # noqa: ANN401 - whatever JSON has there
    if isinstance(value, dict):
        return write(value)
    return [_each(one, write) for one in value] if isinstance(value, list) else value
