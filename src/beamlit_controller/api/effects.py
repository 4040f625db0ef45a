"""Describes what clients of a model notice: which requests wait, and how many got no answer."""

from beamlit_controller.api import recent
from beamlit_controller.api.models_view import ModelView


def waiting(model: ModelView) -> str:
    """Return the metric that is farthest over its target, or the number in flight above the cap; "" if nothing waits."""
    read = [metric for metric in model.metrics if metric.ratio is not None]
    worst = max(read, key=lambda metric: metric.ratio or 0, default=None)
    if worst is not None and (worst.ratio or 0) > 1:
        return f"{worst.name} {worst.value} of {worst.target}"
    seen = model.traffic
    if seen is None or seen.in_flight_limit is None or seen.in_flight <= seen.in_flight_limit:
        return ""
    return f"{seen.in_flight} in flight, the cap is {seen.in_flight_limit:.4g}"


def and_they_wait(model: ModelView) -> str:
    """Return a clause that says why requests wait; "" if nothing waits."""
    why = waiting(model)
    return f", and they wait: {why}" if why else ""


def unanswered(model: ModelView) -> str:
    """Return how many of the requests nobody answers; "" if there are none."""
    part = recent.unanswered(model)
    return f"{100 * part:.3g} % of the requests of {recent.period(model)} got no answer" if part else ""


def and_unanswered(model: ModelView) -> str:
    """Return the same as a clause."""
    told = unanswered(model)
    return f"; {told}" if told else ""
