"""Ends unexpected errors at the one thing that they concern, so that what else was read in the same round counts."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey

T = TypeVar("T")
F = TypeVar("F")

Report = Callable[[ModelKey, str, Exception], None]
"""Handles an unexpected error while reading something of a model."""
REMEMBERED: Final = 1_000
"""Number of errors that are remembered as reported."""


class Containment:
    """Replaces unexpected errors by values. An error is reported once while it lasts, not in each round."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._reported: dict[tuple[ModelKey, str], type[Exception]] = {}

    async def run(self, key: ModelKey, what: str, reading: Awaitable[T], instead: Callable[[Missing], F]) -> T | F:
        """Return what is read, or `instead` if it ends in an unexpected error. Cancellation passes through."""
        try:
            found = await reading
        except Exception as error:  # noqa: BLE001 - a bug that one reading meets must not take the others away
            self._tell(key, what, error)
            return instead(Missing(Reason.INTERNAL_ERROR, f"an unexpected error while reading {what}: see the log"))
        self._reported.pop((key, what), None)
        return found

    def _tell(self, key: ModelKey, what: str, error: Exception) -> None:
        if self._reported.get((key, what)) is type(error):
            return
        if len(self._reported) >= REMEMBERED:
            del self._reported[next(iter(self._reported))]
        self._reported[key, what] = type(error)
        self._report(key, what, error)


def unreported(_key: ModelKey, _what: str, _error: Exception) -> None:
    """Report nothing."""
