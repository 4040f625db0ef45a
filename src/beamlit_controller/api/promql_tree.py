"""Inspects a parsed PromQL query, and determines which labels distinguish the series of its result."""

from collections.abc import Iterator
from typing import Final

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
)

Labels = frozenset[str]
COMPARISONS: Final = frozenset({">", "<", ">=", "<=", "==", "!="})


def children(parsed: Expr) -> tuple[Expr, ...]:
    """Return the direct parts of an expression."""
    match parsed:
        case AggregateExpr() | ParenExpr() | UnaryExpr() | SubqueryExpr():
            return (parsed.expr,)
        case BinaryExpr():
            return (parsed.lhs, parsed.rhs)
        case Call():
            return tuple(parsed.args)
        case MatrixSelector():
            return (parsed.vector_selector,)
        case _:
            return ()


def is_filter(parsed: BinaryExpr) -> bool:
    """Return whether a comparison drops the series for which it is false."""
    returns_bool = parsed.modifier is not None and parsed.modifier.return_bool
    return str(parsed.op) in COMPARISONS and not returns_bool


def walk(parsed: Expr) -> Iterator[Expr]:
    """Yield an expression and all its parts."""
    yield parsed
    for child in children(parsed):
        yield from walk(child)


def labels(parsed: Expr) -> Labels | None:
    """Return the labels that distinguish the series of a result: none for one series, None if unknown."""
    match parsed:
        case NumberLiteral() | StringLiteral():
            return frozenset()
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return labels(parsed.expr)
        case AggregateExpr():
            return _grouped(parsed)
        case BinaryExpr():
            return _joined(parsed)
        case Call():
            return _called(parsed)
        case _:
            return None


def _grouped(parsed: AggregateExpr) -> Labels | None:
    by = parsed.modifier
    if str(parsed.op) in _KEEP_SERIES:
        one = isinstance(parsed.param, NumberLiteral) and parsed.param.val == 1 and str(parsed.op) != "limit_ratio"
        return frozenset() if one and by is None else labels(parsed.expr)
    named = frozenset({"value"}) if str(parsed.op) == "count_values" else frozenset()
    if by is None:
        return named
    there = labels(parsed.expr)
    if by.type == AggModifierType.By:
        return named | (frozenset(by.labels) if there is None else there & frozenset(by.labels))
    return None if there is None else named | (there - frozenset(by.labels))


def _joined(parsed: BinaryExpr) -> Labels | None:
    left, right = labels(parsed.lhs), labels(parsed.rhs)
    if str(parsed.op) == "or":
        return None if left is None or right is None else left | right
    if str(parsed.op) in {"and", "unless"} or (parsed.modifier and parsed.modifier.group_labels is not None):
        return left
    return left if right == frozenset() else right if left == frozenset() else _narrower(left, right)


def _narrower(left: Labels | None, right: Labels | None) -> Labels | None:
    return right if left is None else left if right is None else left & right


def _called(parsed: Call) -> Labels | None:
    name = parsed.func.name
    if name in _ONE_SERIES:
        return frozenset()
    found = [labels(each) for each in parsed.args if not isinstance(each, NumberLiteral | StringLiteral)]
    distinct = found[0] if found else frozenset()
    if name in {"label_replace", "label_join"}:
        return None if distinct else distinct
    return distinct - {"le"} if distinct is not None and name == "histogram_quantile" else distinct


_KEEP_SERIES: Final = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
_ONE_SERIES: Final = frozenset({"scalar", "vector", "time", "pi", "absent", "absent_over_time"})
