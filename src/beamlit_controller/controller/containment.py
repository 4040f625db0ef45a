"""Ends unexpected errors at the one thing that they concern, so that what else was read in the same round counts."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey

T = TypeVar("T")
F = TypeVar("F")

Report = Callable[[ModelKey, str, Exception], None]
"""Handles an unexpected error while reading something of a model."""
REMEMBERED: Final = 1_000
"""Number of errors that are remembered as reported; further ones are only told as missing values."""


class Containment:
    """Replaces unexpected errors by values. An error is reported once while it lasts, not in each round."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._reported: dict[Hashable, type[Exception]] = {}

    async def run(
        self, key: ModelKey, what: str, reading: Awaitable[T], instead: Callable[[Missing], F], *, of: Hashable = None
    ) -> T | F:
        """Return what is read, or `instead` if it ends in an unexpected error. Cancellation passes through.

        `of` tells apart what has the same name.
        """
        subject = (key, what, of)
        try:
            found = await reading
        except Exception as error:  # noqa: BLE001 - a bug that one reading meets must not take the others away
            if self._is_new(subject, error):
                self._report(key, what, error)
            return instead(Missing(Reason.INTERNAL_ERROR, f"an unexpected error while reading {what}: see the log"))
        self._reported.pop(subject, None)
        return found

    def _is_new(self, subject: Hashable, error: Exception) -> bool:
        if self._reported.get(subject) is type(error):
            return False
        if subject not in self._reported and len(self._reported) >= REMEMBERED:
            return False
        self._reported[subject] = type(error)
        return True


def unreported(_key: ModelKey, _what: str, _error: Exception) -> None:
    """Report nothing."""
