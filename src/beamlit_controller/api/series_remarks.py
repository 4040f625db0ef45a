"""Remarks on the series that a metric reads: a PromQL query, a counter, or fractions that are summed."""

from collections.abc import Iterator

from beamlit_controller.api import policy, presets, promql, promql_functions


def of_name(name: str, *, by_value: bool) -> Iterator[str]:
    """Yield remarks on the name of an External metric in Prometheus; `by_value` if its sum is not divided by replicas."""
    if not policy.is_series_name(name):
        yield from promql.notices(name)
        return
    yield from of_counter(name)
    if by_value and presets.is_fraction(name):
        yield f"its series are summed, and by its name it is a fraction: use a target of type AverageValue, or the query avg({name})"


def of_counter(name: str) -> Iterator[str]:
    """Yield a remark on a counter that is read as it is."""
    if promql_functions.is_counter(name):
        yield "is a counter by its name, and only rises: its rate is needed, as by a query rate(…[1m]) in Prometheus"
