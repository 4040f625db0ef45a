"""Recognizes metrics and queries for the time to the first token or byte, by the names of their series, which tell the unit too.

In Adaptive mode such a metric is judged by how many requests wait, which follows from its unit and the gateways' counts. A high
quantile is longer than most requests wait. A query is recognized only in the usual forms: taken for a time by mistake, another value would lead to a wrong cap.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    VectorSelector,
)

from beamlit_controller.api import promql
from beamlit_controller.api import promql_tree as tree
from beamlit_controller.core.metric_spec import FirstByte


@lru_cache(maxsize=256)
def of_query(query: str, labels: tuple[tuple[str, str], ...] = ()) -> FirstByte | None:
    """Return the unit and the quantile of a query, or of a metric with labels; None if it is not known to be a time to the first token or byte."""
    if _ONLY_NAME.fullmatch(query):
        return of_name(query, labels)
    if not promql.is_small(query):
        return None
    try:
        parsed = promql.parse(query)
        is_one = isinstance(parsed, VectorSelector) or tree.labels(parsed) == frozenset()
        return _read(parsed) if is_one else None
    except ValueError:
        return None


def of_name(name: str, labels: Sequence[tuple[str, str]] = ()) -> FirstByte | None:
    """Return the unit and the quantile of a metric; None if its name is not that of a time to the first token or byte."""
    found = _NAME.search(name)
    if not found:
        return None
    labelled = next((_quantile(value) for label, value in labels if label == "quantile"), None)
    return FirstByte(_SECONDS[found[1]], labelled or _statistic(found[2]))


def _statistic(name: str | None) -> Fraction | None:
    """Return the quantile that the end of a name such as `ttft_seconds_p95` tells; a maximum counts as a high one."""
    if name in {"max", "p100"}:
        return _MAXIMUM
    digits = (name or "").removeprefix("p")
    return _quantile(f"0.{digits.zfill(2)}") if digits.isdecimal() else None


def _quantile(text: str) -> Fraction | None:
    """Return a number between 0 and 1; None for any other."""
    if not _FRACTION.fullmatch(text):
        return None
    return Fraction(text) or None


def _read(parsed: Expr) -> FirstByte | None:
    parsed = _unwrapped(parsed)
    match parsed:
        case VectorSelector():
            equal = [(each.name, each.value) for each in parsed.matchers.matchers if each.op == MatchOp.Equal]
            return of_name(parsed.name or "", equal)
        case AggregateExpr() if str(parsed.op) in _AGGREGATIONS:
            return _read(parsed.expr)
        case Call() if parsed.func.name in _OVER_TIME:
            return _read(parsed.args[-1])
        case Call() if parsed.func.name in _OF_HISTOGRAM:
            return _of_histogram(parsed)
        case BinaryExpr() if str(parsed.op) == "/":
            read, number = _observed(parsed.lhs, "_sum"), _observed(parsed.rhs, "_count")
            return of_name(read[-1]) if read and read == number else None
        case _:
            return None


def _of_histogram(call: Call) -> FirstByte | None:
    read = _observed(call.args[-1], "_bucket") or _observed(call.args[-1], "")
    known = of_name(read[-1]) if read else None
    first = call.args[0]
    if known is None or not isinstance(first, NumberLiteral):
        return known
    return replace(known, quantile=_quantile(f"{first.val:.6f}"))


def _unwrapped(parsed: Expr) -> Expr:
    """Return the expression without what keeps its value: parentheses, limits, filters, and a number where there is none."""
    match parsed:
        case ParenExpr() | SubqueryExpr():
            return _unwrapped(parsed.expr)
        case MatrixSelector():
            return parsed.vector_selector
        case Call() if parsed.func.name in _KEEPS_FIRST:
            return _unwrapped(parsed.args[0])
        case BinaryExpr() if str(parsed.op) == "or" and _is_number(parsed.rhs):
            return _unwrapped(parsed.lhs)
        case BinaryExpr() if str(parsed.op) in _FILTERS and _is_number(parsed.rhs):
            returns_bool = parsed.modifier is not None and parsed.modifier.return_bool
            return parsed if returns_bool else _unwrapped(parsed.lhs)
        case _:
            return parsed


def _is_number(parsed: Expr) -> bool:
    match parsed:
        case NumberLiteral():
            return True
        case ParenExpr():
            return _is_number(parsed.expr)
        case Call():
            return parsed.func.name == "vector" and _is_number(parsed.args[0])
        case _:
            return False


def _observed(parsed: Expr, suffix: str) -> tuple[str, ...] | None:
    """Return what is computed of a histogram's counter, from outside to inside, and its name without the suffix at the end."""
    parsed = _unwrapped(parsed)
    match parsed:
        case AggregateExpr() if str(parsed.op) in {"sum", "avg"}:
            inner = _observed(parsed.expr, suffix)
            return (str(parsed.op), *inner) if inner else None
        case Call(args=[MatrixSelector() as counter]) if parsed.func.name in _OF_COUNTERS:
            name = counter.vector_selector.name or ""
            stem = (parsed.func.name, str(counter.range), name.removesuffix(suffix))
            return stem if name.endswith(suffix) else None
        case _:
            return None


_SECONDS: Final = {
    "seconds": Fraction(1),
    "milliseconds": Fraction(1, 1000),
    "ms": Fraction(1, 1000),
    "microseconds": Fraction(1, 1_000_000),
    "us": Fraction(1, 1_000_000),
}
_NAME: Final = re.compile(
    rf"(?:^|[_:.])(?<!predicted_)(?:time_to_first_(?:token|byte)|ttft|ttfb)_({'|'.join(_SECONDS)})"
    r"(?:[_:.](p\d{1,4}|avg|mean|median|max|min)(?:[_:.]?\d+[smh])?)?$"
)
"""As of vLLM, SGLang and LMDeploy, or of a recording rule: `vllm:time_to_first_token_seconds`, `job:ttft_seconds:p95_5m`."""
_MAXIMUM: Final = Fraction(99, 100)
_FRACTION: Final = re.compile(r"0?\.\d{1,6}")
_ONLY_NAME: Final = re.compile(r"[\w:.]{1,256}")
_OF_HISTOGRAM: Final = frozenset({"histogram_quantile", "histogram_avg"})
_OF_COUNTERS: Final = frozenset({"rate", "irate", "increase"})
_AGGREGATIONS: Final = frozenset({"avg", "max", "min", "quantile"})
_OVER_TIME: Final = frozenset(
    {"avg_over_time", "max_over_time", "min_over_time", "quantile_over_time", "last_over_time"}
)
_KEEPS_FIRST: Final = frozenset({"clamp", "clamp_max", "clamp_min", "round", "label_replace", "label_join"})
_FILTERS: Final = frozenset({">", "<", ">=", "<=", "==", "!="})
