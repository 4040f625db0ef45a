"""Reading fields of untyped JSON objects: a missing, null or wrongly typed field is empty. Pure.

Parsers of watched objects use these functions, so that a malformed object never raises and only loses its bad fields.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]

_LARGEST = 2**63 - 1
_LONGEST_TIME = 64
YEARS = range(2000, 2200)
"""Years outside this range are mistakes: nothing computed from them is meaningful, and it may overflow."""


def mapping(given: object) -> Json:
    """Return an object, or {}."""
    return given if isinstance(given, dict) else {}


def mappings(given: object) -> Iterator[Json]:
    """Return the objects in a list."""
    return (each for each in given if isinstance(each, dict)) if isinstance(given, list) else iter(())


def texts(given: object) -> Iterator[str]:
    """Return the strings in a list."""
    return (each for each in given if isinstance(each, str)) if isinstance(given, list) else iter(())


def text(given: object, default: str = "") -> str:
    """Return a string, or the default if it is missing or empty."""
    return given if isinstance(given, str) and given else default


def whole(given: object) -> int:
    """Return an int64, or 0."""
    fits = isinstance(given, int) and not isinstance(given, bool) and abs(given) <= _LARGEST
    return int(given) if fits else 0  # type: ignore[call-overload] # `fits` says so


def pairs(given: object) -> Pairs:
    """Return labels or annotations as sorted pairs."""
    return tuple(sorted((key, value) for key, value in mapping(given).items() if isinstance(value, str)))


def time(given: object) -> datetime | None:
    """Parse an RFC 3339 time, in UTC unless it has another offset."""
    if not isinstance(given, str) or len(given) > _LONGEST_TIME:
        return None
    try:
        moment = datetime.fromisoformat(given.strip())
    except ValueError:
        return None
    return sane(moment)


def sane(moment: datetime) -> datetime | None:
    """Return a time as an aware datetime that arithmetic can handle; None for others."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware if aware.year in YEARS else None


def annotation(about: Mapping[str, object], name: str, *, longest: int) -> str:
    """Return an annotation of the metadata; one above `longest` characters is ignored."""
    value = mapping(about.get("annotations")).get(name)
    return value if isinstance(value, str) and len(value) <= longest else ""
