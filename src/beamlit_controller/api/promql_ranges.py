"""How long before its evaluation the samples of a PromQL query may be taken: its ranges, subqueries and offsets."""

from datetime import timedelta
from functools import lru_cache

from promql_parser import Call, Expr, MatrixSelector, SubqueryExpr, VectorSelector

from beamlit_controller.api import promql
from beamlit_controller.api import promql_tree as tree

LONGEST = timedelta(days=1)
LAST = frozenset({"last_over_time", "ts_of_last_over_time"})
"""Functions of which the range only says how old the last sample may be."""


@lru_cache(maxsize=256)
def covered(query: str) -> timedelta | None:
    """Return the longest time that a query covers, at most a day: 5 min for `rate(x[5m])`, 0 for `sum(x)`. None if it can't be parsed."""
    if not promql.is_small(query):
        return None
    try:
        return min(_covered(promql.parse(query)), LONGEST)
    except (ValueError, OverflowError):
        return None


def _covered(parsed: Expr) -> timedelta:
    match parsed:
        case Call(args=[MatrixSelector() as last]) if parsed.func.name in LAST:
            return _covered(last.vector_selector)
        case Call(args=[SubqueryExpr() as last]) if parsed.func.name in LAST:
            return _offset(last) + _covered(last.expr)
        case SubqueryExpr():
            return (parsed.range or timedelta(0)) + _offset(parsed) + _covered(parsed.expr)
        case MatrixSelector():
            return (parsed.range or timedelta(0)) + _covered(parsed.vector_selector)
        case VectorSelector():
            return _offset(parsed)
        case _:
            return max(map(_covered, tree.children(parsed)), default=timedelta(0))


def _offset(parsed: VectorSelector | SubqueryExpr) -> timedelta:
    return max(timedelta(0), parsed.offset or timedelta(0))
