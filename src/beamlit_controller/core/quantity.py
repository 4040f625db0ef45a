"""Kubernetes quantities such as `500m`, `1.5Gi` or `2e3`: parsed, rounded and printed as Kubernetes does, but exact at any size."""

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Family(StrEnum):
    """The format of a quantity: decimal suffixes, an exponent, or binary suffixes."""

    DECIMAL = "DecimalSI"
    EXPONENT = "DecimalExponent"
    BINARY = "BinarySI"


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An amount in integer nano-units. Quantities are equal if their amounts are, whatever their format."""

    nano: int
    family: Family = field(default=Family.DECIMAL, compare=False)

    @property
    def milli(self) -> int:
        """The amount in thousandths, rounded away from zero."""
        return _divide_away_from_zero(self.nano, _NANO_PER_MILLI)

    def __str__(self) -> str:
        """Print the canonical form: an integer before the largest suffix of its family that allows one."""
        match self.family:
            case Family.BINARY if self.nano % _NANO == 0 and abs(self.nano) >= 1024 * _NANO:
                number, power = _factor_out(self.nano // _NANO, 1024, most=len(_BINARY_SUFFIXES) - 1)
                return f"{number}{_BINARY_SUFFIXES[power]}"
            case Family.EXPONENT:
                number, power = _factor_out(self.nano, 1000, most=(_MAX_EXPONENT + 9) // 3)
                exponent = 3 * power - 9
                return f"{number}e{exponent}" if number and exponent else str(number)
            case Family.DECIMAL | Family.BINARY:
                number, power = _factor_out(self.nano, 1000, most=len(_DECIMAL_SUFFIXES) - 1)
                return f"{number}{_DECIMAL_SUFFIXES[power]}" if number else "0"


def parse(text: str) -> Quantity:
    """Parse a quantity such as `500m`, `1.5Gi` or `2e3`, rounding up to nano-units away from zero.

    The grammar is that of `resource.ParseQuantity`, but a suffix, a sign or a point alone is an error here, not 0.
    Raises ValueError with what was expected and what came.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"expected a quantity of at most {_MAX_LENGTH} characters, got {len(text)}: {text[:20]!r}…")
    match = _GRAMMAR.fullmatch(text)
    if not match:
        raise _unreadable(text, "write digits, then at most one suffix")
    sign, whole, fraction, exponent, suffix = match.group("sign", "whole", "fraction", "exponent", "suffix")
    digits = whole + (fraction or "")
    if not digits:
        raise _unreadable(text, "there are no digits")
    numerator, denominator, family = _exponent(exponent, text) if exponent else _suffix(suffix, text)
    nano = _divide_away_from_zero(int(digits) * numerator, denominator * 10 ** len(fraction or ""))
    if nano >= _TOO_MUCH:
        raise _unreadable(text, "it has to be below 1e100")
    return Quantity(-nano if sign == "-" else nano, family)


def stored(text: str) -> Quantity:
    """Parse a quantity as the API server stores it: of any length and exponent, but at most 1e100 either way.

    Whoever can create a pod can write `1e100` or a thousand digits, and the API server keeps them. `parse` is for what
    our own users write, and rejects such amounts. Takes linear time. Raises ValueError if it is not a quantity.
    """
    match = _GRAMMAR.fullmatch(text)
    if not match or not (match["whole"] or match["fraction"]):
        raise ValueError(f"expected a quantity such as 500m, 1.5 or 2Gi, got {text[:_SHOWN]!r}")
    sign, whole, fraction, exponent, suffix = match.group("sign", "whole", "fraction", "exponent", "suffix")
    power = _bounded_power(exponent)
    numerator, family = (_NANO, Family.EXPONENT) if exponent else _known(suffix, text)
    nano = min(_scaled(whole, fraction or "", power, numerator=numerator), _TOO_MUCH)
    return Quantity(-nano if sign == "-" else nano, family)


def format_milli(milli: int, family: Family = Family.DECIMAL) -> str:
    """Print thousandths canonically: 1500 is `1500m`, 2000 is `2`; with the binary family 1048576000 is `1Mi`."""
    return str(Quantity(milli * _NANO_PER_MILLI, family))


_NANO = 10**9
_NANO_PER_MILLI = 10**6

# Keeps every amount within what a float can show, and an exponent of a billion from being computed.
_MAX_LENGTH = 128
_MAX_EXPONENT = 99
_SHOWN = 20
_TOO_MUCH = _NANO * 10**100

_LONG_EXPONENT = 7
_DIGITS = 110
"""Number of digits before or after the point beyond which an amount exceeds 1e100, or is below a nano-unit."""

_DECIMAL_SUFFIXES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SUFFIXES = {suffix: (_NANO * 1024**power, Family.BINARY) for power, suffix in enumerate(_BINARY_SUFFIXES)} | {
    suffix: (1000**power, Family.DECIMAL) for power, suffix in enumerate(_DECIMAL_SUFFIXES)
}
_NEAREST = {suffix.lower(): suffix for suffix in _SUFFIXES} | {"m": "m"}

_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:[eE](?P<exponent>[+-]?[0-9]+)|(?P<suffix>[A-Za-z]*))"
)


def _exponent(exponent: str, text: str) -> tuple[int, int, Family]:
    """Return the nano-units of 1 with this exponent, as numerator and denominator, and its family."""
    power = int(exponent)
    if abs(power) > _MAX_EXPONENT:
        raise _unreadable(text, f"an exponent lies between -{_MAX_EXPONENT} and {_MAX_EXPONENT}")
    return _NANO * 10 ** max(power, 0), 10 ** max(-power, 0), Family.EXPONENT


def _suffix(suffix: str, text: str) -> tuple[int, int, Family]:
    """Return the nano-units of 1 with this suffix, as numerator and denominator, and its family."""
    if suffix not in _SUFFIXES:
        near = _NEAREST.get(suffix.lower().removesuffix("b"))
        raise _unreadable(text, f"there is no suffix {suffix!r}" + (f", did you mean {near!r}?" if near else ""))
    nano, family = _SUFFIXES[suffix]
    return nano, 1, family


def _bounded_power(exponent: str | None) -> int:
    """Parse an exponent; beyond a million either way, the value makes no difference."""
    digits = (exponent or "").lstrip("+-").lstrip("0")
    power = int(digits or "0") if len(digits) < _LONG_EXPONENT else 10**_LONG_EXPONENT
    return -power if (exponent or "").startswith("-") else power


def _known(suffix: str, text: str) -> tuple[int, Family]:
    if suffix not in _SUFFIXES:
        raise ValueError(f"expected a quantity such as 500m, 1.5 or 2Gi, got {text[:_SHOWN]!r}")
    return _SUFFIXES[suffix]


def _scaled(whole: str, fraction: str, power: int, *, numerator: int) -> int:
    """Return nano-units, rounded away from zero. Only as many digits are computed as can matter."""
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    point = len(digits) - len(fraction) + power
    if point > _DIGITS:
        return _TOO_MUCH
    if point < -_DIGITS:
        return 1
    kept = digits[: 2 * _DIGITS]
    # The digits that are cut off are below a nano-unit, so they only round up.
    rest = int(bool(digits[2 * _DIGITS :].strip("0")))
    shift = point - len(kept)
    value = (int(kept) * 10 + rest) * numerator
    return _divide_away_from_zero(value * 10 ** max(shift, 0), 10 ** (1 + max(-shift, 0)))


def _divide_away_from_zero(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor) if dividend > 0 else dividend // divisor


def _factor_out(number: int, factor: int, *, most: int) -> tuple[int, int]:
    """Divide by the factor as often as there is no remainder; return the quotient and how often that was."""
    power = 0
    while number and power < most and number % factor == 0:
        number //= factor
        power += 1
    return number, power


def _unreadable(text: str, why: str) -> ValueError:
    return ValueError(f"expected a quantity such as 500m, 1.5 or 2Gi, got {text!r}: {why}")
