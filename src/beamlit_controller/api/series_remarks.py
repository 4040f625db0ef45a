"""Remarks on the series that a metric reads, a PromQL query or a name: what its value is, and whether its target suits it."""

from collections.abc import Iterator
from fractions import Fraction

from promql_parser import Expr

from beamlit_controller.api import policy, presets, promql, promql_functions, promql_values
from beamlit_controller.api import promql_tree as tree
from beamlit_controller.api.promql_values import Scope
from beamlit_controller.core import trigger, wording
from beamlit_controller.core.metric_spec import (
    ExternalMetric,
    GatewayFigure,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
)


def of_name(name: str, *, by_value: bool) -> Iterator[str]:
    """Yield remarks on the name of an External metric in Prometheus; `by_value` if its sum is not divided by replicas."""
    if not policy.is_series_name(name):
        yield from promql.notices(name)
        yield from _of_query(name, by_value=by_value)
        return
    yield from of_counter(name)
    if by_value and presets.is_fraction(name):
        yield f"its series are summed, and by its name it is a fraction: use a target of type AverageValue, or the query avg({name})"


def of_counter(name: str) -> Iterator[str]:
    """Yield a remark on a counter that is read as it is."""
    if promql_functions.is_counter(name):
        yield "is a counter by its name, and only rises: its rate is needed, as by a query rate(…[1m]) in Prometheus"


def of_target(metric: MetricSpec) -> Iterator[str]:
    """Yield remarks on a target that a metric never exceeds, or always does, as far as its query or name tells.

    Where that is certain whatever Prometheus has, `trigger.beyond` tells it.
    """
    if not isinstance(metric, PodsMetric | ObjectMetric | ExternalMetric | GatewayMetric):
        return
    target = metric.target.milli
    if isinstance(metric, ExternalMetric) and trigger.beyond(metric) is None:
        yield from _out_of_reach(metric.metric.name, target)
    if (unit := _seconds(metric)) is not None:
        yield from _of_duration(target, unit)


def _of_query(query: str, *, by_value: bool) -> Iterator[str]:
    """Yield remarks on how the value of a query depends on the number of replicas."""
    parsed = _parsed(query)
    if parsed is None:
        return
    fraction = promql_values.added_up_fraction(parsed)
    if by_value and fraction is not None:
        yield f"{fraction} is a fraction by its name, and summed over all series it grows with the replicas: use avg(…) or max(…)"
    if not by_value and promql_values.scope(parsed) is Scope.LEVEL:
        yield (
            "does not grow with the replicas, but a target of type AverageValue divides it by their number: the more replicas, "
            "the later offloading starts; use a target of type Value"
        )


def _out_of_reach(query: str, target: int) -> Iterator[str]:
    parsed = None if policy.is_series_name(query) else _parsed(query)
    most = promql_values.highest(parsed) if parsed is not None and tree.labels(parsed) == frozenset() else None
    if parsed is None or most is None or promql_values.number(parsed) is not None or target < 1000 * most:
        return
    highest, example = wording.thousandths(int(1000 * most)), wording.thousandths(int(800 * most))
    yield (
        f"the query's value is at most {highest}, so it never exceeds {wording.thousandths(target)} and never offloads: "
        f"use a target below {highest}, such as {example}"
    )


def _of_duration(target: int, unit: Fraction) -> Iterator[str]:
    seconds = Fraction(target, 1000) * unit
    if _SHORTEST <= seconds <= _LONGEST:
        return
    effect, named = "never" if seconds > _LONGEST else "always", _UNITS[unit]
    yield (
        f"by its name, the metric is a time to the first token or byte in {named}, which {effect} exceeds "
        f"{wording.thousandths(target)}: write the target in {named}, such as {wording.thousandths(int(2000 / unit))} for 2 s"
    )


def _seconds(metric: PodsMetric | ObjectMetric | ExternalMetric | GatewayMetric) -> Fraction | None:
    """Return the seconds of one unit of a time to the first token or byte."""
    if isinstance(metric, GatewayMetric):
        return Fraction(1) if metric.name is GatewayFigure.FIRST_BYTE else None
    return metric.first_byte.unit if metric.first_byte else None


def _parsed(query: str) -> Expr | None:
    try:
        return promql.parse(query) if promql.is_small(query) else None
    except ValueError:
        return None


_SHORTEST, _LONGEST = Fraction(5, 1000), Fraction(600)
"""Seconds between which the target of a time to the first token or byte is plausible."""
_UNITS = {Fraction(1): "seconds", Fraction(1, 1000): "milliseconds", Fraction(1, 1_000_000): "microseconds"}
