"""How many examples of a property are looked at."""

from hypothesis import settings

USUAL = 100
"""Hypothesis's own number."""


def examples(number: int) -> int:
    """Return the number, or the profile's if that is one for a brief look."""
    profile = settings.default.max_examples if settings.default else USUAL
    return number if profile >= USUAL else min(number, profile)
