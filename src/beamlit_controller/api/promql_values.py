"""What the value of a query tells by its shape: the highest that it can be, and whether it is one of all replicas together.

Only the usual forms are recognized; of any other query nothing is known.
"""

import re
from enum import Enum
from fractions import Fraction
from math import isfinite
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
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from beamlit_controller.api import presets
from beamlit_controller.api import promql_tree as tree
from beamlit_controller.core import trigger


class Scope(Enum):
    """Whether a value rises with the number of replicas at the same load of each (`TOTAL`), or not (`LEVEL`)."""

    TOTAL = "total"
    LEVEL = "level"


# The highest value.


def highest(parsed: Expr) -> Fraction | None:
    """Return the highest value that each series of a result can have; None if that is not known."""
    if (constant := number(parsed)) is not None:
        return constant
    match parsed:
        case ParenExpr() | SubqueryExpr():
            return highest(parsed.expr)
        case MatrixSelector():
            return highest(parsed.vector_selector)
        case VectorSelector():
            return Fraction(1) if _is_fraction(parsed) else None
        case AggregateExpr():
            return _highest_aggregated(parsed)
        case _:
            return _highest_computed(parsed)


def _highest_computed(parsed: Expr) -> Fraction | None:
    match parsed:
        case Call() if parsed.func.name in _UP_TO_ONE:
            return Fraction(1)
        case Call() if parsed.func.name in {"clamp", "clamp_max"}:
            limits = (highest(parsed.args[0]), number(parsed.args[-1]))
            return min((each for each in limits if each is not None), default=None)
        case Call() if parsed.func.name == "clamp_min":
            return _higher(highest(parsed.args[0]), number(parsed.args[-1]))
        case Call() if parsed.func.name in _KEEP_VALUES and (of := _argument(parsed)) is not None:
            return highest(of)
        case BinaryExpr():
            return _highest_of_two(parsed)
        case _:
            return None


def _highest_aggregated(parsed: AggregateExpr) -> Fraction | None:
    if str(parsed.op) == "group":
        return Fraction(1)
    return highest(parsed.expr) if str(parsed.op) in {*_LEVELS, "topk", "bottomk"} else None


def _highest_of_two(parsed: BinaryExpr) -> Fraction | None:
    if parsed.modifier is not None and parsed.modifier.return_bool:
        return Fraction(1)
    left, right = highest(parsed.lhs), highest(parsed.rhs)
    match str(parsed.op):
        case "and" | "unless":
            return left
        case operator if operator in tree.COMPARISONS:
            return right if number(parsed.lhs) is not None else left
        case "or":
            return _higher(left, right)
        case operator:
            return _scaled(parsed, operator, left, right)


def _scaled(parsed: BinaryExpr, operator: str, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    """Return the highest value after multiplication with a positive number, or division by one."""
    factor, by = number(parsed.lhs), number(parsed.rhs)
    if operator == "*" and left is not None and by is not None and by > 0:
        return left * by
    if operator == "*" and right is not None and factor is not None and factor > 0:
        return factor * right
    return left / by if operator == "/" and left is not None and by is not None and by > 0 else None


def _higher(left: Fraction | None, right: Fraction | None) -> Fraction | None:
    return max(left, right) if left is not None and right is not None else None


def _is_fraction(parsed: VectorSelector) -> bool:
    matchers = parsed.matchers.matchers
    labels = tuple((each.name, each.value) for each in matchers if each.op == MatchOp.Equal)
    return trigger.is_fraction(parsed.name or "", labels)


# One value of all replicas together.


def scope(parsed: Expr) -> Scope | None:
    """Return what a result is of, if it is one series; None if that is not known."""
    return _scope(parsed) if tree.labels(parsed) == frozenset() else None


def _scope(parsed: Expr) -> Scope | None:
    match parsed:
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return _scope(parsed.expr)
        case AggregateExpr():
            return _aggregated(parsed)
        case Call() if parsed.func.name in _LEVEL_CALLS:
            return Scope.LEVEL
        case Call() if parsed.func.name in _KEEP_VALUES and (of := _argument(parsed)) is not None:
            return _scope(of)
        case BinaryExpr():
            return _of_two(parsed)
        case _:
            return None


def _aggregated(parsed: AggregateExpr) -> Scope | None:
    operator, labels, of = str(parsed.op), tree.labels(parsed.expr), _scope(parsed.expr)
    if operator in {"sum", "count"}:
        return of if labels == frozenset() else Scope.TOTAL
    if operator not in _LEVELS:
        return None
    if of is Scope.TOTAL and not (labels and labels & _REPLICA):
        return of if labels == frozenset() else None
    return Scope.LEVEL if _is_of_replicas(parsed) else None


def _is_of_replicas(parsed: Expr) -> bool:
    """Return whether a level is that of the replicas, by its metrics' names.

    Others may only remove duplicates: several exporters report the length of one queue, which all replicas share.
    """
    names = [each.name or "" for each in tree.walk(parsed) if isinstance(each, VectorSelector)]
    return bool(names) and all(
        name.partition(":")[0] in _SERVERS or presets.is_fraction(name) or _TIME.search(name) for name in names
    )


def _of_two(parsed: BinaryExpr) -> Scope | None:
    if parsed.modifier is not None and parsed.modifier.return_bool:
        return Scope.LEVEL
    left, right, operator = _scope(parsed.lhs), _scope(parsed.rhs), str(parsed.op)
    if operator in {"and", "unless"} or number(parsed.rhs) is not None:
        return left
    if number(parsed.lhs) is not None:
        return right if operator != "/" else None
    if operator in {"*", "/"}:
        return _product(left, right, operator)
    return left if left is right else None


def _product(left: Scope | None, right: Scope | None, operator: str) -> Scope | None:
    match left, right:
        case (Scope.LEVEL, Scope.LEVEL):
            return Scope.LEVEL
        case (Scope.TOTAL, Scope.TOTAL) if operator == "/":
            return Scope.LEVEL
        case (Scope.TOTAL, Scope.LEVEL):
            return Scope.TOTAL
        case (Scope.LEVEL, Scope.TOTAL) if operator == "*":
            return Scope.TOTAL
        case _:
            return None


# A sum of fractions.


def added_up_fraction(parsed: Expr) -> str | None:
    """Return the name of a fraction whose series are summed, if that is the value of a query."""
    while isinstance(parsed, ParenExpr):
        parsed = parsed.expr
    if not isinstance(parsed, AggregateExpr) or str(parsed.op) != "sum" or tree.labels(parsed) != frozenset():
        return None
    of = parsed.expr
    while isinstance(of, ParenExpr | Call | SubqueryExpr | MatrixSelector):
        match of:
            case Call():
                inner = _argument(of) if of.func.name in _KEEP_VALUES else None
            case MatrixSelector():
                inner = of.vector_selector
            case _:
                inner = of.expr
        if inner is None:
            return None
        of = inner
    return of.name if isinstance(of, VectorSelector) and (_is_fraction(of) or _says_fraction(of.name or "")) else None


def _says_fraction(name: str) -> bool:
    """Return whether a name tells a fraction. A usage may be an amount, such as of memory, that is rightly summed."""
    return presets.is_fraction(name) and (name in presets.GAUGES or not name.lower().endswith("_usage"))


# Parts of a query.


def number(parsed: Expr) -> Fraction | None:
    """Return the value of a number, also one in parentheses or as a vector."""
    match parsed:
        case NumberLiteral():
            return Fraction(str(parsed.val)) if isfinite(parsed.val) else None
        case ParenExpr():
            return number(parsed.expr)
        case Call() if parsed.func.name == "vector":
            return number(parsed.args[0])
        case _:
            return None


def _argument(parsed: Call) -> Expr | None:
    """Return the argument that a function is applied to."""
    return next((each for each in parsed.args if not isinstance(each, NumberLiteral | StringLiteral)), None)


_LEVELS: Final = frozenset({"avg", "max", "min", "quantile"})
_LEVEL_CALLS: Final = frozenset(
    {"histogram_quantile", "histogram_avg", "histogram_fraction", "absent", "absent_over_time"}
)
_UP_TO_ONE: Final = frozenset({"absent", "absent_over_time", "present_over_time", "histogram_fraction", "sgn"})
_KEEP_VALUES: Final = frozenset(
    {
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "last_over_time",
        "quantile_over_time",
        "clamp",
        "clamp_max",
        "clamp_min",
        "label_join",
        "label_replace",
        "round",
        "scalar",
        "sort",
        "sort_desc",
        "vector",
    }
)
"""Functions whose result is one of the values, or between them, as far as its limits allow."""
_SERVERS: Final = frozenset(name.partition(":")[0] for name in presets.GAUGES)
"""What the names of model servers' metrics begin with, before the colon if there is one."""
_REPLICA: Final = frozenset({"pod", "pod_name", "kubernetes_pod_name", "instance", "node", "replica", "engine"})
"""Labels that tell the replicas of a model apart."""
_TIME: Final = re.compile(r"(?:^|[^a-z])(?:seconds|milliseconds|ms|latency|duration|ttft|ttfb)(?:$|[^a-z])")
