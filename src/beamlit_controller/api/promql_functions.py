"""Remarks on valid PromQL whose result is usually not what was intended: counters, histograms, ranges."""

from collections.abc import Iterator
from typing import Final

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    VectorSelector,
)

from beamlit_controller.api import presets
from beamlit_controller.api import promql_tree as tree


def remarks(parsed: Expr) -> Iterator[str]:
    """Yield the remarks, each once."""
    yield from dict.fromkeys(_remarks(parsed))


def is_counter(name: str) -> bool:
    """Return whether a metric is a counter, by its name."""
    return name.endswith("_total")


def _remarks(parsed: Expr) -> Iterator[str]:
    yield from _no_number(parsed)
    calls = [each for each in tree.walk(parsed) if isinstance(each, Call)]
    for call in calls:
        if call.func.name == "histogram_quantile" and len(call.args) == _QUANTILE_ARGUMENTS:
            yield from _quantile(call)
        if call.func.name in _OF_COUNTERS and isinstance(call.args[0], MatrixSelector):
            yield from _rate_of_a_gauge(call.func.name, call.args[0].vector_selector.name or "")
    if not any(isinstance(each, BinaryExpr) and str(each.op) == "-" for each in tree.walk(parsed)):
        for name in _instant(parsed):
            if is_counter(name):
                yield f"{name} is a counter by its name, and only rises: use rate({name}[1m])"


def _no_number(parsed: Expr) -> Iterator[str]:
    """Point out a result that has no value."""
    while isinstance(parsed, ParenExpr):
        parsed = parsed.expr
    if isinstance(parsed, MatrixSelector | SubqueryExpr):
        yield "returns a range of samples, which is not a value: use a function of it, such as avg_over_time(…)"
    if isinstance(parsed, StringLiteral):
        yield "returns a string, which is not a value"


def _quantile(call: Call) -> Iterator[str]:
    part, buckets = call.args
    if isinstance(part, NumberLiteral) and not 0 <= part.val <= 1:
        yield f"a quantile is between 0 and 1, such as 0.95, not {part.val:g}"
    series = [each.name or "" for each in tree.walk(buckets) if isinstance(each, VectorSelector)]
    if not any(name.endswith("_bucket") for name in series):
        return
    labels = tree.labels(buckets)
    if labels is not None and "le" not in labels:
        yield "histogram_quantile needs the label le, which is aggregated away: use sum by (le) (…)"
    if not any(isinstance(each, MatrixSelector | SubqueryExpr) for each in tree.walk(buckets)):
        yield "the quantile is of everything since the server started: use rate(…[1m]) of the buckets"


def _rate_of_a_gauge(function: str, name: str) -> Iterator[str]:
    if name in presets.GAUGES:
        yield f"`{function}` is for counters, and {name} is a gauge: use avg_over_time({name}[1m])"


def _instant(parsed: Expr) -> Iterator[str]:
    """Yield the names of series whose current value is used, outside of ranges and counts."""
    match parsed:
        case MatrixSelector() | SubqueryExpr():
            return
        case AggregateExpr() if str(parsed.op) in {"count", "count_values", "group"}:
            return
        case Call() if parsed.func.name in {"absent", "timestamp"}:
            return
        case VectorSelector():
            yield parsed.name or ""
        case _:
            for child in tree.children(parsed):
                yield from _instant(child)


_QUANTILE_ARGUMENTS: Final = 2
_OF_COUNTERS: Final = frozenset({"rate", "irate", "increase"})
