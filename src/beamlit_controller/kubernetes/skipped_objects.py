"""Objects that could not be parsed: counted by kind and reason, and logged once per version."""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import structlog

log = structlog.stdlib.get_logger(__name__)

NamespacedName = tuple[str, str]


class Skip(StrEnum):
    """Why an object was skipped."""

    UNDECODABLE = "Undecodable"
    """The event is not JSON, nested too deeply or too long, so its object is unknown."""
    UNNAMED = "Unnamed"
    """It has no name."""
    UNREADABLE = "Unreadable"
    """Its content can't be parsed."""
    REFUSED = "Refused"
    """It was parsed, but a subscriber failed."""


class Skips:
    """The counts of skipped objects, and which were already logged."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._logged: OrderedDict[tuple[str, ...], None] = OrderedDict()

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return the counts by kind and reason. An object that stays unparsable counts with every list."""
        return MappingProxyType(self._counts)

    def add(
        self, kind: str, reason: Skip, *, namespaced_name: NamespacedName = ("", ""), version: str = "", why: str = ""
    ) -> None:
        """Count a skipped object, and log it unless this version of it was logged before."""
        self._counts[kind, reason.value] += 1
        named = (kind, reason.value, *(each[:_LONGEST_NAME] for each in (*namespaced_name, version or why)))
        if named in self._logged:
            return
        self._logged[named] = None
        if len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)
        log.warning(
            "object skipped", kind=kind, reason=reason.value, namespace=named[2], name=named[3], error=why[:_SHOWN]
        )


REMEMBERED = 10_000
_LONGEST_NAME = 253
_SHOWN = 200
