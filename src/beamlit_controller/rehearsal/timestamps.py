"""Parses times of recordings: RFC 3339, also with a blank or without time zone, or a Unix time in any unit."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from beamlit_controller.api import scalars

UNZONED = "times without a time zone were read as UTC"


def parse(text: str) -> tuple[datetime, str]:
    """Parse a time; also give a note on what was assumed. Raises ValueError."""
    number = _number(text)
    if number is not None:
        seconds, said = _seconds(number)
        try:
            read = datetime.fromtimestamp(float(seconds), UTC)
        except (ValueError, OverflowError, OSError):
            return _in_utc(scalars.instant(text)), ""
        return _in_range(read), said
    return _written(text)


def _written(text: str) -> tuple[datetime, str]:
    try:
        read = datetime.fromisoformat(text.replace(" UTC", "Z"))
    except ValueError:
        return _in_utc(scalars.instant(text)), ""
    if read.tzinfo is None:
        return _in_range(read.replace(tzinfo=UTC)), UNZONED
    return _in_utc(read), ""


def _in_utc(read: datetime) -> datetime:
    return _in_range(read).astimezone(UTC)


def _in_range(read: datetime) -> datetime:
    """Reject times at which a recording can't have been made, and near which arithmetic would leave the calendar. Raises ValueError."""
    if read.year not in _YEARS:
        raise ValueError(f"expected a time from {_YEARS[0]} to {_YEARS[-1]}, got {read.isoformat()}")
    return read


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < _LONGEST else None


def _seconds(number: Decimal) -> tuple[Decimal, str]:
    """Choose the unit by magnitude: in seconds, 10^11 would be the year 5138."""
    for least, per_second, name in _UNITS:
        if number >= least:
            return number / per_second, f"times were read as {name} since 1970"
    return number, ""


_YEARS = range(1900, 9000)
_LONGEST = 30
"""Maximum number of digits before the decimal point: dividing a number with an exponent of a billion overflows."""
_UNITS = (
    (10**17, 10**9, "nanoseconds"),
    (10**14, 10**6, "microseconds"),
    (10**11, 10**3, "milliseconds"),
)
