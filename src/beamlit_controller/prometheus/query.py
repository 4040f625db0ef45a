"""The query that an External metric stands for.

A name is taken for a series when it matches `[a-zA-Z_:][a-zA-Z0-9_:]*`; everything else is PromQL and sent as it is.
A series with any other UTF-8 name is therefore written as the query that selects it: `{"my.metric"}` (Prometheus 3).
"""

import re
from datetime import timedelta

from beamlit_controller.core.metric_spec import Operator, Requirement, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing


def text(identifier: SeriesSelector, *, stale_after: timedelta) -> str | Missing:
    """Give the PromQL of a metric: of a series its last sample that is younger than `stale_after`, of a query the query.

    The series is asked through a range, as an instant selector would also find samples of five minutes ago.
    A series that ended counts on until `stale_after`, so a scrape that failed once does not make a sum of replicas drop.
    """
    if _SERIES_NAME.fullmatch(identifier.name):
        query = f"last_over_time({_series(identifier)}[{duration(stale_after)}])"
    elif identifier.selector:
        message = (
            "a selector goes with the name of a metric, and this is a PromQL query: write its labels into the query"
        )
        return Missing(Reason.UNSUPPORTED_METRIC, message)
    else:
        query = identifier.name
    return query if _is_text(query) else Missing(Reason.UNSUPPORTED_METRIC, "the metric is no UTF-8 text")


def duration(span: timedelta) -> str:
    """Write a time span as PromQL does: `90s`, or `1500ms` where seconds are not whole."""
    milliseconds = max(1, round(span / timedelta(milliseconds=1)))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def matchers(selector: Selector) -> tuple[str, ...]:
    """Write a selector as label matchers.

    Prometheus knows no difference between an absent label and an empty one; otherwise they mean what Kubernetes means.
    A label name that is not `[a-zA-Z_][a-zA-Z0-9_]*` is quoted, which Prometheus understands since version 3.
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
    """Write a regular expression (RE2, which Prometheus anchors at both ends) that matches exactly these values."""
    return "|".join(_REGEX_SPECIAL.sub(r"\\\g<0>", value) for value in values)


def _quoted(value: str) -> str:
    """Write a PromQL string, whose escapes are those of a Go string."""
    return f'"{value.translate(_STRING_ESCAPES)}"'


def _is_text(query: str) -> bool:
    """Tell whether the query can be sent: a lone surrogate has no encoding."""
    try:
        query.encode()
    except UnicodeEncodeError:
        return False
    return True


_SERIES_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REGEX_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_STRING_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {ord('"'): '\\"', ord("\\"): "\\\\"}

# PromQL's grammar takes these for something else where a metric's name could stand.
_RESERVED = frozenset({"atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"})
