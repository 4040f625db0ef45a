"""Parses durations such as `90s`, `30m`, `2h` or `7d`."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read(text: str, field: str) -> timedelta:
    """Parse a duration above 0. Raises ValueError, which names the field."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f"{field}: expected a time such as 90s, 30m, 2h or 1d, got {text!r}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
