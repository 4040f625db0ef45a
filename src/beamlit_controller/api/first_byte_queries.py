"""Recognizes metrics and queries for the time to the first token or byte, by the names of their series, which tell the unit too.

In Adaptive mode such a metric is judged by how many requests wait, which follows from its unit and the gateways' counts.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, MatrixSelector, ParenExpr, SubqueryExpr, VectorSelector

from beamlit_controller.api import promql
from beamlit_controller.api import promql_tree as tree


@lru_cache(maxsize=256)
def unit(query: str) -> Fraction | None:
    """Return the seconds of one unit of a query's value; None if that is not a time to the first token or byte, or is scaled."""
    if not promql.is_small(query):
        return None
    try:
        return _unit(promql.parse(query))
    except ValueError:
        return None


def unit_of_name(name: str) -> Fraction | None:
    """Return the seconds of one unit of a metric; None if its name is not that of a time to the first token or byte."""
    found = None if name.endswith(_OF_HISTOGRAMS) else _NAME.search(name)
    return _SECONDS[found[1]] if found else None


def _unit(parsed: Expr) -> Fraction | None:
    match parsed:
        case VectorSelector():
            return unit_of_name(parsed.name or "")
        case MatrixSelector():
            return _unit(parsed.vector_selector)
        case BinaryExpr() if str(parsed.op) == "/":
            return _unit_of_mean(parsed)
        case Call() if parsed.func.name in _OF_HISTOGRAM:
            return _unit_of_all(parsed.args[-1], "_bucket") or _unit_of_all(parsed.args[-1], "")
        case ParenExpr() | SubqueryExpr() | AggregateExpr() | BinaryExpr() | Call() if _keeps_unit(parsed):
            return next(filter(None, map(_unit, tree.children(parsed))), None)
        case _:
            return None


def _keeps_unit(parsed: Expr) -> bool:
    """Return whether a value has the unit of what it is computed from."""
    match parsed:
        case AggregateExpr() | BinaryExpr():
            return str(parsed.op) in _KEPT_BY
        case Call():
            return parsed.func.name in _KEPT_BY
        case _:
            return True


def _unit_of_mean(parsed: BinaryExpr) -> Fraction | None:
    """Return the unit of the sum of a histogram's observations, divided by their number."""
    arithmetic = any(isinstance(each, BinaryExpr) and str(each.op) not in _KEPT_BY for each in tree.walk(parsed.lhs))
    one, other = _unit_of_all(parsed.lhs, "_sum"), _unit_of_all(parsed.rhs, "_count")
    return one if one == other and not arithmetic else None


def _unit_of_all(parsed: Expr, suffix: str) -> Fraction | None:
    """Return the unit of all series that an expression reads, whose names end so; None if they differ."""
    names = [each.name or "" for each in tree.walk(parsed) if isinstance(each, VectorSelector)]
    units = {unit_of_name(each.removesuffix(suffix)) if each.endswith(suffix) else None for each in names}
    return units.pop() if len(units) == 1 else None


_SECONDS: Final = {
    "seconds": Fraction(1),
    "ms": Fraction(1, 1000),
    "milliseconds": Fraction(1, 1000),
    "us": Fraction(1, 1_000_000),
    "microseconds": Fraction(1, 1_000_000),
}
_NAME: Final = re.compile(
    r"(?:^|[_:.])(?:time_to_first_(?:token|byte|chunk)|first_(?:token|byte|chunk)|ttft|ttfb)_(?:\w+_)?"
    rf"({'|'.join(_SECONDS)})(?:$|[_:.])"
)
"""vLLM, SGLang, LMDeploy and others: `vllm:time_to_first_token_seconds`; recording rules: `job:ttft_seconds:p95`."""
_OF_HISTOGRAMS: Final = ("_bucket", "_sum", "_count", "_total", "_created")
_OF_HISTOGRAM: Final = frozenset({"histogram_quantile", "histogram_avg"})
_KEPT_BY: Final = frozenset(
    {"avg", "max", "min", "quantile", "topk", "bottomk", "or", "and", "unless", ">", "<", ">=", "<=", "==", "!="}
    | {"avg_over_time", "max_over_time", "min_over_time", "quantile_over_time", "last_over_time"}
    | {
        "clamp",
        "clamp_max",
        "clamp_min",
        "scalar",
        "vector",
        "sort",
        "sort_desc",
        "label_replace",
        "label_join",
        "round",
    }
)
