"""Requests and limits of the gateway's container."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from beamlit_controller.api import problems
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Mistake
from beamlit_controller.api.scalars import Quantity
from beamlit_controller.core import quantity
from beamlit_controller.core.gateway_spec import LEAST_MEMORY_LIMIT


class Resources(StrictModel):
    """Requests and limits of the gateway's container."""

    requests: dict[str, Quantity] = Field(
        default={}, max_length=20, description="Requests by resource name, such as cpu or memory."
    )
    limits: dict[str, Quantity] = Field(
        default={},
        max_length=20,
        description=f"Limits by resource name, such as cpu or memory; memory at least {LEAST_MEMORY_LIMIT}.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Report requests above their limits, which the API server refuses, and too little memory for Envoy."""
        requests, limits = _amounts(given.get("requests")), _amounts(given.get("limits"))
        for name, amount in requests.items():
            if name in limits and amount > limits[name]:
                yield Mistake(("requests", name), f"expected at most the limit, {limits[name]}, got {amount}")
        least, memory = quantity.parse(LEAST_MEMORY_LIMIT), limits.get("memory")
        if memory is not None and memory < least:
            yield Mistake(("limits", "memory"), f"expected at least {least}, got {problems.came(str(memory))}")


def _amounts(given: object) -> dict[str, quantity.Quantity]:
    """Return what can be read; the rest is reported by its own field."""
    found: dict[str, quantity.Quantity] = {}
    for name, amount in given.items() if isinstance(given, Mapping) else ():
        if isinstance(amount, str | int | float) and not isinstance(amount, bool):
            try:
                found[str(name)] = quantity.parse(str(amount).strip())
            except ValueError:
                continue
    return found
