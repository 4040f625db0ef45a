"""The PromQL query of an External metric.

A name that matches `[a-zA-Z_:][a-zA-Z0-9_:]*` is a series; everything else is PromQL and sent unchanged. A series with
any other UTF-8 name can be written as a query: `{"my.metric"}` (Prometheus 3).
"""

import re
from datetime import timedelta

from beamlit_controller.api import promql_ranges
from beamlit_controller.core.metric_spec import Operator, Requirement, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.prometheus import sample_times


def text(identifier: SeriesSelector, *, stale_after: timedelta) -> str | Missing:
    """Return the PromQL of a metric: the query itself, or for a series its last sample within `stale_after`.

    A range is used, because an instant selector would also return samples that are five minutes old. A series that has
    ended keeps its value until `stale_after`, so that a single failed scrape does not lower a sum over replicas.
    """
    if is_series(identifier):
        query = f"last_over_time({_series(identifier)}[{duration(stale_after)}])"
    elif identifier.selector:
        message = "a selector is only allowed with the name of a metric: write the labels into the PromQL query"
        return Missing(Reason.UNSUPPORTED_METRIC, message)
    else:
        query = identifier.name
    return query if _is_text(query) else Missing(Reason.UNSUPPORTED_METRIC, "the metric is not UTF-8 text")


def with_times(identifier: SeriesSelector, query: str) -> str:
    """Return the query of a metric, for a series together with the times of its samples."""
    return sample_times.query(query, _series(identifier)) if is_series(identifier) else query


def is_series(identifier: SeriesSelector) -> bool:
    """Return whether a metric is given by the name of a series, not by a query."""
    return bool(_SERIES_NAME.fullmatch(identifier.name))


def averaged(identifier: SeriesSelector) -> timedelta | None:
    """Return the time that a metric covers before each sample; None if the query can't be parsed.

    The name of a recording rule tells by convention: `job:latency:mean5m`.
    """
    if not is_series(identifier):
        return promql_ranges.covered(identifier.name)
    operation = _OPERATION.search(identifier.name)
    return promql_ranges.covered(f"rate(x[{operation[1]}])") if operation else timedelta(0)


def duration(span: timedelta) -> str:
    """Format a duration for PromQL: `90s`, or `1500ms` if the seconds are not whole."""
    milliseconds = max(1, round(span / timedelta(milliseconds=1)))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def matchers(selector: Selector) -> tuple[str, ...]:
    """Format a selector as label matchers.

    Prometheus treats an absent label like an empty one; apart from that, the meaning is the same as in Kubernetes. A
    label name other than `[a-zA-Z_][a-zA-Z0-9_]*` is quoted, which needs Prometheus 3.
    """
    equal = (f"{_label(key)}={_quoted(value)}" for key, value in selector.match_labels)
    return (*equal, *map(_matcher, selector.match_expressions))


def _series(identifier: SeriesSelector) -> str:
    conditions = matchers(identifier.selector)
    if identifier.name.lower() in _RESERVED:
        return f"{{{','.join((f'__name__={_quoted(identifier.name)}', *conditions))}}}"
    return f"{identifier.name}{{{','.join(conditions)}}}" if conditions else identifier.name


def _matcher(requirement: Requirement) -> str:
    label = _label(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return f"{label}=~{_quoted(_any_of(requirement.values))}"
        case Operator.NOT_IN:
            return f"{label}!~{_quoted(_any_of(requirement.values))}"
        case Operator.EXISTS:
            return f'{label}!=""'
        case Operator.DOES_NOT_EXIST:
            return f'{label}=""'


def _label(name: str) -> str:
    return name if _LABEL_NAME.fullmatch(name) else _quoted(name)


def _any_of(values: tuple[str, ...]) -> str:
    """Format a regular expression (RE2, anchored by Prometheus) that matches exactly these values."""
    return "|".join(_REGEX_SPECIAL.sub(r"\\\g<0>", value) for value in values)


def _quoted(value: str) -> str:
    """Format a PromQL string; its escapes are those of Go."""
    return f'"{value.translate(_STRING_ESCAPES)}"'


def _is_text(query: str) -> bool:
    """Return whether the query can be encoded: a lone surrogate can't."""
    try:
        query.encode()
    except UnicodeEncodeError:
        return False
    return True


_SERIES_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_OPERATION = re.compile(r":[^:]*:[^:]*?(?<![0-9])([0-9]{1,6}(?:ms|[smhd]))$")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REGEX_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_STRING_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {ord('"'): '\\"', ord("\\"): "\\\\"}

# PromQL's grammar reads these as keywords where a metric name could be.
_RESERVED = frozenset({"atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"})
