"""Recognizes PromQL whose result is empty at times, which is a missing value, or which never changes."""

from typing import Final

from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, ParenExpr, StringLiteral, UnaryExpr, VectorSelector

from beamlit_controller.api import promql_tree as tree


def sometimes_empty(parsed: Expr, *, aggregated: bool = False) -> str | None:
    """Return why a result is empty at times, unless `or` supplies a value instead.

    `and` and `unless` between several series, within an aggregation, only choose which of them are aggregated.
    """
    match parsed:
        case BinaryExpr() if str(parsed.op) == "or":
            left, right = (sometimes_empty(each, aggregated=aggregated) for each in (parsed.lhs, parsed.rhs))
            return left if right else None
        case BinaryExpr() if str(parsed.op) in _SETS:
            chosen = (aggregated and tree.labels(parsed.lhs) != frozenset()) or _is_always_there(parsed)
            return sometimes_empty(parsed.lhs, aggregated=aggregated) if chosen else _SETS[str(parsed.op)]
        case BinaryExpr() if tree.is_filter(parsed):
            return _COMPARISON.format(parsed.op)
        case Call() if parsed.func.name in {"absent", "absent_over_time"}:
            return _ABSENT.format(parsed.func.name)
        case _:
            within = aggregated or isinstance(parsed, AggregateExpr)
            found = (sometimes_empty(each, aggregated=within) for each in tree.children(parsed))
            return next(filter(None, found), None)


def never_changes(parsed: Expr) -> bool:
    """Return whether a result depends neither on a series nor on the time."""
    parts = [*tree.walk(parsed)]
    return not any(
        isinstance(each, VectorSelector | StringLiteral) or (isinstance(each, Call) and each.func.name in _OF_TIME)
        for each in parts
    )


def _is_always_there(parsed: BinaryExpr) -> bool:
    """Return whether the right side of `and` has a value at any time, so that it filters nothing."""
    right = parsed.rhs
    while isinstance(right, ParenExpr | UnaryExpr):
        right = right.expr
    return str(parsed.op) == "and" and isinstance(right, Call) and right.func.name == "vector"


_OF_TIME: Final = frozenset(
    {"time", "minute", "hour", "month", "year", "day_of_week", "day_of_month", "day_of_year", "days_in_month"}
)
_COMPARISON: Final = (
    "`{0} …` is a filter: where it is false the result is empty, a missing value rather than a low one; "
    "remove it, or use `{0} bool …` to get 0 or 1"
)
_SETS: Final = {
    "and": "`and` is a filter: while its right side has no series the result is empty, a missing value rather than a low one; "
    "add `or vector(0)` to get 0",
    "unless": "`unless` is a filter: while its right side has a series the result is empty, a missing value rather than a low "
    "one; add `or vector(0)` to get 0",
}
_ABSENT: Final = (
    "`{}` is 1 or empty: while the series exists, the value is missing rather than low; add `or vector(0)` to get 0"
)
